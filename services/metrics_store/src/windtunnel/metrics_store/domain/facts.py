"""What the events say, one fact each. `anomalies` names figures that were not finite, for example "loss is inf"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from windtunnel.datacheck.findings import Finding
from windtunnel.metrics_store.domain.values import (
    Blob,
    CellSpec,
    ConversionCheck,
    Device,
    Failure,
    FarmRun,
    Layers,
    Measurement,
    Quality,
    Tensor,
)


@dataclass(frozen=True, slots=True)
class Seen:
    """There is such a run. `sure` is False for what the announcement alone says: the run's own events know better."""

    started_at: datetime
    sure: bool
    model_name: str = ""
    model_version: str = ""
    model_sha256: str = ""
    plan: Blob | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    trace_id: str = ""


@dataclass(frozen=True, slots=True)
class Canceled:
    """Somebody ended the run. `reason` is why, in their words; it may be empty."""

    at: datetime
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Converted:
    """The model is float32 TFLite. `check` is None if none was made."""

    model: Blob
    trained: Blob | None = None
    check: ConversionCheck | None = None
    tool_versions: Mapping[str, str] = field(default_factory=dict)
    anomalies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NotConverted:
    """The run ends here."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Ready:
    """A variant exists."""

    variant: str
    model: Blob
    calibration_samples: int = 0
    calibration_from_samples: bool = False
    tool_versions: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()


@dataclass(frozen=True, slots=True)
class NotMade:
    """A variant could not be made."""

    variant: str
    failure: Failure


@dataclass(frozen=True, slots=True)
class Compared:
    """A variant was compared with the float model."""

    variant: str
    reference: Quality
    candidate: Quality
    layers: Layers | None = None
    agreement: float | None = None
    diagnosis: Blob | None = None
    model: Blob | None = None
    synthetic_samples: bool = False
    anomalies: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class NotCompared:
    """A variant could not be compared."""

    variant: str
    failure: Failure


@dataclass(frozen=True, slots=True)
class Planned:
    """The cells of a variant, and why each of those that its farm cannot run is skipped: words, and a FailureKind."""

    variant: str
    cells: tuple[CellSpec, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    skip_kinds: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NotPlanned:
    """The cells of a variant could not be planned."""

    variant: str
    failure: Failure


@dataclass(frozen=True, slots=True)
class Built:
    """The app of a variant for a platform exists."""

    variant: str
    platform: str
    package: Blob


@dataclass(frozen=True, slots=True)
class NotBuilt:
    """The app of a variant for a platform could not be built."""

    variant: str
    platform: str
    failure: Failure


@dataclass(frozen=True, slots=True)
class Finished:
    """A device ran a cell; its log is there. `repeat` and `of_baseline` as for `Measured`."""

    cell: CellSpec
    attempt: int
    log: Blob | None = None
    samples: Blob | None = None
    repeat: int = 0
    of_baseline: bool = False
    farm_run: FarmRun | None = None
    edge_logs: tuple[Blob, ...] = ()


@dataclass(frozen=True, slots=True)
class AppCause:
    """Something that is wrong around a model in an app. `layer` empty: it is not in the model, or has no place."""

    code: str
    layer: str = ""
    op_index: int | None = None
    confidence: float | None = None
    verified: bool = False
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Diagnosed:
    """What an app recorded on a device was compared with its reference. `verdict` empty: `failure` says why not."""

    cell: CellSpec
    attempt: int
    verdict: str = ""
    causes: tuple[AppCause, ...] = ()
    frames: int = 0
    gaps: tuple[str, ...] = ()
    diagnosis: Blob | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class NotRun:
    """A cell has no measurement. `repeat` and `of_baseline` as for `Measured`."""

    cell: CellSpec
    attempt: int
    failure: Failure
    repeat: int = 0
    of_baseline: bool = False
    farm_run: FarmRun | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """A cell has a measurement. `repeat` 0: its own; otherwise a repeat, of the baseline's model if `of_baseline`."""

    cell: CellSpec
    attempt: int
    measurement: Measurement
    device: Device = field(default_factory=Device)
    anomalies: tuple[str, ...] = ()
    repeat: int = 0
    of_baseline: bool = False
    farm_run: FarmRun | None = None


@dataclass(frozen=True, slots=True)
class TriedAgain:
    """An attempt failed and another one follows: what carried the attempt, whose bill counts."""

    cell: CellSpec
    attempt: int
    farm_run: FarmRun
    repeat: int = 0
    of_baseline: bool = False


@dataclass(frozen=True, slots=True)
class RepeatsRequested:
    """More jobs of a cell and of its baseline were asked for: repeats `first` to `first + pairs - 1` of both."""

    cell_id: str
    round: int
    first: int
    pairs: int
    baseline_run_id: str = ""


Fact: TypeAlias = (
    Seen
    | Canceled
    | Converted
    | NotConverted
    | Ready
    | NotMade
    | Compared
    | NotCompared
    | Planned
    | NotPlanned
    | Built
    | NotBuilt
    | Finished
    | NotRun
    | Measured
    | Diagnosed
    | TriedAgain
    | RepeatsRequested
)
