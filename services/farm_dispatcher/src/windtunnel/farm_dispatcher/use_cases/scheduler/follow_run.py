"""One farm run from state to state. Each state can be entered again: a process may die after any line.

- **planned**: its cells are claimed and its budget is reserved.
- **submitting**: the farm is asked whether it has the farm run, and then to start it.
- **submitted**, **running**: the farm is asked how far it is.
- **collected**: outcomes are published, the bill is settled.
- **ended**.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

from windtunnel.errors import FarmError, Unavailable, WindtunnelError
from windtunnel.farm_dispatcher.domain.device_runs import Collected, JobFailure, JobResult, Phase, Polled, Submitted
from windtunnel.farm_dispatcher.domain.farm import Farm
from windtunnel.farm_dispatcher.domain.job_failures import failure_of
from windtunnel.farm_dispatcher.domain.jobs import FarmRunRequest
from windtunnel.farm_dispatcher.domain.polling import next_wait
from windtunnel.farm_dispatcher.messages.cell_messages import device_from_proto
from windtunnel.farm_dispatcher.messages.timestamps import from_duration, from_timestamp, to_timestamp
from windtunnel.farm_dispatcher.use_cases.scheduler.claim_cells import Claims
from windtunnel.farm_dispatcher.use_cases.scheduler.progress import Progress, Stage
from windtunnel.farm_dispatcher.use_cases.scheduler.settle_run import Settlement
from windtunnel.farm_dispatcher.use_cases.scheduler.work import Work, entry_of
from windtunnel.farm_dispatcher.use_cases.stored.leases import Lease, LeaseLost
from windtunnel.farm_dispatcher.use_cases.stored.records import Stored, ended_key, run_key
from windtunnel.farms.failure_kinds import FailureKind
from windtunnel.telemetry import job_context
from windtunnel.v1 import farm_runs_pb2

log = logging.getLogger(__name__)

State = farm_runs_pb2.FarmRun
# A farm may hold a farm run in its queue for so long; AWS ends it itself after a day.
LONGEST_QUEUE_S: Final = 24 * 3600.0
# What a job may take beyond its own limit, for installing and copying, before the farm run is canceled.
GRACE_S: Final = 300.0
# So often it is looked whether a run is canceled.
_LOOK_S: Final = 1.0
# Faults of Windtunnel itself: after so many in a row the farm run is given up.
_FAULTS: Final = 5
# The same when the farm refuses to answer: some minutes, in which a person may renew what has expired.
_REFUSALS: Final = 10
_FAULT: Final = JobFailure(
    FailureKind.OTHER,
    "Windtunnel failed to follow the farm run: see the log of the farm dispatcher",
    code="internal",
)


@dataclass
class _Course:
    """What is known of a farm run in this process only. `asked` monotonic: when the farm was asked last."""

    cells: Mapping[str, farm_runs_pb2.QueuedCell] = field(default_factory=dict)
    is_new: bool = False
    failures: int = 0
    faults: int = 0
    refusals: int = 0
    changed: float = field(default_factory=time.monotonic)
    asked: float = float("-inf")


class RunFollower:
    """Takes the farm runs of one farm to their ends.

    Args:
        farm: that runs them.
        work: of the scheduler.
        lease: of the leader.
        claims: of cells.
        settlement: of ended farm runs.
        progress: says how far cells are.
    """

    def __init__(
        self, farm: Farm, work: Work, lease: Lease, claims: Claims, settlement: Settlement, progress: Progress
    ) -> None:
        self._farm = farm
        self._work = work
        self._lease = lease
        self._claims = claims
        self._settlement = settlement
        self._progress = progress
        self._steps: Mapping[int, Callable[[Stored[State], _Course], Awaitable[None]]] = {
            State.STATE_PLANNED: self._claim,
            State.STATE_SUBMITTING: self._submit,
            State.STATE_SUBMITTED: self._watch,
            State.STATE_RUNNING: self._watch,
            State.STATE_COLLECTED: self._settle,
        }

    async def follow(self, stored: Stored[State], *, is_new: bool) -> None:
        """Takes a farm run to its end, whatever fails on the way.

        What may pass is tried again without end. A farm that refuses again and again, and a fault of Windtunnel, end
        the farm run.

        Args:
            stored: its record.
            is_new: this process has just planned it; otherwise it continues what another one began.
        """
        course, why = _Course(is_new=is_new), _FAULT
        with job_context(farm_run=stored.message.key):
            while stored.message.state != State.STATE_ENDED:
                try:
                    self._lease.require()
                    await self._steps[stored.message.state](stored, course)
                    course.failures = course.faults = course.refusals = 0
                    continue
                except LeaseLost:
                    return
                except (FarmError, Unavailable) as error:
                    log.warning("farm run %s waits: %s", stored.message.key, error)
                    if not error.retryable:
                        course.refusals, why = course.refusals + 1, failure_of(error)
                except Exception:
                    log.exception("farm run %s: a fault of Windtunnel", stored.message.key)
                    course.faults, why = course.faults + 1, _FAULT
                course.is_new = False
                await self._pause(course)
                if course.faults >= _FAULTS or course.refusals >= _REFUSALS:
                    await self._give_up(stored, course, why)

    async def _pause(self, course: _Course) -> None:
        pauses = self._work.pauses_s
        course.failures += 1
        await asyncio.sleep(pauses[min(course.failures, len(pauses)) - 1])

    async def _write(self, stored: Stored[State]) -> None:
        """Writes the record as the leader.

        Raises:
            LeaseLost: another leader has written it.
        """
        self._lease.require()
        stored.message.token = self._lease.token
        if await self._work.records.write(stored):
            return
        found = await self._work.records.read(stored.key, State)
        if found is not None and found.message == stored.message:
            # Our own write, whose answer was lost.
            stored.revision = found.revision
            return
        raise LeaseLost

    async def _claim(self, stored: Stored[State], course: _Course) -> None:
        run = stored.message
        course.cells = await self._claims.claim(run)
        del run.entries[:]
        run.entries.extend(course.cells)
        if not course.cells:
            await self._end(stored)
            return
        run.state = State.STATE_SUBMITTING
        await self._write(stored)

    async def _submit(self, stored: Stored[State], course: _Course) -> None:
        run, cells = stored.message, await self._cells(stored, course)
        over = await self._over(cells)
        request = self._request(run, cells)
        # What this process has just planned the farm cannot have; an earlier one may have died after it asked.
        found = None if course.is_new else await self._farm.find(run.key)
        course.is_new = False
        if found is None and over is not None:
            await self._refused(stored, cells, over)
            return
        try:
            submitted = found or await self._farm.submit(request, self._work.files)
        except WindtunnelError as error:
            if error.retryable:
                raise
            await self._refused(stored, cells, failure_of(error))
            return
        run.farm_id, run.url, run.words = submitted.id, submitted.url, submitted.words
        run.submitted_at.CopyFrom(to_timestamp(self._work.clock()))
        run.state = State.STATE_SUBMITTED
        course.changed = time.monotonic()
        await self._write(stored)
        await self._say(stored, course, "submitted")

    async def _watch(self, stored: Stored[State], course: _Course) -> None:
        run, cells = stored.message, await self._cells(stored, course)
        await self._cancel_if_over(stored, cells)
        due = course.asked + next_wait(time.monotonic() - course.changed, self._farm.settings.poll_seconds)
        if (early := due - time.monotonic()) > 0:
            await asyncio.sleep(min(early, _LOOK_S))
            return
        submitted = Submitted(run.farm_id, run.url, run.words)
        polled = await self._farm.poll(submitted)
        course.asked = time.monotonic()
        await self._note(stored, course, polled)

    async def _note(self, stored: Stored[State], course: _Course, polled: Polled) -> None:
        run = stored.message
        if polled.phase is Phase.LOST:
            log.warning("farm run %s is lost: %s", run.key, polled.words)
            run.state, run.farm_id = State.STATE_SUBMITTING, ""
            await self._write(stored)
            return
        begins = polled.phase is Phase.RUNNING and run.state == State.STATE_SUBMITTED
        if begins:
            run.state = State.STATE_RUNNING
            run.running_at.CopyFrom(to_timestamp(self._work.clock()))
        if begins or polled.words != run.words or polled.url not in ("", run.url):
            run.words, run.url = polled.words, polled.url or run.url
            course.changed = time.monotonic()
            await self._write(stored)
            if polled.phase is not Phase.ENDED:
                await self._say(stored, course, "running" if begins else _stage(run))
        if polled.phase is Phase.ENDED:
            await self._collect(stored, course)

    async def _collect(self, stored: Stored[State], course: _Course) -> None:
        run, cells = stored.message, await self._cells(stored, course)
        await self._say(stored, course, "collecting")
        submitted = Submitted(run.farm_id, run.url, run.words)
        with tempfile.TemporaryDirectory(prefix="windtunnel-farm-run-") as folder:
            request = self._request(run, cells)
            try:
                collected = await self._farm.collect(submitted, request, Path(folder))
            except FarmError as error:
                if error.retryable:
                    raise
                collected = Collected(tuple(JobResult(failure=failure_of(error)) for _ in cells))
            await self._settlement.collect(run, cells, collected)
        run.state = State.STATE_COLLECTED
        await self._write(stored)

    async def _settle(self, stored: Stored[State], course: _Course) -> None:
        await self._settlement.settle(stored.message, await self._cells(stored, course))
        await self._end(stored)

    async def _end(self, stored: Stored[State]) -> None:
        run = stored.message
        self._lease.require()
        ended = State()
        ended.CopyFrom(run)
        ended.state = State.STATE_ENDED
        ended.ended_at.CopyFrom(to_timestamp(self._work.clock()))
        # Outcomes are events and results now; what stays is for people.
        del ended.outcomes[:]
        await self._work.records.create(ended_key(self._farm.settings.name, run.key), ended)
        await self._work.records.forget(run_key(self._farm.settings.name, run.key))
        run.state = State.STATE_ENDED

    async def _refused(
        self, stored: Stored[State], cells: Mapping[str, farm_runs_pb2.QueuedCell], failure: JobFailure
    ) -> None:
        """Ends a farm run that the farm did not start."""
        collected = Collected(tuple(JobResult(failure=failure) for _ in cells))
        await self._settlement.collect(stored.message, cells, collected)
        stored.message.state = State.STATE_COLLECTED
        await self._write(stored)

    async def _give_up(self, stored: Stored[State], course: _Course, why: JobFailure) -> None:
        """Ends a farm run that cannot be followed. It is canceled on its farm, if the farm does that."""
        run = stored.message
        try:
            if run.farm_id and run.state != State.STATE_COLLECTED:
                await self._cancel(run)
            await self._refused(stored, await self._cells(stored, course), why)
        except Exception:
            log.exception("farm run %s cannot be given up now", run.key)

    async def _cancel(self, run: State) -> None:
        """Cancels a farm run on its farm. One that the farm does not want to cancel is followed to its own end.

        Raises:
            FarmError: the farm does not answer now.
        """
        log.info("farm run %s is canceled on its farm", run.key)
        try:
            await self._farm.cancel(Submitted(run.farm_id, run.url, run.words))
        except FarmError as error:
            if error.retryable:
                raise
            log.warning("farm run %s is not canceled: %s", run.key, error)

    async def _cells(self, stored: Stored[State], course: _Course) -> Mapping[str, farm_runs_pb2.QueuedCell]:
        if not course.cells:
            course.cells = await self._claims.taken(stored.message)
        return course.cells

    def _request(self, run: State, cells: Mapping[str, farm_runs_pb2.QueuedCell]) -> FarmRunRequest:
        entries = tuple(entry_of(name, cells[name]) for name in run.entries)
        return FarmRunRequest(
            run.key, device_from_proto(run.device), entries, from_duration(run.timeout), tuple(run.avoid)
        )

    async def _over(self, cells: Mapping[str, farm_runs_pb2.QueuedCell]) -> JobFailure | None:
        """Why nobody waits for any of the cells any more; None: somebody does."""
        now = self._work.clock()
        reasons = [await self._claims.why_over(queued, now) for queued in cells.values()]
        return reasons[0] if reasons and all(reasons) else None

    async def _cancel_if_over(self, stored: Stored[State], cells: Mapping[str, farm_runs_pb2.QueuedCell]) -> None:
        run = stored.message
        if run.cancel_asked or (await self._over(cells) is None and not self._is_too_long(run)):
            return
        await self._cancel(run)
        run.cancel_asked = True
        await self._write(stored)

    def _is_too_long(self, run: State) -> bool:
        now = self._work.clock()
        if run.HasField("running_at"):
            return now - from_timestamp(run.running_at) > timedelta(seconds=from_duration(run.timeout) + GRACE_S)
        return now - from_timestamp(run.submitted_at) > timedelta(seconds=LONGEST_QUEUE_S)

    async def _say(self, stored: Stored[State], course: _Course, stage: Stage) -> None:
        for queued in (await self._cells(stored, course)).values():
            await self._progress.at(queued, stage, stored.message)


def _stage(run: State) -> Stage:
    return "running" if run.state == State.STATE_RUNNING else "submitted"
