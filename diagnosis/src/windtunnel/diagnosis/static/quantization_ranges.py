"""Scales and zero points of activations, against the values that the reference gives on the samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

import numpy as np

from windtunnel.diagnosis.findings.kinds.ranges import (
    CalibrationClipped,
    CalibrationTooWide,
    FileAndFitting,
    FileScale,
    RangeClipped,
    RangeFinding,
    RangeTooWide,
    ScaleInvalid,
    ZeroPoints,
    ZeroPointShifted,
)
from windtunnel.diagnosis.graph.fused_layers import FusedModel, is_rectified
from windtunnel.diagnosis.numerics.isolated_sums import Local, representable
from windtunnel.diagnosis.static.patches import put_activation
from windtunnel.diagnosis.static.suspect import Suspect, all_of
from windtunnel.diagnosis.thresholds.range_thresholds import (
    CLIP_COST,
    CLIPPING_COSTLY,
    FINEST_SCALE,
    JOINED_CALIBRATED,
    JOINED_ENDS,
    LEAST_ROUNDING,
    OUTLIER_TIMES,
    RANGE_APART,
    RANGE_AS_WIDE,
    RANGE_BEYOND,
    RANGE_DRIFT,
    RANGE_NARROW,
    RANGE_NARROW_TOO,
    RANGE_SHORT,
    RANGE_STRETCHED,
    RANGE_SURELY_NARROW,
    RANGE_TRACE,
    RANGE_WIDE,
    RANGES_ALL_NARROW,
    RANGES_OFF_SHARE,
    RARE_ONE_IN,
    SHIFT_SLACKS,
    SHIFTED,
    SHIFTED_COSTLY,
    SHIFTED_FROM_ZERO,
    STRETCHED_LEAST,
)
from windtunnel.tflite import Quantization, TensorFacts
from windtunnel.tflite.dtypes import ACTIVATION_DTYPES, BYTE_DTYPES
from windtunnel.tflite.op_kinds import AFFINE, CHOOSING, JOINING, PICKING, PRESCRIBED_SCALE, RESIZING, SHAPING

# The zero point of a range around 0.
_CENTER = {"int8": 0, "uint8": 128}
# They only move values, or pick among them.
_MOVING = (
    SHAPING
    | JOINING
    | RESIZING
    | {"SLICE", "STRIDED_SLICE", "MAX_POOL_2D", "AVERAGE_POOL_2D", "PAD", "MEAN", "SPACE_TO_DEPTH", "QUANTIZE"}
)
# Ops of two operands, and those that choose one of the two.
_PAIRING = AFFINE | CHOOSING | {"SQUARED_DIFFERENCE"}


@dataclass(frozen=True, slots=True)
class Problem:
    """How a range is off: it cuts values off, is too wide, or is shifted by `shift_steps` quantization steps.

    `doubtful`: other samples may explain it.
    """

    kind: Literal["clipped", "wide", "zero_point"]
    doubtful: bool = False
    shift_steps: int = 0


@dataclass
class Group:
    """Tensors bound to one scale and zero point, and the reference's values in them."""

    tensors: set[int]
    quantization: Quantization
    dtype: str
    maker: str
    low: float = math.inf
    high: float = -math.inf
    clip_rmse: float = 0.0
    round_rmse: float = 0.0
    clipped: float = 0.0
    prescribed: bool = False
    rectified: bool = False
    symmetric: bool = False
    # Whether the values of some of the tensors are not known.
    partial: bool = False
    # Whether it is what a layer in floats gives: TFLiteConverter's ranges of these are wide.
    behind_float: bool = False
    # What is wrong with it; None: nothing, or it was not judged.
    problem: Problem | None = None

    @property
    def kind(self) -> str:
        """The kind of its problem; empty where it has none."""
        return "" if self.problem is None else self.problem.kind

    def forget(self, tensor: int) -> None:
        """Leaves out the values of a tensor that is alone in the group.

        Args:
            tensor: index.
        """
        if self.tensors == {tensor}:
            self.low, self.high = math.inf, -math.inf
            self.clip_rmse = self.round_rmse = self.clipped = 0.0

    @property
    def limits(self) -> tuple[float, float]:
        """The quantization range, in real units."""
        return representable(self.quantization, self.dtype)

    @property
    def wanted(self) -> tuple[float, float]:
        """The observed range and 0, which every quantized range includes; symmetric for 16 bit, or if intended so."""
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        if self.dtype == "int16" or self.symmetric:
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
    """Suspects; and the least, the middle and the largest ratio of held to seen range of tensors not among them."""

    suspects: tuple[Suspect, ...]
    looked_at: int
    least: float
    middle: float
    largest: float


def compare_parameters(candidate: FusedModel, inputs: Sequence[int], local: Mapping[int, Local]) -> ParameterReport:
    """Compares every quantized activation's range with the reference's values.

    Many tensors off: the calibration. One tensor (with those bound to it): its scale or zero point.

    Args:
        candidate: the candidate model.
        inputs: tensor indices of its inputs.
        local: observed ranges, by the candidate's tensor index.

    Returns:
        Suspects, and how ranges compare overall.
    """
    groups, broken = _groups(candidate, local), _without_scale(candidate)
    usable = [group for group in groups if not group.prescribed and math.isfinite(group.ratio)]
    if not usable:
        return ParameterReport(tuple(broken), 0, math.nan, math.nan, math.nan)
    _note_symmetry(groups)
    usual = median(group.ratio for group in usable)
    slack = median(max(map(abs, _spare(group))) for group in usable)
    off = [group for group in usable if not _is_joint(candidate, group) and _judge(group, usual, slack)]
    # A range that is off at the model's own input shows other data, not a fault of one tensor.
    sized = [group for group in off if group.kind != "zero_point"]
    fed = any(index in inputs or candidate.stored(index) in inputs for group in sized for index in group.tensors)
    whole = fed or len(sized) >= max(3, math.ceil(RANGES_OFF_SHARE * len(usable))) or (len(sized) == len(usable) > 1)
    if whole:
        # Where the calibration is at fault, what it cuts off elsewhere is the same fault.
        for group in usable:
            if group.problem is None and group.clip_rmse > group.round_rmse and group.ratio < 1.0:
                group.problem = Problem("clipped")
        sized = [group for group in usable if group.kind in ("clipped", "wide")]
    else:
        off = [group for group in off if _stands_out(group, usable)]
        rest = [group for group in usable if group not in off]
        off = [one for one in off if not _drifts(candidate, one, rest) and not _leaves_a_trace(candidate, one, usable)]
    ratios = [group.ratio for group in usable if group not in off]
    suspects = [_calibration(candidate, sized, len(usable))] if whole else [_single(candidate, group) for group in off]
    ends = (min(ratios), median(ratios), max(ratios)) if ratios else (math.nan,) * 3
    return ParameterReport((*broken, *suspects), len(ratios), *ends)


def range_ratios(candidate: FusedModel, local: Mapping[int, Local]) -> dict[int, float]:
    """Width of each activation's quantization range, divided by the width of its observed range.

    Args:
        candidate: the candidate model.
        local: observed ranges, by the candidate's tensor index.

    Returns:
        By tensor index.
    """
    return {index: group.ratio for group in _groups(candidate, local) for index in group.tensors}


def has_scale(tensor: TensorFacts) -> bool:
    """Whether all scales of a quantized tensor are positive and finite; others mean nothing.

    Args:
        tensor: any tensor.

    Returns:
        True also for a tensor that is not quantized.
    """
    scales = () if tensor.quantization is None else tensor.quantization.scales
    return all(0.0 < scale < math.inf for scale in scales)


def _without_scale(candidate: FusedModel) -> list[Suspect]:
    """Activations whose scale cannot be one."""
    found = []
    for index in _activations(candidate):
        tensor, maker = candidate.facts.tensors[index], candidate.makers.get(index)
        if not has_scale(tensor):
            assert tensor.quantization is not None
            finding = ScaleInvalid(tensors=(tensor.name,), scale=FileScale(tensor.quantization.scales[0]))
            op = None if maker is None else maker.index
            found.append(Suspect(finding, tensor.name, op, index, plain=True))
    return found


def _note_symmetry(groups: Sequence[Group]) -> None:
    """Marks the ranges around 0 of a model whose ranges mostly are: its quantizer chose that."""
    centered = [group for group in groups if group.quantization.zero_points[0] == _CENTER.get(group.dtype)]
    if len(centered) * 2 > len(groups):
        for group in centered:
            group.symmetric = True


def _judge(group: Group, usual: float, slack: float) -> bool:
    """Whether a range is off; notes its `problem`. `usual` and `slack` are those of the model's ranges."""
    low, high = group.limits
    want_low, want_high = group.wanted
    span = want_high - want_low
    short = max(low - want_low, want_high - high, 0.0) / span
    costly = group.clip_rmse > CLIP_COST * max(group.round_rmse, LEAST_ROUNDING * _rounding(span / 255))
    narrow = group.ratio < max(RANGE_NARROW * min(usual, 1.0), RANGE_SURELY_NARROW)
    shift = 0 if group.partial else _shift(group, slack)
    doubtful = not group.rectified and not _is_dear(group)
    if shift and RANGE_NARROW < group.ratio / usual < RANGE_APART:
        group.problem = Problem("zero_point", doubtful, shift_steps=shift)
    elif costly and short > RANGE_SHORT and (narrow or (usual < RANGES_ALL_NARROW and group.ratio < RANGE_NARROW_TOO)):
        group.problem = Problem("clipped")
    elif group.partial:
        # Those that are not known may need all of it.
        return False
    elif group.ratio > RANGE_WIDE or (group.ratio > RANGE_APART * max(usual, 1.0) and usual < RANGE_APART):
        sure = group.rectified or group.ratio >= RANGE_WIDE or _is_stretched(group)
        doubtful = not sure or group.behind_float
        group.problem = Problem("wide", doubtful)
    return group.problem is not None


def _is_joint(candidate: FusedModel, group: Group) -> bool:
    """Whether a range reaches beyond its values to where another one ends: TFLiteConverter joins ranges of operands."""
    for index in _paired_in_ops(candidate, group):
        tensor = candidate.facts.tensors[index]
        quantization = tensor.quantization
        if quantization is None or len(quantization.scales) != 1 or tensor.dtype != group.dtype:
            continue
        other, slack = representable(quantization, tensor.dtype), JOINED_ENDS * (group.limits[1] - group.limits[0])
        ends = list(zip(group.limits, group.wanted, other, strict=True))
        own = [abs(end) <= JOINED_CALIBRATED * abs(want) + slack for end, want, _ in ends]
        joint = [abs(end) > abs(want) and abs(end - near) < slack for end, want, near in ends]
        if any(joint) and all(a or b for a, b in zip(own, joint, strict=True)):
            return True
    return False


def _paired_in_ops(candidate: FusedModel, group: Group) -> set[int]:
    """What ops of two operands read in addition to a tensor of the group, and what they make of it."""
    ops = [op for index in group.tensors for op in candidate.readers[index] if op.name in _PAIRING]
    return {index for op in ops for index in (*op.inputs, *op.outputs) if index >= 0} - group.tensors


def _is_stretched(group: Group) -> bool:
    """Whether a range is too wide on both sides, as a wrong scale makes it; other samples stretch one side."""
    (low, high), (want_low, want_high) = group.limits, group.wanted
    least = STRETCHED_LEAST * (want_high - want_low)
    return -want_low > least and want_high > least and min(low / want_low, high / want_high) > RANGE_STRETCHED


def _is_dear(group: Group) -> bool:
    """Whether what a range cuts off costs much more than rounding does."""
    step = group.quantization.scales[0]
    return group.clip_rmse > CLIPPING_COSTLY * max(group.round_rmse, LEAST_ROUNDING * _rounding(step))


def _rounding(step: float) -> float:
    """RMSE of rounding evenly spread values to steps."""
    return step / math.sqrt(12.0)


def _stands_out(group: Group, groups: Sequence[Group]) -> bool:
    """Whether one range is further off than the model's worst others: in deep networks some always are."""
    rank = min(2 + len(groups) // RARE_ONE_IN, len(groups) - 1)
    if group.kind == "zero_point":
        shifts = sorted((_shifted_by(one) for one in groups), reverse=True)
        return group.rectified or _shifted_by(group) > OUTLIER_TIMES * shifts[rank]
    ratios = sorted(one.ratio for one in groups)
    wide = group.kind == "wide"
    return group.ratio > OUTLIER_TIMES * ratios[-1 - rank] if wide else OUTLIER_TIMES * group.ratio < ratios[rank]


def _drifts(candidate: FusedModel, group: Group, groups: Sequence[Group]) -> bool:
    """Whether a neighbor's range is off as well: then the calibration set reached other values here."""
    if group.kind == "wide" and group.ratio > RANGE_BEYOND:
        return False
    if group.rectified and group.kind == "zero_point":
        # No calibration set has a rectified layer reach below 0.
        return False
    makers = [candidate.makers[index] for index in group.tensors if index in candidate.makers]
    readers = [op for index in group.tensors for op in candidate.readers[index]]
    near = {index for op in makers for index in op.inputs} | {index for op in readers for index in op.outputs}
    near |= {candidate.stored(index) for index in near if index >= 0}
    kind = group.kind
    least = max(RANGE_DRIFT, 0.5 * _miss(group, kind))
    return any(one is not group and one.tensors & near and _miss(one, kind) > least for one in groups)


def _leaves_a_trace(candidate: FusedModel, group: Group, groups: Sequence[Group]) -> bool:
    """Whether a few layers off a range lies as wide as a doubtful one: rare samples of a calibration set leave such."""
    if group.problem is None or group.problem.kind != "wide" or not group.problem.doubtful:
        return False
    of = {index: one for one in groups for index in one.tensors}
    for behind in (False, True):
        near, seen = set(group.tensors), set(group.tensors)
        for _ in range(RANGE_TRACE):
            ops = [
                op for one in near for op in (candidate.readers[one] if behind else [candidate.makers.get(one)]) if op
            ]
            near = {index for op in ops for index in (op.outputs if behind else op.inputs) if index >= 0} - seen
            seen |= near
            found = (of[index] for index in near if index in of)
            if any(one is not group and one.ratio > RANGE_AS_WIDE * group.ratio for one in found):
                return True
    return False


def _miss(group: Group, kind: str) -> float:
    """By what share of its width a range cuts values off, leaves room around them, or either, on its worse side."""
    below, above = _spare(group)
    worst = {"clipped": -min(below, above), "wide": max(below, above)}.get(kind, max(abs(below), abs(above)))
    return worst / (2.0 ** (16 if group.dtype == "int16" else 8) - 1.0)


def _shifted_by(group: Group) -> float:
    """By how many steps a range is shifted: values are cut off on one side, and there is room on the other."""
    below, above = _spare(group)
    return min(max(below, above), -min(below, above))


def _spare(group: Group) -> tuple[float, float]:
    """Quantization steps that a range has below and above the values; negative if it cuts them off."""
    (low, high), (want_low, want_high) = group.limits, group.wanted
    step = group.quantization.scales[0]
    return (want_low - low) / step, (high - want_high) / step


def _shift(group: Group, slack: float) -> int:
    """By how many steps the zero point is too high (negative: too low); 0 if nothing shows it.

    A shifted range clips the values on one side and has as much room on the other. The range of values that an
    activation keeps at 0 and above starts at 0. `slack` is how far the model's ranges miss the samples anyway.
    """
    below, above = _spare(group)
    if group.dtype not in BYTE_DTYPES or group.symmetric:
        return 0
    if group.rectified and below > SHIFTED_FROM_ZERO:
        return round(below)
    both = _shifted_by(group)
    least = min(SHIFTED_COSTLY if _is_dear(group) else SHIFTED, max(SHIFTED_FROM_ZERO, SHIFT_SLACKS * slack))
    return round((below - above) / 2) if both > least else 0


def _groups(candidate: FusedModel, local: Mapping[int, Local]) -> list[Group]:
    """Quantized activations by what they are bound to, in execution order."""
    of: dict[int, Group] = {}
    order: list[Group] = []
    for index in _activations(candidate):
        tensor = candidate.facts.tensors[index]
        if tensor.quantization is None or len(tensor.quantization.scales) != 1 or not has_scale(tensor):
            continue
        maker = candidate.makers.get(index)
        group = Group({index}, tensor.quantization, tensor.dtype, "" if maker is None else maker.name)
        group.prescribed = maker is not None and maker.name in PRESCRIBED_SCALE
        group.rectified = maker is not None and is_rectified(maker)
        seen = local.get(index) or local.get(candidate.stored(index))
        group.partial = seen is None or seen.low > seen.high
        if seen is not None and seen.low <= seen.high:
            group.low, group.high = seen.low, seen.high
            group.clip_rmse, group.round_rmse, group.clipped = seen.clip_rmse, seen.round_rmse, seen.clipped
        # Kernels want one scale on both sides of ops that only move values; TFLiteConverter also gives one to others.
        joined = False
        for source in () if maker is None else maker.inputs:
            if source in of and of[source].quantization == tensor.quantization:
                if maker is not None and maker.name in CHOOSING and len(candidate.readers[source]) == 1:
                    # What it does not choose may be cut off.
                    of[source].forget(source)
                group, joined = _join(of[source], group, of, order), True
        # A part has the range of the whole, of which other parts may not be read at all.
        origin = candidate.makers.get(candidate.stored(index))
        group.partial |= origin is not None and origin.name in PICKING and not joined
        group.behind_float = group.maker == "QUANTIZE" and origin is not None
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
    one.partial |= other.partial
    one.rectified &= other.rectified or (len(other.tensors) == 1 and other.maker in _MOVING)
    order[:] = [group for group in order if group is not other]
    for member in one.tensors:
        of[member] = one
    return one


def _activations(candidate: FusedModel) -> list[int]:
    """Integer tensors that depend on the input, in the order in which they are made."""
    main = candidate.facts.main
    made = [index for op in candidate.facts.ops for index in op.outputs if index >= 0 and index not in main.fixed]
    tensors = candidate.facts.tensors
    return [index for index in (*main.input_indices, *made) if tensors[index].dtype in ACTIVATION_DTYPES]


def _fitted(group: Group) -> Quantization:
    """The scale and zero point that hold just what was seen."""
    low, high = group.wanted
    kind = np.iinfo(np.dtype(group.dtype))
    # A scale far below the file's own stands for values that are next to nothing; kernels refuse the ratios it makes.
    least = group.quantization.scales[0] * FINEST_SCALE
    if group.dtype == "int16":
        return Quantization((max(high / kind.max, least),), (0,))
    scale = max((high - low) / (kind.max - kind.min), least)
    if group.symmetric:
        return Quantization((scale,), (_CENTER[group.dtype],))
    return Quantization((scale,), (int(np.clip(round(kind.min - low / scale), kind.min, kind.max)),))


def _finding(candidate: FusedModel, group: Group, tensor: str) -> RangeFinding:
    """What is wrong with a range whose place is `tensor`."""
    problem, fitted = group.problem, _fitted(group)
    assert problem is not None
    facts: dict[str, Any] = {
        "tensors": tuple(candidate.facts.tensors[index].name for index in sorted(group.tensors))[:8],
        "held": tuple(float(limit) for limit in group.limits),
        "seen": (group.low, group.high),
        "held_to_seen": round(group.ratio, 4),
        "values_outside": group.clipped,
        "scale": FileAndFitting(group.quantization.scales[0], fitted.scales[0]),
        "zero_point": ZeroPoints(group.quantization.zero_points[0], fitted.zero_points[0]),
        "tensor": tensor,
    }
    if problem.kind == "clipped":
        return RangeClipped(**facts)
    if problem.kind == "wide":
        return RangeTooWide(**facts, doubtful=problem.doubtful, behind_float=group.behind_float)
    return ZeroPointShifted(
        **facts, shift_steps=problem.shift_steps, doubtful=problem.doubtful, starts_at_0=group.rectified
    )


def _place(candidate: FusedModel, group: Group) -> tuple[str, int | None, int]:
    """The first tensor of the group that an op makes; an input of the model if there is none."""
    made = [index for index in group.tensors if index in candidate.makers]
    first = min(made, key=lambda index: candidate.makers[index].index) if made else min(group.tensors)
    maker = candidate.makers.get(first)
    return candidate.facts.tensors[first].name, None if maker is None else maker.index, first


def _single(candidate: FusedModel, group: Group) -> Suspect:
    name, op, tensor = _place(candidate, group)
    tensors = frozenset(group.tensors)
    patch = put_activation(candidate, tensors, _fitted(group))
    return Suspect(_finding(candidate, group, name), name, op, tensor, plain=False, patch=patch, tensors=tensors)


def _raw(candidate: FusedModel, group: Group) -> set[int]:
    """The tensors of a group as they were before they were quantized."""
    return {candidate.stored(index) for index in group.tensors}


def _calibration(candidate: FusedModel, groups: Sequence[Group], total: int) -> Suspect:
    """One cause for many ranges that are off, at the first of them."""
    # The model's own input shows it best: after it a normalization may turn what is clipped into what is wide.
    first = next((group for group in groups if not _raw(candidate, group) <= candidate.makers.keys()), None)
    kinds = [group.kind for group in groups]
    clipped = kinds.count("clipped") >= kinds.count("wide") if first is None else first.kind == "clipped"
    same = [group for group in groups if (group.kind == "clipped") == clipped]
    made = [group for group in same if any(index in candidate.makers for index in group.tensors)]
    shown = (
        group
        for group in made
        if any(candidate.makers[one].name != "QUANTIZE" for one in group.tensors & candidate.makers.keys())
    )
    name, op, tensor = _place(candidate, next(shown, (made or same)[0]))
    off = _finding(candidate, (made or same)[0], name)
    assert isinstance(off, RangeClipped | RangeTooWide)
    finding = (CalibrationClipped if clipped else CalibrationTooWide)(
        ranges_off=len(groups),
        ranges=total,
        median_held_to_seen=round(median(group.ratio for group in groups), 4),
        first=off,
    )
    patches = [put_activation(candidate, frozenset(group.tensors), _fitted(group)) for group in groups]
    tensors = frozenset(index for group in groups for index in group.tensors)
    return Suspect(finding, name, op, tensor, plain=False, patch=all_of(patches), tensors=tensors)
