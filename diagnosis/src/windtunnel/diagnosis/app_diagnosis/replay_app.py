"""The model run again on what an app fed, and on what its pipeline feeds. Native code: only in a child process."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.accelerators import BUILTIN, XNNPACK
from windtunnel.diagnosis.recording.edge_recording import ONLY, Rows
from windtunnel.errors import InvalidInput
from windtunnel.tflite import ModelFacts, Runner, TensorFacts
from windtunnel.tflite.quantization import dequantize

Arrays = Mapping[str, NDArray[Any]]
# The kernels of this machine; what they differ by is what right kernels may differ by.
KERNELS: Final = (XNNPACK, BUILTIN)


@dataclass(frozen=True, slots=True)
class Replayed:
    """Outputs of every frame, as real numbers, by output tensor: (N, ...)."""

    outputs: Mapping[str, NDArray[np.float64]]


def paired(named: Mapping[str, Rows], tensors: Sequence[TensorFacts], facts: ModelFacts, what: str) -> dict[str, Rows]:
    """Recorded rows by the tensors of the model.

    Args:
        named: rows by the names of the recording; `ONLY` is the only one.
        tensors: inputs or outputs of the model.
        facts: of the model.
        what: "input" or "output", for messages.

    Returns:
        Rows by tensor name, of those that the recording has.

    Raises:
        InvalidInput: a name is not one of the model's.
    """
    if set(named) == {ONLY} and len(tensors) == 1:
        return {tensors[0].name: named[ONLY]}
    by_name = {}
    for tensor in tensors:
        alias = facts.input_name(tensor) if what == "input" else facts.output_name(tensor)
        for name in filter(None, (tensor.name, alias)):
            by_name[name] = tensor
    found = {}
    for name, rows in named.items():
        if name not in by_name:
            known = ", ".join(tensor.name for tensor in tensors)
            raise InvalidInput(
                f"the recording has the {what} {name or 'without a name'!r}; the model's {what}s are {known}",
                hint=f"name the arrays {what}/<name>",
            )
        found[by_name[name].name] = rows
    return found


def real_rows(rows: Rows, tensor: TensorFacts) -> list[NDArray[np.float64]]:
    """Recorded rows as real numbers: stored integers of a quantized tensor are dequantized.

    Args:
        rows: of the recording.
        tensor: of the model.

    Returns:
        A row per frame.
    """
    return [_real(np.asarray(row), tensor) for row in rows]


def _real(row: NDArray[Any], tensor: TensorFacts) -> NDArray[np.float64]:
    stored = tensor.quantization is not None and row.dtype == np.dtype(tensor.dtype)
    return dequantize(row, tensor.quantization if stored else None)


def fed_rows(rows: Rows, tensor: TensorFacts) -> list[NDArray[Any]]:
    """Recorded inputs in the shape that the model takes, batch 1; memory is not moved.

    Args:
        rows: what reached the model.
        tensor: the input.

    Returns:
        An array per frame.

    Raises:
        InvalidInput: a frame has another number of values than the model takes.
    """
    wanted = tensor.shape_signature
    found = []
    for number, row in enumerate(rows):
        array = np.asarray(row)
        sizes = _filled(wanted, array)
        if sizes is None:
            raise InvalidInput(
                f"frame {number} has an input of {list(array.shape)}; the model's {tensor.name!r} takes {list(wanted)}",
                hint="record what reached the model, and give the model that the app runs",
            )
        fitting = array.reshape(sizes)
        if tensor.quantization is None and fitting.dtype.kind in "uif" and fitting.dtype != np.dtype(tensor.dtype):
            fitting = fitting.astype(tensor.dtype)
        found.append(fitting)
    return found


def _filled(wanted: Sequence[int], array: NDArray[Any]) -> tuple[int, ...] | None:
    """The shape of the model for this array, whatever order its dimensions have."""
    if len(array.shape) == len(wanted) and all(w in (-1, s) for w, s in zip(wanted, array.shape, strict=True)):
        return array.shape
    batched = (1, *array.shape)
    if len(batched) == len(wanted) and all(w in (-1, s) for w, s in zip(wanted, batched, strict=True)):
        return batched
    fixed = tuple(1 if size < 0 else size for size in wanted)
    return fixed if int(np.prod(fixed)) == array.size else None


def replay(
    model: Path, inputs: Mapping[str, Sequence[NDArray[Any]]], *, accelerator: str = XNNPACK, threads: int = 1
) -> Replayed:
    """Runs a model on the inputs of every frame.

    Args:
        model: a .tflite file.
        inputs: arrays of batch 1 by input tensor, one per frame.
        accelerator: the kernels.
        threads: CPU threads.

    Returns:
        The outputs.
    """
    runner = Runner(model, accelerator=accelerator, threads=threads)
    names = list(inputs)
    outputs: dict[str, list[NDArray[np.float64]]] = {}
    for frame in zip(*inputs.values(), strict=True):
        for name, array in runner.run(dict(zip(names, frame, strict=True)), dequantized=True).items():
            outputs.setdefault(name, []).append(np.asarray(array, np.float64))
    return Replayed({name: np.concatenate(rows) for name, rows in outputs.items()})


def replay_layers(
    model: Path, inputs: Mapping[str, Sequence[NDArray[Any]]], wanted: Collection[str], accelerator: str
) -> dict[str, list[NDArray[Any]]]:
    """Runs a model and keeps some of its layers, as stored.

    Args:
        model: a .tflite file.
        inputs: arrays of batch 1 by input tensor, one per frame.
        wanted: names of layers.
        accelerator: the kernels.

    Returns:
        An array per frame, by layer.
    """
    runner = Runner(model, accelerator=accelerator, preserve_all=True)
    names = list(inputs)
    found: dict[str, list[NDArray[Any]]] = {}
    for frame in zip(*inputs.values(), strict=True):
        runner.run(dict(zip(names, frame, strict=True)))
        for layer in runner.layers():
            if layer.name in wanted:
                found.setdefault(layer.name, []).append(layer.array)
    return found
