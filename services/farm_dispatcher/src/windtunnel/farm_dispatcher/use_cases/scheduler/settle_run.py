"""What follows from a farm run that has ended: outcomes, a bill, cells that are queued again, the device's health."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta

from google.protobuf.any_pb2 import Any as AnyMessage

from windtunnel.farm_dispatcher.domain.device_runs import Collected, JobFailure, JobResult
from windtunnel.farm_dispatcher.domain.farm_settings import FarmSettings
from windtunnel.farm_dispatcher.domain.money import bill, share_bill
from windtunnel.farm_dispatcher.messages.cell_messages import device_from_proto
from windtunnel.farm_dispatcher.messages.timestamps import from_duration, from_timestamp, to_timestamp
from windtunnel.farm_dispatcher.use_cases.scheduler.claim_cells import Claims, shares_of
from windtunnel.farm_dispatcher.use_cases.scheduler.end_cells import Attempt, CellEnder, unpacked
from windtunnel.farm_dispatcher.use_cases.scheduler.progress import Progress
from windtunnel.farm_dispatcher.use_cases.scheduler.work import Work
from windtunnel.farm_dispatcher.use_cases.stored.device_health import DeviceRecords
from windtunnel.farm_dispatcher.use_cases.stored.records import queue_key, tag_of, taken_key
from windtunnel.farms.failure_kinds import FailureKind
from windtunnel.v1 import events_pb2, farm_runs_pb2, types_pb2

log = logging.getLogger(__name__)

Cells = Mapping[str, farm_runs_pb2.QueuedCell]


class Settlement:
    """Settles the farm runs of a farm.

    Args:
        farm: what farms.yaml says of it.
        work: of the scheduler.
        ender: says how cells ended.
        claims: knows whether somebody waits for a cell.
        devices: remembers how reliable they are.
        progress: says how far cells are.
    """

    def __init__(
        self,
        farm: FarmSettings,
        work: Work,
        ender: CellEnder,
        claims: Claims,
        devices: DeviceRecords,
        progress: Progress,
    ) -> None:
        self._farm = farm
        self._work = work
        self._ender = ender
        self._claims = claims
        self._devices = devices
        self._progress = progress

    async def collect(self, run: farm_runs_pb2.FarmRun, cells: Cells, collected: Collected) -> None:
        """Writes outcomes and the bill into a farm run; its artifacts are stored then.

        Args:
            run: the farm run. It is changed, and not stored here.
            cells: that it has, by name.
            collected: what the farm gave back, one result for each cell.

        Raises:
            Unavailable: the store does not answer.
            ValueError: the farm gave back another number of results.
        """
        costs = self._bill(run, collected)
        del run.outcomes[:]
        for (name, queued), result, cost in zip(cells.items(), collected.results, costs, strict=True):
            run.outcomes.append(await self._outcome(run, name, queued, result, cost))

    async def settle(self, run: farm_runs_pb2.FarmRun, cells: Cells) -> None:
        """Does what follows from the outcomes. Repeating it changes nothing.

        Args:
            run: a collected farm run.
            cells: that it has, by name. Those that were settled before are missing.
        """
        if run.HasField("estimate_micro_usd"):
            await self._settle_bill(run)
        for outcome in run.outcomes:
            queued = cells.get(outcome.entry)
            if queued is None:
                continue
            if outcome.again:
                await self._queue_again(outcome, queued)
            else:
                await self._ender.end(unpacked(outcome.event))
            await self._work.records.forget(taken_key(self._farm.name, outcome.entry))
        failed = any(_is_infrastructure(outcome) for outcome in run.outcomes)
        if run.HasField("submitted_at"):
            tag = tag_of(run.device)
            await self._devices.note(tag, failed=failed, now=self._work.clock())

    def _bill(self, run: farm_runs_pb2.FarmRun, collected: Collected) -> Sequence[int | None]:
        """What each cell costs: shares of the bill by the time that each took."""
        billed = bill(device_from_proto(run.device).price_per_minute_usd, collected.billed_minutes)
        if billed is None:
            return [None] * len(collected.results)
        run.billed_micro_usd = billed
        return share_bill(billed, [result.seconds or 0.0 for result in collected.results])

    async def _outcome(
        self,
        run: farm_runs_pb2.FarmRun,
        name: str,
        queued: farm_runs_pb2.QueuedCell,
        result: JobResult,
        cost: int | None,
    ) -> farm_runs_pb2.CellOutcome:
        info = types_pb2.FarmRunInfo(id=run.farm_id, url=run.url, words=run.words, cost_micro_usd=cost)
        started = from_timestamp(run.running_at if run.HasField("running_at") else run.planned_at)
        result = await self._judged(run, queued, result)
        failure = result.failure
        event = await self._ender.outcome_of(Attempt(queued, info, started), result)
        again = failure is not None and failure.kind.is_retried and queued.attempt < self._farm.attempts
        instance = failure.instance if failure is not None else result.run.instance if result.run is not None else ""
        packed = AnyMessage()
        packed.Pack(event)
        return farm_runs_pb2.CellOutcome(entry=name, event=packed, again=again, instance=instance)

    async def _judged(
        self, run: farm_runs_pb2.FarmRun, queued: farm_runs_pb2.QueuedCell, result: JobResult
    ) -> JobResult:
        """The result as it is to be understood: what was canceled for its length has timed out."""
        failure = result.failure
        if failure is None or not run.cancel_asked or failure.kind is not FailureKind.CANCELLED:
            return result
        over = await self._claims.why_over(queued, self._work.clock())
        if over is None:
            words = f"it was canceled after {from_duration(run.timeout) / 60:g} minutes"
            over = JobFailure(FailureKind.TIMEOUT, words, "raise timeout_minutes in farms.yaml", code="timeout")
        return JobResult(failure=over, log=result.log, seconds=result.seconds)

    async def _settle_bill(self, run: farm_runs_pb2.FarmRun) -> None:
        events = [unpacked(outcome.event) for outcome in run.outcomes]
        shares = shares_of(
            [farm_runs_pb2.QueuedCell(run=event.run) for event in events],
            run.billed_micro_usd,
            [float(event.farm_run.cost_micro_usd) for event in events],
        )
        await self._work.ledgers.settle(self._farm, run.key, shares, from_timestamp(run.planned_at))

    async def _queue_again(self, outcome: farm_runs_pb2.CellOutcome, queued: farm_runs_pb2.QueuedCell) -> None:
        event = unpacked(outcome.event)
        assert isinstance(event, events_pb2.DeviceRunFailed)
        again = farm_runs_pb2.QueuedCell()
        again.CopyFrom(queued)
        again.farm_run = ""
        again.attempt = queued.attempt + 1
        wait = timedelta(seconds=self._work.backoff_s * 2 ** (queued.attempt - 1))
        again.not_before.CopyFrom(to_timestamp(self._work.clock() + wait))
        if outcome.instance and outcome.instance not in again.avoid:
            again.avoid.append(outcome.instance)
        log.warning("cell %s is queued again: %s", queued.cell.id, event.failure.message)
        # First, so that the bill of this attempt is known whatever happens next.
        await self._progress.queued_again(again, event.failure.message, event.farm_run)
        await self._work.records.create(queue_key(again, outcome.entry), again)


def _is_infrastructure(outcome: farm_runs_pb2.CellOutcome) -> bool:
    event = unpacked(outcome.event)
    kind = types_pb2.FAILURE_KIND_INFRASTRUCTURE
    return isinstance(event, events_pb2.DeviceRunFailed) and event.failure.kind == kind
