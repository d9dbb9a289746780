"""Queueing cells: all that an event does for them. The scheduler of their farm does the rest."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from windtunnel.errors import WindtunnelError
from windtunnel.farm_dispatcher.domain.cells import Cell
from windtunnel.farm_dispatcher.domain.job_failures import failure_of
from windtunnel.farm_dispatcher.domain.jobs import Job
from windtunnel.farm_dispatcher.domain.money import micro_usd
from windtunnel.farm_dispatcher.messages.cell_messages import cell_from_proto, cell_to_proto
from windtunnel.farm_dispatcher.messages.job_messages import job_to_proto
from windtunnel.farm_dispatcher.messages.timestamps import from_timestamp, to_timestamp
from windtunnel.farm_dispatcher.use_cases.scheduler.end_cells import CellEnder, unpacked
from windtunnel.farm_dispatcher.use_cases.scheduler.progress import Progress
from windtunnel.farm_dispatcher.use_cases.scheduler.work import Work, name_of
from windtunnel.farm_dispatcher.use_cases.stored.measurements import Measurements
from windtunnel.farm_dispatcher.use_cases.stored.records import queue_key, taken_key
from windtunnel.plan import Plan
from windtunnel.v1 import events_pb2, farm_runs_pb2, types_pb2

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CellQueue:
    """Puts cells where the schedulers find them.

    Attributes:
        work: of the scheduler.
        ender: says how cells ended.
        measurements: that cells may reuse.
        progress: says how far cells are.
        deadline_s: of a run whose plan gives none, in seconds after its start.
    """

    work: Work
    ender: CellEnder
    measurements: Measurements
    progress: Progress
    deadline_s: float

    async def queue(self, run: types_pb2.RunContext, plan: Plan, cells: Sequence[tuple[Cell, Job]]) -> None:
        """Queues cells. A cell that is queued, runs or has ended stays as it is; what has ended is published again.

        Args:
            run: of the cells.
            plan: of the run.
            cells: each with its job.

        Raises:
            Unavailable: the bus does not answer.
        """
        now = self.work.clock()
        for cell, job in cells:
            queued = self._entry(run, plan, cell, job, now)
            ended = await self.ender.stored(queued)
            if ended is not None:
                await self.ender.publish(ended)
                continue
            reused = await self.measurements.fresh(queued, plan.reuse_seconds, now)
            if reused is not None:
                log.info("cell %s of run %s reuses a measurement", cell.id, run.run_id)
                await self.ender.end(reused)
                continue
            await self._put(queued)

    async def queue_repeats(
        self, asked: events_pb2.RepeatsRequested, plan: Plan, candidate: Job, baseline: Job
    ) -> None:
        """Queues repeats of a cell: the candidate and the baseline in turn, so that both meet the same conditions.

        Args:
            asked: what is wanted.
            plan: of the run.
            candidate: the job of the variant.
            baseline: the job of the model that it is compared with.

        Raises:
            Unavailable: the bus does not answer.
        """
        now, cell = self.work.clock(), cell_from_proto(asked.cell)
        for queued in _repeats(asked):
            entry = self._entry(asked.run, plan, cell, baseline if queued.of_baseline else candidate, now)
            entry.repeat, entry.of_baseline = queued.repeat, queued.of_baseline
            ended = await self.ender.stored(entry)
            if ended is not None:
                await self.ender.publish(ended)
            else:
                await self._put(entry)

    async def remember(self, measured: events_pb2.DeviceRunMeasured) -> None:
        """Keeps a run whose log gave a latency, for later runs that allow it.

        Args:
            measured: what the log says.

        Raises:
            Unavailable: the bus does not answer.
        """
        if measured.repeat or measured.reused or not measured.measurement.latency_ms.HasField("p50"):
            return
        ended = await self.ender.stored(farm_runs_pb2.QueuedCell(run=measured.run, cell=measured.cell))
        outcome = None if ended is None else unpacked(ended)
        if isinstance(outcome, events_pb2.DeviceRunFinished) and outcome.attempt == measured.attempt:
            await self.measurements.remember(outcome)

    async def refuse_repeats(self, asked: events_pb2.RepeatsRequested, error: WindtunnelError) -> None:
        """Ends repeats that cannot be queued, unless they have ended.

        Args:
            asked: what is wanted.
            error: why they cannot.
        """
        for queued in _repeats(asked):
            await self.ender.end(self.ender.failed(queued, failure_of(error)))

    async def refuse(self, run: types_pb2.RunContext, cell: Cell, error: WindtunnelError) -> None:
        """Ends a cell that cannot be queued, unless it has ended.

        Args:
            run: of the cell.
            cell: of the plan.
            error: why it cannot.
        """
        queued = farm_runs_pb2.QueuedCell(run=run, cell=cell_to_proto(cell), attempt=1)
        await self.ender.end(self.ender.failed(queued, failure_of(error)))

    async def _put(self, queued: farm_runs_pb2.QueuedCell) -> None:
        name = name_of(queued)
        if await self.work.records.read(taken_key(queued.cell.farm, name), farm_runs_pb2.QueuedCell) is not None:
            return
        if await self.work.records.create(queue_key(queued, name), queued) is not None:
            await self.progress.queued(queued)

    def _entry(
        self, run: types_pb2.RunContext, plan: Plan, cell: Cell, job: Job, now: datetime
    ) -> farm_runs_pb2.QueuedCell:
        started = from_timestamp(run.started_at) if run.HasField("started_at") else now
        deadline = started + timedelta(seconds=plan.deadline_seconds or self.deadline_s)
        budget = None if plan.budget_usd is None else micro_usd(Decimal(str(plan.budget_usd)))
        return farm_runs_pb2.QueuedCell(
            run=run,
            cell=cell_to_proto(cell),
            job=job_to_proto(job),
            attempt=1,
            queued_at=to_timestamp(now),
            deadline=to_timestamp(deadline),
            budget_micro_usd=budget,
        )


def _repeats(asked: events_pb2.RepeatsRequested) -> Iterator[farm_runs_pb2.QueuedCell]:
    for repeat in range(asked.first, asked.first + asked.pairs):
        for of_baseline in (False, True):
            yield farm_runs_pb2.QueuedCell(
                run=asked.run, cell=asked.cell, attempt=1, repeat=repeat, of_baseline=of_baseline
            )
