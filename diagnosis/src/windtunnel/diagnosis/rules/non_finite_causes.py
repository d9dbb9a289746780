"""Causes that are plain from the figures and the files, without further runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.findings.comparison import Cause, LayerDiff, over
from windtunnel.diagnosis.graph import Pair
from windtunnel.diagnosis.graph.constants import KEEP_FLOAT32, Constants
from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.tflite import ModelFacts, OpFacts, dequantize

# No weight format in use moves a value by a tenth of the tensor's largest.
_PRECISION = 0.10
# Not finite at 0.
_POLES = frozenset({"LOG", "DIV", "RSQRT"})
# What is left when nothing else is found.
_BY_ELIMINATION = 0.5


@dataclass(frozen=True, slots=True)
class _Finding:
    code: str
    evidence: Mapping[str, Any]
    fix: Mapping[str, Any]
    confidence: float = 0.9


def plain_causes(
    layers: Sequence[LayerDiff], pairs: Sequence[Pair], reference: ModelFacts, candidate: ModelFacts, threshold: float
) -> tuple[Cause, ...]:
    """The cause of NaN or infinity that only the candidate has.

    Told for the first such layer, and only while every layer before it is within the threshold; otherwise the
    fault lies earlier and is not plain. A scale or constant of the op that is not finite or differs, or another
    op in its place, or values that are rounded to 0 before a logarithm, explain it; where none does, the kernel is at
    fault.
    """
    for layer, pair in zip(layers, pairs, strict=True):
        if layer.non_finite and not layer.reference_non_finite:
            found = _explain(pair, reference, candidate)
            evidence = {"non_finite": {"values": layer.non_finite, "op": layer.op}, **found.evidence}
            return (Cause(found.code, found.confidence, evidence, found.fix, layer.name, layer.op_index),)
        if over(layer, threshold):
            return ()
    return ()


def _explain(pair: Pair, reference: ModelFacts, candidate: ModelFacts) -> _Finding:
    reference_op, candidate_op = reference.ops[pair.reference.op_index], candidate.ops[pair.candidate.op_index]
    scaled = _non_finite_scale(candidate, candidate_op)
    if scaled is not None:
        fix = {"action": "calibrate the tensor again", "tensor": scaled}
        return _Finding("quantization.parameters", {"tensor": scaled}, fix)
    if (reference_op.name, reference_op.fused_activation) != (candidate_op.name, candidate_op.fused_activation):
        kinds = [f"{op.name} with {op.fused_activation}" for op in (reference_op, candidate_op)]
        evidence = {"reference_op": kinds[0], "candidate_op": kinds[1]}
        return _Finding("conversion.op", evidence, {"action": "convert the op again", "op": kinds[0]})
    constant = _bad_constant(reference, reference_op, candidate, candidate_op)
    if constant is not None:
        name, again = candidate.tensors[constant].name, "convert the constant again"
        fix = {"action": KEEP_FLOAT32 if _is_half_overflow(candidate, constant) else again, "tensor": name}
        return _Finding("conversion.weights", {"constant": name}, fix)
    rounded = _rounded_to_pole(candidate, candidate_op)
    if rounded is not None:
        evidence = {"tensor": rounded, "why": f"what is rounded to 0 there has no finite {candidate_op.name}"}
        fix = {"action": "keep the layers up to here in float or 16 bit: windtunnel remedy", "tensor": rounded}
        return _Finding("quantization.parameters", evidence, fix, _BY_ELIMINATION)
    fix = {"action": "use another kernel or accelerator for this op", "op": candidate_op.name}
    return _Finding("kernel", {}, fix, _BY_ELIMINATION)


def _non_finite_scale(model: ModelFacts, op: OpFacts) -> str | None:
    for index in (*op.inputs, *op.outputs):
        quantization = model.tensors[index].quantization if index >= 0 else None
        if quantization is not None and not np.isfinite(quantization.scales).all():
            return model.tensors[index].name
    return None


def _rounded_to_pole(model: ModelFacts, op: OpFacts) -> str | None:
    """The quantised tensor that an op reads, as it is or as real numbers again, which is not finite at 0."""
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


def _is_half_overflow(model: ModelFacts, index: int) -> bool:
    found, values = Constants(model).find(index), _constant(model, index)
    is_half = found is not None and found.stored.dtype == "float16"
    return is_half and values is not None and bool(np.isinf(values).any())


def _differs(expected: NDArray[np.float64], values: NDArray[np.float64]) -> bool:
    if expected.shape != values.shape or not expected.size:
        return False
    return bool(np.abs(expected - values).max() > _PRECISION * np.abs(expected).max())


def _constant(model: ModelFacts, index: int) -> NDArray[np.float64] | None:
    """The real values of a constant, also one behind a DEQUANTIZE; None where there is none to read."""
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
