"""Writes small .tflite files op by op, without TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray


@dataclass
class GraphWriter:
    """Collects tensors and ops; `write` makes a file of them.

    `old_codes` fills only the byte-wide op code, as old converters do; `outside` stores constants behind the
    FlatBuffers data, as files of several GB do.
    """

    old_codes: bool = False
    outside: bool = False
    _tensors: list[Any] = field(default_factory=list)
    _buffers: list[bytes] = field(default_factory=lambda: [b""])
    _ops: list[Any] = field(default_factory=list)
    _codes: list[tuple[str, int]] = field(default_factory=list)

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str = "float32",
        *,
        data: NDArray[Any] | bytes | None = None,
        scales: Sequence[float] = (),
        zeros: Sequence[int] = (),
        axis: int = 0,
        signature: Sequence[int] | None = None,
    ) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name, list(shape), getattr(schema.TensorType, dtype.upper())
        tensor.hasRank = True
        if signature is not None:
            tensor.shapeSignature = list(signature)
        if scales:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = list(scales)
            tensor.quantization.zeroPoint = list(zeros) or [0] * len(scales)
            tensor.quantization.quantizedDimension = axis
        tensor.buffer = 0
        if data is not None:
            tensor.buffer = len(self._buffers)
            self._buffers.append(data if isinstance(data, bytes) else data.astype(dtype).tobytes())
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def op(
        self, name: str, inputs: Sequence[int], outputs: Sequence[int], options: Any = None, version: int = 1
    ) -> None:
        if (name, version) not in self._codes:
            self._codes.append((name, version))
        op = schema.OperatorT()
        op.opcodeIndex = self._codes.index((name, version))
        op.inputs, op.outputs = list(inputs), list(outputs)
        if isinstance(options, bytes):
            op.customOptions = np.frombuffer(options, np.uint8)
        elif options is not None:
            kind = type(options).__name__.removesuffix("T")
            op.builtinOptionsType, op.builtinOptions = getattr(schema.BuiltinOptions, kind), options
        self._ops.append(op)

    def dense(
        self, name: str, source: int, weights: NDArray[Any], bias: NDArray[Any], *, activation: str = "NONE"
    ) -> int:
        """A float FULLY_CONNECTED with (out, in) weights; returns its output tensor."""
        constant = self.tensor(f"{name}/weights", weights.shape, data=weights)
        shift = self.tensor(f"{name}/bias", bias.shape, data=bias)
        output = self.tensor(name, (1, len(bias)))
        options = schema.FullyConnectedOptionsT()
        options.fusedActivationFunction = getattr(schema.ActivationFunctionType, activation)
        self.op("FULLY_CONNECTED", [source, constant, shift], [output], options)
        return output

    def write(self, path: Path, inputs: Sequence[int], outputs: Sequence[int], *, signature: bool = True) -> Path:
        graph = schema.SubGraphT()
        graph.tensors, graph.operators, graph.name = self._tensors, self._ops, "main"
        graph.inputs, graph.outputs = list(inputs), list(outputs)
        model = schema.ModelT()
        model.version, model.description, model.subgraphs = 3, "written by a test", [graph]
        model.operatorCodes = [self._code(name, version) for name, version in self._codes]
        model.buffers = [self._buffer(data) for data in self._buffers]
        model.signatureDefs = [self._signature(inputs, outputs)] if signature else []
        path.write_bytes(self._bytes(model))
        return path

    def _bytes(self, model: Any) -> bytes:
        data = _pack(model)
        if not self.outside:
            return data
        # Offsets depend on the size of the packed model and not the other way round: pack again with them set.
        place = -(-len(data) // 16) * 16
        tail = b""
        for buffer, content in zip(model.buffers, self._buffers, strict=True):
            if content:
                buffer.offset, buffer.size = place + len(tail), len(content)
                tail += content + b"\0" * (-len(content) % 16)
        return _pack(model).ljust(place, b"\0") + tail

    def _buffer(self, data: bytes) -> Any:
        buffer = schema.BufferT()
        if data and self.outside:
            buffer.offset, buffer.size = 2, len(data)
        elif data:
            buffer.data = np.frombuffer(data, dtype=np.uint8)
        return buffer

    def _code(self, name: str, version: int) -> Any:
        code = schema.OperatorCodeT()
        number = getattr(schema.BuiltinOperator, name, schema.BuiltinOperator.CUSTOM)
        code.deprecatedBuiltinCode, code.version = min(number, 127), version
        code.builtinCode = 0 if self.old_codes else number
        if number == schema.BuiltinOperator.CUSTOM:
            code.customCode = name
        return code

    def _signature(self, inputs: Sequence[int], outputs: Sequence[int]) -> Any:
        def entry(name: str, index: int) -> Any:
            found = schema.TensorMapT()
            found.name, found.tensorIndex = name, index
            return found

        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = "serving_default", 0
        signature.inputs = [entry(f"in_{number}", index) for number, index in enumerate(inputs)]
        signature.outputs = [entry(f"out_{number}", index) for number, index in enumerate(outputs)]
        return signature


def _pack(model: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@dataclass(frozen=True)
class DenseWeights:
    """Weights of the three-layer classifier that `dense_model` writes."""

    first: NDArray[np.float32]
    second: NDArray[np.float32]
    third: NDArray[np.float32]

    @classmethod
    def random(cls, seed: int = 0) -> DenseWeights:
        draw = np.random.default_rng(seed)
        shapes = ((16, 8), (16, 16), (4, 16))
        return cls(*(draw.normal(0, 0.4, shape).astype(np.float32) for shape in shapes))


def dense_model(
    path: Path, weights: DenseWeights | None = None, *, names: Sequence[str] = ("hidden_1", "hidden_2", "logits")
) -> Path:
    """input (1, 8) -> two dense layers of 16 with ReLU -> logits (1, 4) -> softmax `probabilities`."""
    weights = weights or DenseWeights.random()
    writer = GraphWriter()
    source = writer.tensor("input", (1, 8), signature=(-1, 8))
    at = source
    for name, matrix in zip(names, (weights.first, weights.second, weights.third), strict=True):
        activation = "NONE" if matrix is weights.third else "RELU"
        at = writer.dense(name, at, matrix, np.zeros(len(matrix)), activation=activation)
    output = writer.tensor("probabilities", (1, 4))
    options = schema.SoftmaxOptionsT()
    options.beta = 1.0
    writer.op("SOFTMAX", [at], [output], options)
    return writer.write(path, [source], [output])
