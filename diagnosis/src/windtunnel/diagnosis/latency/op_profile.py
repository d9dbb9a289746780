"""How long each op of a model takes. Native code: only in a child process.

Two ways. The runtime's own profiler measures the ops where they run. Without it, every op is cut out as a model of its
own, fed with the values that it gets in the whole model, and timed. Caches are warmer then and nothing is fused, so
that is an estimate, as `Profile.method` says. Either way `ops_ms` can be compared with `total_ms`, the time of the
whole model without profiling.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

from windtunnel.accelerators import BUILTIN, XNNPACK, parse_accelerator, resolver_of
from windtunnel.diagnosis.latency.delegate_ops import align
from windtunnel.diagnosis.latency.native_profiler import Event, Kernels, NativeProfiler
from windtunnel.diagnosis.thresholds.latency_thresholds import (
    CUT_LEAST_RUNS,
    CUT_MOST_RUNS,
    CUT_SECONDS,
    LEAST_RUNS,
    MOST_RUNS,
    PROFILE_SECONDS,
    WARM_UP_RUNS,
)
from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.input_shapes import Shapes
from windtunnel.isolation import progress
from windtunnel.pipeline import sample_inputs
from windtunnel.tflite.edit import Editor
from windtunnel.tflite.facts import ModelFacts, OpFacts
from windtunnel.tflite.inputs import input_specs
from windtunnel.tflite.quantization import quantize
from windtunnel.tflite.read import read_model
from windtunnel.tflite.run import Runner
from windtunnel.tflite.variables import require_values

Method = Literal["profiler", "cutting", "log"]

_ACCELERATORS: Final = (XNNPACK, BUILTIN)


@dataclass(frozen=True, slots=True)
class OpTime:
    """What one op takes per inference.

    `ms` is None if it has no time: it is computed before any run, or its output has no numbers. `kernels` are the
    delegate's operators that it became. `delegated` is None if that is not known.
    """

    op_index: int
    ms: float | None
    kernels: tuple[str, ...] = ()
    delegated: bool | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """Times of all ops, in execution order. All times are means over the faster half of the runs, in ms.

    `unassigned` is time that belongs to no op: delegate nodes that do not report their operators.
    `resolution_ms` is the smallest difference that the clock shows.
    """

    method: Method
    accelerator: Kernels
    threads: int
    runs: int
    total_ms: float
    ops: tuple[OpTime, ...]
    unassigned: tuple[tuple[str, float], ...] = ()
    resolution_ms: float = 1e-3

    @property
    def ops_ms(self) -> float:
        """The sum over the ops: what the method explains of `total_ms`."""
        return sum(op.ms for op in self.ops if op.ms is not None) + sum(ms for _, ms in self.unassigned)


def profile_model(
    path: Path,
    *,
    accelerator: str = XNNPACK,
    threads: int = 1,
    method: Method | None = None,
    samples: Path | None = None,
    pipeline: Mapping[str, Any] | None = None,
    shapes: Shapes = MappingProxyType({}),
) -> Profile:
    """Measures every op of a model on this machine's processor.

    Args:
        path: the .tflite file.
        accelerator: xnnpack (the runtime's default), or builtin for its own optimized kernels; in any spelling of
            `windtunnel.accelerators`.
        threads: CPU threads.
        method: None: the profiler; if it is Unsupported, cutting.
        samples: as `windtunnel.pipeline.sample_inputs` takes them; the first sample is fed. None: a seeded random
            input.
        pipeline: as `sample_inputs` takes it.
        shapes: as `sample_inputs` takes them.

    Returns:
        Times of all ops.

    Raises:
        InvalidInput: the model or the samples cannot be used.
        Unsupported: the runtime lacks an op, or `method` asks for the profiler and it cannot be used.
    """
    kernels = kernels_of(accelerator)
    facts = read_model(path)
    require_values(facts)
    inputs = first_inputs(facts, samples, pipeline, shapes)
    if method == "cutting":
        return _by_cutting(facts, inputs, kernels, threads)
    try:
        return _by_profiler(facts, inputs, kernels, threads)
    except Unsupported:
        if method == "profiler":
            raise
    return _by_cutting(facts, inputs, kernels, threads)


def kernels_of(accelerator: str) -> Kernels:
    """The name of an accelerator whose ops can be timed.

    Args:
        accelerator: in any spelling.

    Returns:
        xnnpack or builtin.

    Raises:
        InvalidInput: it is another one.
    """
    return cast(Kernels, parse_accelerator(accelerator, _ACCELERATORS))


def first_inputs(
    facts: ModelFacts,
    samples: Path | None = None,
    pipeline: Mapping[str, Any] | None = None,
    shapes: Shapes = MappingProxyType({}),
) -> list[NDArray[Any]]:
    """What the model is fed when it is timed: the first sample, or a random input.

    Args:
        facts: of the model.
        samples: as for `profile_model`.
        pipeline: as for `profile_model`.
        shapes: as for `profile_model`.

    Returns:
        As stored, in the order of the model's inputs.
    """
    return _stored(facts, next(iter(sample_inputs(samples, pipeline, input_specs(facts), shapes=shapes))))


def facts_in_use(facts: ModelFacts, inputs: Sequence[NDArray[Any]], threads: int = 1) -> ModelFacts:
    """Facts with the shapes that tensors have when the model is fed; a file has 1 for a dynamic dimension.

    Runs the model once, unless the inputs have the shapes of the file. A tensor that holds no values keeps its shape.

    Args:
        facts: of the model.
        inputs: as stored, in the order of the model's inputs.
        threads: CPU threads.

    Returns:
        Facts with other shapes.
    """
    if all(tensor.shape == array.shape for tensor, array in zip(facts.inputs, inputs, strict=True)):
        return facts
    shapes = {index: array.shape for index, array in _values(facts, inputs, threads).items()}
    tensors = tuple(replace(one, shape=shapes.get(one.index, one.shape)) for one in facts.tensors)
    return replace(facts, graphs=(replace(facts.main, tensors=tensors), *facts.graphs[1:]))


def _stored(facts: ModelFacts, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    """The inputs as the model stores them, in the order of the graph's."""
    found = []
    for tensor in facts.inputs:
        array = inputs[tensor.name]
        if tensor.quantization is not None and array.dtype.kind == "f":
            array = quantize(array, tensor.quantization, tensor.dtype)
        found.append(np.ascontiguousarray(array, dtype=tensor.dtype))
    return found


def _by_profiler(facts: ModelFacts, inputs: Sequence[NDArray[Any]], accelerator: Kernels, threads: int) -> Profile:
    with NativeProfiler(facts, accelerator, threads) as profiler:
        profiler.feed(inputs)
        for _ in range(WARM_UP_RUNS):
            profiler.run_plain()
        total, _ = _timed(profiler.run_plain, LEAST_RUNS, MOST_RUNS, PROFILE_SECONDS / 3)
        runs: list[list[Event]] = []
        end = time.perf_counter() + PROFILE_SECONDS
        while len(runs) < LEAST_RUNS or (len(runs) < MOST_RUNS and time.perf_counter() < end):
            runs.append(profiler.run())
            progress(min(len(runs) / MOST_RUNS, 1.0), f"run {len(runs)}")
    return _assigned(facts, runs, total, accelerator, threads)


def _assigned(
    facts: ModelFacts, runs: Sequence[Sequence[Event]], total: float, accelerator: Kernels, threads: int
) -> Profile:
    """Gives each op its time: its own event, or those of the delegate's operators that it became.

    Raises:
        Unsupported: the delegate's operators cannot be assigned to ops.
    """
    first = [event for event in runs[0] if event.graph == 0]
    times = np.array([[event.elapsed_us for event in run if event.graph == 0] for run in runs], dtype=np.float64)
    ms = _faster_half(times) / 1e3
    own = {e.op: value for e, value in zip(first, ms, strict=True) if not e.in_delegate and e.op < len(facts.ops)}
    parts = [(e.tag, float(v)) for e, v in zip(first, ms, strict=True) if e.in_delegate]
    opaque = [(e.tag, float(v)) for e, v in zip(first, ms, strict=True) if not e.in_delegate and e.op not in own]
    rest = [op for op in facts.ops if op.index not in own]
    folded = frozenset(op.index for op in rest if facts.main.fixed.issuperset(op.outputs))
    owners = align(rest, [tag for tag, _ in parts], folded) if parts else []
    if owners is None:
        raise Unsupported("the delegate's operators cannot be assigned to ops")
    grouped: dict[int, list[tuple[str, float]]] = {}
    for owner, part in zip(owners, parts, strict=True):
        grouped.setdefault(rest[owner].index, []).append(part)
    ops = tuple(_op_time(op, own.get(op.index), grouped.get(op.index), bool(parts), folded) for op in facts.ops)
    return Profile("profiler", accelerator, threads, len(runs), total, ops, tuple(opaque))


def _op_time(
    op: OpFacts,
    own: float | None,
    parts: Sequence[tuple[str, float]] | None,
    reported: bool,
    folded: frozenset[int],
) -> OpTime:
    if own is not None:
        return OpTime(op.index, float(own), (), False)
    if op.index in folded:
        return OpTime(op.index, None, (), None)
    if parts is None:
        # Fused into a neighbor; or a delegate ran it that does not report its operators.
        return OpTime(op.index, 0.0 if reported else None, (), True)
    return OpTime(op.index, sum(ms for _, ms in parts), tuple(tag for tag, _ in parts), True)


def _by_cutting(facts: ModelFacts, inputs: Sequence[NDArray[Any]], accelerator: Kernels, threads: int) -> Profile:
    values = _values(facts, inputs, threads)
    total, runs = _timed_model(facts.path, inputs, accelerator, threads, LEAST_RUNS, MOST_RUNS, PROFILE_SECONDS / 3)
    ops = []
    with tempfile.TemporaryDirectory(prefix="windtunnel-") as folder:
        for op in facts.ops:
            ms = _time_alone(facts, op, values, Path(folder, "op.tflite"), accelerator, threads)
            ops.append(OpTime(op.index, ms))
            progress((op.index + 1) / len(facts.ops), f"op {op.index + 1} of {len(facts.ops)}")
    return Profile("cutting", accelerator, threads, runs, total, tuple(ops))


def time_op(
    path: Path,
    op_index: int,
    *,
    accelerator: str,
    threads: int = 1,
    samples: Path | None = None,
    pipeline: Mapping[str, Any] | None = None,
    shapes: Shapes = MappingProxyType({}),
) -> float | None:
    """Measures what one op takes in isolation.

    Args:
        path: the .tflite file.
        op_index: of the op.
        accelerator: as for `profile_model`.
        threads: CPU threads.
        samples: as for `profile_model`.
        pipeline: as for `profile_model`.
        shapes: as for `profile_model`.

    Returns:
        In ms; None if it cannot be timed.
    """
    facts = read_model(path)
    require_values(facts)
    inputs = first_inputs(facts, samples, pipeline, shapes)
    values = _values(facts, inputs, threads)
    with tempfile.TemporaryDirectory(prefix="windtunnel-") as folder:
        place = Path(folder, "op.tflite")
        return _time_alone(facts, facts.ops[op_index], values, place, kernels_of(accelerator), threads)


def _values(facts: ModelFacts, inputs: Sequence[NDArray[Any]], threads: int) -> dict[int, NDArray[Any]]:
    """What every tensor holds in a run of the whole model, by tensor index."""
    runner = Runner(facts.path, threads=threads, accelerator=BUILTIN, preserve_all=True)
    values = {tensor.index: array for tensor, array in zip(facts.inputs, inputs, strict=True)}
    runner.run({facts.tensors[index].name: array for index, array in values.items()})
    return values | {layer.tensor.index: layer.array for layer in runner.layers()}


def _time_alone(
    facts: ModelFacts,
    op: OpFacts,
    values: Mapping[int, NDArray[Any]],
    path: Path,
    kernels: Kernels,
    threads: int,
) -> float | None:
    """The time of an op as a model of its own; None where it has no values to feed or the runtime refuses it."""
    fed = [index for index in dict.fromkeys(op.inputs) if index >= 0 and index not in facts.main.fixed]
    made = [index for index in op.outputs if index >= 0 and index in values]
    if not made or not fed or any(index not in values for index in fed) or op.index in _stateful(facts):
        return None
    editor = Editor(facts.path)
    try:
        editor.cut(fed, made)
        editor.write(path)
        given = [values[index] for index in fed]
        return _timed_model(path, given, kernels, threads, CUT_LEAST_RUNS, CUT_MOST_RUNS, CUT_SECONDS)[0]
    except (InvalidInput, Unsupported, RuntimeError, ValueError):
        return None


def _stateful(facts: ModelFacts) -> frozenset[int]:
    """Ops that read or write variables, or run other graphs: alone they would do something else."""
    variable = {
        tensor.index for tensor in facts.tensors if tensor.is_variable or tensor.dtype in ("resource", "variant")
    }
    graphs = {"IF", "WHILE", "CALL", "CALL_ONCE", "STABLEHLO_COMPOSITE"}
    return frozenset(
        op.index for op in facts.ops if op.name in graphs or variable.intersection((*op.inputs, *op.outputs))
    )


def _timed_model(
    path: Path,
    inputs: Sequence[NDArray[Any]],
    kernels: Kernels,
    threads: int,
    least: int,
    most: int,
    budget_s: float,
) -> tuple[float, int]:
    interpreter = _interpreter(path, kernels, threads)
    places = [detail["index"] for detail in interpreter.get_input_details()]
    for index, array in zip(places, inputs, strict=True):
        interpreter.resize_tensor_input(index, array.shape)
    interpreter.allocate_tensors()
    for index, array in zip(places, inputs, strict=True):
        interpreter.set_tensor(index, array)
    for _ in range(WARM_UP_RUNS):
        interpreter.invoke()
    return _timed(interpreter.invoke, least, most, budget_s)


def _interpreter(path: Path, kernels: Kernels, threads: int) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kind = getattr(OpResolverType, resolver_of(kernels))
    try:
        return Interpreter(model_path=str(path), num_threads=threads, experimental_op_resolver_type=kind)
    except (RuntimeError, ValueError) as error:
        raise Unsupported(f"the runtime refuses {path.name}: {' '.join(str(error).split())}") from error


def _timed(function: Callable[[], object], least: int, most: int, budget_s: float) -> tuple[float, int]:
    """Time of a call in ms, as the mean of the faster half of the calls, and how many there were."""
    took: list[float] = []
    end = time.perf_counter() + budget_s
    while len(took) < least or (len(took) < most and time.perf_counter() < end):
        start = time.perf_counter()
        function()
        took.append(time.perf_counter() - start)
    return float(_faster_half(np.array(took)[:, None])[0]) * 1e3, len(took)


def _faster_half(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over the smaller half of each column: other work on the machine only ever adds time."""
    kept = np.sort(times, axis=0)[: max(len(times) // 2, 1)]
    return np.asarray(kept.mean(axis=0), dtype=np.float64)
