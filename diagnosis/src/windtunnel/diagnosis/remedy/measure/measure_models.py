"""Runs models on a part of the samples, and measures them side by side. Native code: only in a child process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel import isolation
from windtunnel.accelerators import BUILTIN
from windtunnel.datacheck.classifier_scores import OutputKind, ScoreSums
from windtunnel.diagnosis.remedy.measure.model_figures import Answers, Drift
from windtunnel.diagnosis.remedy.measure.sample_parts import Part, columns_of, decides
from windtunnel.diagnosis.thresholds.remedy_thresholds import PERCENTILE_VALUES, TIMING_MOST_TURNS, TIMING_WARM_UP_RUNS
from windtunnel.errors import InvalidInput
from windtunnel.tflite import ModelFacts, Runner, layer_tensors, quantize, read_model
from windtunnel.tflite.op_kinds import CLASSIFYING
from windtunnel.tflite.paired_ends import pair_inputs, pair_outputs

Rows = Mapping[str, NDArray[Any]]


def answer_of_reference(reference: Path, part: Part, outputs: Path, *, kind: OutputKind | None = None) -> Answers:
    """Runs the float model over a part of the samples and keeps its outputs.

    Args:
        reference: the float model.
        part: of the samples.
        outputs: folder of the outputs: `<i>.npy` (N, ...), float64.
        kind: how its decisions are read: that of another part's answers. None: as the graph says; if it does not, as
            they look.

    Returns:
        Its answers.
    """
    runner = Runner(reference)
    names = [tensor.name for tensor in runner.facts.outputs]
    columns: list[NDArray[Any]] = []
    outputs.mkdir(parents=True)
    if kind is None and columns_of(runner.facts) == 1 and decides(runner.facts):
        kind = "probabilities"
    tally = _Tally(runner.facts, len(names), kind)
    for number, inputs in enumerate(part.feed()):
        found = runner.run(inputs, dequantized=True)
        rows = [found[name] for name in names]
        if not columns:
            columns = [_column(outputs / f"{i}.npy", part.count, row) for i, row in enumerate(rows)]
        for name, column, row in zip(names, columns, rows, strict=True):
            _require_shape(row, column, name)
            column[number] = row
        tally.add(rows, rows)
        isolation.progress((number + 1) / part.count)
    return tally.answers()


def answer(model: Path, part: Part, outputs: Path, *, reference: Path, kind: OutputKind | None) -> Answers:
    """Runs a model over a part of the samples and compares its outputs with the float model's.

    Args:
        model: a .tflite that takes and gives what the float model does, under any names.
        part: of the samples.
        outputs: what `answer_of_reference` kept for this part.
        reference: the float model.
        kind: how the float model's decisions were read: what is cut off or moved does not look the same any more.

    Returns:
        Its answers.

    Raises:
        InvalidInput: the model takes or gives something else than the float model.
    """
    runner, float_model = Runner(model), read_model(reference)
    require_same_ends(float_model, runner.facts)
    names = {one.name: other.name for one, other in pair_inputs(float_model, runner.facts)}
    targets = [other.name for _, other in pair_outputs(float_model, runner.facts)]
    columns = [np.load(outputs / f"{place}.npy", mmap_mode="r") for place in range(len(targets))]
    tally = _Tally(float_model, len(targets), kind)
    for number, inputs in enumerate(part.feed()):
        found = runner.run({names[name]: array for name, array in inputs.items()}, dequantized=True)
        tally.add([column[number] for column in columns], [found[name] for name in targets])
        isolation.progress((number + 1) / part.count)
    return tally.answers()


class _Tally:
    """Sums up a model's outputs against the float model's, sample by sample.

    Args:
        reference: the float model.
        outputs: how many it has.
        kind: how its decisions are read; None: as they look.
    """

    def __init__(self, reference: ModelFacts, outputs: int, kind: OutputKind | None) -> None:
        self._drifts = [Drift() for _ in range(outputs)]
        self._scores = ScoreSums()
        self._columns = columns_of(reference)
        self._kind = kind
        self._bad = 0

    def add(self, reference: Sequence[NDArray[Any]], rows: Sequence[NDArray[Any]]) -> None:
        right = [drift.add(expected, row) for drift, expected, row in zip(self._drifts, reference, rows, strict=True)]
        self._bad += not all(right)
        if self._columns:
            self._scores.add(rows[0].reshape(1, -1), None)

    def answers(self) -> Answers:
        worst = [drift.nrmse() for drift in self._drifts]
        known = [value for value in worst if value is not None]
        nrmse = max(known) if known and len(known) == len(worst) and not self._bad else None
        if not self._columns:
            return Answers(None, nrmse, self._bad)
        kind = self._scores.kind(self._kind)
        return Answers(self._scores.all_decisions(kind), nrmse, self._bad, kind)


def _column(path: Path, count: int, row: NDArray[Any]) -> NDArray[Any]:
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.float64, shape=(count, *row.shape))


def _require_shape(row: NDArray[Any], column: NDArray[Any], name: str) -> None:
    if row.shape != column.shape[1:]:
        raise InvalidInput(
            f"output {name!r} of the float model changes its shape from sample to sample",
            hint="a remedy can only be proven on outputs of one shape",
        )


def require_same_ends(reference: ModelFacts, model: ModelFacts) -> None:
    """Checks that a model takes and gives what the float model does, under any names.

    Args:
        reference: the float model.
        model: the model that was made from it.

    Raises:
        InvalidInput: another number of inputs or outputs, or another shape of one.
    """
    for what, expected, found, pair in (
        ("inputs", reference.inputs, model.inputs, pair_inputs),
        ("outputs", reference.outputs, model.outputs, pair_outputs),
    ):
        if len(expected) != len(found):
            raise _not_made_from(reference, model, f"it has {len(found)} {what}, not {len(expected)}")
        for one, other in pair(reference, model):
            if one.shape_signature != other.shape_signature and one.shape != other.shape:
                shapes = f"{what} {other.name!r} has the shape {list(other.shape)}, not {list(one.shape)}"
                raise _not_made_from(reference, model, shapes)


def _not_made_from(reference: ModelFacts, model: ModelFacts, why: str) -> InvalidInput:
    return InvalidInput(
        f"{model.path.name} was not made from {reference.path.name}: {why}",
        hint="give the float model that the variant was made from",
    )


def race(
    models: Sequence[Path], part: Part, reference: Path, *, seconds: float, turns: int
) -> list[NDArray[np.float64]]:
    """Times models on this machine, with one thread and XNNPACK.

    They run in turns, so that the load of the machine is the same for all. Each turn runs every model once. Only
    inference is timed.

    Args:
        models: the .tflite files.
        part: its first sample is fed.
        reference: the float model, which names the inputs.
        seconds: at least so long, or 5,000 turns.
        turns: at least so many.

    Returns:
        Milliseconds, (N,) per model, in the order of the turns.
    """
    inputs = next(part.feed())
    facts = read_model(reference)
    runs = [_ready(model, inputs, facts) for model in models]
    times: list[list[float]] = [[] for _ in runs]
    for run in runs * TIMING_WARM_UP_RUNS:
        run()
    started = time.perf_counter()
    turn = 0
    while turn < turns or (turn < TIMING_MOST_TURNS and time.perf_counter() - started < seconds):
        for place in range(len(runs)):
            # Each model comes first in turn: what ran before leaves its mark in the caches.
            at = (place + turn) % len(runs)
            before = time.perf_counter()
            runs[at]()
            times[at].append((time.perf_counter() - before) * 1000.0)
        turn += 1
    return [np.asarray(own) for own in times]


def _ready(model: Path, inputs: Rows, reference: ModelFacts) -> Callable[[], None]:
    """A model that is fed and allocated; calling it runs it once."""
    from ai_edge_litert.interpreter import Interpreter

    facts = read_model(model)
    given = {other.name: inputs[one.name] for one, other in pair_inputs(reference, facts)}
    interpreter = Interpreter(model_path=str(model), num_threads=1)
    for tensor in facts.inputs:
        array = given[tensor.name]
        if tensor.quantization is not None and array.dtype.kind == "f":
            array = quantize(array, tensor.quantization, tensor.dtype)
        if array.shape != tensor.shape:
            interpreter.resize_tensor_input(tensor.index, array.shape, strict=True)
        given[tensor.name] = array
    interpreter.allocate_tensors()
    for tensor in facts.inputs:
        interpreter.set_tensor(tensor.index, given[tensor.name])
    run: Callable[[], None] = interpreter.invoke
    return run


def percentile_ranges(model: Path, part: Part, percent: float) -> dict[str, tuple[float, float]]:
    """The range of each float activation of a model without its outliers.

    It is computed from at most 1,024 seeded values of each tensor and sample. Ranges include zero, which must be
    representable. The output of a softmax or sigmoid is left out: the kernel gives its range.

    Args:
        model: the .tflite file.
        part: of the samples.
        percent: how many percent of the values the range includes on either side.

    Returns:
        (low, high), in real units, by tensor name.
    """
    runner = Runner(model, accelerator=BUILTIN, preserve_all=True)
    facts = runner.facts
    wanted = {
        tensor.index
        for op, tensor in layer_tensors(facts)
        if tensor.dtype == "float32" and facts.ops[op].name not in CLASSIFYING | {"TANH"}
    }
    draw = np.random.default_rng(0)
    values: dict[str, list[NDArray[Any]]] = {}
    for number, inputs in enumerate(part.feed()):
        runner.run(inputs)
        for layer in runner.layers():
            if layer.tensor.index in wanted:
                flat = layer.array.ravel()
                chosen = (
                    flat if flat.size <= PERCENTILE_VALUES else flat[draw.integers(0, flat.size, PERCENTILE_VALUES)]
                )
                values.setdefault(layer.name, []).append(chosen.copy())
        isolation.progress((number + 1) / part.count)
    ranges = {}
    for name, found in values.items():
        low, high = np.percentile(np.concatenate(found).astype(np.float64), (100.0 - percent, percent))
        if min(low, 0.0) < max(high, 0.0):
            ranges[name] = (float(min(low, 0.0)), float(max(high, 0.0)))
    return ranges
