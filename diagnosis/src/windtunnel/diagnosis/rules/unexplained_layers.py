"""Causes without a difference between the files: a layer that diverges in isolation, and rounding that accumulates."""

from __future__ import annotations

import math
from collections.abc import Mapping

from windtunnel.diagnosis.findings.cause_finding import CauseFinding
from windtunnel.diagnosis.findings.causes import Cause
from windtunnel.diagnosis.findings.kinds.layers import LayerDiverges, LayerError, RangeUnexplained, RoundingAccumulated
from windtunnel.diagnosis.graph import Matching
from windtunnel.diagnosis.graph.model_precision import precision_of
from windtunnel.diagnosis.numerics.isolated_sums import Local, representable
from windtunnel.diagnosis.static.ops_before import other_ops_before
from windtunnel.diagnosis.thresholds.confidences import ACCUMULATED, UNEXPLAINED
from windtunnel.diagnosis.thresholds.precision_thresholds import UNEXPLAINED_ERROR, UNEXPLAINED_SHARE_OPS_MISSING
from windtunnel.diagnosis.thresholds.rule_thresholds import CLIPPING_OR_ROUNDING, LISTED_ERRORS
from windtunnel.tflite import Quantization, TensorFacts
from windtunnel.tflite.op_kinds import SHAPING


def unexplained(matching: Matching, local: Mapping[int, Local]) -> tuple[Cause, ...]:
    """The layer that diverges most on equal inputs, if the files show no reason.

    If storing its output explains most of the error, its range clips values or is too coarse, by no more than other
    samples may explain. Otherwise the op itself differs.

    Args:
        matching: the two models.
        local: isolated errors by the candidate's tensor index.

    Returns:
        One cause, or none if no layer diverges by more than `UNEXPLAINED_ERROR`.
    """
    errors = [(one.nrmse, index) for index, one in local.items() if one.nrmse is not None]
    worst, index = max(errors, default=(0.0, -1))
    least = UNEXPLAINED_ERROR[precision_of(matching)] * (UNEXPLAINED_SHARE_OPS_MISSING if matching.lacking else 1.0)
    if worst <= least:
        return ()
    maker, tensor, one = matching.candidate.makers.get(index), matching.candidate.facts.tensors[index], local[index]
    op_index = None if maker is None else maker.index
    finding: CauseFinding
    stored = math.hypot(one.clip_rmse, one.round_rmse)
    if tensor.quantization is not None and stored > CLIPPING_OR_ROUNDING * (one.rmse or 0.0):
        finding, rule = _range(worst, one, tensor, tensor.quantization), "unexplained_range"
    else:
        other = other_ops_before(matching, index)
        if other is not None and other.first is not None and other.first.name not in SHAPING:
            # It has no counterpart and is in no figure: what is computed otherwise is there, not behind it.
            maker = other.first
            tensor, op_index = matching.candidate.facts.tensors[maker.outputs[0]], maker.index
        ops, kind = None if other is None else other.kinds, "" if maker is None else maker.name
        finding, rule = LayerDiverges(local_nrmse=worst, op=kind, ops=ops), "unexplained_op"
    return (Cause(finding, UNEXPLAINED, tensor.name, op_index, rule=rule),)


def _range(error: float, local: Local, tensor: TensorFacts, quantization: Quantization) -> RangeUnexplained:
    low, high = representable(quantization, tensor.dtype)
    return RangeUnexplained(
        local_nrmse=error,
        seen=(local.low, local.high),
        values_outside=local.clipped,
        kind="clipped" if local.clip_rmse > local.round_rmse else "wide",
        held=(float(low), float(high)),
        tensor=tensor.name,
    )


def accumulated(matching: Matching, local: Mapping[int, Local]) -> tuple[Cause, ...]:
    """Rounding that accumulates, for a quantized candidate that is not healthy and shows no fault.

    Args:
        matching: the two models.
        local: isolated errors by the candidate's tensor index.

    Returns:
        One cause, or none.
    """
    if precision_of(matching) != "integer":
        return ()
    errors = sorted(((one.nrmse or 0.0, index) for index, one in local.items()), reverse=True)
    tensors = matching.candidate.facts.tensors
    finding = RoundingAccumulated(
        largest_own_errors=tuple(LayerError(tensors[index].name, error) for error, index in errors[:LISTED_ERRORS]),
        root_sum_of_squares=math.sqrt(sum(error * error for error, _ in errors)),
    )
    return (Cause(finding, ACCUMULATED, rule="rounding_accumulates"),)
