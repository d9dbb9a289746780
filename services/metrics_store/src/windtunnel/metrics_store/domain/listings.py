"""What lists of runs and measurements hold, and what they are filtered by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from windtunnel.metrics_store.domain import facts
from windtunnel.metrics_store.domain.verdict import Verdict


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run in a list. `state`: running or completed."""

    run_id: str
    model_name: str
    model_version: str
    model_sha256: str
    state: str
    verdict: Verdict | None
    reasons: tuple[str, ...]
    started_at: datetime
    ended_at: datetime | None
    deadline: datetime
    labels: Mapping[str, str]
    steps_done: int
    steps_known: int
    version: int


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Each empty field matches everything."""

    model_name: str = ""
    model_version: str = ""
    state: str = ""
    verdict: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    started_after: datetime | None = None
    started_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class MeasurementFilter:
    """Each empty field matches everything."""

    run_id: str = ""
    model_name: str = ""
    variant: str = ""
    device: str = ""
    accelerator: str = ""


@dataclass(frozen=True, slots=True)
class MeasuredCell:
    """A measurement in a list."""

    run_id: str
    model_name: str
    model_version: str
    fact: facts.Measured
    measured_at: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """Something that happened to a run."""

    version: int
    event_type: str
    text: str
