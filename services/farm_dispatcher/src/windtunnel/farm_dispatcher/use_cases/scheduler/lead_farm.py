"""Leading a farm: continuing what earlier leaders began, and packing the cells that wait into farm runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from windtunnel.errors import FarmError, Unavailable
from windtunnel.farm_dispatcher.domain.device_runs import JobFailure
from windtunnel.farm_dispatcher.domain.devices import Device
from windtunnel.farm_dispatcher.domain.farm import Farm
from windtunnel.farm_dispatcher.domain.jobs import new_key
from windtunnel.farm_dispatcher.messages.cell_messages import device_to_proto
from windtunnel.farm_dispatcher.messages.timestamps import from_duration, from_timestamp, to_duration, to_timestamp
from windtunnel.farm_dispatcher.use_cases.device_list import DeviceList
from windtunnel.farm_dispatcher.use_cases.ending_tasks import end_all
from windtunnel.farm_dispatcher.use_cases.scheduler.claim_cells import Claims
from windtunnel.farm_dispatcher.use_cases.scheduler.end_cells import CellEnder
from windtunnel.farm_dispatcher.use_cases.scheduler.follow_run import RunFollower
from windtunnel.farm_dispatcher.use_cases.scheduler.progress import Progress
from windtunnel.farm_dispatcher.use_cases.scheduler.settle_run import Settlement
from windtunnel.farm_dispatcher.use_cases.scheduler.work import Work
from windtunnel.farm_dispatcher.use_cases.stored.device_health import DeviceRecords
from windtunnel.farm_dispatcher.use_cases.stored.leases import Lease, LeaseLost, Leases
from windtunnel.farm_dispatcher.use_cases.stored.records import Stored, name_in, run_key, tag_of
from windtunnel.farms.failure_kinds import FailureKind
from windtunnel.v1 import farm_runs_pb2

log = logging.getLogger(__name__)

Queued = Stored[farm_runs_pb2.QueuedCell]
_PAGE: Final = 64
# The queue is looked through at most so far for a cell that may run now.
_PAGES: Final = 40
_LOOK_S: Final = 0.5
# Without a change of the records the queue is looked through this often: a wait may be over.
_RELOOK_S: Final = 2.0


class FarmLeader:
    """Takes the cells of one farm to their ends while this dispatcher leads it.

    Args:
        farm: that is led.
        work: of the scheduler.
        leases: decide who leads.
        ender: says how cells ended.
        progress: says how far cells are.
    """

    def __init__(self, farm: Farm, work: Work, leases: Leases, ender: CellEnder, progress: Progress) -> None:
        self._farm = farm
        self._settings = farm.settings
        self._work = work
        self._leases = leases
        self._progress = progress
        self._claims = Claims(farm.settings, work, ender)
        self._health = DeviceRecords(work.records, farm.settings.name)
        self._devices = DeviceList(farm)
        self._settlement = Settlement(farm.settings, work, ender, self._claims, self._health, progress)
        self._following: dict[str, asyncio.Task[None]] = {}
        self._busy: dict[str, str] = {}
        self._ended = asyncio.Event()
        self._look_at = float("-inf")

    async def run(self) -> None:
        """Leads the farm whenever nobody else does, without end. Its faults are not those of other farms."""
        faults, pauses = 0, self._work.pauses_s
        while True:
            async with self._leases.held(self._settings.name) as lease:
                try:
                    await self._lead(lease)
                    faults = 0
                except (Unavailable, LeaseLost) as error:
                    log.warning("farm %s cannot be led now: %r", self._settings.name, error)
                except Exception:
                    log.exception("farm %s: a fault of Windtunnel", self._settings.name)
                    faults += 1
                finally:
                    await self._stop()
            if faults:
                await asyncio.sleep(pauses[min(faults, len(pauses)) - 1])

    async def _lead(self, lease: Lease) -> None:
        follower = RunFollower(self._farm, self._work, lease, self._claims, self._settlement, self._progress)
        await self._continue(lease, follower)
        seen, clock = "", asyncio.get_running_loop().time
        while lease.is_held:
            self._ended.clear()
            revision = await self._work.records.revision()
            if revision != seen or clock() >= self._look_at:
                seen, self._look_at = revision, clock() + _RELOOK_S
                await self._start_what_fits(lease, follower)
            await self._pause()

    def _look_in(self, wait: timedelta) -> None:
        """Looks through the queue again when a wait is over."""
        at = asyncio.get_running_loop().time() + max(0.0, wait.total_seconds())
        self._look_at = min(self._look_at, at)

    async def _pause(self) -> None:
        # Not wait_for: in Python 3.11 it loses a cancellation that comes together with the event.
        left = max(0.01, self._look_at - asyncio.get_running_loop().time())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(_LOOK_S, self._settings.poll_seconds.max, left)):
                await self._ended.wait()

    async def _continue(self, lease: Lease, follower: RunFollower) -> None:
        """Takes over the farm runs that have not ended."""
        after = 0
        while page := await self._work.records.runs(self._settings.name, _PAGE, after=after):
            after = page[-1].revision
            for stored in page:
                # What is written here comes again on a later page.
                if stored.message.token == lease.token:
                    continue
                stored.message.token = lease.token
                # An earlier leader that still writes has ended it meanwhile, or is shut out now.
                if await self._work.records.write(stored):
                    self._follow(follower, stored, is_new=False)

    async def _start_what_fits(self, lease: Lease, follower: RunFollower) -> None:
        after = 0
        for _ in range(_PAGES):
            if len(self._following) >= self._settings.parallel:
                return
            page = await self._work.records.queued(self._settings.name, _PAGE, after=after)
            if not page:
                return
            after = page[-1].revision
            seen: set[str] = set()
            for stored in page:
                tag = tag_of(stored.message.cell)
                if tag not in seen and lease.is_held:
                    seen.add(tag)
                    await self._start(lease, follower, tag)
                if len(self._following) >= self._settings.parallel:
                    return

    async def _start(self, lease: Lease, follower: RunFollower, tag: str) -> None:
        """Starts a farm run with the cells of one device that may run now, if there are any."""
        now = self._work.clock()
        waiting = await self._work.records.queued_for(self._settings.name, tag, 4 * self._settings.entries)
        ready = [one for one in waiting if not _waits(one.message, now)]
        for one in waiting:
            if _waits(one.message, now):
                self._look_in(from_timestamp(one.message.not_before) - now)
        health = await self._health.read(tag)
        if not ready or not health.may_run(now):
            await self._drop_over(waiting, now)
            return
        limit = 1 if health.is_probed else self._settings.entries
        if len(ready) < limit and (wait := self._pack_wait(ready, now)) > timedelta():
            self._look_in(wait)
            return
        device = await self._device(ready)
        if device is None or self._is_taken(device, tag):
            await self._drop_over(waiting, now)
            return
        await self._plan(lease, follower, device, ready[:limit])

    def _is_taken(self, device: Device, tag: str) -> bool:
        """Whether every instance of a device has a farm run."""
        running = sum(one == tag for one in self._busy.values())
        return self._settings.exclusive_devices and running >= device.instances

    def _pack_wait(self, ready: Sequence[Queued], now: datetime) -> timedelta:
        """How long the first of these cells may wait yet for more cells of its device."""
        first = min(from_timestamp(one.message.queued_at) for one in ready)
        return first + timedelta(seconds=self._settings.pack_seconds) - now

    async def _drop_over(self, waiting: Sequence[Queued], now: datetime) -> None:
        """Ends cells that nobody waits for, although they may not run now."""
        for one in waiting:
            over = await self._claims.why_over(one.message, now)
            if over is not None:
                await self._claims.drop(name_in(one.key), one.message, over)

    async def _device(self, ready: Sequence[Queued]) -> Device | None:
        """The device of some cells as the farm offers it now; without it they end."""
        cell = ready[0].message.cell
        try:
            device = await self._devices.find(cell.device, cell.os_version)
        except FarmError as error:
            log.warning("farm %s does not list its devices: %s", self._settings.name, error)
            return None
        if device is None:
            words = (
                f"the {self._settings.name} farm has no device {cell.device!r} with OS version {cell.os_version!r} now"
            )
            for one in ready:
                failure = JobFailure(FailureKind.DEVICE, words, "see `windtunnel devices`", code="device")
                await self._claims.drop(name_in(one.key), one.message, failure)
            return None
        return device if device.available else None

    async def _plan(self, lease: Lease, follower: RunFollower, device: Device, cells: Sequence[Queued]) -> None:
        lease.require()
        key = new_key()
        run = farm_runs_pb2.FarmRun(
            key=key,
            farm=self._settings.name,
            state=farm_runs_pb2.FarmRun.STATE_PLANNED,
            token=lease.token,
            device=device_to_proto(device),
            entries=[name_in(one.key) for one in cells],
            timeout=to_duration(sum(_timeout(one.message) for one in cells)),
            planned_at=to_timestamp(self._work.clock()),
            avoid=dict.fromkeys(instance for one in cells for instance in one.message.avoid),
        )
        stored = await self._work.records.create(run_key(self._settings.name, key), run)
        if stored is not None:
            self._follow(follower, stored, is_new=True)

    def _follow(self, follower: RunFollower, stored: Stored[farm_runs_pb2.FarmRun], *, is_new: bool) -> None:
        key = stored.message.key
        self._busy[key] = tag_of(stored.message.device)
        task = asyncio.create_task(follower.follow(stored, is_new=is_new))
        self._following[key] = task
        task.add_done_callback(lambda _: self._let_go(key))

    def _let_go(self, key: str) -> None:
        self._following.pop(key, None)
        self._busy.pop(key, None)
        self._ended.set()

    async def _stop(self) -> None:
        await end_all(list(self._following.values()))


def _waits(queued: farm_runs_pb2.QueuedCell, now: datetime) -> bool:
    return queued.HasField("not_before") and from_timestamp(queued.not_before) > now


def _timeout(queued: farm_runs_pb2.QueuedCell) -> float:
    job = queued.job
    return from_duration(job.app.timeout if job.HasField("app") else job.executable.timeout)
