"""The jobs of `windtunnel layers`: write a layer log of a model over samples, and compare two logs.

Native code runs here: call them as jobs of `windtunnel.isolation.ChildPool`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.accelerators import XNNPACK
from windtunnel.diagnosis.feeding.paired_inputs import feed
from windtunnel.diagnosis.findings.coverage import Unmatched
from windtunnel.diagnosis.graph import match_layers
from windtunnel.diagnosis.layer_log.compare_logs import LoggedDiff, common_frames, compare_logs
from windtunnel.diagnosis.layer_log.log_file import LayerLog, LogWriter, Mode
from windtunnel.diagnosis.thresholds.numerics_thresholds import OTHER_INPUTS_SHARE, TEXT_VALUES
from windtunnel.diagnosis.thresholds.static_thresholds import ARITHMETIC_ROUNDING
from windtunnel.errors import InvalidInput
from windtunnel.isolation import progress
from windtunnel.tflite import Runner, dequantize, layer_tensors, read_model


@dataclass(frozen=True, slots=True)
class WrittenLog:
    """A layer log that was written: `resumed` frames of it were there before; sizes in bytes.

    `coding` is "predicted" where the log is read with its model. `text_bytes_per_frame` is what the values of the
    first frame take as text (`text_size`).
    """

    frames: int
    resumed: int
    layers: int
    mode: Mode
    coding: str
    size_bytes: int
    text_bytes_per_frame: int


@dataclass(frozen=True, slots=True)
class LogComparison:
    """Two logs compared: `layers` in the order of the second log.

    `ops` are (index, name) of the second model's op, by layer. `unmatched` are layers of the second log that were not
    compared, and why. `exact`: both are lossless; if not, the figures are estimates. `same_inputs`: the first frames
    had the same inputs; None: the logs do not show it. `tails` say what of the logs could not be read.
    `held` are the frames that each log has, of which `frames` were compared.
    """

    layers: tuple[LoggedDiff, ...]
    ops: Mapping[str, tuple[int, str]]
    unmatched: tuple[Unmatched, ...]
    frames: int
    exact: bool
    same_inputs: bool | None
    tails: tuple[str | None, str | None]
    held: tuple[int, int]


def write_layer_log(
    model: Path,
    out: Path,
    samples: Path | None,
    pipeline: Mapping[str, Any] | None = None,
    *,
    mode: Mode = "lossless",
    accelerator: str = XNNPACK,
    max_samples: int | None = None,
    append: bool = False,
) -> WrittenLog:
    """Runs a model over samples and logs every layer of each, one frame for a sample. Reports progress.

    Every frame is given to the operating system before the next one is run.

    Args:
        model: the .tflite file.
        out: the log.
        samples: as `compare_models` takes them.
        pipeline: as `compare_models` takes it.
        mode: lossless, or statistics.
        accelerator: as `compare_models` takes it.
        max_samples: as `compare_models` takes it.
        append: continue after the last whole frame of a log of this model, mode and runtime at `out`; the samples must
            be those that it was begun with.

    Returns:
        How many frames and bytes the log has.

    Raises:
        InvalidInput: the model or the samples cannot be used, or `out` cannot be written.
        Unsupported: the runtime lacks an op.
    """
    facts = read_model(model)
    given = feed(samples, pipeline, facts, facts)
    count = given.count if max_samples is None else min(given.count, max_samples)
    runner = Runner(model, accelerator=accelerator, preserve_all=True)
    try:
        with LogWriter(out, runner, mode, append=append) as log:
            log.keep(min(log.frames, count))
            resumed = log.frames
            try:
                text = _add_frames(log, runner, islice(given, count), count)
            finally:
                if not log.frames:
                    # Nothing to continue from.
                    out.unlink()
    except OSError as error:
        raise InvalidInput(f"{out} cannot be written: {error}", hint="is there room on the disk?") from error
    layers = len({tensor.index for _, tensor in layer_tensors(facts)})
    coding = str(LayerLog(out, model).header["coding"])
    return WrittenLog(count, resumed, layers, mode, coding, out.stat().st_size, text)


def _add_frames(log: LogWriter, runner: Runner, given: Iterator[Mapping[str, NDArray[Any]]], count: int) -> int:
    """Adds what the log lacks, and returns the size of the first frame as text."""
    start, text = log.frames, 0
    for number, inputs in enumerate(given):
        if number == 0 or number >= start:
            runner.run(inputs)
        if number == 0:
            text = text_size(runner)
        if number >= start:
            log.add(runner)
            log.flush()
            progress((number + 1) / count, f"sample {number + 1} of {count}")
    return text


def text_size(runner: Runner) -> int:
    """The size of all layers of the last run as text: every real value as "%.9g", which keeps float32, and a space.

    Of a layer with more than TEXT_VALUES values only so many, evenly spread, are written; the rest counts as equally
    long.

    Args:
        runner: after a run.

    Returns:
        Bytes.
    """
    size = 0.0
    for layer in runner.layers():
        if not layer.array.size:
            continue
        step = math.ceil(layer.array.size / TEXT_VALUES)
        values = dequantize(layer.array, layer.tensor.quantization).astype(np.float32).reshape(-1)[::step]
        size += sum(len(f"{value:.9g}") + 1 for value in values.tolist()) * layer.array.size / values.size
    return round(size)


def compare_layer_logs(first: Path, second: Path, models: tuple[Path, Path] | None = None) -> LogComparison:
    """Compares two logs of the same samples.

    A log that was interrupted, cut or damaged is compared on the frames that it still has.

    Args:
        first: of the reference.
        second: of the candidate.
        models: of both logs. Layers are then paired by what they compute; without models, by name. A lossless log needs
            its model; None: it is next to the log, under the name in the log.

    Returns:
        The comparison.

    Raises:
        NotFound: there is no such log.
        InvalidInput: a file is not a log, or is of another model or of other samples; or there is no frame, or no layer
            in common.
    """
    known = (None, None) if models is None else models
    logs = LayerLog(first, known[0]), LayerLog(second, known[1])
    if not all(log.frames for log in logs):
        empty = next(log for log in logs if not log.frames)
        raise InvalidInput(f"{empty.path.name} holds no whole frame", hint=empty.tail or "write it again")
    pairs, unmatched = _by_name(logs) if models is None else _by_structure(logs, models)
    if not pairs:
        hint = "compare logs of one network" if models else "give --models: layers are then paired by what they compute"
        raise InvalidInput(f"{first.name} and {second.name} have no layer in common", hint=hint)
    layers = compare_logs(first, second, models=known, pairs=pairs)
    return LogComparison(
        layers=tuple(layers),
        ops={layer["name"]: (layer["op_index"], layer["op"]) for layer in logs[1].header["layers"]},
        unmatched=tuple(unmatched),
        frames=common_frames(*logs),
        exact=all(log.mode == "lossless" for log in logs),
        same_inputs=_same_inputs(logs),
        tails=(logs[0].tail, logs[1].tail),
        held=(logs[0].frames, logs[1].frames),
    )


def _by_name(logs: tuple[LayerLog, LayerLog]) -> tuple[list[tuple[str, str]], list[Unmatched]]:
    known = {layer["name"] for layer in logs[0].header["layers"]}
    layers, why = logs[1].header["layers"], f"{logs[0].path.name} has no layer of this name"
    return (
        [(layer["name"], layer["name"]) for layer in layers if layer["name"] in known],
        [
            Unmatched(layer["name"], layer["op"], layer["op_index"], why)
            for layer in layers
            if layer["name"] not in known
        ],
    )


def _by_structure(
    logs: tuple[LayerLog, LayerLog], models: tuple[Path, Path]
) -> tuple[list[tuple[str, str]], list[Unmatched]]:
    """What the structural matching pairs. A log has values in its model's own layout: others are not compared."""
    for log, model in zip(logs, models, strict=True):
        _require_model(log, model)
    matching = match_layers(read_model(models[0]), read_model(models[1]))
    names = [{layer["index"]: layer["name"] for layer in log.header["layers"]} for log in logs]
    pairs, unmatched = [], list(matching.unmatched)
    for pair in matching.pairs:
        reference_layer, candidate_layer = pair.reference.tensor, pair.candidate.tensor
        if reference_layer.index not in names[0] or candidate_layer.index not in names[1]:
            continue
        if pair.permutation is None and reference_layer.shape == candidate_layer.shape:
            pairs.append((names[0][reference_layer.index], names[1][candidate_layer.index]))
        else:
            expected = f"that of {reference_layer.name} {list(reference_layer.shape)}"
            shapes = f"its shape is {list(candidate_layer.shape)}, {expected}"
            why = f"{shapes}: logs keep the order of each model"
            unmatched.append(
                Unmatched(names[1][candidate_layer.index], pair.candidate.op, pair.candidate.op_index, why)
            )
    return pairs, unmatched


def _require_model(log: LayerLog, model: Path) -> None:
    """Checks the model of a log that does not need it to be read.

    Raises:
        InvalidInput: the log is of another model.
    """
    with model.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != log.header["model"]["sha256"]:
            name = log.header["model"]["name"]
            raise InvalidInput(
                f"{model.name} is not the model that {log.path.name} was written with",
                hint=f"it was {name} of the sha256 {log.header['model']['sha256']}",
            )


def _same_inputs(logs: tuple[LayerLog, LayerLog]) -> bool | None:
    """Whether the first frames hold the same inputs, within what the inputs' types can hold."""
    if not all(log.mode == "lossless" for log in logs):
        return None
    sides = [list(_first_inputs(log)) for log in logs]
    if [values.shape for values, _ in sides[0]] != [values.shape for values, _ in sides[1]]:
        return None
    return all(_alike(a, b, max(one, two)) for (a, one), (b, two) in zip(*sides, strict=True))


def _first_inputs(log: LayerLog) -> Iterator[tuple[NDArray[np.float64], float]]:
    """The inputs of the first frame as real values, and a step of each."""
    frame = next(iter(log))
    for entry in log.header["inputs"]:
        array, scales = frame.inputs[entry["name"]], entry["scales"]
        if scales:
            array = (array.astype(np.float64) - entry["zero_points"][0]) * scales[0]
        yield array.astype(np.float64), scales[0] if scales else 0.0


def _alike(first: NDArray[np.float64], second: NDArray[np.float64], step: float) -> bool:
    # What an integer input cannot hold is clipped: not every value is the same.
    tolerance = step + ARITHMETIC_ROUNDING * float(np.abs(first).max(initial=0.0))
    return not first.size or bool(np.mean(np.abs(first - second) > tolerance) <= OTHER_INPUTS_SHARE)


def worst_first(layers: Sequence[LoggedDiff]) -> list[LoggedDiff]:
    """Sorts layers: those without a figure, then by nRMSE, the largest first.

    Args:
        layers: of a comparison.

    Returns:
        The sorted layers.
    """
    return sorted(layers, key=lambda one: -math.inf if one.nrmse is None else -one.nrmse)
