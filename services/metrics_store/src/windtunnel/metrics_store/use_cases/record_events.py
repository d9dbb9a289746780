"""Recording events: each is stored once, then its run is judged if it is complete."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

from windtunnel.bus import Bucket, Event, subjects
from windtunnel.errors import Unavailable, WindtunnelError
from windtunnel.metrics_store.domain import facts
from windtunnel.metrics_store.domain.event_content import EventContent
from windtunnel.metrics_store.domain.stored_run import event_key
from windtunnel.metrics_store.messages.decode_events import read_event
from windtunnel.metrics_store.use_cases.complete_runs import Completer
from windtunnel.metrics_store.use_cases.ports import BlobReader, RunMetrics, RunRepository
from windtunnel.metrics_store.use_cases.read_documents import Documents
from windtunnel.metrics_store.use_cases.read_latencies import latencies
from windtunnel.service.announcement import RunIdTaken, claim_run, read_announcement
from windtunnel.telemetry import current_trace_id

log = logging.getLogger(__name__)

_OWN: Final = frozenset({subjects.RUN_COMPLETED, subjects.REPEATS_REQUESTED})
TOPICS: Final = tuple(subject for subject in subjects.MESSAGES if subject not in _OWN)


@dataclass(frozen=True, slots=True)
class EventRecorder:
    """The handler of all events."""

    repository: RunRepository
    completer: Completer
    documents: Documents
    artifacts: BlobReader
    runs: Bucket
    metrics: RunMetrics

    async def handle(self, event: Event) -> None:
        """Records one event.

        Args:
            event: as received.

        Raises:
            Malformed: it cannot be read.
            Unavailable: it cannot be stored.
        """
        content = await self._read(event)
        if content is None:
            return
        await self._learn_plan(content)
        standing = await self.repository.record(
            content,
            key=event_key(event.source, event.id),
            event_type=event.attributes["type"],
            at=self.completer.clock(),
            assess=self.completer.assess,
        )
        if standing is None:
            return
        self.completer.changed.notify()
        await self._observe(content)
        if not standing.due:
            return
        try:
            await self.completer.look(content.run_id)
        except Unavailable as error:
            # The event is stored; the run stays due, and the loop looks at it again.
            log.warning("run %s cannot be judged now: %s", content.run_id, error)

    async def on_failure(self, event: Event, error: WindtunnelError) -> None:
        """Only logs it: this service reports on runs, and the message itself is a dead letter.

        Args:
            event: that was given up.
            error: why.
        """
        log.error("event %s on %s was given up: %s", event.id, event.subject, error)

    async def _read(self, event: Event) -> EventContent | None:
        if event.subject != subjects.MODEL_TRAINED:
            return read_event(event)
        try:
            run_id = (await claim_run(self.runs, event)).run_id
        except RunIdTaken:
            # The run belongs to another event, and the converter reports that to the publisher of this one.
            return None
        return EventContent(run_id, event.id, (self._announced(event),), "a model is announced")

    def _announced(self, event: Event) -> facts.Seen:
        """What the announcement says, if it can be read; the converter reports its failure."""
        now = self.completer.clock()
        try:
            announcement = read_announcement(event)
        except (WindtunnelError, ValueError) as error:
            log.info("announcement %s cannot be read: %s", event.id, error)
            return facts.Seen(started_at=now, sure=False, trace_id=current_trace_id())
        return facts.Seen(
            started_at=now,
            sure=False,
            model_name=announcement.model.name,
            model_version=announcement.model.version,
            model_sha256=announcement.model.sha256 or "",
            labels=dict(sorted(announcement.labels.items())),
            trace_id=current_trace_id(),
        )

    async def _learn_plan(self, content: EventContent) -> None:
        for fact in content.facts:
            if isinstance(fact, facts.Seen):
                try:
                    await self.documents.plan("" if fact.plan is None else fact.plan.sha256)
                except Unavailable as error:
                    log.warning("the plan of run %s cannot be read now: %s", content.run_id, error)

    async def _observe(self, content: EventContent) -> None:
        seen = next((fact for fact in content.facts if isinstance(fact, facts.Seen)), None)
        model, version = (seen.model_name, seen.model_version) if seen is not None else ("", "")
        for fact in content.facts:
            if isinstance(fact, facts.Measured) and not fact.repeat:
                samples = await self.repository.samples_of(content.run_id, fact.cell.id, fact.attempt)
                self.metrics.measured(model, version, fact, await latencies(self.artifacts, samples, fact))
