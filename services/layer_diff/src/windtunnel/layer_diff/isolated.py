"""Every layer of the candidate run in isolation, on what the reference gives.

The accumulated error of a layer holds all errors before it. Here each layer is fed with the reference's values, so
what comes out is what this layer adds: the layer that creates an error is told from those that pass it on.

One run does it for all layers at once: in a copy of the candidate every matched tensor is an input where it is read
and an output where it is made. What a quantised tensor cannot hold is not held against the layers that read it: the
reference is run in the same way, on the values as the candidate's tensors store them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.errors import UserError
from windtunnel.layer_diff.graph import Pair
from windtunnel.layer_diff.inputs import pair_inputs
from windtunnel.tflite import Accelerator, ModelFacts, Runner, dequantize, quantize
from windtunnel.tflite.edit import Editor

Patch = Callable[[Editor], None]


@dataclass(frozen=True, slots=True)
class Local:
    """What one layer does to the reference's values, over `samples` samples.

    `nrmse` and `rmse` are its own error (see `figures`); None where nothing could be run. `low` and `high` are the
    reference's values seen. Where the tensor is quantised, `clipped` is the share of these values outside the range
    that it can hold, `clip_rmse` and `round_rmse` are what clipping and rounding cost, in real units.
    """

    samples: int
    nrmse: float | None
    rmse: float | None
    max_abs: float | None
    low: float
    high: float
    clipped: float = 0.0
    clip_rmse: float = 0.0
    round_rmse: float = 0.0


class LocalSums:
    """Running sums of one layer."""

    def __init__(self) -> None:
        self.samples = 0
        self._count = 0
        self._squares = 0.0
        self._max_abs = 0.0
        self._ends = [math.inf, -math.inf]
        self._seen = [math.inf, -math.inf]
        self._seen_count = self._outside = 0
        self._clip = self._round = 0.0
        self._unknown = False

    def add(self, reference: NDArray[np.float64], candidate: NDArray[np.float64]) -> None:
        """Adds what both made of the same inputs."""
        if reference.size != candidate.size or not (np.isfinite(reference).all() and np.isfinite(candidate).all()):
            self._unknown = True
            return
        difference = (candidate.reshape(reference.shape) - reference).ravel()
        self.samples += 1
        self._count += difference.size
        self._squares += float(difference @ difference)
        if difference.size:
            self._max_abs = max(self._max_abs, float(np.abs(difference).max()))
            self._ends[0] = min(self._ends[0], float(reference.min()), float(candidate.min()))
            self._ends[1] = max(self._ends[1], float(reference.max()), float(candidate.max()))

    def see(self, values: NDArray[np.float64], held: NDArray[np.float64] | None, limits: tuple[float, float]) -> None:
        """Adds what the reference gives, and what of it the candidate's tensor holds (None: all)."""
        if not values.size or not np.isfinite(values).all():
            return
        self._seen = [min(self._seen[0], float(values.min())), max(self._seen[1], float(values.max()))]
        self._seen_count += values.size
        if held is not None:
            error = np.square(held - values)
            outside = (values < limits[0]) | (values > limits[1])
            self._outside += int(np.count_nonzero(outside))
            clipped = float(error[outside].sum())
            self._clip += clipped
            self._round += float(error.sum()) - clipped

    def result(self) -> Local:
        """The figures so far."""
        rmse = None if self._unknown or not self._count else math.sqrt(self._squares / self._count)
        width = self._ends[1] - self._ends[0]
        nrmse = None if rmse is None else 0.0 if rmse == 0.0 else rmse / width if width > 0.0 else None
        seen = max(1, self._seen_count)
        return Local(
            samples=self.samples,
            nrmse=nrmse,
            rmse=rmse,
            max_abs=None if rmse is None else self._max_abs,
            low=self._seen[0],
            high=self._seen[1],
            clipped=self._outside / seen,
            clip_rmse=math.sqrt(max(0.0, self._clip) / seen),
            round_rmse=math.sqrt(max(0.0, self._round) / seen),
        )


class Isolated:
    """Copies of both models, in which every matched tensor is free.

    Args:
        reference, candidate: the models; `patch` changes the candidate first.
        pairs: the tensors that are the same.
        folder: where the copies are written; the caller removes it.

    Raises Unsupported and InvalidInput where a copy cannot be made or run.
    """

    def __init__(
        self,
        reference: Path,
        candidate: Path,
        pairs: Sequence[Pair],
        folder: Path,
        *,
        threads: int = 1,
        accelerator: Accelerator = "none",
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
        self._inputs = [(own.index, mine.index) for own, mine in pair_inputs(read(reference), facts)]
        self.sums: dict[int, LocalSums] = {pair.candidate.tensor.index: LocalSums() for pair in pairs}
        for _, mine in self._inputs:
            self.sums.setdefault(mine, LocalSums())

    def add(self, values: Mapping[int, NDArray[np.float64]]) -> None:
        """Runs one sample. `values`: the reference's real values by its tensor index, inputs and layers."""
        stored: dict[int, NDArray[Any]] = {}
        held: dict[int, NDArray[np.float64]] = {}
        for own, mine, permutation in self._fed():
            if own not in values:
                continue
            moved = values[own] if permutation is None else np.transpose(values[own], permutation)
            stored[mine], back = self._store(mine, moved)
            inverse = None if permutation is None else np.argsort(permutation)
            held[own] = back if inverse is None else np.transpose(back, inverse)
        made = self._patched.run(stored)
        expected = values if self._reference is None else self._reference.run(held, like=values)
        for pair in self._pairs:
            own, mine = pair.reference.tensor.index, pair.candidate.tensor.index
            if mine in made and own in expected:
                wanted = expected[own]
                if pair.permutation is not None:
                    wanted = np.transpose(wanted, pair.permutation)
                self.sums[mine].add(wanted, made[mine])

    def result(self) -> dict[int, Local]:
        """Figures by the candidate's tensor index, graph inputs included."""
        return {index: sums.result() for index, sums in self.sums.items()}

    def _fed(self) -> list[tuple[int, int, tuple[int, ...] | None]]:
        pairs = [(pair.reference.tensor.index, pair.candidate.tensor.index, pair.permutation) for pair in self._pairs]
        return [*((own, mine, None) for own, mine in self._inputs), *pairs]

    def _store(self, mine: int, values: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """The values as the candidate's tensor stores them, and read back."""
        tensor = self._patched.facts_of(mine)
        quantization = tensor.quantization
        integer = tensor.dtype.startswith(("int", "uint"))
        sums = self.sums[mine]
        if quantization is None or not integer:
            sums.see(values, None, (0.0, 0.0))
            stored = values.astype(tensor.dtype)
            return stored, values
        stored = quantize(values, quantization, tensor.dtype)
        back = dequantize(stored, quantization)
        sums.see(values, back, representable(quantization, tensor.dtype))
        return stored, back


def representable(quantization: Any, dtype: str) -> tuple[float, float]:
    """The least and the largest real number that a tensor with one scale can hold."""
    kind = np.iinfo(np.dtype(dtype))
    scale, zero = quantization.scales[0], quantization.zero_points[0]
    return scale * (kind.min - zero), scale * (kind.max - zero)


class _Freed:
    """A copy of a model with free tensors, in an interpreter."""

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

    def facts_of(self, tensor: int) -> Any:
        """A free tensor as the copy holds it, by its index in the model."""
        return self._tensors.get(tensor, self.original.tensors[tensor])

    def run(
        self, values: Mapping[int, NDArray[Any]], like: Mapping[int, NDArray[Any]] | None = None
    ) -> dict[int, NDArray[np.float64]]:
        """Real outputs by tensor index; `like` gives what `values` does not say."""
        fed = {}
        for index, tensor in zip(self._inputs, self._runner.facts.inputs, strict=True):
            value = values[index] if index in values else (like or {})[index]
            if value.dtype == np.float64 and tensor.quantization is None:
                value = value.astype(tensor.dtype)
            fed[tensor.name] = value
        made = self._runner.run(fed, dequantized=True)
        return {
            index: made[tensor.name] for index, tensor in zip(self._outputs, self._runner.facts.outputs, strict=True)
        }


def read(path: Path) -> ModelFacts:
    """The model's facts."""
    from windtunnel.tflite import read_model

    return read_model(path)


def try_isolated(build: Callable[[], Isolated]) -> tuple[Isolated | None, str]:
    """The isolated models, or why there are none: a runtime may refuse ops that are fed by hand."""
    try:
        return build(), ""
    except UserError as error:
        return None, str(error)
