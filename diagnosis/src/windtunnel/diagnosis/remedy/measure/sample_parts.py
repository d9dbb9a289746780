"""The three parts of the samples as files of model inputs: calibration, search and held-back."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel import isolation
from windtunnel.artifacts.stores.port import whole_file
from windtunnel.datacheck.classifier_scores import class_columns, class_indices
from windtunnel.diagnosis.remedy.measure.model_figures import Measure
from windtunnel.diagnosis.remedy.measure.split_samples import SEED, split
from windtunnel.errors import InvalidInput
from windtunnel.pipeline import InputSpec, Pipeline, load_samples, model_inputs
from windtunnel.tflite import ModelFacts, input_specs
from windtunnel.tflite.op_kinds import CLASSIFYING, maker_of

DEFAULT_NAME: Final = "x"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the samples: a folder with `<i>.npy` (N, ...) for the i-th input of the float model.

    `classes` are the right classes (N,), None without labels.
    """

    folder: Path
    inputs: tuple[str, ...]
    count: int
    classes: NDArray[np.int64] | None

    def feed(self) -> Iterator[dict[str, NDArray[Any]]]:
        """Each sample as (1, ...) arrays by the float model's input names; read from disk as it is asked for."""
        columns = [np.load(self.folder / f"{place}.npy", mmap_mode="r") for place in range(len(self.inputs))]
        for index in range(self.count):
            yield {name: np.array(column[index : index + 1]) for name, column in zip(self.inputs, columns, strict=True)}


@dataclass(frozen=True, slots=True)
class Parts:
    """All parts of the samples, and by what accuracy is measured; `calibration_file` is an .npz of model inputs."""

    calibration: Part
    search: Part
    held_back: Part
    calibration_file: Path
    measure: Measure
    stratified: bool
    seed: int
    unused: int
    repeated: int


def make_parts(
    model: ModelFacts, samples: Path, pipeline: Mapping[str, Any] | None, folder: Path, *, seed: int = SEED
) -> Parts:
    """Splits the samples, runs the pipeline over them, and writes what the model is fed.

    Of equal samples only the first is used: the search must not know what is held back.

    Args:
        model: the float model.
        samples: .npz or folder of samples.
        pipeline: content of a pipeline.json; None: samples as they are.
        folder: of the files.
        seed: of the drawing.

    Returns:
        The three parts.

    Raises:
        InvalidInput: the samples are too few, or do not fit the model.
    """
    given = load_samples(samples)
    own = given.distinct()
    repeated = given.count - len(own)
    classes, measure = _classes(model, None if given.labels is None else given.labels[own])
    drawn = split(len(own), classes, seed=seed, repeated=repeated)
    steps = None if pipeline is None else Pipeline.parse(pipeline)
    specs = input_specs(model)

    def part(name: str, indices: NDArray[np.int64]) -> Part:
        isolation.progress(0.0, f"preparing {len(indices)} samples: {name}")
        place = folder / name
        place.mkdir(parents=True)
        _write(place, specs, model_inputs(given.take(own[indices]), steps, specs), len(indices))
        right = None if classes is None else classes[indices]
        return Part(place, tuple(spec.name for spec in specs), len(indices), right)

    calibration = part("calibration", drawn.calibration)
    file = _calibration_file(calibration, folder / "calibration.npz")
    search, held_back = part("search", drawn.search), part("held_back", drawn.held_back)
    unused = len(own) - calibration.count - search.count - held_back.count
    return Parts(calibration, search, held_back, file, measure, drawn.stratified, seed, unused, repeated)


def _classes(model: ModelFacts, labels: NDArray[Any] | None) -> tuple[NDArray[np.int64] | None, Measure]:
    """Right classes, if there are any, and by what accuracy can be measured."""
    columns = columns_of(model)
    if labels is not None and columns:
        found = class_indices(np.asarray(labels), columns)
        if found is not None:
            return found, "labels"
    return None, "agreement" if columns and decides(model) else "output_nrmse"


def columns_of(model: ModelFacts) -> int:
    """How many scores the model gives for each sample.

    Args:
        model: facts of its file.

    Returns:
        As `class_columns` of its only output; 0: its outputs are not classes.
    """
    return class_columns(model.outputs[0].shape) if len(model.outputs) == 1 else 0


def decides(model: ModelFacts) -> bool:
    """Whether a softmax or sigmoid makes the output: then its largest value is a decision even without labels.

    Args:
        model: facts of its file.
    """
    maker = maker_of(model, model.main.output_indices[0])
    return maker is not None and maker.name in CLASSIFYING


def _write(folder: Path, specs: Sequence[InputSpec], feed: Iterator[dict[str, NDArray[Any]]], count: int) -> None:
    first = next(feed)
    columns = {}
    for place, spec in enumerate(specs):
        sample = first[spec.name]
        shape = (count, *sample.shape[1:])
        columns[spec.name] = np.lib.format.open_memmap(
            folder / f"{place}.npy", mode="w+", dtype=sample.dtype, shape=shape
        )
    for index, arrays in enumerate(itertools.chain([first], feed)):
        for name, column in columns.items():
            if arrays[name].shape != (1, *column.shape[1:]):
                raise InvalidInput(
                    f"the samples for input {name!r} are of different shapes: {list(arrays[name].shape[1:])} and "
                    f"{list(column.shape[1:])}",
                    hint="bring them to one shape with a pipeline",
                )
            column[index] = arrays[name][0]
    for column in columns.values():
        column.flush()


def _calibration_file(part: Part, path: Path) -> Path:
    """The calibration set as `windtunnel quantize --calibration` takes it, without a pipeline."""
    columns = [np.load(part.folder / f"{place}.npy", mmap_mode="r") for place in range(len(part.inputs))]
    if len(columns) == 1:
        arrays = {DEFAULT_NAME: columns[0]}
    else:
        arrays = {f"{DEFAULT_NAME}/{name}": column for name, column in zip(part.inputs, columns, strict=True)}
    with whole_file(path) as out:
        np.savez(out, **arrays)
    return path
