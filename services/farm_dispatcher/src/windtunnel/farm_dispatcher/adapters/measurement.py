"""What a measurement on this host is."""

from __future__ import annotations

from dataclasses import dataclass

from windtunnel.farm_dispatcher.adapters.delegation import Delegation


@dataclass(frozen=True, slots=True)
class Series:
    """When a series of inferences ends: both minima are reached, or one maximum."""

    min_runs: int
    min_s: float
    max_runs: int
    max_s: float


WARMUP = Series(min_runs=1, min_s=0.5, max_runs=1000, max_s=10.0)
INFERENCE = Series(min_runs=50, min_s=1.0, max_runs=1000, max_s=10.0)


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured: times in microseconds, memory in MiB of growth of the process's peak."""

    model_bytes: int
    accelerator: str
    threads: int
    init_us: float
    warmup_us: tuple[float, ...]
    inference_us: tuple[float, ...]
    init_mb: float | None
    overall_mb: float | None
    delegation: Delegation
