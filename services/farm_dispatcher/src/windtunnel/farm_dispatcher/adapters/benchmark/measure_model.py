"""Measures a model on this host the way TensorFlow Lite's benchmark tool does. Native code: only in a child process.

The procedure is that of tensorflow/lite/tools/benchmark: load and allocate, warm up, then run; each inference is
timed alone. A series that other work on the host made worthless is measured again.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from windtunnel.accelerators import resolver_of
from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.farm_dispatcher.adapters.benchmark.delegation import Node, count_delegated
from windtunnel.farm_dispatcher.adapters.benchmark.host_load import Watch
from windtunnel.farm_dispatcher.adapters.benchmark.measurement import (
    INFERENCE,
    NO_PATIENCE,
    WARMUP,
    Measured,
    Patience,
    Series,
)
from windtunnel.farm_dispatcher.adapters.benchmark.quiet_wait import QuietWait
from windtunnel.farm_dispatcher.domain.trust_measurement import Judged, judge_series
from windtunnel.input_shapes import ChosenShapes, InputSpec, Shapes, bare_name, choose_shapes, shapes_words
from windtunnel.run_conditions import RunConditions

_SEED = 20201
_LEAST_WATCH_S = 0.25


@dataclass(frozen=True, slots=True)
class Procedure:
    """How a model is measured."""

    warmup: Series = WARMUP
    inference: Series = INFERENCE
    patience: Patience = NO_PATIENCE


def measure(
    model: Path, accelerator: str, threads: int, shapes: Shapes | None = None, procedure: Procedure | None = None
) -> Measured:
    """Measures a model on this host.

    Args:
        model: the .tflite file.
        accelerator: xnnpack or builtin (no delegate), in any spelling of `windtunnel.accelerators`.
        threads: CPU threads.
        shapes: of the inputs, by any of their names; see `windtunnel.input_shapes.given_shapes`.
        procedure: how often and how long; None: that of the benchmark tool.

    Returns:
        The measurement.

    Raises:
        InvalidInput: the runtime refuses the model or the shapes.
        Unsupported: the runtime lacks an op of the model.
    """
    how = procedure or Procedure()
    memory = _Memory()
    chosen: ChosenShapes | None = None
    try:
        started = time.perf_counter_ns()
        interpreter = Interpreter(
            model_path=str(model),
            num_threads=threads,
            experimental_op_resolver_type=getattr(OpResolverType, resolver_of(accelerator)),
        )
        chosen = _set_shapes(interpreter, shapes or {})
        interpreter.allocate_tensors()
        init_us = (time.perf_counter_ns() - started) / 1000
        init_mb = memory.growth_mb()
        warmup_us, zeroed = _warm_up(interpreter, how.warmup)
        inference_us, conditions = _stable_series(interpreter.invoke, threads, how)
    except (RuntimeError, ValueError) as error:
        raise _refused(error, chosen, given=bool(shapes)) from error
    return Measured(
        model_bytes=model.stat().st_size,
        accelerator=accelerator,
        threads=threads,
        init_us=init_us,
        warmup_us=warmup_us,
        inference_us=inference_us,
        init_mb=init_mb,
        overall_mb=memory.growth_mb(),
        delegation=count_delegated(_nodes(interpreter)),
        input_shapes=chosen.shapes,
        shapes_known=chosen.known,
        conditions=conditions,
        zeroed_inputs=zeroed,
    )


def _set_shapes(interpreter: Any, wanted: Shapes) -> ChosenShapes:
    """Gives the inputs their sizes before memory is allocated."""
    names = {index: name for name, index in _signature_inputs(interpreter)}
    details = interpreter.get_input_details()
    specs = [
        InputSpec(
            detail["name"],
            tuple(map(int, detail["shape_signature"])) or tuple(map(int, detail["shape"])),
            np.dtype(detail["dtype"]).name,
            names.get(detail["index"]),
        )
        for detail in details
    ]
    chosen = choose_shapes(specs, wanted)
    for detail in details:
        shape = chosen.shapes[detail["name"]]
        if shape != tuple(detail["shape"]):
            interpreter.resize_tensor_input(detail["index"], shape, strict=True)
    return chosen


def _signature_inputs(interpreter: Any) -> list[tuple[str, int]]:
    """(name, tensor index) of the inputs of all signatures."""
    signatures = interpreter._get_full_signature_list()
    return [pair for signature in signatures.values() for pair in signature["inputs"].items()]


def _stable_series(invoke: Callable[[], None], threads: int, how: Procedure) -> tuple[tuple[float, ...], RunConditions]:
    """The times of a series and its conditions: the first stable one of a few, or the quietest."""
    kept = _watched(invoke, threads, how.inference)
    quiet, repeats = QuietWait(threads, how.patience), 0
    while kept[1].is_unstable and repeats < how.patience.repeats:
        repeats += 1
        quiet.wait()
        _timed(invoke, how.warmup)
        kept = min(kept, _watched(invoke, threads, how.inference), key=lambda one: one[1].severity)
    times, judged = kept
    return times, judged.after(repeats)


def _watched(invoke: Callable[[], None], threads: int, series: Series) -> tuple[tuple[float, ...], Judged]:
    watch = Watch()
    times = _timed(invoke, series)
    # A thousand inferences of a small model are over before the system has counted anything.
    time.sleep(max(0.0, _LEAST_WATCH_S - watch.elapsed_s))
    return times, judge_series(times, watch.load(), threads)


def _timed(invoke: Callable[[], None], series: Series) -> tuple[float, ...]:
    """Time of each inference in microseconds."""
    clock = time.perf_counter_ns
    times: list[float] = []
    gc.collect()
    gc.disable()
    try:
        begin = clock()
        enough, limit = begin + series.min_s * 1e9, begin + series.max_s * 1e9
        now = begin
        while (len(times) < series.min_runs or now < enough) and len(times) < series.max_runs and now < limit:
            before = clock()
            invoke()
            now = clock()
            times.append((now - before) / 1000)
    finally:
        gc.enable()
    return tuple(times)


def _warm_up(interpreter: Any, series: Series) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Fills the inputs and runs the warm-up; with indices of 0 if the model refuses random ones.

    Raises:
        RuntimeError: the model refuses these too.
    """
    _fill_inputs(interpreter)
    try:
        return _timed(interpreter.invoke, series), ()
    except RuntimeError:
        wide = [one for one in interpreter.get_input_details() if _holds_indices(np.dtype(one["dtype"]))]
        if not wide:
            raise
        for detail in wide:
            interpreter.set_tensor(detail["index"], np.zeros(detail["shape"], detail["dtype"]))
        return _timed(interpreter.invoke, series), tuple(bare_name(detail["name"]) for detail in wide)


def _fill_inputs(interpreter: Any) -> None:
    """Seeded random inputs in the ranges that the benchmark tool takes: real numbers in [-0.5, 0.5).

    Raises:
        Unsupported: an input has a type that cannot be filled.
    """
    draw = np.random.default_rng(_SEED)
    for detail in interpreter.get_input_details():
        dtype = np.dtype(detail["dtype"])
        if dtype.kind not in "fbiu":
            kind = "text" if dtype.kind in "SUO" else str(dtype)
            raise Unsupported(
                f"input {bare_name(detail['name'])!r} takes {kind}: only models that take numbers can be benchmarked",
                hint="take the part that makes numbers of it out of the model",
            )
        interpreter.set_tensor(detail["index"], _random(draw, tuple(detail["shape"]), dtype))


def _holds_indices(dtype: np.dtype[Any]) -> bool:
    """Wide integers are indices more often than quantized numbers."""
    return dtype.kind in "iu" and dtype.itemsize > 2


def _random(draw: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind == "f":
        return (draw.random(shape) - 0.5).astype(dtype)
    if dtype.kind == "b":
        return draw.integers(0, 2, shape).astype(dtype)
    low, high = (0, 99) if _holds_indices(dtype) else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return draw.integers(low, high, shape, endpoint=True).astype(dtype)


def _nodes(interpreter: Any) -> list[Node]:
    # The list has the graph's own nodes and behind them one DELEGATE node for each part that was taken over.
    return [
        Node(tuple(map(int, op["inputs"])), tuple(map(int, op["outputs"])), op["op_name"] == "DELEGATE")
        for op in interpreter._get_ops_details()
    ]


def _refused(error: Exception, chosen: ChosenShapes | None, *, given: bool) -> InvalidInput | Unsupported:
    said = " ".join(str(error).split())
    if "custom op" in said or "Didn't find op" in said or "builtin_code out of range" in said:
        return Unsupported(f"the runtime lacks an op of the model: {said}")
    if chosen is not None and (given or not chosen.known):
        assumed = "" if chosen.known else " (dynamic dimensions taken as 1)"
        return InvalidInput(
            f"the runtime refuses the model with input shape {shapes_words(chosen.shapes)}{assumed}: {said}",
            hint="give shapes that the model can run with: --shape or --samples, or input_shapes in the plan",
        )
    return InvalidInput(f"the runtime refuses the model: {said}")


class _Memory:
    """Growth of this process's peak resident memory since now; None if the system does not report it."""

    def __init__(self) -> None:
        # The peak so far is that of starting up; from here on it is the model's.
        self._can_reset = _reset_peak()
        self._start = _status_kb("VmRSS")

    def growth_mb(self) -> float | None:
        peak = _status_kb("VmHWM")
        if self._start is None or peak is None or not self._can_reset:
            return None
        return max(0, peak - self._start) / 1024


def _reset_peak() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _status_kb(name: str) -> int | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), None)
