"""What a measurement on this host is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from windtunnel.farm_dispatcher.adapters.benchmark.delegation import Delegation
from windtunnel.run_conditions import RunConditions


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
class Patience:
    """How often an unstable series is measured again, and how long it is waited in all for a quiet host before.

    `own_s`: if Windtunnel itself keeps the host busy; `others_s`: if others do.
    """

    repeats: int = 2
    own_s: float = 120.0
    others_s: float = 10.0


# For times that mean nothing anyway.
NO_PATIENCE = Patience(repeats=0, own_s=0.0, others_s=0.0)


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured: times in microseconds, memory in MiB of growth of the process's peak.

    `input_shapes` by tensor name; `shapes_known`: see `windtunnel.input_shapes.choose_shapes`.
    `zeroed_inputs`: indices that were 0, because the model refuses random ones.
    """

    model_bytes: int
    accelerator: str
    threads: int
    init_us: float
    warmup_us: tuple[float, ...]
    inference_us: tuple[float, ...]
    init_mb: float | None
    overall_mb: float | None
    delegation: Delegation
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    shapes_known: bool = True
    conditions: RunConditions | None = None
    zeroed_inputs: tuple[str, ...] = ()
