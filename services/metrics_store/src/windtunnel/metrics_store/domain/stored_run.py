"""A run as it is stored: how far it is, its verdict, and the event that announces the verdict."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from windtunnel.metrics_store.domain.facts import RepeatsRequested
from windtunnel.metrics_store.domain.lineage import Execution
from windtunnel.metrics_store.domain.record import RunRecord
from windtunnel.metrics_store.domain.values import Blob
from windtunnel.metrics_store.domain.verdict import Judgment, Verdict

# The states of a run, as they are stored and as the API names them.
RUNNING: Final = "running"
COMPLETED: Final = "completed"


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run as it is stored. `version` grows with every change; `verdict` None: none yet."""

    record: RunRecord
    version: int
    verdict: Verdict | None
    reasons: tuple[str, ...]
    revision: int
    deadline: datetime
    ended_at: datetime | None
    report_sha256: str | None

    @property
    def final(self) -> bool:
        """Whether the verdict can change no more."""
        return self.verdict in (Verdict.PASSED, Verdict.FAILED)


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a run is: whether a verdict may be due, when it ends at the latest, steps ended and known."""

    due: bool
    deadline: datetime
    steps_done: int
    steps_known: int


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An event that waits in the outbox."""

    id: str
    subject: str
    headers: Mapping[str, str]
    data: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """More jobs that a run waits for, and the events that ask for them."""

    facts: tuple[RepeatsRequested, ...]
    events: tuple[Outgoing, ...]
    at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class Completion:
    """A verdict to store: the judgment, its report and the event that publishes it."""

    judgment: Judgment
    revision: int
    ended_at: datetime
    report: Blob
    event: Outgoing
    execution: Execution


# Says, from what is known after an event, how far the run is.
Assess = Callable[[StoredRun], Standing]


def event_key(source: str, id: str) -> str:
    """What makes a CloudEvent unique: its source and id together.

    Args:
        source: of the event.
        id: of the event.

    Returns:
        Hexadecimal digits.
    """
    return hashlib.sha256(f"{source}\0{id}".encode("utf-8", "surrogatepass")).hexdigest()
