"""Constants of matched steps, each within what its precision explains."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.findings.cause_finding import CauseFinding
from windtunnel.diagnosis.findings.kinds.constants import (
    ConstantDiffers,
    ConstantFinding,
    ConstantScaleDiffers,
    Float16Overflow,
    OneBitDiffers,
    Role,
    ValueCount,
    WeightScaleNonFinite,
    WeightsDiffer,
    WeightsNonFinite,
    of_kind,
)
from windtunnel.diagnosis.findings.kinds.ops import AttributeDiffers
from windtunnel.diagnosis.findings.kinds.phrases import MOST_CHANNELS
from windtunnel.diagnosis.graph.constants import WEIGHTED, Constant
from windtunnel.diagnosis.graph.fused_layers import FusedLayer, FusedModel
from windtunnel.diagnosis.static.effective_weights import Table, effective, finished_early, same_constants, tolerance_of
from windtunnel.diagnosis.static.patches import (
    input_place,
    put_bias,
    put_constant,
    put_weight_scales,
    put_weights,
)
from windtunnel.diagnosis.static.suspect import Patch, Suspect, all_of
from windtunnel.diagnosis.static.value_patterns import Pattern, describe
from windtunnel.diagnosis.thresholds.static_thresholds import (
    COMPENSATING_SHARE,
    COMPENSATING_STEPS,
    CUT_OFF_CHANNELS,
    CUT_OFF_END,
    CUT_OFF_FEW,
    CUT_OFF_REST,
    CUT_OFF_SLIGHTLY,
    CUT_OFF_VALUES,
    FOLDED_ROUNDING,
    FOLDING_ROUNDING,
    LARGEST_FLOAT16,
    LEAST_BIT,
    SAME_SCALE,
    TIE_STEPS,
)
from windtunnel.tflite.dtypes import COUNT_DTYPES, integer_limits
from windtunnel.tflite.op_kinds import SHAPING

Array = NDArray[np.float64]
# Which input of an op holds axes.
_AXES = {"SPLIT": 0, "SPLIT_V": 2, "REVERSE_V2": 1, "CUMSUM": 1, "ARG_MAX": 1, "ARG_MIN": 1, "EXPAND_DIMS": 1}


@dataclass(frozen=True, slots=True)
class ConstantReport:
    """All that was compared: `worst` is the largest difference in parts of what precision explains, where it is.

    `unreadable` names constants that could not be compared.
    """

    suspects: tuple[Suspect, ...]
    compared: int
    worst: float
    unreadable: tuple[str, ...]


class ConstantComparer:
    """Compares the constants of all matched steps.

    Args:
        reference: the reference model.
        candidate: the candidate model.
    """

    def __init__(self, reference: FusedModel, candidate: FusedModel) -> None:
        self._reference, self._candidate = reference, candidate
        self._compared = 0
        self._worst = 0.0
        self._unreadable: list[str] = []
        # Values that differ in bits between float32 tables that folding does not touch.
        self._bits = 0
        self._one_bit: list[Suspect] = []

    def compare(self, reference_layer: FusedLayer, candidate_layer: FusedLayer) -> list[Suspect]:
        """Compares the constants of one pair of matched layers.

        Args:
            reference_layer: of the reference.
            candidate_layer: of the candidate.

        Returns:
            The suspects.
        """
        ops = self._reference.facts.ops[reference_layer.work], self._candidate.facts.ops[candidate_layer.work]
        if ops[0].name in WEIGHTED and ops[1].name in WEIGHTED:
            return list(self._weighted(reference_layer, candidate_layer))
        if candidate_layer.kind in SHAPING or ops[0].name != ops[1].name:
            return []
        return _together(list(self._operands(reference_layer, candidate_layer)))

    def report(self, suspects: list[Suspect]) -> ConstantReport:
        """All suspects, and what was compared.

        Args:
            suspects: of all pairs.

        Returns:
            The report.
        """
        # One changed bit in a whole model is a fault; many are another order of additions.
        lonely = tuple(self._one_bit) if self._bits == 1 else ()
        return ConstantReport((*suspects, *lonely), self._compared, self._worst, tuple(self._unreadable))

    def _weighted(self, reference_layer: FusedLayer, candidate_layer: FusedLayer) -> Iterator[Suspect]:
        same_layout = same_constants(self._reference, reference_layer, self._candidate, candidate_layer)
        fold = not (same_layout or finished_early(self._reference, reference_layer, self._candidate, candidate_layer))
        a, b = (
            effective(self._reference, reference_layer, fold=fold),
            effective(self._candidate, candidate_layer, fold=fold),
        )
        folded = a.folded or b.folded
        if same_layout:
            for first, second in zip(reference_layer.affine, candidate_layer.affine, strict=True):
                yield from self._pair(candidate_layer, second.op_index, first.constant, second.constant)
        tables: tuple[tuple[Role, Table | None, Table | None], ...]
        tables = ("weights", a.weights, b.weights), ("bias", a.bias, b.bias)
        for role, one, other in tables:
            if one is None or other is None:
                self._unreadable.append(self._name(candidate_layer, other))
                continue
            if one.values.shape != other.values.shape:
                if one.values.size != other.values.size:
                    continue
                one = Table(one.values.reshape(other.values.shape), one.tolerance.reshape(other.values.shape))
            suspect = self._table(role, candidate_layer, one, other, folded)
            if suspect is not None:
                yield suspect

    def _table(self, role: Role, candidate_layer: FusedLayer, one: Table, other: Table, folded: bool) -> Suspect | None:
        self._compared += 1
        name = self._name(candidate_layer, other)
        # A mask may end where float16 does; weights that do are others.
        other = _saturated(one, other) if role == "operand" else other
        if not np.isfinite(other.values).all() and np.isfinite(one.values).all():
            return self._non_finite(candidate_layer, name, one, other, role, folded)
        tolerance = _allowed(one, other, folded)
        difference = _difference(one, other)
        clipped = _clipped(one, other)
        beyond = (difference > tolerance) & ~clipped
        self._note(np.where(clipped, 0.0, difference), tolerance)
        if not beyond.any():
            if one.exact and other.exact and not folded:
                self._count_bits(role, candidate_layer, name, one, other)
            return None
        if not np.isfinite(one.values).all():
            return self._non_finite(candidate_layer, name, one, other, role, folded)
        pattern = describe(one.values, other.values, tolerance, beyond)
        quantized = other.constant is not None and other.constant.quantization is not None
        if quantized and role == "weights" and pattern.kind != "few_values" and _steps(one, other) < TIE_STEPS:
            # Rounded the other way, with scales in other digits.
            return None
        return self._suspect(role, candidate_layer, name, one, other, pattern, beyond, folded)

    def _suspect(
        self,
        role: Role,
        candidate_layer: FusedLayer,
        name: str,
        one: Table,
        other: Table,
        pattern: Pattern,
        beyond: NDArray[np.bool_],
        folded: bool,
    ) -> Suspect:
        quantized = other.constant is not None and other.constant.quantization is not None
        factors = pattern.factors or ()
        scales = quantized and pattern.kind in ("scaled", "shifted") and all(factor > 0 for factor in factors)
        by_scale = scales and role == "weights" and not _has_its_scale(one, other, pattern)
        largest = float(np.abs(one.values[beyond]).max())
        kind = ConstantScaleDiffers if by_scale else WeightsDiffer
        finding = kind(
            constant=name,
            role=role,
            pattern=pattern.kind,
            channels=pattern.channels[:MOST_CHANNELS],
            values_beyond_precision=int(beyond.sum()),
            values=int(beyond.size) if pattern.values is None else pattern.values,
            relative_difference=_relative(one.values, other.values),
            factors=pattern.factors,
            factor=pattern.factor,
            offsets=pattern.offsets,
            order=pattern.order,
            largest_difference_steps=_steps(one, other) if quantized and role == "weights" else None,
            float16=Float16Overflow(largest, LARGEST_FLOAT16) if _is_cut_off(one, other) else None,
        )
        return self._at(
            candidate_layer,
            finding,
            plain=not (quantized and _may_compensate(one, other, beyond, pattern)),
            patch=None if folded else self._patch(role, candidate_layer, one, other, by_scale=by_scale),
            tensors=frozenset() if other.constant is None else frozenset({other.constant.stored.index}),
        )

    def _patch(
        self, role: Role, candidate_layer: FusedLayer, one: Table, other: Table, *, by_scale: bool
    ) -> Patch | None:
        op = self._candidate.facts.ops[candidate_layer.work]
        if role == "bias":
            return put_bias(self._candidate, op, one.values[:, 0])
        if by_scale:
            return put_weight_scales(self._candidate, op, one.values)
        return None if other.constant is None else put_weights(self._candidate, op, other.constant, one.values)

    def _operands(self, reference_layer: FusedLayer, candidate_layer: FusedLayer) -> Iterator[Suspect]:
        """Constants of other ops, by their place among the inputs."""
        reference = dict(reference_layer.constants)
        for place, constant in candidate_layer.constants:
            twin = reference.get(place) or next(iter(reference.values()), None)
            if twin is None or len(reference) != len(candidate_layer.constants):
                continue
            if not (_is_attribute(twin) or _is_attribute(constant)):
                yield from self._pair(candidate_layer, candidate_layer.work, twin, constant)
                continue
            a, b = self._reference.constants.real(twin), self._candidate.constants.real(constant)
            if a is None or b is None:
                self._unreadable.append(constant.stored.name)
                continue
            self._compared += 1
            if not _same_integers(a, b, self._rank(candidate_layer, place)):
                yield self._attribute(candidate_layer, constant, a, b)

    def _pair(
        self, candidate_layer: FusedLayer, op_index: int, twin: Constant, constant: Constant
    ) -> Iterator[Suspect]:
        """Compares one constant of an op with the reference's."""
        a, b = self._reference.constants.real(twin), self._candidate.constants.real(constant)
        if a is None or b is None:
            self._unreadable.append(constant.stored.name)
        elif a.size == b.size:
            table = Table(b.reshape(1, -1), tolerance_of(constant, b).reshape(1, -1), constant)
            twin_table = Table(a.reshape(1, -1), tolerance_of(twin, a).reshape(1, -1), twin)
            suspect = self._operand(candidate_layer, twin_table, table, constant)
            if suspect is not None:
                op = self._candidate.facts.ops[op_index]
                tensor = self._candidate.facts.tensors[op.outputs[0]]
                yield replace(suspect, layer=tensor.name, op_index=op_index, tensor=tensor.index)

    def _operand(self, candidate_layer: FusedLayer, one: Table, other: Table, constant: Constant) -> Suspect | None:
        suspect = self._table("operand", candidate_layer, one, other, folded=True)
        if suspect is None or not isinstance(suspect.finding, WeightsDiffer):
            return suspect
        finding: ConstantDiffers = suspect.finding
        scaled = finding.pattern in ("scaled", "shifted") and constant.quantization is not None
        # For a single value a wrong scale and a wrong number look the same.
        by_scale = scaled and one.values.size > 1
        if by_scale:
            finding = of_kind(ConstantScaleDiffers, finding)
        return replace(suspect, finding=finding, patch=put_constant(constant, one.values, new_scale=by_scale))

    def _attribute(self, candidate_layer: FusedLayer, constant: Constant, a: Array, b: Array) -> Suspect:
        finding = AttributeDiffers(
            attribute=constant.stored.name,
            reference=a.ravel()[:16].tolist(),
            candidate=b.ravel()[:16].tolist(),
            converted=self._candidate.facts.ops[candidate_layer.work].name,
        )
        patch = put_constant(constant, a) if a.shape == b.shape else None
        return self._at(candidate_layer, finding, plain=True, patch=patch)

    def _non_finite(
        self, candidate_layer: FusedLayer, name: str, one: Table, other: Table, role: Role, folded: bool
    ) -> Suspect:
        count = int(other.values.size - np.count_nonzero(np.isfinite(other.values)))
        quantization = None if other.constant is None else other.constant.quantization
        scale = quantization is not None and not np.isfinite(quantization.scales).all()
        is_half = other.constant is not None and other.constant.stored.dtype == "float16"
        too_large = bool(is_half and np.isinf(other.values).any())
        finding = (
            WeightScaleNonFinite(constant=name, role=role, non_finite=ValueCount(count))
            if scale
            else WeightsNonFinite(constant=name, role=role, non_finite=ValueCount(count), too_large=too_large)
        )
        skip = folded or role == "operand"
        patch = None if skip else self._patch(role, candidate_layer, one, other, by_scale=scale)
        return self._at(candidate_layer, finding, plain=True, patch=patch)

    def _count_bits(self, role: Role, candidate_layer: FusedLayer, name: str, one: Table, other: Table) -> None:
        bits = [np.ascontiguousarray(table.values.astype(np.float32)).view(np.uint32) for table in (one, other)]
        changed = np.flatnonzero((bits[0] ^ bits[1]).ravel())
        self._bits += len(changed)
        if len(changed) == 1:
            flipped = int((bits[0] ^ bits[1]).ravel()[changed[0]])
            # A last bit or two that differ are another order of additions, not a fault of storage.
            if flipped.bit_count() == 1 and flipped >= LEAST_BIT:
                finding = OneBitDiffers(
                    constant=name,
                    role=role,
                    bit=flipped.bit_length() - 1,
                    at=int(changed[0]),
                    reference=float(one.values.ravel()[changed[0]]),
                    candidate=float(other.values.ravel()[changed[0]]),
                )
                patch = self._patch(role, candidate_layer, one, other, by_scale=False)
                self._one_bit.append(self._at(candidate_layer, finding, plain=True, patch=patch))

    def _at(
        self,
        candidate_layer: FusedLayer,
        finding: CauseFinding,
        *,
        plain: bool,
        patch: Patch | None,
        tensors: frozenset[int] = frozenset(),
    ) -> Suspect:
        op = self._candidate.facts.ops[candidate_layer.work]
        tensor = self._candidate.facts.tensors[op.outputs[0]]
        is_bias = isinstance(finding, ConstantFinding) and finding.role == "bias"
        reads = op.inputs[input_place(op)] if is_bias else -1
        return Suspect(finding, tensor.name, op.index, tensor.index, plain, patch, tensors, reads)

    def _note(self, difference: Array, tolerance: Array) -> None:
        with np.errstate(all="ignore"):
            parts = np.where(tolerance > 0.0, difference / np.where(tolerance > 0.0, tolerance, 1.0), 0.0)
        # What is beyond it is a suspect, and is reported as one.
        self._worst = max(self._worst, float(parts[parts <= 1.0].max(initial=0.0)))

    def _name(self, candidate_layer: FusedLayer, table: Table | None) -> str:
        if table is not None and table.constant is not None:
            return table.constant.stored.name
        op = self._candidate.facts.ops[candidate_layer.work]
        return f"bias of {self._candidate.facts.tensors[op.outputs[0]].name}"

    def _rank(self, candidate_layer: FusedLayer, place: int) -> int | None:
        """The rank of what an axis at this input counts in; None if the integers are not axes."""
        op = self._candidate.facts.ops[candidate_layer.work]
        axes = 1 if op.name in ("MEAN", "SUM") or op.name.startswith("REDUCE_") else _AXES.get(op.name)
        data = 1 if op.name == "SPLIT" else 0
        return len(self._candidate.facts.tensors[op.inputs[data]].shape) or None if place == axes else None


def _allowed(one: Table, other: Table, folded: bool) -> Array:
    """What storage and folding explain, element by element."""
    finite = np.where(np.isfinite(one.values), np.abs(one.values), 0.0)
    largest = finite.max(axis=1, keepdims=True, initial=0.0)
    arithmetic = (FOLDED_ROUNDING if folded else FOLDING_ROUNDING) * largest
    loose = [np.where(np.isfinite(table.tolerance), table.tolerance, 0.0) for table in (one, other)]
    return np.asarray(loose[0] + loose[1] + arithmetic + 1e-12)


def _together(found: list[Suspect]) -> list[Suspect]:
    """Several constants of one op that differ are one suspect: exchanged gates are only right all at once."""
    several = [one for one in found if isinstance(one.finding, WeightsDiffer)]
    if len({one.op_index for one in several}) != 1 or len(several) < 2:
        return found
    first = several[0]
    patches = [one.patch for one in several if one.patch is not None]
    names = tuple(one.finding.constant for one in several[1:] if isinstance(one.finding, WeightsDiffer))
    assert isinstance(first.finding, WeightsDiffer)
    merged = replace(
        first,
        finding=replace(first.finding, beside=names),
        plain=any(one.plain for one in several),
        patch=all_of(patches) if len(patches) == len(several) else None,
        tensors=frozenset().union(*(one.tensors for one in several)),
    )
    return [merged, *(one for one in found if one not in several)]


def _saturated(one: Table, other: Table) -> Table:
    """The candidate's table with the reference's values where float16 has only its largest or least number."""
    if other.constant is None or other.constant.stored.dtype != "float16":
        return other
    ends = (np.abs(one.values) > LARGEST_FLOAT16) & (np.abs(other.values) >= LARGEST_FLOAT16)
    ends &= np.sign(one.values) == np.sign(other.values)
    return replace(other, values=np.where(ends, one.values, other.values)) if ends.any() else other


def _is_cut_off(one: Table, other: Table) -> bool:
    """Whether the candidate stores values as float16 that float16 cannot hold, at its end."""
    return _saturated(one, other) is not other


def _difference(one: Table, other: Table) -> Array:
    """How far two tables are apart; equal NaN and infinity are not, others are infinitely far."""
    with np.errstate(invalid="ignore"):
        found = np.abs(other.values - one.values)
        equal = (one.values == other.values) | (np.isnan(one.values) & np.isnan(other.values))
    return np.asarray(np.where(np.isfinite(found), found, np.where(equal, 0.0, np.inf)))


def _clipped(one: Table, other: Table) -> NDArray[np.bool_]:
    """Where the candidate holds the largest value it can and the reference a larger one: clipped on purpose.

    A scale that is too small looks the same; then most of a channel's values are off, not its few largest.
    """
    none = np.zeros(other.values.shape, dtype=bool)
    if other.constant is None or other.constant.quantization is None:
        return none
    largest = np.abs(other.values).max(axis=1, keepdims=True, initial=0.0)
    at_end = (np.abs(other.values) >= largest * CUT_OFF_END) & (largest > 0.0)
    further = (np.abs(one.values) > np.abs(other.values)) & (np.sign(one.values) == np.sign(other.values))
    clipped = at_end & further
    few = clipped.mean(axis=1, keepdims=True) <= CUT_OFF_FEW
    rest = np.abs(other.values - one.values) <= CUT_OFF_REST * (other.tolerance + one.tolerance)
    rest_fits = np.where(clipped, True, rest).all(axis=1, keepdims=True)
    fits = clipped & few & rest_fits
    # One value alone may be another fault; several, or one in channel after channel, are a quantizer's choice.
    several = clipped.sum(axis=1, keepdims=True) >= CUT_OFF_VALUES
    slightly = np.abs(other.values - one.values) <= CUT_OFF_SLIGHTLY * (other.tolerance + one.tolerance)
    return np.asarray(fits & (several | slightly | (fits.any(axis=1).sum() >= CUT_OFF_CHANNELS)))


def _has_its_scale(one: Table, other: Table, pattern: Pattern) -> bool:
    """Whether the scales are those that the reference's values ask for: then it is the integers that are wrong."""
    assert other.constant is not None and other.constant.quantization is not None
    scales = np.abs(np.asarray(other.constant.quantization.scales, dtype=np.float64))
    largest = np.abs(one.values).max(axis=1, initial=0.0)
    if scales.size == 1:
        largest, hit = largest.max(keepdims=True), np.array([0])
    else:
        hit = np.asarray(pattern.channels)
    if scales.size != largest.size:
        return False
    wanted = largest[hit] / integer_limits(other.constant.stored.dtype)[1]
    return bool(np.allclose(scales[hit], wanted, rtol=SAME_SCALE))


def _may_compensate(one: Table, other: Table, beyond: NDArray[np.bool_], pattern: Pattern) -> bool:
    """Whether a quantizer that compensates errors may have moved these values: all over, by a few steps."""
    if pattern.kind != "noise":
        return False
    return bool(beyond.mean() > COMPENSATING_SHARE and _steps(one, other) < COMPENSATING_STEPS)


def _steps(one: Table, other: Table) -> float:
    """The largest difference in steps of the candidate's scale."""
    fused_layers = 2.0 * other.tolerance
    with np.errstate(all="ignore"):
        return round(
            float(np.nanmax(np.where(fused_layers > 0, np.abs(one.values - other.values) / fused_layers, 0.0))), 3
        )


def _relative(one: Array, other: Array) -> float | None:
    power = float(np.square(one).mean())
    return None if power == 0.0 else round(float(np.sqrt(np.square(one - other).mean() / power)), 6)


def _is_attribute(constant: Constant) -> bool:
    return constant.stored.dtype in COUNT_DTYPES | {"bool"} and constant.stored.quantization is None


def _same_integers(a: Array, b: Array, rank: int | None) -> bool:
    """Whether two lists of integers say the same; with a rank they are axes: in any order, negative from the end."""
    if a.size != b.size:
        return False
    if np.array_equal(a.ravel(), b.ravel()):
        return True
    return rank is not None and sorted((a.ravel() % rank).tolist()) == sorted((b.ravel() % rank).tolist())
