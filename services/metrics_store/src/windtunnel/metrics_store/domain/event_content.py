"""What an event says, whatever it looks like on the wire."""

from __future__ import annotations

from dataclasses import dataclass

from windtunnel.metrics_store.domain import Fact
from windtunnel.metrics_store.domain.lineage import Execution, LineageArtifact


@dataclass(frozen=True, slots=True)
class EventContent:
    """What one event says. `text` is a sentence for people who watch the run."""

    run_id: str
    event_id: str
    facts: tuple[Fact, ...]
    text: str
    artifacts: tuple[LineageArtifact, ...] = ()
    execution: Execution | None = None
