"""Causes that are plain from the figures and the file, without further runs."""

from __future__ import annotations

import numpy as np

from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.layer_diff.domain import Cause, LayerDiff
from windtunnel.tflite import ModelFacts, OpFacts


def plain_causes(layers: tuple[LayerDiff, ...], candidate: ModelFacts) -> tuple[Cause, ...]:
    """The cause of NaN or infinity that only the candidate has: a bad constant, a bad scale, else the kernel."""
    first = next((layer for layer in layers if layer.non_finite and not layer.reference_non_finite), None)
    if first is None:
        return ()
    op = candidate.ops[first.op_index]
    evidence: dict[str, object] = {"non_finite": {"values": first.non_finite, "op": first.op}}
    constant = _non_finite_constant(candidate, op)
    scaled = _non_finite_scale(candidate, op)
    if constant is not None:
        code, fix = "conversion.weights", {"action": "convert the constant again", "tensor": constant}
        evidence["constant"] = constant
    elif scaled is not None:
        code, fix = "quantization.parameters", {"action": "calibrate the tensor again", "tensor": scaled}
        evidence["tensor"] = scaled
    else:
        code, fix = "kernel", {"action": "use another kernel or accelerator for this op", "op": first.op}
    return (Cause(code, 0.9, evidence, fix, first.name, first.op_index),)


def _non_finite_constant(model: ModelFacts, op: OpFacts) -> str | None:
    """The name of a constant that feeds `op`, also through an op on constants alone, and holds NaN or infinity."""
    makers = {index: maker for maker in model.ops for index in maker.outputs}
    pending = [index for index in op.inputs if index in model.main.fixed]
    seen: set[int] = set()
    while pending:
        index = pending.pop()
        if index in seen:
            continue
        seen.add(index)
        tensor = model.tensors[index]
        if tensor.is_constant and tensor.dtype.startswith(("float", "bfloat")):
            try:
                if not np.isfinite(model.constant(tensor)).all():
                    return tensor.name
            except (InvalidInput, Unsupported):
                continue
        elif index in makers:
            pending.extend(source for source in makers[index].inputs if source >= 0)
    return None


def _non_finite_scale(model: ModelFacts, op: OpFacts) -> str | None:
    for index in (*op.inputs, *op.outputs):
        quantization = model.tensors[index].quantization if index >= 0 else None
        if quantization is not None and not np.isfinite(quantization.scales).all():
            return model.tensors[index].name
    return None
