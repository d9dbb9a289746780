"""What a fused layer multiplies and adds, whichever constants have it, and how exactly the file can store it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.graph.constants import WEIGHTED, Constant, rows
from windtunnel.diagnosis.graph.fused_layers import CONSTANT_FIRST, FusedLayer, FusedModel
from windtunnel.diagnosis.thresholds.static_thresholds import ARITHMETIC_ROUNDING, ROUNDING_SLACK
from windtunnel.tflite.dtypes import COUNT_DTYPES
from windtunnel.tflite.op_kinds import AFFINE

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Table:
    """Numbers of a constant and the largest error that its storage explains; both (channels, per channel)."""

    values: Array
    tolerance: Array
    constant: Constant | None = None
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Effective:
    """Weights and bias of a step with per-channel MUL and ADD folded in; `weights` None where unreadable."""

    weights: Table | None
    bias: Table | None
    folded: bool


def tolerance_of(constant: Constant, values: Array) -> Array:
    """The largest error that storing a real number as a constant may cause.

    Integers: half a quantization step. float16 and bfloat16: half a unit in the last place, or half the smallest
    subnormal.

    Args:
        constant: how it is stored.
        values: real numbers, in the stored tensor's shape.

    Returns:
        In real units, for each element.
    """
    quantization = constant.quantization
    if quantization is not None and quantization.scales:
        scales = np.abs(np.asarray(quantization.scales, dtype=np.float64))
        shape = [1] * values.ndim
        if scales.size > 1:
            shape[quantization.axis] = scales.size
        scales = scales.reshape(shape)
        # Biases are rounded again when their scale changes, and one quantization step of a bias does not matter.
        share = 1.0 if constant.stored.dtype in COUNT_DTYPES else 0.5
        return np.broadcast_to(share * ROUNDING_SLACK * scales, values.shape)
    if constant.stored.dtype == "float16":
        return np.asarray(np.abs(values) * 2.0**-11 * ROUNDING_SLACK + 2.0**-25)
    if constant.stored.dtype == "bfloat16":
        return np.asarray(np.abs(values) * 2.0**-8 * ROUNDING_SLACK)
    return np.zeros(values.shape)


def same_constants(
    reference: FusedModel, reference_layer: FusedLayer, candidate: FusedModel, candidate_layer: FusedLayer
) -> bool:
    """Whether what a layer multiplies and adds is in the same constants on both sides, so that each can be compared.

    Args:
        reference: the reference model.
        reference_layer: its layer.
        candidate: the candidate model.
        candidate_layer: its layer.
    """
    if len(reference_layer.affine) != len(candidate_layer.affine):
        return False
    return all(
        a.op == b.op or _equal(reference, a.constant, candidate, b.constant)
        for a, b in zip(reference_layer.affine, candidate_layer.affine, strict=True)
    )


def finished_early(
    reference: FusedModel, reference_layer: FusedLayer, candidate: FusedModel, candidate_layer: FusedLayer
) -> bool:
    """Whether the candidate's layer ends in an activation, and what the reference's multiplies and adds follows it.

    Args:
        reference: the reference model.
        reference_layer: its layer.
        candidate: the candidate model.
        candidate_layer: its layer.
    """
    if not reference_layer.affine or candidate_layer.affine or candidate_layer.activation == "NONE":
        return False
    found: list[tuple[str, Constant]] = []
    reading = candidate.reading(candidate.root(candidate_layer.outputs[0]))
    while len(found) < len(reference_layer.affine):
        if len(reading) != 1 or reading[0].kind not in AFFINE or not reading[0].constants:
            return False
        (layer,) = reading
        found += [(layer.kind, layer.constants[0][1]), *((one.op, one.constant) for one in layer.affine)]
        reading = candidate.reading(candidate.root(layer.outputs[0]))
    return all(
        one.op == op and _equal(reference, one.constant, candidate, constant)
        for one, (op, constant) in zip(reference_layer.affine, found, strict=False)
    )


def _equal(reference: FusedModel, one: Constant, candidate: FusedModel, other: Constant) -> bool:
    a, b = reference.constants.real(one), candidate.constants.real(other)
    if a is None or b is None or a.size != b.size:
        return False
    slack = tolerance_of(one, a).ravel() + tolerance_of(other, b).ravel() + ARITHMETIC_ROUNDING * np.abs(a).ravel()
    return bool((np.abs(a.ravel() - b.ravel()) <= slack).all())


def effective(side: FusedModel, layer: FusedLayer, *, fold: bool = True) -> Effective:
    """Weights and bias of a weighted layer as one table each.

    Args:
        side: the model.
        layer: of it.
        fold: include what later ops of the layer multiply and add.

    Returns:
        (channels, per channel) each; zeros for a bias that is left out.
    """
    op = side.facts.ops[layer.work]
    weight_place, bias_place, axis = WEIGHTED[op.name]
    constants = dict(layer.constants)
    weights = _table(side, constants.get(weight_place), axis)
    if weights is None:
        return Effective(None, None, folded=False)
    channels = len(weights.values)
    bias = _table(side, constants.get(bias_place), 0)
    if bias is None:
        given = bias_place < len(op.inputs) and op.inputs[bias_place] >= 0
        # A bias that is not a constant cannot be compared.
        bias = None if given else Table(np.zeros((channels, 1)), np.zeros((channels, 1)), exact=True)
    for affine in layer.affine if fold else ():
        numbers = side.constants.real(affine.constant)
        if numbers is None or bias is None or affine.op == f"DIV{CONSTANT_FIRST}":
            return Effective(None, None, folded=True)
        column = np.broadcast_to(numbers.reshape(-1), (channels,)).reshape(-1, 1)
        spread = np.broadcast_to(tolerance_of(affine.constant, numbers).reshape(-1), (channels,)).reshape(-1, 1)
        weights, bias = _apply(affine.op, weights, bias, column, spread)
    return Effective(weights, bias, folded=fold and bool(layer.affine))


def _table(side: FusedModel, constant: Constant | None, axis: int) -> Table | None:
    values = None if constant is None else side.constants.real(constant)
    if constant is None or values is None or values.ndim <= axis:
        return None
    exact = constant.stored.dtype == "float32"
    return Table(rows(values, axis), rows(tolerance_of(constant, values), axis), constant, exact)


def _apply(op: str, weights: Table, bias: Table, column: Array, spread: Array) -> tuple[Table, Table]:
    with np.errstate(all="ignore"):
        factor = column if op == "MUL" else 1.0 / column if op == "DIV" else np.ones_like(column)
        shift = column if op == "ADD" else -column if op == "SUB" else np.zeros_like(column)
        if op == f"SUB{CONSTANT_FIRST}":
            factor, shift = -factor, column
        # What the rounding of the constant moves a value by, as a share of the value before.
        loose = {"MUL": spread, "DIV": np.abs(factor) * spread / np.maximum(np.abs(column), 1e-30)}.get(
            op, 0.0 * spread
        )
        more = spread if op not in ("MUL", "DIV") else np.zeros_like(spread)
    return tuple(  # type: ignore[return-value]  # exactly the two tables
        Table(
            table.values * factor + add,
            np.abs(factor) * table.tolerance + np.abs(table.values) * loose + extra,
            table.constant,
        )
        for table, add, extra in ((weights, 0.0, 0.0), (bias, shift, more))
    )
