"""What a .tflite file says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from windtunnel.errors import InvalidInput, NotFound, Unsupported
from windtunnel.tflite.constants import decode

# Options of ops that name a graph which the op runs.
CALLS: Final = (
    "cond_subgraph_index",
    "body_subgraph_index",
    "then_subgraph_index",
    "else_subgraph_index",
    "init_subgraph_index",
)


@dataclass(frozen=True, slots=True)
class Quantization:
    """real = scale * (stored - zero_point); one pair per tensor, or one per index along `axis`.

    `block_size` is set if the scales are stored in another tensor (blockwise); then `scales` is empty.
    """

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int = 0
    block_size: int | None = None


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """A tensor of a graph. `shape_signature` equals `shape`, but has -1 for a dynamic dimension.

    A constant's bytes are the `buffer_size` bytes at `buffer_offset` in the file. An unnamed tensor is called
    `tensor_<index>`.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    shape_signature: tuple[int, ...]
    dtype: str
    quantization: Quantization | None = None
    is_variable: bool = False
    is_sparse: bool = False
    buffer_offset: int = 0
    buffer_size: int = 0

    @property
    def is_constant(self) -> bool:
        """Whether the file holds the tensor's value."""
        return self.buffer_size > 0 and not self.is_variable

    @property
    def is_quantized_integer(self) -> bool:
        """Whether it stores integers of any width that stand for real numbers, biases in int32 included."""
        return self.quantization is not None and self.dtype.startswith(("int", "uint"))


@dataclass(frozen=True, slots=True)
class OpFacts:
    """An op; `index` is its place in the execution order.

    `inputs` has -1 for an optional input left out. `options` is a plain dict with snake_case keys, with
    `fused_activation_function` and `padding` as names.
    """

    index: int
    name: str
    version: int
    is_custom: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]

    @property
    def fused_activation(self) -> str:
        """NONE, RELU, RELU_N1_TO_1, RELU6, TANH or SIGN_BIT."""
        return str(self.options.get("fused_activation_function", "NONE"))


@dataclass(frozen=True)
class GraphFacts:
    """One subgraph: the main one is the first; others are bodies of control flow or further signatures."""

    name: str
    tensors: tuple[TensorFacts, ...]
    ops: tuple[OpFacts, ...]
    input_indices: tuple[int, ...]
    output_indices: tuple[int, ...]

    @property
    def inputs(self) -> tuple[TensorFacts, ...]:
        """The graph's inputs, in order."""
        return tuple(self.tensors[index] for index in self.input_indices)

    @property
    def outputs(self) -> tuple[TensorFacts, ...]:
        """The graph's outputs, in order."""
        return tuple(self.tensors[index] for index in self.output_indices)

    @cached_property
    def read(self) -> frozenset[int]:
        """Tensors that an op reads, or the caller; for others the runtime may keep no memory."""
        return frozenset(index for op in self.ops for index in op.inputs) | set(self.output_indices)

    @cached_property
    def fixed(self) -> frozenset[int]:
        """Tensors that no sample can change: constants and what is computed from constants alone."""
        fixed = {tensor.index for tensor in self.tensors if tensor.is_constant}
        fixed -= set(self.input_indices)
        for op in self.ops:
            given = [index for index in op.inputs if index >= 0]
            if given and all(index in fixed for index in given) and not op.name.startswith("RANDOM_"):
                fixed.update(op.outputs)
        return frozenset(fixed)


@dataclass(frozen=True, slots=True)
class SignatureFacts:
    """A named entry point: argument and result names to tensor indices of its graph."""

    key: str
    graph: int
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Span:
    """A run of bytes in the file."""

    offset: int
    size: int


@dataclass(frozen=True)
class ModelFacts:
    """A model: its graphs, signatures and metadata. Small, whatever the size of the file; can be pickled."""

    path: Path
    size_bytes: int
    version: int
    description: str
    graphs: tuple[GraphFacts, ...]
    signatures: tuple[SignatureFacts, ...]
    metadata: Mapping[str, Span]

    @property
    def main(self) -> GraphFacts:
        """The graph that the interpreter runs."""
        return self.graphs[0]

    @property
    def ops(self) -> tuple[OpFacts, ...]:
        """Ops of the main graph in execution order."""
        return self.main.ops

    @property
    def tensors(self) -> tuple[TensorFacts, ...]:
        """Tensors of the main graph by index."""
        return self.main.tensors

    @property
    def inputs(self) -> tuple[TensorFacts, ...]:
        """Inputs of the main graph."""
        return self.main.inputs

    @property
    def outputs(self) -> tuple[TensorFacts, ...]:
        """Outputs of the main graph."""
        return self.main.outputs

    def signature_name(self, tensor: TensorFacts) -> str | None:
        """The name that a signature gives to an input or output of the main graph, or None.

        Args:
            tensor: of the main graph.

        Returns:
            None: no signature names it.
        """
        return self.input_name(tensor) or self.output_name(tensor)

    def input_name(self, tensor: TensorFacts) -> str | None:
        """The name that a signature gives to an input of the main graph, or None.

        Args:
            tensor: of the main graph.

        Returns:
            None: no signature names it as an input.
        """
        return self._name_in([signature.inputs for signature in self._main_signatures], tensor)

    def output_name(self, tensor: TensorFacts) -> str | None:
        """The name that a signature gives to an output of the main graph, or None.

        Args:
            tensor: of the main graph.

        Returns:
            None: no signature names it as an output.
        """
        return self._name_in([signature.outputs for signature in self._main_signatures], tensor)

    @property
    def _main_signatures(self) -> list[SignatureFacts]:
        return [signature for signature in self.signatures if signature.graph == 0]

    @staticmethod
    def _name_in(sides: list[Mapping[str, int]], tensor: TensorFacts) -> str | None:
        return next((name for side in sides for name, index in side.items() if index == tensor.index), None)

    def constant(self, tensor: TensorFacts) -> NDArray[Any]:
        """The stored value of a constant.

        Args:
            tensor: of any graph of the model.

        Returns:
            In the tensor's shape. int4 and int2 are unpacked to int8, bfloat16 is widened to float32.

        Raises:
            InvalidInput: the tensor is not a constant, or its bytes do not fill its shape.
            Unsupported: it holds strings, or is stored sparse.
        """
        if not tensor.is_constant:
            raise InvalidInput(f"tensor {tensor.name!r} of {self.path.name} is not a constant")
        if tensor.is_sparse:
            raise Unsupported(f"constant {tensor.name!r} is stored sparse")
        data = self._bytes(Span(tensor.buffer_offset, tensor.buffer_size))
        return decode(data, tensor.name, tensor.dtype, tensor.shape)

    def metadata_bytes(self, name: str) -> bytes:
        """The content of a metadata entry.

        Args:
            name: of the entry.

        Returns:
            As stored.

        Raises:
            NotFound: the model has no such entry.
        """
        if name not in self.metadata:
            known = ", ".join(sorted(self.metadata)) or "none"
            raise NotFound(f"{self.path.name} has no metadata {name!r}", hint=f"it has: {known}")
        return self._bytes(self.metadata[name])

    def _bytes(self, span: Span) -> bytes:
        with self.path.open("rb") as file:
            file.seek(span.offset)
            data = file.read(span.size)
        if len(data) != span.size:
            raise InvalidInput(f"{self.path.name} changed or was cut since it was read")
        return data
