"""The figures that a cell is judged by, from raw samples, or from a log without them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from windtunnel.errors import InvalidInput
from windtunnel.log_parser.domain.log import Delegate, RunLog


@dataclass(frozen=True, slots=True)
class Latency:
    """Latency of the regular runs in milliseconds; `samples` is their number. None: not known."""

    p50: float | None = None
    p95: float | None = None
    mean: float | None = None
    min: float | None = None
    max: float | None = None
    std: float | None = None
    samples: int | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one device run measured. `memory_mb` is the peak if it is known, the overall footprint if not."""

    latency_ms: Latency = field(default_factory=Latency)
    init_ms: float | None = None
    memory_mb: float | None = None
    accelerator_requested: str | None = None
    delegate: Delegate | None = None
    other_delegates: tuple[Delegate, ...] = ()


def measure(log: RunLog | None, samples_us: Sequence[float] | None) -> Measurement:
    """Measures a run from its log and its raw samples; samples win if both are given.

    Args:
        log: one run of a parsed log, or None.
        samples_us: latency of each regular invocation in microseconds, shape (N,), N >= 1; or None. Percentiles are
            interpolated linearly between the sorted samples (Hyndman and Fan 1996, type 7); `std` is that of the
            population of the samples.

    Returns:
        The measurement; figures that neither has are None.

    Raises:
        InvalidInput: neither is given, there are no samples, or one is negative or not finite.
    """
    if log is None and samples_us is None:
        raise InvalidInput("nothing to measure: neither a log nor samples", hint="give the run's log or its samples")
    latency = _from_samples(samples_us) if samples_us is not None else _from_log(log) if log is not None else Latency()
    if log is None:
        return Measurement(latency_ms=latency)
    memory = log.memory.peak_mb if log.memory.peak_mb is not None else log.memory.overall_mb
    return Measurement(
        latency_ms=latency,
        init_ms=_ms(log.init_us),
        memory_mb=memory,
        accelerator_requested=log.accelerator_requested,
        delegate=log.delegate,
        other_delegates=log.other_delegates,
    )


def _ms(us: float | None) -> float | None:
    return None if us is None else us / 1000


def _from_log(log: RunLog) -> Latency:
    stats = log.inference
    return Latency(
        p50=_ms(stats.median_us),
        p95=_ms(stats.p95_us),
        mean=_ms(stats.avg_us),
        min=_ms(stats.min_us),
        max=_ms(stats.max_us),
        std=_ms(stats.std_us),
        samples=None if stats.count is None else int(stats.count),
    )


def _from_samples(samples_us: Sequence[float]) -> Latency:
    try:
        samples = np.asarray(samples_us, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(f"latency samples are not numbers: {error}", hint="give microseconds as numbers") from error
    if samples.ndim != 1 or samples.size == 0:
        raise InvalidInput(
            f"latency samples have shape {samples.shape}, not (N,) with N >= 1", hint="give one figure per invocation"
        )
    bad = np.flatnonzero(~np.isfinite(samples) | (samples < 0))
    if bad.size:
        raise InvalidInput(
            f"latency sample {bad[0]} is {samples[bad[0]]} us", hint="every sample must be finite and not negative"
        )
    p50, p95 = np.percentile(samples, [50, 95], method="linear") / 1000
    return Latency(
        p50=float(p50),
        p95=float(p95),
        mean=float(samples.mean()) / 1000,
        min=float(samples.min()) / 1000,
        max=float(samples.max()) / 1000,
        std=float(samples.std()) / 1000,
        samples=int(samples.size),
    )
