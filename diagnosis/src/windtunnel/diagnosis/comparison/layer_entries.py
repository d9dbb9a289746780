"""The entries of layers in a diagnosis, from the figures of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from windtunnel.diagnosis.findings.layer_diff import LayerDiff
from windtunnel.diagnosis.graph import Matching, Pair
from windtunnel.diagnosis.numerics.isolated_sums import Local
from windtunnel.diagnosis.numerics.layer_sums import LayerFigures


def layer_entry(
    pair: Pair,
    figures: LayerFigures,
    local: Local | None,
    matching: Matching,
    why: Sequence[Mapping[str, Any]],
    *,
    is_choice: bool,
) -> LayerDiff:
    """The entry of one layer: its figures, and why quantization costs it what it costs.

    Args:
        pair: the layer in both models.
        figures: accumulated errors.
        local: isolated errors; None: not run.
        matching: of the two models.
        why: notes on the quantization.
        is_choice: another result is not a fault.

    Returns:
        The entry.
    """
    reference_tensor = matching.reference.by_op.get(pair.reference.op_index)
    candidate_tensor = matching.candidate.by_op.get(pair.candidate.op_index)
    return LayerDiff(
        name=pair.candidate.tensor.name,
        op=pair.candidate.op,
        op_index=pair.candidate.op_index,
        reference=pair.reference.tensor.name,
        metrics=figures.values,
        problem=figures.problem,
        non_finite=figures.non_finite,
        reference_non_finite=figures.reference_non_finite,
        local_nrmse=None if local is None else local.nrmse,
        local_rmse=None if local is None else local.rmse,
        is_choice=is_choice,
        reference_ops=() if reference_tensor is None else tuple(reference_tensor.members),
        members=() if candidate_tensor is None else tuple(candidate_tensor.members),
        why=tuple(why),
    )
