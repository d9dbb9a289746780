"""Claiming cells for a farm run: from the queue, and within the budgets of their runs and of the day."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime

from windtunnel.farm_dispatcher.domain.device_runs import JobFailure
from windtunnel.farm_dispatcher.domain.estimates import expected_cost
from windtunnel.farm_dispatcher.domain.farm_settings import FarmSettings
from windtunnel.farm_dispatcher.domain.money import share_bill
from windtunnel.farm_dispatcher.messages.cell_messages import device_from_proto
from windtunnel.farm_dispatcher.messages.timestamps import from_timestamp
from windtunnel.farm_dispatcher.use_cases.scheduler.end_cells import CellEnder, canceled
from windtunnel.farm_dispatcher.use_cases.scheduler.work import Work, is_late
from windtunnel.farm_dispatcher.use_cases.stored.ledgers import OverBudget, Share
from windtunnel.farm_dispatcher.use_cases.stored.records import queue_key, run_key, tag_of, taken_key
from windtunnel.farms.failure_kinds import FailureKind
from windtunnel.v1 import farm_runs_pb2

log = logging.getLogger(__name__)

Cells = Mapping[str, farm_runs_pb2.QueuedCell]


class Claims:
    """Takes cells out of the queue of a farm.

    Args:
        farm: what farms.yaml says of it.
        work: of the scheduler.
        ender: says how cells ended.
    """

    def __init__(self, farm: FarmSettings, work: Work, ender: CellEnder) -> None:
        self._farm = farm
        self._work = work
        self._ender = ender

    async def claim(self, run: farm_runs_pb2.FarmRun) -> Cells:
        """Claims the cells of a planned farm run. Repeating it claims the same.

        A cell that has ended, that nobody waits for, or that its budget does not allow ends here.

        Args:
            run: the farm run. What it may cost is written into it.

        Returns:
            The cells that it has, by name.
        """
        claimed: dict[str, farm_runs_pb2.QueuedCell] = {}
        for name in run.entries:
            queued = await self._claim_one(run, name)
            if queued is not None:
                claimed[name] = queued
        return await self._within_budget(run, claimed)

    async def taken(self, run: farm_runs_pb2.FarmRun) -> Cells:
        """The cells that a farm run has.

        Args:
            run: the farm run.

        Returns:
            The cells by name, in its order.
        """
        found = {}
        for name in run.entries:
            stored = await self._work.records.read(taken_key(self._farm.name, name), farm_runs_pb2.QueuedCell)
            if stored is not None and stored.message.farm_run == run.key:
                found[name] = stored.message
        return found

    async def why_over(self, queued: farm_runs_pb2.QueuedCell, now: datetime) -> JobFailure | None:
        """Why nobody waits for a cell any more.

        Args:
            queued: the cell.
            now: the time.

        Returns:
            None: somebody does.
        """
        if await self._work.canceled.has(queued.run.run_id):
            return canceled(late=False)
        return canceled(late=True) if is_late(queued, now) else None

    async def drop(self, name: str, queued: farm_runs_pb2.QueuedCell, failure: JobFailure) -> None:
        """Ends a cell that no farm run has.

        Args:
            name: of the cell.
            queued: the cell.
            failure: why it has no measurement.
        """
        await self._ender.end(self._ender.failed(queued, failure))
        await self._work.records.forget(queue_key(queued, name))
        await self._work.records.forget(taken_key(self._farm.name, name))

    async def _claim_one(self, run: farm_runs_pb2.FarmRun, name: str) -> farm_runs_pb2.QueuedCell | None:
        waiting = await self._work.records.read(
            f"queue.{self._farm.name}.{tag_of(run.device)}.{name}", farm_runs_pb2.QueuedCell
        )
        taken = await self._work.records.read(taken_key(self._farm.name, name), farm_runs_pb2.QueuedCell)
        if waiting is None:
            return taken.message if taken is not None and taken.message.farm_run == run.key else None
        queued = waiting.message
        if taken is not None and taken.message.farm_run != run.key:
            if taken.message.attempt >= queued.attempt:
                # Another farm run has it: this entry was left over.
                await self._work.records.forget(waiting.key)
                return None
            if await self._work.records.read(run_key(self._farm.name, taken.message.farm_run), farm_runs_pb2.FarmRun):
                # That farm run has queued it again, and lets go of it in a moment.
                return None
            # It was queued again, and the process died before it let go.
            await self._work.records.forget(taken.key)
            taken = None
        if (ended := await self._ender.stored(queued)) is not None:
            await self._ender.publish(ended)
            await self._work.records.forget(waiting.key)
            return None
        if (over := await self.why_over(queued, self._work.clock())) is not None:
            await self.drop(name, queued, over)
            return None
        queued.farm_run = run.key
        if taken is None and await self._work.records.create(taken_key(self._farm.name, name), queued) is None:
            return None
        await self._work.records.forget(waiting.key)
        return queued

    async def _within_budget(self, run: farm_runs_pb2.FarmRun, claimed: dict[str, farm_runs_pb2.QueuedCell]) -> Cells:
        """Reserves what the farm run may cost; cells that the budgets do not allow end."""
        planned, device = from_timestamp(run.planned_at), device_from_proto(run.device)
        while claimed:
            cost = expected_cost(device, len(claimed))
            if cost is None:
                return claimed
            over = await self._work.ledgers.reserve(
                self._farm, run.key, shares_of(list(claimed.values()), cost, [1.0] * len(claimed)), planned
            )
            if over is None:
                run.estimate_micro_usd = cost
                return claimed
            await self._refuse_last(claimed, over)
        return claimed

    async def _refuse_last(self, claimed: dict[str, farm_runs_pb2.QueuedCell], over: OverBudget) -> None:
        # Only a cell of the run whose budget it is: other runs that share the farm run can pay.
        name = next(name for name in reversed(claimed) if over.run_id in ("", claimed[name].run.run_id))
        queued = claimed.pop(name)
        log.warning("cell %s of run %s: %s", queued.cell.id, queued.run.run_id, over.words)
        hint = "raise budget_usd in the plan or in farms.yaml, or run fewer cells"
        await self.drop(name, queued, JobFailure(FailureKind.BUDGET, over.words, hint, code="budget"))


def shares_of(cells: Sequence[farm_runs_pb2.QueuedCell], total: int, weights: Sequence[float]) -> list[Share]:
    """What each run pays of a farm run.

    Args:
        cells: of the farm run.
        total: in millionths of a US dollar.
        weights: of the cells, for example their times.

    Returns:
        One share for each run.
    """
    by_run: dict[str, tuple[int, int | None]] = {}
    for queued, amount in zip(cells, share_bill(total, weights), strict=True):
        before, _ = by_run.get(queued.run.run_id, (0, None))
        limit = queued.budget_micro_usd if queued.HasField("budget_micro_usd") else None
        by_run[queued.run.run_id] = (before + amount, limit)
    return [Share(run_id, amount, limit) for run_id, (amount, limit) in by_run.items()]
