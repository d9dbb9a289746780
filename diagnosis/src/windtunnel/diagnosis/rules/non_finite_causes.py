"""The cause of NaN or infinity that only the candidate has: a table of rules over the first op that gives it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.findings.causes import Cause
from windtunnel.diagnosis.findings.divergence import Limit, diverges
from windtunnel.diagnosis.findings.kinds.non_finite import (
    NonFiniteByConstant,
    NonFiniteByKernel,
    NonFiniteByLostConstant,
    NonFiniteByOp,
    NonFiniteByRounding,
    NonFiniteByScale,
    NonFiniteFinding,
    NonFiniteValues,
)
from windtunnel.diagnosis.findings.layer_diff import LayerDiff
from windtunnel.diagnosis.graph import Pair
from windtunnel.diagnosis.graph.constants import Constants
from windtunnel.diagnosis.thresholds.confidences import BY_ELIMINATION, NON_FINITE
from windtunnel.diagnosis.thresholds.rule_thresholds import FOREIGN_CONSTANT
from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.tflite import ModelFacts, OpFacts, dequantize
from windtunnel.tflite.op_kinds import QUANTIZING, SHAPING

# Not finite at 0.
_POLES = frozenset({"LOG", "DIV", "RSQRT"})
# What a constant that keeps a value away from 0 passes on its way to one of these.
_PASSING = frozenset({"ADD", "MAXIMUM", "SQRT"}) | QUANTIZING | SHAPING


@dataclass(frozen=True, slots=True)
class _Ops:
    """The op of each model at the first layer with NaN or infinity, and how many values these are."""

    reference: ModelFacts
    candidate: ModelFacts
    reference_op: OpFacts
    candidate_op: OpFacts
    found: NonFiniteValues


@dataclass(frozen=True, slots=True)
class NonFiniteRule:
    """`explain` gives None if the rule does not explain the op; `place` is the candidate's op at fault."""

    name: str
    explain: Callable[[_Ops], NonFiniteFinding | None]
    confidence: float = NON_FINITE
    place: Callable[[_Ops], OpFacts] = lambda ops: ops.candidate_op


def causes_of_non_finite(
    layers: Sequence[LayerDiff],
    pairs: Sequence[Pair],
    reference: ModelFacts,
    candidate: ModelFacts,
    limit: Limit,
    rules: Sequence[NonFiniteRule] | None = None,
) -> tuple[Cause, ...]:
    """The cause of NaN or infinity that only the candidate has.

    It is only for the first such layer, and only if no layer before it diverges; otherwise the fault is before it and
    is not plain. The first of the rules that explains the op decides.

    Args:
        layers: the compared layers, in execution order.
        pairs: their tensors in both models.
        reference: the reference model.
        candidate: the candidate model.
        limit: beyond which a layer diverges.
        rules: the table, in order; the last rule must explain every op. None: all rules.

    Returns:
        One cause, or none.
    """
    for layer, pair in zip(layers, pairs, strict=True):
        if layer.non_finite and not layer.reference_non_finite:
            ops = _Ops(
                reference,
                candidate,
                reference.ops[pair.reference.op_index],
                candidate.ops[pair.candidate.op_index],
                NonFiniteValues(layer.non_finite, layer.op),
            )
            rule, found = next(
                (one, found) for one in rules or NON_FINITE_RULES if (found := one.explain(ops)) is not None
            )
            at, place = rule.place(ops), (layer.name, layer.op_index)
            if at is not ops.candidate_op:
                place = candidate.tensors[at.outputs[0]].name, at.index
            return (Cause(found, rule.confidence, *place, rule=rule.name),)
        if diverges(layer, limit):
            return ()
    return ()


def _scale_not_finite(ops: _Ops) -> NonFiniteFinding | None:
    scaled = _non_finite_scale(ops.candidate, ops.candidate_op)
    return None if scaled is None else NonFiniteByScale(non_finite=ops.found, tensor=scaled)


def _op_differs(ops: _Ops) -> NonFiniteFinding | None:
    one, other = ops.reference_op, ops.candidate_op
    if (one.name, one.fused_activation) == (other.name, other.fused_activation):
        return None
    reference, candidate = (f"{op.name} with {op.fused_activation}" for op in (one, other))
    return NonFiniteByOp(non_finite=ops.found, reference_op=reference, candidate_op=candidate)


def _constant_differs(ops: _Ops) -> NonFiniteFinding | None:
    constant = _bad_constant(ops.reference, ops.reference_op, ops.candidate, ops.candidate_op)
    if constant is None:
        return None
    too_large = _is_half_overflow(ops.candidate, constant)
    name = ops.candidate.tensors[constant].name
    return NonFiniteByConstant(non_finite=ops.found, constant=name, too_large=too_large)


def _constant_lost(ops: _Ops) -> NonFiniteFinding | None:
    lost = _constant_at_zero(ops)
    if lost is None:
        return None
    return NonFiniteByLostConstant(
        non_finite=ops.found,
        constant=ops.candidate.tensors[lost.tensor].name,
        reference=lost.expected,
        stored_as=lost.dtype,
    )


def _reader_of_lost(ops: _Ops) -> OpFacts:
    lost = _constant_at_zero(ops)
    return ops.candidate_op if lost is None else lost.op


def _input_rounded_to_zero(ops: _Ops) -> NonFiniteFinding | None:
    rounded = _rounded_to_pole(ops.candidate, ops.candidate_op)
    if rounded is None:
        return None
    why = f"what is rounded to 0 there has no finite {ops.candidate_op.name}"
    return NonFiniteByRounding(non_finite=ops.found, tensor=rounded, why=why)


def _kernel_left(ops: _Ops) -> NonFiniteFinding:
    return NonFiniteByKernel(non_finite=ops.found)


# In this order; the last one explains every op.
NON_FINITE_RULES: Final[Sequence[NonFiniteRule]] = (
    NonFiniteRule("non_finite_scale", _scale_not_finite),
    NonFiniteRule("non_finite_op_differs", _op_differs),
    NonFiniteRule("non_finite_constant", _constant_differs),
    NonFiniteRule("non_finite_constant_lost", _constant_lost, place=_reader_of_lost),
    NonFiniteRule("non_finite_input_rounded_to_zero", _input_rounded_to_zero, BY_ELIMINATION),
    NonFiniteRule("non_finite_kernel_left", _kernel_left, BY_ELIMINATION),
)


def _non_finite_scale(model: ModelFacts, op: OpFacts) -> str | None:
    for index in (*op.inputs, *op.outputs):
        quantization = model.tensors[index].quantization if index >= 0 else None
        if quantization is not None and not np.isfinite(quantization.scales).all():
            return model.tensors[index].name
    return None


def _rounded_to_pole(model: ModelFacts, op: OpFacts) -> str | None:
    """The quantized tensor that an op reads, as it is or as real numbers again, which is not finite at 0."""
    makers = {index: maker for maker in model.ops for index in maker.outputs}
    for index in op.inputs if op.name in _POLES else ():
        maker = makers.get(index)
        source = maker.inputs[0] if maker is not None and maker.name == "DEQUANTIZE" else index
        if model.tensors[source].quantization is not None and source not in model.main.fixed:
            return model.tensors[source].name
    return None


def _bad_constant(
    reference: ModelFacts, reference_op: OpFacts, candidate: ModelFacts, candidate_op: OpFacts
) -> int | None:
    """The candidate's tensor of a constant of the op that is not finite, or far from the reference's."""
    for position, index in enumerate(candidate_op.inputs):
        values = _constant(candidate, index)
        if values is None:
            continue
        expected = _constant(reference, reference_op.inputs[position]) if position < len(reference_op.inputs) else None
        if not np.isfinite(values).all() or (expected is not None and _differs(expected, values)):
            return index
    return None


@dataclass(frozen=True, slots=True)
class _Lost:
    """A constant of the candidate that is 0, the type that stores it, the op that reads it, the reference's value."""

    op: OpFacts
    tensor: int
    dtype: str
    expected: float


def _constant_at_zero(ops: _Ops) -> _Lost | None:
    """The constant that keeps what the op reads away from 0 in the reference, and is 0 in the candidate."""
    if ops.candidate_op.name not in _POLES | {"POW"}:
        return None
    makers = [{index: op for op in model.ops for index in op.outputs} for model in (ops.reference, ops.candidate)]
    waiting = [(ops.reference_op, ops.candidate_op)]
    while waiting:
        one, other = waiting.pop()
        for wanted, index in zip(one.inputs, other.inputs, strict=False):
            values, expected = _constant(ops.candidate, index), _constant(ops.reference, wanted)
            before = makers[0].get(wanted), makers[1].get(index)
            if values is not None and expected is not None and expected.shape == values.shape:
                lost = expected[(values == 0.0) & (expected != 0.0)]
                if lost.size:
                    found = Constants(ops.candidate).find(index)
                    dtype = ops.candidate.tensors[index].dtype if found is None else found.stored.dtype
                    return _Lost(other, index, dtype, float(lost[0]))
            elif before[0] is not None and before[1] is not None and before[0].name == before[1].name in _PASSING:
                waiting.append((before[0], before[1]))
    return None


def _is_half_overflow(model: ModelFacts, index: int) -> bool:
    found, values = Constants(model).find(index), _constant(model, index)
    is_half = found is not None and found.stored.dtype == "float16"
    return is_half and values is not None and bool(np.isinf(values).any())


def _differs(expected: NDArray[np.float64], values: NDArray[np.float64]) -> bool:
    if expected.shape != values.shape or not expected.size:
        return False
    return bool(np.abs(expected - values).max() > FOREIGN_CONSTANT * np.abs(expected).max())


def _constant(model: ModelFacts, index: int) -> NDArray[np.float64] | None:
    """The real values of a constant, also one before a DEQUANTIZE; None if there is none to read."""
    if index < 0 or index not in model.main.fixed:
        return None
    tensor = model.tensors[index]
    if not tensor.is_constant:
        maker = next((op for op in model.ops if index in op.outputs and op.name == "DEQUANTIZE"), None)
        return None if maker is None else _constant(model, maker.inputs[0])
    try:
        return dequantize(model.constant(tensor), tensor.quantization)
    except (InvalidInput, Unsupported):
        return None
