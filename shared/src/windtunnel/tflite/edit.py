"""Changes a .tflite file: constants, scales, options, and which part of the graph is left.

Works on the schema's objects; runs no native code. Indices of tensors and ops are always those of the file as read.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from numpy.typing import NDArray

from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.tflite.constants import encode
from windtunnel.tflite.facts import ModelFacts, Quantization
from windtunnel.tflite.read import read_model

_IDENTIFIER = b"TFL3"
_ALIGNMENT = 16
# The FlatBuffers format addresses 31 bits.
_LARGEST = 2**31 - 1
_ENUMERATIONS = {"fused_activation_function": "ActivationFunctionType", "padding": "Padding"}
_SIGNATURE = b"serving_default"
# What an op writes keeps its name; the input that stands in for it gets this suffix.
FED = "/fed"


class Editor:
    """A .tflite file as objects that can be changed and written again.

    Changes are made in the main graph; `inside` gives an editor of another one.

    Constants that are stored after the FlatBuffers data become part of the objects.

    Args:
        path: of the .tflite file.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it is not a .tflite model, or damaged.
        Unsupported: its constants are stored in other files.
    """

    def __init__(self, path: Path) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.facts: ModelFacts = read_model(path)
        self._schema = schema
        data = path.read_bytes()
        self._model = schema.ModelT.InitFromPackedBuf(data)
        if self._model.externalBuffers:
            raise Unsupported(f"{path.name} keeps constants in other files")
        self._graph = self._model.subgraphs[0]
        _pull_in(self._model, data)
        self._fed: dict[int, int] = {}
        self._whole = True

    def set_constant(self, tensor: int, array: NDArray[Any]) -> None:
        """Gives a constant another value.

        The constant gets a buffer of its own: tensors that shared the old one keep the old value.

        Args:
            tensor: index of the constant.
            array: as stored, in the tensor's shape; int4 and int2 as int8.

        Raises:
            InvalidInput: the array does not have the tensor's shape, or its values do not fit its type.
        """
        facts = self.facts.tensors[tensor]
        if array.shape != facts.shape:
            raise InvalidInput(f"constant {facts.name!r} is {list(facts.shape)}, not {list(array.shape)}")
        buffer = self._schema.BufferT()
        buffer.data = np.frombuffer(encode(array, facts.name, facts.dtype), dtype=np.uint8)
        old = self._graph.tensors[tensor].buffer
        self._model.buffers.append(buffer)
        self._graph.tensors[tensor].buffer = len(self._model.buffers) - 1
        if not any(one.buffer == old for graph in self._model.subgraphs for one in graph.tensors):
            # Nobody reads the old value any more: it need not be written.
            self._model.buffers[old].data = None

    def set_quantization(self, tensor: int, quantization: Quantization | None) -> None:
        """Replaces the scales, zero points and axis of a tensor; the stored values stay.

        Args:
            tensor: index of the tensor.
            quantization: the new one; None: the tensor is no longer quantized.
        """
        found = self._schema.QuantizationParametersT()
        if quantization is not None:
            found.scale = np.asarray(quantization.scales, dtype=np.float32)
            found.zeroPoint = np.asarray(quantization.zero_points, dtype=np.int64)
            found.quantizedDimension = quantization.axis
        self._graph.tensors[tensor].quantization = None if quantization is None else found

    def set_options(self, op: int, **options: Any) -> None:
        """Changes options of an op.

        Args:
            op: index of the op.
            **options: by snake_case names; activations and padding by name.

        Raises:
            InvalidInput: the op does not have such an option.
            Unsupported: the format has no such activation or padding.
        """
        found = self._graph.operators[op].builtinOptions
        for name, value in options.items():
            field = _camel(name)
            if found is None or not hasattr(found, field):
                raise InvalidInput(f"op {op} ({self.facts.ops[op].name}) has no option {name!r}")
            setattr(found, field, self._number(name, value))

    def take_op(self, op: int, other: Editor, other_op: int) -> None:
        """Gives an op the kind and the options of an op of another model; inputs and outputs stay.

        Args:
            op: index of the op to change.
            other: the model to copy from.
            other_op: index of the op there.
        """
        source = other._graph.operators[other_op]
        code = other._model.operatorCodes[source.opcodeIndex]
        self._model.operatorCodes.append(code)
        target = self._graph.operators[op]
        target.opcodeIndex = len(self._model.operatorCodes) - 1
        for field in ("builtinOptionsType", "builtinOptions", "builtinOptions2Type", "builtinOptions2"):
            setattr(target, field, getattr(source, field))
        target.customOptions = source.customOptions

    def set_inputs(self, op: int, inputs: Sequence[int]) -> None:
        """Lets an op read other tensors.

        Args:
            op: index of the op.
            inputs: indices of the tensors; -1 leaves out an optional one.
        """
        self._graph.operators[op].inputs = np.asarray(inputs, dtype=np.int32)

    def add_constant(self, name: str, array: NDArray[Any], dtype: str, quantization: Quantization | None = None) -> int:
        """Adds a constant to the graph.

        Args:
            name: of the new tensor.
            array: as stored.
            dtype: TFLite's name of the type.
            quantization: of the stored values; None: they are the real ones.

        Returns:
            The tensor index, which `set_inputs` takes.
        """
        tensor = self._schema.TensorT()
        tensor.name, tensor.shape, tensor.hasRank = name, list(array.shape), True
        tensor.type = getattr(self._schema.TensorType, dtype.upper())
        buffer = self._schema.BufferT()
        buffer.data = np.frombuffer(encode(array, name, dtype), dtype=np.uint8)
        self._model.buffers.append(buffer)
        tensor.buffer = len(self._model.buffers) - 1
        self._graph.tensors.append(tensor)
        index = len(self._graph.tensors) - 1
        self.set_quantization(index, quantization)
        return index

    def cut(self, inputs: Sequence[int], outputs: Sequence[int]) -> None:
        """Keeps only the ops between these tensors, which become the graph's inputs and outputs.

        Args:
            inputs: tensor indices.
            outputs: tensor indices.

        Raises:
            InvalidInput: an output depends on an input of the graph that is not among `inputs`.
        """
        wanted, needed = set(outputs) - set(inputs), []
        for position in reversed(range(len(self._graph.operators))):
            op = self._graph.operators[position]
            if wanted.intersection(op.outputs):
                needed.append(op)
                wanted.update(index for index in op.inputs if index >= 0 and index not in inputs)
        missing = wanted.intersection(self.facts.main.input_indices) - set(inputs)
        if missing:
            names = ", ".join(repr(self.facts.tensors[index].name) for index in sorted(missing))
            raise InvalidInput(f"the outputs also depend on {names}", hint="cut at these tensors too")
        self._graph.operators = needed[::-1]
        self._graph.inputs, self._graph.outputs = list(inputs), list(outputs)
        self._whole = False

    def inside(self, graph: int) -> Editor:
        """An editor of another graph of the same model; `write` of this one writes its changes.

        Args:
            graph: index of the graph.

        Returns:
            The editor.
        """
        other = copy(self)
        other._graph = self._model.subgraphs[graph]
        other.facts = replace(self.facts, graphs=(self.facts.graphs[graph], *self.facts.graphs[1:]))
        return other

    def drop_ops(self, ops: Collection[int]) -> None:
        """Disables ops and keeps all indices: no op may read what they computed.

        Args:
            ops: indices of the ops.
        """
        schema, model = self._schema, self._model
        empty = schema.SubGraphT()
        empty.name, empty.tensors, empty.operators, empty.inputs, empty.outputs = "nothing", [], [], [], []
        model.subgraphs.append(empty)
        code = schema.OperatorCodeT()
        code.builtinCode = schema.BuiltinOperator.CALL_ONCE
        # The old field holds one byte; a larger code is marked in it.
        code.deprecatedBuiltinCode = schema.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES
        code.version = 1
        model.operatorCodes.append(code)
        lost = {index for op in ops for index in self.facts.ops[op].outputs}
        for op in ops:
            idle = schema.OperatorT()
            idle.opcodeIndex, idle.inputs, idle.outputs = len(model.operatorCodes) - 1, [], []
            idle.builtinOptionsType, idle.builtinOptions = (
                schema.BuiltinOptions.CallOnceOptions,
                schema.CallOnceOptionsT(),
            )
            idle.builtinOptions.initSubgraphIndex = len(model.subgraphs) - 1
            self._graph.operators[op] = idle
        self._graph.outputs = [int(index) for index in self._graph.outputs if int(index) not in lost]
        for signature in model.signatureDefs or []:
            if signature.subgraphIndex == 0:
                signature.outputs = [one for one in signature.outputs if one.tensorIndex not in lost]
        self._drop_codes()

    def set_outputs(self, outputs: Sequence[int]) -> None:
        """Makes these tensors the outputs of the graph.

        Signatures of the graph are dropped, because they name other outputs.

        Args:
            outputs: tensor indices.
        """
        self._graph.outputs = list(outputs)
        self._model.signatureDefs = [one for one in self._model.signatureDefs or [] if one.subgraphIndex != 0]

    def free(self, tensors: Collection[int]) -> Mapping[int, int]:
        """Separates tensors: each is fed where it is read, and what its op computes becomes an output.

        Every op between such tensors then runs in isolation. The fed tensor has the name of the computed one with the
        suffix `/fed`; graph inputs stay as they are.

        Args:
            tensors: indices.

        Returns:
            The index of the fed tensor, by the index of the computed one.
        """
        for index in sorted(set(tensors) - set(self.facts.main.input_indices)):
            twin = _copy(self._graph.tensors[index])
            twin.name = self.facts.tensors[index].name.encode() + FED.encode()
            self._graph.tensors.append(twin)
            self._fed[index] = len(self._graph.tensors) - 1
        read = set()
        for op in self._graph.operators:
            op.inputs = [self._fed.get(int(index), int(index)) for index in op.inputs]
            read.update(op.inputs)
        self._graph.inputs = [*self._graph.inputs, *(twin for twin in self._fed.values() if twin in read)]
        self._graph.outputs = sorted({*(int(index) for index in self._graph.outputs), *self._fed})
        self._whole = False
        return dict(self._fed)

    @property
    def inputs(self) -> tuple[int, ...]:
        """The graph's inputs, in order; a fed tensor counts as the one that it stands in for."""
        origins = {twin: index for index, twin in self._fed.items()}
        return tuple(origins.get(int(index), int(index)) for index in self._graph.inputs)

    @property
    def outputs(self) -> tuple[int, ...]:
        """The graph's outputs, in order."""
        return tuple(int(index) for index in self._graph.outputs)

    def write(self, path: Path) -> Path:
        """Writes the model, whole or not at all.

        Args:
            path: of the new file.

        Returns:
            `path`.

        Raises:
            InvalidInput: the model is larger than 2 GiB.
        """
        if not self._whole:
            self._drop_unused()
            self._name_all()
            self._model.signatureDefs = [self._new_signature()]
            self._model.metadata, self._model.metadataBuffer = [], []
        self._drop_codes()
        _write(path, _pack(self._model))
        return path

    def _number(self, name: str, value: Any) -> Any:
        if not isinstance(value, str) or name not in _ENUMERATIONS:
            return value
        number = getattr(getattr(self._schema, _ENUMERATIONS[name]), value, None)
        if number is None:
            # RELU_0_TO_1 is an op that no other op can fuse.
            raise Unsupported(f"the TFLite format has no {name} {value}")
        return number

    def _drop_unused(self) -> None:
        """Removes tensors and buffers that no op uses any more."""
        graph = self._graph
        used = {int(index) for op in graph.operators for index in (*op.inputs, *op.outputs) if index >= 0}
        used |= {int(index) for op in graph.operators for index in _vector(op.intermediates) if index >= 0}
        kept = sorted(used | {int(index) for index in (*graph.inputs, *graph.outputs)})
        places = {old: new for new, old in enumerate(kept)}
        places[-1] = -1
        graph.tensors = [graph.tensors[index] for index in kept]
        for op in graph.operators:
            op.inputs, op.outputs = _moved(op.inputs, places), _moved(op.outputs, places)
            op.intermediates = _moved(_vector(op.intermediates), places)
        graph.inputs, graph.outputs = _moved(graph.inputs, places), _moved(graph.outputs, places)
        self._drop_buffers()

    def _drop_codes(self) -> None:
        """Removes op codes that no op uses any more: the runtime looks up all of them."""
        ops = [op for graph in self._model.subgraphs for op in graph.operators]
        kept = sorted({op.opcodeIndex for op in ops})
        self._model.operatorCodes = [self._model.operatorCodes[code] for code in kept]
        for op in ops:
            op.opcodeIndex = kept.index(op.opcodeIndex)

    def _drop_buffers(self) -> None:
        tensors = [tensor for graph in self._model.subgraphs for tensor in graph.tensors]
        kept = sorted({0, *(tensor.buffer for tensor in tensors)})
        places = {old: new for new, old in enumerate(kept)}
        self._model.buffers = [self._model.buffers[index] for index in kept]
        for tensor in tensors:
            tensor.buffer = places[tensor.buffer]

    def _name_all(self) -> None:
        """Inputs and outputs go by name: each needs one, and one of its own."""
        taken: set[bytes] = set()
        for index in (*self._graph.inputs, *self._graph.outputs):
            tensor = self._graph.tensors[index]
            name = tensor.name or f"tensor_{index}".encode()
            name = name if isinstance(name, bytes) else name.encode()
            tensor.name = name if name not in taken else name + f"#{index}".encode()
            taken.add(tensor.name)

    def _new_signature(self) -> Any:
        signature = self._schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = _SIGNATURE, 0
        signature.inputs = [self._named(index) for index in self._graph.inputs]
        signature.outputs = [self._named(index) for index in self._graph.outputs]
        return signature

    def _named(self, index: int) -> Any:
        entry = self._schema.TensorMapT()
        entry.name, entry.tensorIndex = self._graph.tensors[index].name, index
        return entry


def _copy(tensor: Any) -> Any:
    """The tensor without its value; shape, type and quantization are shared, for none of them is changed in place."""
    twin = type(tensor)()
    vars(twin).update(vars(tensor))
    twin.buffer, twin.isVariable = 0, False
    return twin


def _pull_in(model: Any, data: bytes) -> None:
    """Makes buffers and options that are stored after the FlatBuffers data part of the objects."""
    for buffer in model.buffers:
        if buffer.offset > 1:
            buffer.data = np.frombuffer(data, dtype=np.uint8, count=buffer.size, offset=buffer.offset)
        buffer.offset = buffer.size = 0
    for graph in model.subgraphs:
        for op in graph.operators or []:
            if op.largeCustomOptionsOffset > 1:
                start = op.largeCustomOptionsOffset
                op.customOptions = np.frombuffer(data, np.uint8, count=op.largeCustomOptionsSize, offset=start)
            op.largeCustomOptionsOffset = op.largeCustomOptionsSize = 0
            op.inputs, op.outputs = _vector(op.inputs), _vector(op.outputs)
        graph.operators, graph.tensors = graph.operators or [], graph.tensors or []
        graph.inputs, graph.outputs = _vector(graph.inputs), _vector(graph.outputs)


def _vector(values: Iterable[Any] | None) -> list[int]:
    return [] if values is None else [int(value) for value in values]


def _moved(values: Iterable[Any], places: Mapping[int, int]) -> list[int]:
    return [places[int(value)] for value in values]


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


class _AlignedBuilder(flatbuffers.Builder):  # type: ignore[misc]  # the library has no types
    """Bytes of constants start at multiples of 16, as the schema asks; the Python library aligns to their items."""

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:  # noqa: N802, N803
        aligned = _ALIGNMENT if elemSize == 1 and numElems >= _ALIGNMENT else alignment
        return super().StartVector(elemSize, numElems, aligned)


def _pack(model: Any) -> memoryview:
    size = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    if size >= _LARGEST:
        raise InvalidInput(f"the model's constants take {size} bytes, more than a .tflite file can hold inside")
    builder = _AlignedBuilder(min(size + (1 << 20), _LARGEST))
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return memoryview(builder.Bytes)[builder.Head() :]


def _write(path: Path, data: memoryview) -> None:
    # Not by tempfile, whose files only their owner may read.
    temporary = path.with_name(f".{path.name[:200]}-{secrets.token_hex(6)}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
