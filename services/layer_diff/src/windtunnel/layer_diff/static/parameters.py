"""Scales and zero points of activations, against the values that the reference gives on the samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from windtunnel.layer_diff.graph.match import Pair
from windtunnel.layer_diff.graph.steps import Steps
from windtunnel.layer_diff.isolated import Local, representable
from windtunnel.layer_diff.static.mend import put_activation
from windtunnel.layer_diff.static.suspect import Suspect
from windtunnel.tflite import Quantization

# Outputs of these ops have scales that the kernels prescribe.
_PRESCRIBED = frozenset({"SOFTMAX", "LOGISTIC", "TANH", "L2_NORMALIZATION", "LOG_SOFTMAX"})
# Ops whose input and output share scale and zero point, as they only move or pick values.
_SHARING = frozenset(
    {"RESHAPE", "TRANSPOSE", "MAX_POOL_2D", "AVERAGE_POOL_2D", "CONCATENATION", "PAD", "PADV2", "SLICE", "SPLIT"}
    | {"STRIDED_SLICE", "GATHER", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "SQUEEZE", "EXPAND_DIMS", "PACK"}
    | {"UNPACK", "SPACE_TO_DEPTH", "DEPTH_TO_SPACE", "MAXIMUM", "MINIMUM", "SELECT", "SELECT_V2", "TILE"}
    | {"REVERSE_V2", "MIRROR_PAD", "BROADCAST_TO", "REDUCE_MAX", "REDUCE_MIN", "SPACE_TO_BATCH_ND", "SPLIT_V"}
    | {"BATCH_TO_SPACE_ND", "TOPK_V2", "DYNAMIC_UPDATE_SLICE", "MEAN"}
)
# How far a range may miss the values seen, in parts of their span, before it is held against it. A calibration set
# is never the samples, and a moving average cuts off what few of them reach: half of a tensor's range is common.
_SHORT, _WIDE = 0.15, 2.6
# Of one tensor, against the rest of the model's ranges, which tell how far calibration and samples differ anyway.
_NARROW, _SURELY_NARROW, _ALL_NARROW, _APART = 0.55, 0.4, 0.6, 2.05
_SHIFT = 0.05
_CLIP_COST = 2.5
_MOST = 0.34


@dataclass
class Group:
    """Tensors bound to one scale and zero point, and the reference's values in them."""

    tensors: set[int]
    quantization: Quantization
    dtype: str
    low: float = math.inf
    high: float = -math.inf
    clip_rmse: float = 0.0
    round_rmse: float = 0.0
    clipped: float = 0.0
    prescribed: bool = False
    problems: dict[str, Any] = field(default_factory=dict)

    @property
    def limits(self) -> tuple[float, float]:
        return representable(self.quantization, self.dtype)

    @property
    def wanted(self) -> tuple[float, float]:
        """The values seen and 0, which every quantised range holds; symmetric for 16 bit."""
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        if self.dtype == "int16":
            high = max(-low, high)
            low = -high
        return low, high

    @property
    def ratio(self) -> float:
        """Width of what can be held by width of what is wanted."""
        low, high = self.wanted
        return (self.limits[1] - self.limits[0]) / (high - low) if high > low else math.nan


@dataclass(frozen=True, slots=True)
class ParameterReport:
    """Suspects, and the least and largest ratio of held to seen range of all tensors that were looked at."""

    suspects: tuple[Suspect, ...]
    looked_at: int
    least: float
    largest: float


def compare_parameters(
    theirs: Steps, pairs: Sequence[Pair], inputs: Sequence[int], local: Mapping[int, Local]
) -> ParameterReport:
    """Holds every quantised activation's range against the reference's values.

    Many tensors off: the calibration. One tensor (with those bound to it): its scale or zero point.
    """
    groups = _groups(theirs, pairs, inputs, local)
    usable = [group for group in groups if not group.prescribed and math.isfinite(group.ratio)]
    if not usable:
        return ParameterReport((), 0, math.nan, math.nan)
    usual = median(group.ratio for group in usable)
    off = [group for group in usable if _judge(group, usual)]
    ratios = [group.ratio for group in usable]
    # A range that is off at the model's own input tells of other data, not of one tensor.
    fed = any(index in inputs or theirs.stored(index) in inputs for group in off for index in group.tensors)
    whole = fed or len(off) >= max(3, math.ceil(_MOST * len(usable))) or (len(off) == len(usable) and len(off) > 1)
    suspects = [_calibration(theirs, off, len(usable))] if whole else [_single(theirs, group) for group in off]
    return ParameterReport(tuple(suspects), len(usable), min(ratios), max(ratios))


def _judge(group: Group, usual: float) -> bool:
    """Whether a range is off; notes what is in `problems`."""
    low, high = group.limits
    want_low, want_high = group.wanted
    span = want_high - want_low
    short = max(low - want_low, want_high - high, 0.0) / span
    costly = group.clip_rmse > _CLIP_COST * max(group.round_rmse, span / 255 / math.sqrt(12.0) * 0.5)
    centre = ((low + high) - (want_low + want_high)) / 2.0 / span
    steps = (high - low) / 255.0
    shifted = group.dtype == "int8" and abs(centre) > _SHIFT and 0.8 < group.ratio / _near(usual) < 1.25
    if shifted and (want_low == 0.0 or want_high == 0.0 or abs(centre) > 0.1):
        wasted = (want_low - low if centre < 0.0 else high - want_high) / steps
        if abs(wasted) > 6 and (want_low < 0.0 or low < -6 * steps):
            group.problems = {"kind": "zero_point", "shift_steps": round(-centre * span / steps)}
            return True
    narrow = group.ratio < max(_NARROW * min(usual, 1.0), _SURELY_NARROW)
    if costly and short > _SHORT and (narrow or (usual < _ALL_NARROW and group.ratio < 0.7)):
        group.problems = {"kind": "clipped"}
        return True
    if group.ratio > _WIDE or (group.ratio > _APART * max(usual, 1.0) and usual < _APART):
        group.problems = {"kind": "wide"}
        return True
    return False


def _near(usual: float) -> float:
    return min(max(usual, 0.8), 1.6)


def _groups(theirs: Steps, pairs: Sequence[Pair], inputs: Sequence[int], local: Mapping[int, Local]) -> list[Group]:
    """Quantised activations by what they are bound to, in execution order."""
    known = {pair.candidate.tensor.index: local.get(pair.candidate.tensor.index) for pair in pairs}
    known |= {index: local.get(index) for index in inputs}
    of: dict[int, Group] = {}
    order: list[Group] = []
    for index in _activations(theirs):
        tensor = theirs.facts.tensors[index]
        if tensor.quantization is None or len(tensor.quantization.scales) != 1:
            continue
        group = Group({index}, tensor.quantization, tensor.dtype)
        maker = theirs.makers.get(index)
        group.prescribed = maker is not None and maker.name in _PRESCRIBED
        seen = known.get(index) or known.get(theirs.stored(index))
        if seen is not None and seen.low <= seen.high:
            group.low, group.high = seen.low, seen.high
            group.clip_rmse, group.round_rmse, group.clipped = seen.clip_rmse, seen.round_rmse, seen.clipped
        if maker is not None and maker.name in _SHARING:
            for source in maker.inputs:
                if source in of and of[source].quantization == tensor.quantization:
                    group = _join(of[source], group, of, order)
        if group not in order:
            order.append(group)
        for member in group.tensors:
            of[member] = group
    return order


def _join(one: Group, other: Group, of: dict[int, Group], order: list[Group]) -> Group:
    if one is other:
        return one
    one.tensors |= other.tensors
    one.low, one.high = min(one.low, other.low), max(one.high, other.high)
    one.clip_rmse, one.round_rmse = max(one.clip_rmse, other.clip_rmse), max(one.round_rmse, other.round_rmse)
    one.clipped = max(one.clipped, other.clipped)
    one.prescribed |= other.prescribed
    order[:] = [group for group in order if group is not other]
    for member in one.tensors:
        of[member] = one
    return one


def _activations(theirs: Steps) -> list[int]:
    """Integer tensors that depend on the input, in the order in which they are made."""
    main = theirs.facts.main
    made = [index for op in theirs.facts.ops for index in op.outputs if index >= 0 and index not in main.fixed]
    tensors = theirs.facts.tensors
    return [index for index in (*main.input_indices, *made) if tensors[index].dtype in ("int8", "uint8", "int16")]


def _fitted(group: Group) -> Quantization:
    """The scale and zero point that hold just what was seen."""
    low, high = group.wanted
    kind = np.iinfo(np.dtype(group.dtype))
    if group.dtype == "int16":
        return Quantization((high / kind.max,), (0,))
    scale = (high - low) / (kind.max - kind.min)
    return Quantization((scale,), (int(np.clip(round(kind.min - low / scale), kind.min, kind.max)),))


def _evidence(theirs: Steps, group: Group) -> dict[str, Any]:
    fitted = _fitted(group)
    return {
        "tensors": [theirs.facts.tensors[index].name for index in sorted(group.tensors)][:8],
        "held": [float(limit) for limit in group.limits],
        "seen": [group.low, group.high],
        "held_to_seen": round(group.ratio, 4),
        "values_outside": group.clipped,
        "scale": {"file": group.quantization.scales[0], "fitting": fitted.scales[0]},
        "zero_point": {"file": group.quantization.zero_points[0], "fitting": fitted.zero_points[0]},
        **group.problems,
    }


def _place(theirs: Steps, group: Group) -> tuple[str, int | None, int]:
    """The first tensor of the group that an op makes; an input of the model where there is none."""
    made = [index for index in group.tensors if index in theirs.makers]
    first = min(made, key=lambda index: theirs.makers[index].index) if made else min(group.tensors)
    maker = theirs.makers.get(first)
    return theirs.facts.tensors[first].name, None if maker is None else maker.index, first


def _single(theirs: Steps, group: Group) -> Suspect:
    name, op, tensor = _place(theirs, group)
    fitted = _fitted(group)
    fix = {
        "action": "calibrate the tensor again",
        "tensor": name,
        "scale": fitted.scales[0],
        "zero_point": fitted.zero_points[0],
    }
    tensors = frozenset(group.tensors)
    return Suspect(
        "quantization.parameters", name, op, tensor, _evidence(theirs, group), fix, False,
        put_activation(theirs, tensors, fitted), tensors,
    )  # fmt: skip


def _calibration(theirs: Steps, groups: Sequence[Group], total: int) -> Suspect:
    """One cause for many ranges that are off, at the first of them."""
    kinds = [group.problems["kind"] for group in groups]
    clipped = kinds.count("clipped") >= kinds.count("wide")
    same = [group for group in groups if (group.problems["kind"] == "clipped") == clipped]
    made = [group for group in same if any(index in theirs.makers for index in group.tensors)]
    name, op, tensor = _place(theirs, (made or same)[0])
    evidence = {
        "ranges_off": len(groups),
        "ranges": total,
        "median_held_to_seen": round(median(group.ratio for group in groups), 4),
        "first": _evidence(theirs, (made or same)[0]),
    }
    fix = {"action": "calibrate again", "with": "about 100 samples like those that the model meets"}
    patches = [put_activation(theirs, frozenset(group.tensors), _fitted(group)) for group in groups]

    def patch(editor: Any) -> None:
        for one in patches:
            one(editor)

    code = "quantization.calibration_clipped" if clipped else "quantization.calibration_wide"
    tensors = frozenset(index for group in groups for index in group.tensors)
    return Suspect(code, name, op, tensor, evidence, fix, False, patch, tensors)
