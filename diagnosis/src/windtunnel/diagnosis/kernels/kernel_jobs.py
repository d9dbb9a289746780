"""Jobs: run feeds on disk on one accelerator, to results on disk. Run them in a child process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.accelerators import resolver_of
from windtunnel.arm_emulator import run_arm, worker
from windtunnel.diagnosis.feeding.paired_inputs import feed
from windtunnel.diagnosis.kernels.kernel_sets import Kernel
from windtunnel.diagnosis.kernels.single_op_models import Derived
from windtunnel.errors import InvalidInput
from windtunnel.isolation import progress
from windtunnel.tflite import TensorFacts, quantize, read_model, require_values
from windtunnel.tflite.run import words_of


@dataclass(frozen=True, slots=True)
class Order:
    """One model, one accelerator, some files. Keys in the files are the tensor indices of the model as given.

    `feeds` has one or more files per sample, of which each holds a part of the inputs.
    """

    model: Derived
    kernel: Kernel
    feeds: tuple[Path, ...]
    results: tuple[Path, ...]
    preserve_all: bool
    threads: int = 1
    timeout_s: float = 1800.0


def prepare(
    model: Path, samples: Path | None, pipeline: Mapping[str, Any] | None, limit: int, folder: Path
) -> tuple[Path, ...]:
    """Writes samples as what the model's inputs store, one file each.

    Args:
        model: the .tflite file.
        samples: .npz or folder of samples; None: random inputs.
        pipeline: content of a pipeline.json; None: samples as they are.
        limit: most samples.
        folder: of the files.

    Returns:
        The files.

    Raises:
        InvalidInput: the samples do not fit the model.
        Unsupported: an input has a type that cannot be fed.
    """
    facts = read_model(model)
    require_values(facts)
    given = feed(samples, pipeline, facts, facts)
    files = []
    for number, inputs in enumerate(islice(given, limit)):
        stored = {str(tensor.index): _stored(tensor, inputs[tensor.name]) for tensor in facts.inputs}
        files.append(folder / f"{number:05}.npz")
        np.savez(files[-1], allow_pickle=False, **stored)
    if not files:
        raise InvalidInput("there are no samples", hint="give at least one")
    return tuple(files)


def _stored(tensor: TensorFacts, values: NDArray[Any]) -> NDArray[Any]:
    values = np.asarray(values)
    if values.dtype == tensor.dtype:
        return values
    if values.dtype.kind == "f" and tensor.quantization is not None and not tensor.dtype.startswith("float"):
        return quantize(values, tensor.quantization, tensor.dtype)
    if values.dtype.kind == "f" and tensor.dtype.startswith("float"):
        return values.astype(tensor.dtype)
    raise InvalidInput(f"input {tensor.name!r} takes {tensor.dtype}, but the sample is {values.dtype}")


def execute(order: Order) -> None:
    """Runs the order and writes its results. Reports progress. A crash of this machine's own kernels ends the process.

    Args:
        order: what to run.

    Raises:
        InvalidInput: the runtime refuses the model.
        NotFound: the emulator is missing.
        JobFailed: an emulated run crashed.
    """
    job = {
        "model": str(order.model.path),
        "resolver": resolver_of(order.kernel.accelerator),
        "threads": order.threads,
        "preserve_all": order.preserve_all,
        "inputs": _keyed(order.model.inputs),
        "tensors": _keyed(order.model.outputs),
        "feeds": [str(path) for path in order.feeds],
        "results": [str(path) for path in order.results],
    }

    def on_sample(done: int) -> None:
        progress(done / len(order.feeds), f"{order.kernel.name}: sample {done} of {len(order.feeds)}")

    if order.kernel.cpu is not None:
        run_arm(job, order.kernel.cpu, timeout_s=order.timeout_s, on_sample=on_sample)
        return
    try:
        worker.run(job, on_sample)
    except (RuntimeError, ValueError) as error:
        what = f"the runtime refuses {order.model.path.name} with {order.kernel.name}"
        raise InvalidInput(f"{what}: {words_of(error)}") from error


def _keyed(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, str]]:
    return [(here, str(there)) for here, there in pairs]


def merge(parts: Sequence[Path], out: Path) -> Path:
    """Writes the arrays of several files to one.

    Args:
        parts: the files; of equal keys the last one counts.
        out: the new file.

    Returns:
        `out`.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for part in parts:
        with np.load(part) as stored:
            arrays.update({key: stored[key] for key in stored.files})
    np.savez(out, allow_pickle=False, **arrays)
    return out
