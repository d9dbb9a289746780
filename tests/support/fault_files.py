"""A .tflite file as objects that the fault matrix may change. Written apart from the product's own editor, so that
neither hides a mistake of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

_DTYPES = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.INT64: np.int64,
    schema.TensorType.INT32: np.int32,
    schema.TensorType.INT16: np.int16,
    schema.TensorType.INT8: np.int8,
    schema.TensorType.UINT8: np.uint8,
    schema.TensorType.BOOL: np.bool_,
}
_OPS = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
# These only restate a value in another type.
RESTATE = ("QUANTIZE", "DEQUANTIZE")
# Kernels require one scale on both sides of these (checked against the file: only where the scales are equal).
SAME_SCALE = (
    "RESHAPE", "TRANSPOSE", "SQUEEZE", "EXPAND_DIMS", "STRIDED_SLICE", "SLICE", "SPLIT", "MAX_POOL_2D", "PACK", "TILE",
    "AVERAGE_POOL_2D", "PAD", "PADV2", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "CONCATENATION", "GATHER",
    "MAXIMUM", "MINIMUM", "SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND", "DEPTH_TO_SPACE", "REDUCE_MAX", "UNPACK",
    "BROADCAST_TO", "MIRROR_PAD", "SPACE_TO_DEPTH", "SELECT_V2",
)  # fmt: skip


class File:
    """A model: `graph.operators` and `graph.tensors` are the schema's objects; change them, then `write`."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        self.model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
        for buffer in self.model.buffers:
            if buffer.offset > 1:
                # Constants of larger models are stored after the FlatBuffers data.
                buffer.data = np.frombuffer(data, np.uint8, int(buffer.size), int(buffer.offset))
                buffer.offset = buffer.size = 0
        self.graph = self.model.subgraphs[0]

    @property
    def ops(self) -> list[Any]:
        """Ops in execution order."""
        found: list[Any] = self.graph.operators
        return found

    def kind(self, op: Any) -> str:
        """The builtin name of an op."""
        code = self.model.operatorCodes[op.opcodeIndex]
        return str(_OPS[max(code.builtinCode, code.deprecatedBuiltinCode)])

    def set_kind(self, op: Any, name: str, version: int = 1) -> None:
        """Makes another builtin of an op; its options stay."""
        number = getattr(schema.BuiltinOperator, name)
        for index, code in enumerate(self.model.operatorCodes):
            if max(code.builtinCode, code.deprecatedBuiltinCode) == number and code.version >= version:
                op.opcodeIndex = index
                return
        code = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, 127), version
        self.model.operatorCodes.append(code)
        op.opcodeIndex = len(self.model.operatorCodes) - 1

    def tensor(self, index: int) -> Any:
        return self.graph.tensors[index]

    def name(self, index: int) -> str:
        """The name of a tensor."""
        return bytes(self.tensor(index).name or b"").decode()

    def dtype(self, index: int) -> Any:
        """The numpy type of a tensor."""
        return _DTYPES[self.tensor(index).type]

    def shape(self, index: int) -> tuple[int, ...]:
        found = self.tensor(index).shape
        return () if found is None else tuple(int(size) for size in found)

    def is_constant(self, index: int) -> bool:
        data = self.model.buffers[self.tensor(index).buffer].data if index >= 0 else None
        return data is not None and len(data) > 0

    def array(self, index: int) -> NDArray[Any]:
        """A copy of a constant as stored."""
        data = np.asarray(self.model.buffers[self.tensor(index).buffer].data, np.uint8)
        values: NDArray[Any] = data.view(self.dtype(index)).reshape(self.shape(index)).copy()
        return values

    def set_array(self, index: int, values: NDArray[Any]) -> None:
        """Replaces a constant; the buffer is a new one, for converters let equal constants share a buffer."""
        buffer = schema.BufferT()
        stored = np.ascontiguousarray(values, dtype=self.dtype(index))
        buffer.data = np.frombuffer(stored.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        tensor = self.tensor(index)
        tensor.buffer, tensor.shape = len(self.model.buffers) - 1, list(stored.shape)
        tensor.shapeSignature = None

    def add_tensor(self, name: str, shape: Sequence[int], like: int) -> int:
        """A new tensor with the type and quantization of another, under a name that is made unique."""
        tensor, model = schema.TensorT(), self.tensor(like)
        tensor.name, tensor.shape, tensor.type, tensor.buffer = self._unique(name), list(shape), model.type, 0
        tensor.hasRank = True
        tensor.quantization = _copied(model.quantization)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def add_constant(self, name: str, values: NDArray[Any]) -> int:
        """A new constant without quantization."""
        tensor = schema.TensorT()
        tensor.name, tensor.buffer, tensor.hasRank = self._unique(name), 0, True
        tensor.type = next(key for key, value in _DTYPES.items() if value == values.dtype)
        self.graph.tensors.append(tensor)
        self.set_array(len(self.graph.tensors) - 1, values)
        return len(self.graph.tensors) - 1

    def _unique(self, name: str) -> bytes:
        taken = any(bytes(tensor.name or b"") == name.encode() for tensor in self.graph.tensors)
        return (f"{name}_{len(self.graph.tensors)}" if taken else name).encode()

    def new_op(self, name: str, inputs: Sequence[int], outputs: Sequence[int], options: Any = None) -> Any:
        """An op that is in no graph yet."""
        op = schema.OperatorT()
        self.set_kind(op, name)
        op.inputs, op.outputs = list(inputs), list(outputs)
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            op.builtinOptionsType, op.builtinOptions = getattr(schema.BuiltinOptions, kind), options
        return op

    def constant_of(self, op: Any, position: int) -> int:
        """The constant that an op reads at a position, through a DEQUANTIZE; -1 if there is none."""
        if position >= len(op.inputs):
            return -1
        index = int(op.inputs[position])
        if index < 0 or self.is_constant(index):
            return index
        maker = self.maker(index)
        if maker is not None and self.kind(maker) == "DEQUANTIZE" and self.is_constant(int(maker.inputs[0])):
            return int(maker.inputs[0])
        return -1

    def own_constant(self, op: Any, position: int) -> int:
        """The same, made this op's own where others read it too."""
        index = self.constant_of(op, position)
        readers = [one for one in self.ops if index in list(one.inputs)]
        if index < 0 or len(readers) < 2 or index not in list(op.inputs):
            return index
        copy = self.add_tensor(f"{self.name(index)}_own", self.shape(index), index)
        self.set_array(copy, self.array(index))
        inputs = [int(one) for one in op.inputs]
        inputs[position] = copy
        op.inputs = inputs
        return copy

    def maker(self, index: int) -> Any:
        """The op that writes a tensor, or None."""
        return next((op for op in self.ops if index in list(op.outputs)), None)

    def readers(self, index: int) -> list[Any]:
        """The ops that read a tensor."""
        return [op for op in self.ops if index in list(op.inputs)]

    def scales(self, index: int) -> NDArray[np.float64]:
        """Scales of a tensor; empty where it has none."""
        found = self.tensor(index).quantization
        return np.asarray([] if found is None or found.scale is None else found.scale, np.float64)

    def zero_points(self, index: int) -> NDArray[np.int64]:
        found = self.tensor(index).quantization
        return np.asarray([] if found is None or found.zeroPoint is None else found.zeroPoint, np.int64)

    def set_scales(self, index: int, scales: NDArray[np.float64], zeros: NDArray[np.int64] | None = None) -> None:
        """Replaces scales, and zero points where given."""
        found = self.tensor(index).quantization
        found.scale = np.asarray(scales, np.float32)
        if zeros is not None:
            found.zeroPoint = np.asarray(zeros, np.int64)

    def restated(self, index: int) -> set[int]:
        """The tensor and every one that QUANTIZE and DEQUANTIZE make of it or that it was made of."""
        found = {index}
        grows = True
        while grows:
            grows = False
            for op in self.ops:
                ends = {int(op.inputs[0]), int(op.outputs[0])} if self.kind(op) in RESTATE else set()
                if ends & found and not ends <= found:
                    found |= ends
                    grows = True
        return found

    def bound(self, index: int) -> set[int]:
        """The tensors that must keep the scale of this one, itself included."""
        found = {index}
        grows = True
        while grows:
            grows = False
            for op in self.ops:
                if self.kind(op) not in SAME_SCALE:
                    continue
                ends = {int(one) for one in (*op.inputs, *op.outputs) if one >= 0}
                ends = {one for one in ends if len(self.scales(one)) == 1}
                if ends & found and not ends <= found:
                    same = {one for one in ends if self._same_scale(one, index)}
                    grows = grows or not same <= found
                    found |= same
        return found

    def _same_scale(self, one: int, other: int) -> bool:
        same_zero = list(self.zero_points(one)) == list(self.zero_points(other))
        return bool(np.allclose(self.scales(one), self.scales(other), rtol=1e-6)) and same_zero

    def layers(self) -> list[tuple[int, Any]]:
        """(index, op) of all ops that compute something from the input: no restating, nothing on constants alone."""
        fixed = {number for number in range(len(self.graph.tensors)) if self.is_constant(number)}
        fixed -= {int(one) for one in self.graph.inputs}
        found = []
        for number, op in enumerate(self.ops):
            given = [int(one) for one in (op.inputs if op.inputs is not None else []) if one >= 0]
            if given and all(one in fixed for one in given):
                fixed.update(int(one) for one in op.outputs)
            elif self.kind(op) not in RESTATE:
                found.append((number, op))
        return found

    def write(self, path: Path) -> Path:
        """Packs the model; constants lie inside the FlatBuffers data."""
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        path.write_bytes(bytes(builder.Output()))
        return path


def _copied(quantization: Any) -> Any:
    if quantization is None:
        return None
    copy = schema.QuantizationParametersT()
    for name, value in vars(quantization).items():
        setattr(copy, name, value)
    return copy
