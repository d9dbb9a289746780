"""Giving verdicts: when a run is complete, when its deadline has passed, and again when what was missing arrives."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from windtunnel.bus import encode, event_id, subjects
from windtunnel.metrics_store.domain import Judgment, RunRecord, Verdict, is_complete, judge, progress
from windtunnel.metrics_store.domain.lineage import Execution
from windtunnel.metrics_store.domain.stored_run import Completion, Outgoing, Request, Standing, StoredRun
from windtunnel.metrics_store.domain.values import Blob
from windtunnel.metrics_store.messages.encode_messages import completed_event
from windtunnel.metrics_store.use_cases.build_report import Ending, build_report
from windtunnel.metrics_store.use_cases.change_signal import Signal
from windtunnel.metrics_store.use_cases.compare_latencies import LatencyComparer
from windtunnel.metrics_store.use_cases.ports import BlobWriter, RunMetrics, RunRepository
from windtunnel.metrics_store.use_cases.read_documents import Documents, PlanFound
from windtunnel.metrics_store.use_cases.request_repeats import request_repeats
from windtunnel.telemetry import current_traceparent, job_context, trace_context, traceparent_in

log = logging.getLogger(__name__)

SOURCE: Final = "/windtunnel/metrics_store"
_TRIES: Final = 20
Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The time now."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Completer:
    """Judges runs."""

    repository: RunRepository
    documents: Documents
    latencies: LatencyComparer
    artifacts: BlobWriter
    metrics: RunMetrics
    changed: Signal
    deadline_s: float
    clock: Clock = utc_now

    def standing(self, stored: StoredRun, found: PlanFound, *, due: bool) -> Standing:
        """How far a run is, under its plan as far as that is known.

        Args:
            stored: the run.
            found: its plan.
            due: a verdict may be due.

        Returns:
            How far it is.
        """
        seconds = (found.plan.deadline_seconds if found.plan else 0) or self.deadline_s
        started = stored.record.started_at or self.clock()
        done, known = progress(stored.record, found.plan)
        return Standing(due, started + timedelta(seconds=seconds), done, known)

    def assess(self, stored: StoredRun) -> Standing:
        """How far a run is just after an event, without reading anything: whether a verdict may be due.

        Args:
            stored: the run.

        Returns:
            How far it is.
        """
        sha256 = stored.record.plan_sha256
        found = self.documents.known_plan(sha256)
        unread = bool(sha256) and found.plan is None
        due = not stored.final and (unread or is_complete(stored.record, found.plan))
        return self.standing(stored, found, due=due)

    async def look(self, run_id: str) -> None:
        """Gives the verdict on a run if it is due.

        Args:
            run_id: of the run.

        Raises:
            Unavailable: the store does not answer; the run then stays due.
        """
        for _ in range(_TRIES):
            stored = await self.repository.load(run_id)
            if stored is None:
                return
            with _run_context(stored.record):
                if await self._judge(stored):
                    return
        log.warning("run %s changes faster than it can be judged; it stays due", run_id)

    async def _judge(self, stored: StoredRun) -> bool:
        """Judges what is stored. Returns False where it has changed meanwhile."""
        found = await self.documents.plan(stored.record.plan_sha256)
        standing = self.standing(stored, found, due=False)
        run_id = stored.record.run_id
        if not self._is_due(stored, found, standing):
            return await self.repository.store_standing(run_id, stored.version, standing)
        diagnoses = await self.documents.diagnoses(stored.record)
        comparisons = await self.latencies.compare(stored.record, found.plan)
        judgment = judge(
            stored.record,
            found.plan,
            causes=diagnoses.causes(),
            comparisons=comparisons,
            plan_problem=found.problem,
            late=not is_complete(stored.record, found.plan, with_repeats=False),
        )
        if self._may_wait(stored, judgment, standing):
            request = request_repeats(stored.record, comparisons, SOURCE, self.clock())
            if request is not None:
                return await self._ask(stored, request)
        if (stored.verdict, stored.reasons) == (judgment.verdict, judgment.reasons):
            return await self.repository.store_standing(run_id, stored.version, standing)
        ending = Ending(judgment.verdict, judgment.reasons, self.clock(), stored.revision + 1)
        report = build_report(stored.record, judgment, diagnoses, ending)
        text = json.dumps(report, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        ref = await self.artifacts.put_bytes(text.encode())
        completion = _completion(stored, judgment, ending, Blob(ref.sha256, ref.size_bytes, "application/json"))
        if not await self.repository.complete(run_id, stored.version, completion, standing):
            return False
        self.metrics.completed(stored.record, judgment)
        self.changed.notify()
        log.info("run %s: %s", run_id, "; ".join((judgment.verdict.value, *judgment.reasons)))
        return True

    def _may_wait(self, stored: StoredRun, judgment: Judgment, standing: Standing) -> bool:
        """Whether more jobs could change the verdict, and there is time for them."""
        open_ = stored.verdict is None and judgment.verdict is Verdict.PASSED
        return open_ and self.clock() < standing.deadline

    async def _ask(self, stored: StoredRun, request: Request) -> bool:
        """Asks for more jobs. Returns False where the run has changed meanwhile."""
        if not await self.repository.request(stored.record.run_id, stored.version, request, self.assess):
            return False
        self.changed.notify()
        log.info("run %s: %s", stored.record.run_id, request.text)
        return True

    def _is_due(self, stored: StoredRun, found: PlanFound, standing: Standing) -> bool:
        if stored.final:
            return False
        if is_complete(stored.record, found.plan):
            return True
        # A run that ran into its deadline waits for all that was missing, so as not to be judged at each event.
        return stored.verdict is None and self.clock() >= standing.deadline


@contextlib.contextmanager
def _run_context(run: RunRecord) -> Iterator[None]:
    """What is logged and published inside belongs to the run; outside of any event, at a deadline, to its trace too."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(job_context(run_id=run.run_id))
        own = traceparent_in(run.seen.trace_id) if run.seen is not None else ""
        if own and not current_traceparent():
            stack.enter_context(trace_context(own))
        yield


def _completion(stored: StoredRun, judgment: Judgment, ending: Ending, report: Blob) -> Completion:
    run = stored.record
    assert ending.ended_at is not None
    # Named by its revision: a second verdict is news, the first one published twice is not.
    id = event_id(subjects.RUN_COMPLETED, run.run_id, str(ending.revision))
    subject, headers, data = encode(
        completed_event(run, judgment, report, ending.ended_at),
        id=id,
        source=SOURCE,
        run_id=run.run_id,
        traceparent=current_traceparent(),
    )
    diagnoses = (s.compared.diagnosis for s in run.variants.values() if s.compared is not None)
    inputs = {blob.sha256 for blob in diagnoses if blob is not None} | ({run.plan_sha256} - {""})
    execution = Execution(
        id=id,
        kind="judge",
        service="metrics_store",
        event_id=id,
        inputs=tuple(sorted(inputs)),
        outputs=(report.sha256,),
    )
    event = Outgoing(id, subject, headers, data)
    return Completion(judgment, ending.revision, ending.ended_at, report, event, execution)
