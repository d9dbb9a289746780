"""Measures a model on this host the way TensorFlow Lite's benchmark tool does. Native code: only in a child process.

The procedure is that of tensorflow/lite/tools/benchmark: load and allocate, warm up, then run; each inference is
timed alone.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.farm_dispatcher.adapters.delegation import Node, count_delegated
from windtunnel.farm_dispatcher.adapters.measurement import INFERENCE, WARMUP, Measured, Series

RESOLVERS = {
    "xnnpack": OpResolverType.BUILTIN,
    "cpu": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
}
_SEED = 20201


def measure(
    model: Path, accelerator: str, threads: int, *, warmup: Series = WARMUP, inference: Series = INFERENCE
) -> Measured:
    """Runs `model` with `threads` CPU threads; `accelerator` is "xnnpack" or "cpu" (no delegate).

    Raises InvalidInput where the runtime refuses the model, Unsupported where it lacks an op of it.
    """
    memory = _Memory()
    try:
        started = time.perf_counter_ns()
        interpreter = Interpreter(
            model_path=str(model), num_threads=threads, experimental_op_resolver_type=RESOLVERS[accelerator]
        )
        interpreter.allocate_tensors()
        init_us = (time.perf_counter_ns() - started) / 1000
        init_mb = memory.growth_mb()
        _fill_inputs(interpreter)
        warmup_us = _timed(interpreter.invoke, warmup)
        inference_us = _timed(interpreter.invoke, inference)
    except (RuntimeError, ValueError) as error:
        raise _refused(error) from error
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
    )


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


def _fill_inputs(interpreter: Any) -> None:
    """Seeded random inputs in the ranges that the benchmark tool takes: real numbers in [-0.5, 0.5)."""
    draw = np.random.default_rng(_SEED)
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], _random(draw, tuple(detail["shape"]), np.dtype(detail["dtype"])))


def _random(draw: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind == "f":
        return (draw.random(shape) - 0.5).astype(dtype)
    if dtype.kind == "b":
        return draw.integers(0, 2, shape).astype(dtype)
    if dtype.kind in "iu":
        # Wide integers are indices more often than quantised numbers.
        low, high = (np.iinfo(dtype).min, np.iinfo(dtype).max) if dtype.itemsize <= 2 else (0, 99)
        return draw.integers(low, high, shape, endpoint=True).astype(dtype)
    raise Unsupported(f"a model with an input of type {dtype} cannot be benchmarked")


def _nodes(interpreter: Any) -> list[Node]:
    # The list has the graph's own nodes and behind them one DELEGATE node for each part that was taken over.
    return [
        Node(tuple(map(int, op["inputs"])), tuple(map(int, op["outputs"])), op["op_name"] == "DELEGATE")
        for op in interpreter._get_ops_details()
    ]


def _refused(error: Exception) -> InvalidInput | Unsupported:
    said = " ".join(str(error).split())
    if "custom op" in said or "Didn't find op" in said or "out of range" in said:
        return Unsupported(f"the runtime lacks an op of the model: {said}")
    return InvalidInput(f"the runtime refuses the model: {said}")


class _Memory:
    """Growth of this process's peak resident memory since now; None where the system does not tell."""

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
