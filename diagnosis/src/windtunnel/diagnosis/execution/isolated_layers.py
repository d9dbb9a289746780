"""Every layer of the candidate run in isolation, on what the reference gives.

The accumulated error of a layer holds all errors before it. Here each layer is fed with the reference's values, so
the result is what this layer adds. It distinguishes the layer that creates an error from those that pass it on.

One run does it for all layers at once: in a copy of the candidate every matched tensor is an input where it is read
and an output where it is made. What a quantized tensor cannot represent is not an error of the layers that read it:
the reference is run in the same way, on the values as the candidate's tensors store them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.accelerators import BUILTIN
from windtunnel.diagnosis.graph import Pair
from windtunnel.diagnosis.numerics.isolated_sums import Local, LocalSums, Stored
from windtunnel.tflite import Accelerator, ModelFacts, Runner, TensorFacts, dequantize, quantize, read_model
from windtunnel.tflite.edit import Editor
from windtunnel.tflite.paired_ends import pair_inputs

Patch = Callable[[Editor], None]


class Isolated:
    """Copies of both models, in which every matched tensor is free.

    Args:
        reference: the .tflite file.
        candidate: the .tflite file.
        pairs: the tensors that are the same.
        folder: where the copies are written; the caller removes it.
        threads: CPU threads.
        accelerator: of both copies.
        patch: a change of the candidate to try; None: none.

    Raises:
        InvalidInput: a copy cannot be made or run.
        Unsupported: a copy cannot be made or run.
    """

    def __init__(
        self,
        reference: Path,
        candidate: Path,
        pairs: Sequence[Pair],
        folder: Path,
        *,
        threads: int = 1,
        accelerator: Accelerator = BUILTIN,
        patch: Patch | None = None,
    ) -> None:
        self._pairs = pairs
        self._patched = _Freed(
            candidate,
            {pair.candidate.tensor.index for pair in pairs},
            folder / "candidate.tflite",
            threads,
            accelerator,
            patch,
        )
        quantized = any(pair.candidate.tensor.quantization is not None for pair in pairs)
        # Where the candidate holds floats, the reference on the candidate's values is the reference as it ran.
        self._reference = (
            _Freed(
                reference,
                {pair.reference.tensor.index for pair in pairs},
                folder / "reference.tflite",
                threads,
                accelerator,
                None,
            )
            if quantized
            else None
        )
        facts = self._patched.original
        self._inputs = [
            (reference_tensor.index, candidate_tensor.index)
            for reference_tensor, candidate_tensor in pair_inputs(read_model(reference), facts)
        ]
        self.sums: dict[int, LocalSums] = {pair.candidate.tensor.index: LocalSums() for pair in pairs}
        for _, candidate_tensor in self._inputs:
            self.sums.setdefault(candidate_tensor, LocalSums())
        self._restated = self._restating(facts)

    def _restating(self, facts: ModelFacts) -> dict[int, list[tuple[int, TensorFacts]]]:
        """The results of QUANTIZE of each tensor with sums, which get sums of their own."""
        found: dict[int, list[tuple[int, TensorFacts]]] = {}
        for op in facts.ops:
            if op.name == "QUANTIZE" and op.inputs[0] in self.sums and op.outputs[0] not in self.sums:
                found.setdefault(op.inputs[0], []).append((op.outputs[0], self._patched.as_written(op.outputs[0])))
                self.sums[op.outputs[0]] = LocalSums()
        return found

    def add(self, values: Mapping[int, Stored]) -> None:
        """Runs one sample.

        Args:
            values: the reference's inputs and layers, by its tensor index.
        """
        stored: dict[int, NDArray[Any]] = {}
        held: dict[int, Stored] = {}
        for reference_tensor, candidate_tensor, permutation in self._fed():
            if reference_tensor not in values:
                continue
            given = values[reference_tensor]
            if given.quantization is None and given.array.dtype.kind != "f":
                stored[candidate_tensor], held[reference_tensor] = given.array, given
                continue
            moved = given.transposed(permutation)
            kept = self._store(
                candidate_tensor,
                Stored(_shaped(moved.array, self._patched.facts_of(candidate_tensor)), given.quantization),
            )
            stored[candidate_tensor] = kept.array
            for index, tensor in self._restated.get(candidate_tensor, ()):
                assert tensor.quantization is not None
                self.sums[index].hold(kept, tensor.quantization, tensor.dtype)
            back = Stored(kept.array.reshape(moved.array.shape), kept.quantization)
            held[reference_tensor] = back if permutation is None else back.transposed(tuple(np.argsort(permutation)))
        made = self._patched.run(stored)
        expected = values if self._reference is None else self._reference.run_real(held, like=values)
        for pair in self._pairs:
            reference_tensor, candidate_tensor = pair.reference.tensor.index, pair.candidate.tensor.index
            if candidate_tensor in made and reference_tensor in expected:
                self.sums[candidate_tensor].add(
                    expected[reference_tensor].transposed(pair.permutation), made[candidate_tensor]
                )

    def result(self) -> dict[int, Local]:
        """Figures by the candidate's tensor index, graph inputs included."""
        return {index: sums.result() for index, sums in self.sums.items()}

    def _fed(self) -> list[tuple[int, int, tuple[int, ...] | None]]:
        pairs = [(pair.reference.tensor.index, pair.candidate.tensor.index, pair.permutation) for pair in self._pairs]
        return [
            *((reference_tensor, candidate_tensor, None) for reference_tensor, candidate_tensor in self._inputs),
            *pairs,
        ]

    def _store(self, candidate_tensor: int, values: Stored) -> Stored:
        """The values as the candidate's tensor stores them."""
        tensor = self._patched.facts_of(candidate_tensor)
        if tensor.quantization is not None and tensor.is_quantized_integer:
            return self.sums[candidate_tensor].hold(values, tensor.quantization, tensor.dtype)
        self.sums[candidate_tensor].see(values)
        return Stored(_real(values, tensor.dtype))


def _real(values: Stored, dtype: str) -> NDArray[Any]:
    """Real values in a floating type."""
    if values.quantization is None:
        return values.array.astype(dtype, copy=False)
    real = dequantize(values.array, values.quantization)
    if dtype in ("float32", "float16"):
        # The largest integer may stand for a little more than the type holds: that of a mask of the least float32.
        limit = float(np.finfo(dtype).max)
        real = np.clip(real, -limit, limit)
    return real.astype(dtype)


def _shaped(values: NDArray[Any], tensor: TensorFacts) -> NDArray[Any]:
    """The values in the tensor's shape, where that is another grouping of the same dimensions."""
    wanted = tensor.shape_signature
    if len(wanted) == values.ndim and all(size in (-1, own) for size, own in zip(wanted, values.shape, strict=True)):
        return values
    known = math.prod(size for size in wanted if size != -1)
    unknown = wanted.count(-1)
    if (values.size == known and not unknown) or (unknown == 1 and known and values.size % known == 0):
        return values.reshape(wanted)
    return values


class _Freed:
    """A copy of a model with free tensors, in an interpreter.

    Args:
        path: the .tflite file.
        tensors: indices of the tensors that are fed and read.
        target: the copy.
        threads: CPU threads.
        accelerator: of the copy.
        patch: a change to try; None: none.
    """

    def __init__(
        self,
        path: Path,
        tensors: set[int],
        target: Path,
        threads: int,
        accelerator: Accelerator,
        patch: Patch | None,
    ) -> None:
        editor = Editor(path)
        self.original: ModelFacts = editor.facts
        if patch is not None:
            patch(editor)
        editor.free(tensors)
        # Writing gives the tensors that are left new indices, in the same order.
        self._inputs, self._outputs = editor.inputs, editor.outputs
        editor.write(target)
        self._runner = Runner(target, threads=threads, accelerator=accelerator)
        self._tensors = {
            **dict(zip(self._outputs, self._runner.facts.outputs, strict=True)),
            **dict(zip(self._inputs, self._runner.facts.inputs, strict=True)),
        }

    def facts_of(self, tensor: int) -> TensorFacts:
        """A free tensor as the copy has it.

        Args:
            tensor: index in the model.

        Returns:
            Its facts.
        """
        return self._tensors.get(tensor, self.original.tensors[tensor])

    def as_written(self, tensor: int) -> TensorFacts:
        """Any tensor as the copy has it, found by its name.

        Args:
            tensor: index in the model.

        Returns:
            Its facts.
        """
        known = self.original.tensors[tensor]
        return next((one for one in self._runner.facts.tensors if one.name == known.name), known)

    def run(self, values: Mapping[int, NDArray[Any]]) -> dict[int, Stored]:
        """Runs the copy on inputs as they are stored.

        Args:
            values: by tensor index in the model.

        Returns:
            Outputs by tensor index in the model.
        """
        fed = {
            tensor.name: values[index] for index, tensor in zip(self._inputs, self._runner.facts.inputs, strict=True)
        }
        made = self._runner.run(fed)
        return {
            index: Stored(made[tensor.name], tensor.quantization)
            for index, tensor in zip(self._outputs, self._runner.facts.outputs, strict=True)
        }

    def run_real(self, values: Mapping[int, Stored], like: Mapping[int, Stored]) -> dict[int, Stored]:
        """Runs the copy on real inputs.

        Args:
            values: by tensor index in the model.
            like: for inputs that `values` does not have.

        Returns:
            Outputs by tensor index in the model.
        """
        fed = {}
        for index, tensor in zip(self._inputs, self._runner.facts.inputs, strict=True):
            given = values.get(index) or like[index]
            if tensor.is_quantized_integer and given.quantization != tensor.quantization:
                assert tensor.quantization is not None
                real = dequantize(given.array, given.quantization)
                fed[index] = quantize(real, tensor.quantization, tensor.dtype)
            elif tensor.dtype.startswith("float"):
                fed[index] = _real(given, tensor.dtype)
            else:
                fed[index] = given.array
        return self.run(fed)
