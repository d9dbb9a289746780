"""What a farm gives back of a farm run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from pathlib import Path

from windtunnel.farm_dispatcher.domain.devices import DeviceFacts
from windtunnel.farms.failure_kinds import FailureKind
from windtunnel.run_conditions import RunConditions


@dataclass(frozen=True, slots=True)
class Samples:
    """Raw latencies in microseconds, in the order in which they were taken."""

    warmup: tuple[float, ...]
    inference: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class DeviceRun:
    """One run of a cell: the benchmark log as its tool printed it, raw latencies if there are any, facts.

    `input_shapes` by tensor name are those that the inputs had. `shapes_known`: see `input_shapes.choose_shapes`;
    None: the farm does not say. `conditions` None: not recorded. `zeroed_inputs`: indices that were 0, because the
    model refuses random ones. `instance`: which of the devices of this name it was, as the farm knows it.
    """

    log: str
    samples: Samples | None
    facts: DeviceFacts
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    shapes_known: bool | None = None
    conditions: RunConditions | None = None
    zeroed_inputs: tuple[str, ...] = ()
    instance: str = ""


class Phase(Enum):
    """How far a farm run is on its farm."""

    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"
    # It ended with the process that ran it, left nothing and is not billed: submitting it again starts it again.
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Submitted:
    """A farm run that its farm knows: the farm's own id, a web page (empty: none), its state in the farm's words."""

    id: str
    url: str = ""
    words: str = ""


@dataclass(frozen=True, slots=True)
class Polled:
    """What a farm says of a farm run now."""

    phase: Phase
    words: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class JobFailure:
    """How a job failed, and in `hint` what to do.

    `field` is the field of the farm's answer that reports it; `instance` as in `DeviceRun`; `detail` the last lines of
    what crashed; `code` a stable word for programs.
    """

    kind: FailureKind
    message: str
    hint: str = ""
    field: str = ""
    instance: str = ""
    detail: str = ""
    code: str = "farm"


@dataclass(frozen=True, slots=True)
class JobResult:
    """What became of one entry: a run or a failure.

    `log` of a failed job is what there is of it, empty if there is nothing. `seconds`: how long it took on the device;
    None: not known. `pulled`: local copies, by the paths on the device.
    """

    run: DeviceRun | None = None
    failure: JobFailure | None = None
    log: str = ""
    seconds: float | None = None
    pulled: Mapping[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.run is None) == (self.failure is None):
            raise ValueError("a job has a run or a failure")


@dataclass(frozen=True, slots=True)
class Collected:
    """All of an ended farm run: one result for each entry, in their order.

    `billed_minutes`: what the farm bills for all of it; None: nothing.
    """

    results: tuple[JobResult, ...]
    billed_minutes: Decimal | None = None
