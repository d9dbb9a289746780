"""Kernels with a fault: an op of the model computes something else. The app runs a changed copy of its model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

# weights: a factor on them; bias: left out; channel: one channel is not computed; activation: no limit; pool: the
# largest value, not the mean.
KINDS = ("weights", "bias", "channel", "activation", "pool")
_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


@dataclass(frozen=True)
class WrongOp:
    """Where the fault is: the op's output tensor and its index in execution order."""

    layer: str
    op_index: int
    op: str


def wrong_kernel(model: Path, changed: Path, kind: str, rng: np.random.Generator) -> WrongOp | None:
    """Writes a copy of a model in which one op computes something else.

    Args:
        model: the .tflite.
        changed: the copy.
        kind: one of KINDS.
        rng: chooses the op.

    Returns:
        The op; None: the model has no op for this kind.
    """
    read = schema.ModelT.InitFromPackedBuf(model.read_bytes())
    graph = read.subgraphs[0]
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    kinds = [names[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in read.operatorCodes]
    able = [at for at, op in enumerate(graph.operators) if _can(kinds[op.opcodeIndex], op, kind)]
    if not able:
        return None
    at = int(rng.choice(able))
    op = graph.operators[at]
    found = WrongOp(graph.tensors[op.outputs[0]].name.decode(), at, kinds[op.opcodeIndex])
    _change(read, graph, op, kind, rng)
    builder = flatbuffers.Builder(1024)
    builder.Finish(read.Pack(builder), b"TFL3")
    changed.write_bytes(bytes(builder.Output()))
    return found


def _can(op: str, details: Any, kind: str) -> bool:
    if kind == "pool":
        return op == "AVERAGE_POOL_2D"
    if op not in _WEIGHTED:
        return False
    if kind == "activation":
        return bool(details.builtinOptions.fusedActivationFunction != schema.ActivationFunctionType.NONE)
    return kind != "bias" or (len(details.inputs) > 2 and details.inputs[2] >= 0)


def _change(read: Any, graph: Any, op: Any, kind: str, rng: np.random.Generator) -> None:
    if kind == "pool":
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.MAX_POOL_2D
        code.version = 2
        read.operatorCodes.append(code)
        op.opcodeIndex = len(read.operatorCodes) - 1
    elif kind == "activation":
        op.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.NONE
    else:
        tensor = graph.tensors[op.inputs[2 if kind == "bias" else 1]]
        dtypes = {
            schema.TensorType.FLOAT32: np.float32,
            schema.TensorType.INT8: np.int8,
            schema.TensorType.INT32: np.int32,
        }
        old = read.buffers[tensor.buffer]
        values = np.frombuffer(bytes(old.data), dtypes[tensor.type]).reshape(tensor.shape)
        new = schema.BufferT()
        new.data = np.frombuffer(_wrong(values, kind, rng).astype(values.dtype).tobytes(), np.uint8)
        read.buffers.append(new)
        tensor.buffer = len(read.buffers) - 1


def _wrong(values: Any, kind: str, rng: np.random.Generator) -> Any:
    if kind == "bias":
        return np.zeros_like(values)
    if kind == "weights":
        return np.rint(values * 0.6) if values.dtype.kind == "i" else values * 0.6
    changed = values.copy()
    # The channel that matters most: the last axis of depthwise weights, the first of others.
    axis = values.ndim - 1 if values.shape[0] == 1 else 0
    strength = np.abs(values.astype(np.float64)).sum(axis=tuple(at for at in range(values.ndim) if at != axis))
    strongest = np.argsort(strength)[-4:]
    np.moveaxis(changed, axis, 0)[rng.choice(strongest)] = 0
    return changed
