"""Runs a .tflite model and shows every layer. Native code: only in a child process."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from windtunnel.accelerators import XNNPACK, Accelerator, resolver_of, runtime_accelerator
from windtunnel.errors import InvalidInput, JobFailed, Unsupported
from windtunnel.input_shapes import shape_words
from windtunnel.tflite.dtypes import NOT_VALUES
from windtunnel.tflite.facts import ModelFacts, TensorFacts
from windtunnel.tflite.quantization import dequantize, quantize
from windtunnel.tflite.read import read_model
from windtunnel.tflite.variables import require_values

_NO_WORDS = "it gives no reason, as where it gets too little memory"
MORE_MEMORY = "run it on a machine with more memory, or with smaller inputs"


class Layer(NamedTuple):
    """What an op left in one of its outputs: the array as stored, not dequantized."""

    op_index: int
    name: str
    array: NDArray[Any]
    tensor: TensorFacts


class Runner:
    """An interpreter of one model.

    Args:
        path: the .tflite file.
        threads: CPU threads.
        accelerator: xnnpack (the runtime's default), builtin (its own optimized kernels), reference (plain kernels;
            these abort the process on some int8 models); in any spelling of `windtunnel.accelerators`.
        preserve_all: keep every tensor, so that `layers` can show them.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it is not a model, the runtime refuses it, or it reads variables that nothing sets.
        Unsupported: it has an op that the runtime lacks.
    """

    def __init__(self, path: Path, *, threads: int = 1, accelerator: str = XNNPACK, preserve_all: bool = False) -> None:
        self.facts = read_model(path)
        require_values(self.facts)
        self.threads = threads
        self.accelerator = runtime_accelerator(accelerator)
        self._preserve_all = preserve_all
        self._interpreter = _create(self.facts, threads, self.accelerator, preserve_all)
        self._by_name = _input_names(self.facts)
        self._shapes: dict[int, tuple[int, ...]] = {}
        self._fed: dict[int, NDArray[Any]] = {}

    def twin(self) -> Runner:
        """Another interpreter of the same model with the same settings, as before its first run."""
        return Runner(
            self.facts.path, threads=self.threads, accelerator=self.accelerator, preserve_all=self._preserve_all
        )

    @property
    def fed(self) -> Mapping[int, NDArray[Any]]:
        """What the last run was fed, by tensor index, as stored."""
        return self._fed

    def run(self, inputs: Mapping[str, NDArray[Any]], *, dequantized: bool = False) -> dict[str, NDArray[Any]]:
        """Runs the model once.

        Args:
            inputs: by tensor name or signature name. Real numbers are quantized for a quantized input; integers must
                have the input's own type. A dimension that is dynamic in the model takes the sample's size.
            dequantized: outputs as float64 real numbers instead of as stored; text stays as it is.

        Returns:
            The outputs by tensor name.

        Raises:
            InvalidInput: an input is missing or unknown, has the wrong shape or type, or holds NaN or infinity; the
                message names it.
            JobFailed: the machine has too little memory.
        """
        prepared = {tensor.index: _prepare(tensor, array) for tensor, array in self._assign(inputs)}
        self._resize({index: array.shape for index, array in prepared.items()})
        for index, array in prepared.items():
            self._interpreter.set_tensor(index, array)
        self._fed = prepared
        try:
            self._interpreter.invoke()
        except RuntimeError as error:
            raise _refused(self.facts, error) from error
        except MemoryError as error:
            raise _no_memory(self.facts) from error
        outputs = {}
        for tensor in self.facts.outputs:
            array = self._read(tensor.index)
            numbers = dequantized and tensor.dtype not in NOT_VALUES
            outputs[tensor.name] = dequantize(array, tensor.quantization) if numbers else array
        return outputs

    def layers(self) -> Iterator[Layer]:
        """Every op output of the last run in execution order, copied.

        Left out: what is computed from constants alone (runtimes fold it and leave its memory unset), and
        handles and strings, which hold no numbers. Needs `preserve_all`.

        Raises:
            InvalidInput: the runner does not keep its layers.
        """
        if not self._preserve_all:
            raise InvalidInput("the layers of this run were not kept", hint="create Runner(preserve_all=True)")
        for op, tensor in layer_tensors(self.facts):
            yield Layer(op, tensor.name, self._read(tensor.index), tensor)

    def view(self, tensor: int) -> NDArray[Any]:
        """The memory of a layer after a run, as stored and not copied. Needs `preserve_all`.

        It is valid until the next run. That run fails while the array, or a slice of it, still exists.

        Args:
            tensor: index of the layer's tensor.

        Returns:
            In the tensor's shape and type.

        Raises:
            InvalidInput: the runner does not keep its layers.
            Unsupported: the runtime keeps no value: results of control flow that no op reads.
        """
        if not self._preserve_all:
            raise InvalidInput("the layers of this run were not kept", hint="create Runner(preserve_all=True)")
        try:
            view: NDArray[Any] = self._interpreter.tensor(tensor)()
        except ValueError:
            return self._read(tensor)
        return view

    def _read(self, tensor: int) -> NDArray[Any]:
        """A copy of a tensor, also of one without elements, which the runtime itself does not hand out.

        Raises:
            Unsupported: the runtime keeps no value of it.
        """
        try:
            found: NDArray[Any] = self._interpreter.get_tensor(tensor)
        except ValueError as error:
            details = next(one for one in self._interpreter.get_tensor_details() if one["index"] == tensor)
            if 0 in details["shape"]:
                return np.empty(details["shape"], details["dtype"])
            name = self.facts.tensors[tensor].name
            raise Unsupported(f"the runtime keeps no value of {name!r}: {error}") from error
        except MemoryError as error:
            raise _no_memory(self.facts) from error
        return found

    def _assign(self, inputs: Mapping[str, NDArray[Any]]) -> list[tuple[TensorFacts, NDArray[Any]]]:
        known = ", ".join(repr(tensor.name) for tensor in self.facts.inputs)
        found: dict[int, tuple[TensorFacts, NDArray[Any]]] = {}
        for name, array in inputs.items():
            tensor = self._by_name.get(name)
            if tensor is None:
                raise InvalidInput(f"{self.facts.path.name} has no input {name!r}", hint=f"it has: {known}")
            found[tensor.index] = (tensor, np.asarray(array))
        for tensor in self.facts.inputs:
            if tensor.index not in found:
                raise InvalidInput(f"no value for the input {tensor.name!r} of {self.facts.path.name}")
        return list(found.values())

    def _resize(self, shapes: dict[int, tuple[int, ...]]) -> None:
        """Gives dynamic inputs the samples' shapes; allocates only when one changed."""
        if shapes == self._shapes:
            return
        try:
            for tensor in self.facts.inputs:
                if shapes[tensor.index] != self._shapes.get(tensor.index, tensor.shape):
                    self._interpreter.resize_tensor_input(tensor.index, shapes[tensor.index], strict=True)
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise _refused(self.facts, error) from error
        except MemoryError as error:
            raise _no_memory(self.facts) from error
        self._shapes = shapes


def layer_tensors(facts: ModelFacts) -> Iterator[tuple[int, TensorFacts]]:
    """All layers that depend on the input and hold numbers, in execution order.

    Args:
        facts: of the model.

    Yields:
        Index of the op, and its output tensor.
    """
    for op in facts.ops:
        for index in op.outputs:
            if index < 0 or index in facts.main.fixed:
                continue
            tensor = facts.tensors[index]
            if tensor.dtype not in NOT_VALUES:
                yield op.index, tensor


def _input_names(facts: ModelFacts) -> dict[str, TensorFacts]:
    names = {name: tensor for tensor in facts.inputs if (name := facts.signature_name(tensor)) is not None}
    return names | {tensor.name: tensor for tensor in facts.inputs}


def _create(facts: ModelFacts, threads: int, accelerator: Accelerator, preserve_all: bool) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    if threads < 1:
        raise InvalidInput(f"{threads} threads cannot run a model")
    try:
        with warnings.catch_warnings():
            # The runtime warns that keeping all tensors takes memory: that is what was asked for.
            warnings.simplefilter("ignore", UserWarning)
            return Interpreter(
                model_path=str(facts.path),
                num_threads=threads,
                experimental_op_resolver_type=getattr(OpResolverType, resolver_of(accelerator)),
                experimental_preserve_all_tensors=preserve_all,
            )
    except (RuntimeError, ValueError) as error:
        raise _refused(facts, error) from error


def _refused(facts: ModelFacts, error: Exception) -> InvalidInput | Unsupported:
    """The runtime's complaint as one of our errors."""
    said = words_of(error)
    lacks = ("unresolved custom op", "Op builtin_code out of range", "Didn't find op", "Select TensorFlow op")
    if any(sign in said for sign in lacks):
        return Unsupported(f"the runtime lacks an op of {facts.path.name}: {said}")
    hint = MORE_MEMORY if said == _NO_WORDS else ""
    return InvalidInput(f"the runtime refuses {facts.path.name}: {said}", hint=hint)


def words_of(error: Exception) -> str:
    """What the runtime reports, in one line.

    Args:
        error: of the runtime.

    Returns:
        Its text. The runtime has none for a failed allocation: then words that say this.
    """
    return " ".join(str(error).split()) or _NO_WORDS


def _no_memory(facts: ModelFacts) -> JobFailed:
    return JobFailed(f"not enough memory to run {facts.path.name}", how="memory", hint=MORE_MEMORY)


def _prepare(tensor: TensorFacts, array: NDArray[Any]) -> NDArray[Any]:
    """The array in the input's type.

    Raises:
        InvalidInput: it does not fit; the message names the tensor.
    """
    fits = len(array.shape) == len(tensor.shape_signature) and all(
        want in (-1, got) for want, got in zip(tensor.shape_signature, array.shape, strict=True)
    )
    if not fits or 0 in array.shape:
        raise InvalidInput(
            f"input {tensor.name!r} takes the shape {shape_words(tensor.shape_signature)}, but the sample has "
            f"{list(array.shape)}"
        )
    if tensor.dtype == "string" and array.dtype.kind in "OSU":
        return array
    if array.dtype.kind in "fc" and not np.isfinite(array).all():
        raise InvalidInput(f"the sample for input {tensor.name!r} holds NaN or infinity")
    if array.dtype == tensor.dtype:
        return np.require(array, requirements="C")
    if array.dtype.kind == "f":
        if tensor.dtype.startswith("float"):
            return np.require(array, dtype=tensor.dtype, requirements="C")
        if tensor.quantization is not None:
            return quantize(array, tensor.quantization, tensor.dtype)
    raise InvalidInput(
        f"input {tensor.name!r} takes {tensor.dtype}, but the sample is {array.dtype}",
        hint="give real numbers as float32" if tensor.quantization else f"convert it to {tensor.dtype}",
    )
