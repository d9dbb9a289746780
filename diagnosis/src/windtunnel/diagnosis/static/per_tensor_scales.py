"""Weights with one scale for channels that need one each."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.findings.kinds.scales import PerTensorTooCoarse
from windtunnel.diagnosis.graph import FusedLayer, FusedModel, Matching
from windtunnel.diagnosis.graph.constants import WEIGHTED
from windtunnel.diagnosis.static.effective_weights import Table, effective
from windtunnel.diagnosis.static.patches import put_per_channel
from windtunnel.diagnosis.static.suspect import Patch, Suspect, all_of
from windtunnel.diagnosis.thresholds.static_thresholds import CHANNELS_LOST, CHANNELS_SURELY_LOST, WORST_CHANNEL

# Every runtime takes one scale per channel for these.
_PER_CHANNEL = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D"})


def per_tensor_suspects(matching: Matching) -> list[Suspect]:
    """Weights with one scale whose channels differ widely.

    A fix of any of them gives all convolutions one scale per channel. That is what a recipe can ask for, and the loss
    of one layer is lost in that of the others.

    Args:
        matching: of the two models.

    Returns:
        The suspects, by the candidate's order.
    """
    reference, candidate = matching.reference, matching.candidate
    known = [
        one
        for reference_layer, candidate_layer in matching.fused
        if (one := _look(reference, reference_layer, candidate, candidate_layer)) is not None
    ]
    others = [one.patch for one in known if one.kind in _PER_CHANNEL and one.patch is not None]
    return [
        replace(one.suspect, patch=None if one.patch is None else all_of([one.patch, *others]))
        for one in known
        if one.suspect is not None
    ]


@dataclass(frozen=True, slots=True)
class _Coarse:
    """Weights with one scale; `suspect` where their channels differ."""

    kind: str
    patch: Patch | None
    suspect: Suspect | None


def _look(
    reference: FusedModel, reference_layer: FusedLayer, candidate: FusedModel, candidate_layer: FusedLayer
) -> _Coarse | None:
    op = candidate.facts.ops[candidate_layer.work]
    if op.name not in WEIGHTED or reference.facts.ops[reference_layer.work].name not in WEIGHTED:
        return None
    constant = candidate.constants.find(op.inputs[WEIGHTED[op.name][0]])
    table = effective(reference, reference_layer).weights
    if constant is None or table is None or constant.quantization is None or len(constant.quantization.scales) != 1:
        return None
    largest = np.abs(table.values).max(axis=1)
    largest = largest[largest > 0.0]
    if len(largest) < 2:
        return None
    patch = put_per_channel(candidate, op, table.values) if candidate_layer.affine == () else None
    lost = float(largest.max() / np.median(largest))
    worst = _worst_channel(table.values, effective(candidate, candidate_layer, fold=False).weights)
    if lost < CHANNELS_LOST and worst < WORST_CHANNEL:
        return _Coarse(op.name, patch, None)
    tensor = candidate.facts.tensors[op.outputs[0]]
    finding = PerTensorTooCoarse(
        constant=constant.stored.name,
        channels=len(largest),
        largest_to_median_channel=round(lost, 3),
        median_bits_lost=round(math.log2(lost), 2),
        worst_channel_relative_error=round(worst, 4),
    )
    suspect = Suspect(finding, tensor.name, op.index, tensor.index, plain=lost >= CHANNELS_SURELY_LOST)
    return _Coarse(op.name, patch, suspect)


def _worst_channel(reference: NDArray[np.float64], candidate: Table | None) -> float:
    """The largest rounding error of any channel, as a share of the channel's own root mean square.

    Only of channels that the common scale holds much worse than one of their own would.
    """
    if candidate is None or candidate.values.shape != reference.shape:
        return 0.0
    power = np.square(reference).mean(axis=1)
    error = np.square(candidate.values - reference).mean(axis=1)
    largest = np.abs(reference).max(axis=1)
    small = (power > 0.0) & (largest * CHANNELS_LOST <= largest.max())
    return float(np.sqrt(error[small] / power[small]).max(initial=0.0))
