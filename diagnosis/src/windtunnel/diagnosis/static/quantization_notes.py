"""Why quantization costs a layer what it costs: notes for every layer of the candidate, faulty or not.

A cause is what somebody must fix; a note says what the precision does. A range with outliers, one that clips or that
is wider than the samples need, one scale for channels that differ, few bits for the weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from windtunnel.diagnosis.graph import FusedLayer, FusedModel, Matching
from windtunnel.diagnosis.graph.constants import WEIGHTED, Constant
from windtunnel.diagnosis.numerics.isolated_sums import Local, representable
from windtunnel.diagnosis.static.effective_weights import effective
from windtunnel.diagnosis.thresholds.static_thresholds import (
    NOTE_CLIPPED,
    NOTE_COARSE,
    NOTE_CROWDED,
    NOTE_MOSTLY,
    NOTE_OUTLIERS,
    NOTE_UNEVEN,
    NOTE_WIDE,
)
from windtunnel.tflite import TensorFacts
from windtunnel.tflite.dtypes import ACTIVATION_DTYPES

Note = dict[str, Any]


def notes(matching: Matching, local: Mapping[int, Local]) -> dict[int, list[Note]]:
    """What the precision does to each layer.

    Args:
        matching: of the two models.
        local: isolated errors and observed ranges, by the candidate's tensor index.

    Returns:
        By the candidate's tensor index; each note has a `kind`, a `text` for people and the figures behind it.
    """
    reference, candidate = matching.reference, matching.candidate
    found: dict[int, list[Note]] = {}
    for pair in matching.pairs:
        tensor = pair.candidate.tensor
        known = local.get(tensor.index)
        if known is not None and known.low <= known.high and _is_stored_small(tensor):
            found.setdefault(tensor.index, []).extend(_activation(tensor, known))
    for reference_layer, candidate_layer in matching.fused:
        made = list(_weights(reference, reference_layer, candidate, candidate_layer))
        for index in {*candidate.facts.ops[candidate_layer.work].outputs, *candidate_layer.outputs} if made else ():
            found.setdefault(index, []).extend(made)
    return {index: made for index, made in found.items() if made}


def _is_stored_small(tensor: TensorFacts) -> bool:
    scales = tensor.quantization.scales if tensor.quantization is not None else ()
    return len(scales) == 1 and tensor.dtype in ACTIVATION_DTYPES


def _activation(tensor: TensorFacts, known: Local) -> Iterator[Note]:
    assert tensor.quantization is not None
    low, high = representable(tensor.quantization, tensor.dtype)
    layer = tensor.quantization.scales[0]
    held = {"held": [low, high], "seen": [known.low, known.high]}
    # Kernels prescribe 255/256 as the end of a softmax.
    beyond = max(low - known.low, known.high - high) > layer
    if beyond and known.clipped > NOTE_CLIPPED and known.clip_rmse > known.round_rmse:
        text = (
            f"{known.clipped:.2%} of the values are outside the quantization range [{low:.4g}, {high:.4g}]; "
            f"the observed range is [{known.low:.4g}, {known.high:.4g}]"
        )
        yield {"kind": "clipped", "text": text, "values_outside": known.clipped, **held}
    seen = max(known.high, 0.0) - min(known.low, 0.0)
    if tensor.dtype != "int16" and seen > 0.0 and (high - low) / seen > NOTE_WIDE:
        times = (high - low) / seen
        text = f"its quantization range is {times:.1f} times the observed range: {math.log2(times):.1f} bits are unused"
        yield {"kind": "wide", "text": text, "held_to_seen": round(times, 4), **held}
    crowded = known.deviation / layer
    if tensor.dtype != "int16" and 0.0 < crowded < NOTE_CROWDED and seen / layer > NOTE_OUTLIERS * crowded:
        text = (
            f"outliers set its range: it reaches {seen / known.deviation:.0f} standard deviations, so that most "
            f"values share {4 * crowded:.0f} of {round(seen / layer)} steps"
        )
        yield {"kind": "outlier_range", "text": text, "deviation_steps": round(crowded, 3), **held}
    if known.rmse and known.round_rmse > NOTE_MOSTLY * known.rmse:
        text = f"storing its output in steps of {layer:.3g} explains {_share(known):.0%} of its isolated error"
        yield {"kind": "rounding", "text": text, "step": layer, "share": round(_share(known), 3)}


def _share(known: Local) -> float:
    assert known.rmse
    return min(1.0, known.round_rmse / known.rmse)


def _weights(
    reference: FusedModel, reference_layer: FusedLayer, candidate: FusedModel, candidate_layer: FusedLayer
) -> Iterator[Note]:
    op = candidate.facts.ops[candidate_layer.work]
    if op.name not in WEIGHTED or reference.facts.ops[reference_layer.work].name not in WEIGHTED:
        return
    constant = candidate.constants.find(op.inputs[WEIGHTED[op.name][0]])
    if constant is None or constant.quantization is None:
        return
    a, b = (
        effective(reference, reference_layer, fold=False).weights,
        effective(candidate, candidate_layer, fold=False).weights,
    )
    if a is None or b is None or a.values.shape != b.values.shape or not np.isfinite(b.values).all():
        return
    power = np.square(a.values).mean(axis=1)
    lossy = np.sqrt(np.square(b.values - a.values).mean(axis=1)[power > 0.0] / power[power > 0.0])
    largest = np.abs(a.values).max(axis=1)
    largest = largest[largest > 0.0]
    if not lossy.size:
        return
    yield from _granularity(constant, largest, float(lossy.max()))
    median = float(np.median(lossy))
    if median > NOTE_COARSE:
        kind = constant.stored.dtype
        text = f"its weights are {kind}: rounding moves a channel by {median:.1%} of its size"
        yield {"kind": "weights_rounding", "text": text, "dtype": kind, "relative_error": round(median, 5)}
    if candidate.facts.tensors[op.inputs[0]].dtype == "int16":
        text = "activations are int16 and weights int8: what is lost is the weights' rounding"
        yield {"kind": "int16x8", "text": text, "relative_error": round(median, 5)}


def _granularity(constant: Constant, largest: Any, worst: float) -> Iterator[Note]:
    assert constant.quantization is not None
    lost = float(largest.max() / np.median(largest))
    if len(constant.quantization.scales) == 1 and len(largest) > 1 and lost > NOTE_UNEVEN:
        text = (
            f"one scale serves {len(largest)} channels whose ranges differ: half of them lose {math.log2(lost):.1f} "
            f"bits or more, and one is off by {worst:.0%} of its size"
        )
        yield {"kind": "per_tensor", "text": text, "largest_to_median_channel": round(lost, 3)}
