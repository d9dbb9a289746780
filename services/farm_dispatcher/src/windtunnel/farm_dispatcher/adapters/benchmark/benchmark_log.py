"""A measurement as the log of TensorFlow Lite's benchmark tool, so that logs of all farms are read the same way.

Wordings and order are those of tensorflow/lite/tools/benchmark (benchmark_model.cc, benchmark_tflite_model.cc).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from windtunnel.accelerators import XNNPACK
from windtunnel.farm_dispatcher.adapters.benchmark.delegation import Delegation
from windtunnel.farm_dispatcher.adapters.benchmark.measurement import INFERENCE, WARMUP, Measured, Series

_NOTE = (
    "Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE to the actual "
    "memory footprint of the model at runtime. Take the information at your discretion."
)


def render(measured: Measured, *, warmup: Series = WARMUP, inference: Series = INFERENCE) -> str:
    """The log of one benchmark run: times in whole microseconds, averages in six digits, memory in MiB.

    Args:
        measured: the measurement.
        warmup: how the warm-up was run.
        inference: how the inferences were run.

    Returns:
        The text.
    """
    lines = [
        *_parameters(measured),
        *_delegate(measured),
        f"The input model file size (MB): {measured.model_bytes / 1e6:g}",
        *_zeroed(measured),
        f"Initialized session in {measured.init_us / 1000:g}ms.",
        *_series(warmup, measured.warmup_us),
        *_series(inference, measured.inference_us),
        f"Inference timings in us: Init: {round(measured.init_us)}, "
        f"First inference: {round(measured.warmup_us[0])}, "
        f"Warmup (avg): {_mean(measured.warmup_us):g}, Inference (avg): {_mean(measured.inference_us):g}",
        *_memory(measured),
    ]
    return "".join(f"{line}\n" if line.startswith("VERBOSE") or not line else f"INFO: {line}\n" for line in lines)


def _parameters(measured: Measured) -> Iterator[str]:
    yield "STARTING!"
    yield "Log parameter values verbosely: [0]"
    yield f"Num threads: [{measured.threads}]"
    yield "Graph: [model.tflite]"
    yield f"#threads used for CPU inference: [{measured.threads}]"
    yield f"Use xnnpack: [{int(measured.accelerator == 'xnnpack')}]"
    yield "Loaded model model.tflite"


def _zeroed(measured: Measured) -> Iterator[str]:
    """Not of the tool, which fails for such a model."""
    if measured.zeroed_inputs:
        yield f"Windtunnel: random indices are refused, inputs of 0: {', '.join(measured.zeroed_inputs)}"


def _delegate(measured: Measured) -> Iterator[str]:
    if measured.accelerator != XNNPACK:
        return
    found = measured.delegation
    yield "Created TensorFlow Lite XNNPACK delegate for CPU."
    yield "XNNPACK delegate created."
    if found.kernels:
        yield (
            f"VERBOSE: Replacing {found.nodes_delegated} out of {found.nodes_total} node(s) with delegate "
            f"(TfLiteXNNPackDelegate) node, yielding {found.partitions} partitions for subgraph 0."
        )
    yield _outcome(found)


def _outcome(found: Delegation) -> str:
    if not found.kernels:
        return "Though XNNPACK delegate is explicitly applied, the model graph will not be executed by the delegate."
    if found.nodes_delegated == found.nodes_total:
        return "Explicitly applied XNNPACK delegate, and the model graph will be completely executed by the delegate."
    return (
        "Explicitly applied XNNPACK delegate, and the model graph will be partially executed by the delegate "
        f"w/ {found.kernels} delegate kernels."
    )


def _series(series: Series, times_us: Sequence[float]) -> Iterator[str]:
    yield (
        f"Running benchmark for at least {series.min_runs} iterations and at least {series.min_s:g} seconds "
        f"but terminate if exceeding {series.max_s:g} seconds."
    )
    yield _statistics([round(time) for time in times_us])
    yield ""


def _statistics(times: Sequence[int]) -> str:
    """The tool's line; where all are equal it prints the value once. Deviation of the population, p by nearest rank."""
    percentiles = " ".join(f"{name}={_percentile(times, share)}" for name, share in _PERCENTILES)
    if min(times) == max(times):
        same = "(all same)" if len(times) > 1 else ""
        return f"count={len(times)} curr={times[-1]}{same} {percentiles}"
    mean = _mean(times)
    deviation = math.sqrt(sum((time - mean) ** 2 for time in times) / len(times))
    return (
        f"count={len(times)} first={times[0]} curr={times[-1]} min={min(times)} max={max(times)} "
        f"avg={mean:g} std={deviation:g} {percentiles}"
    )


_PERCENTILES = (("p5", 0.05), ("median", 0.5), ("p95", 0.95))


def _percentile(times: Sequence[int], share: float) -> int:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _mean(times: Sequence[float]) -> float:
    return math.fsum(times) / len(times)


def _memory(measured: Measured) -> Iterator[str]:
    if measured.init_mb is not None and measured.overall_mb is not None:
        yield _NOTE
        yield f"Peak memory footprint (MB): init={measured.init_mb:g} overall={measured.overall_mb:g}"
