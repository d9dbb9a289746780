"""Schedulers of farm runs on one bus, that can be killed between any two of their calls."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from google.protobuf.message import Message

from support.graphs import dense_model
from support.service_runtime import Listener, run_context
from windtunnel.artifacts import ArtifactRef, open_store
from windtunnel.bus import Bus, Jobs, subjects
from windtunnel.bus.publisher import Publisher
from windtunnel.farm_dispatcher.adapters.artifact_files import ArtifactFiles
from windtunnel.farm_dispatcher.domain.cells import Cell, cell_id
from windtunnel.farm_dispatcher.domain.devices import Device
from windtunnel.farm_dispatcher.domain.farm import Farm
from windtunnel.farm_dispatcher.domain.jobs import DEVICE_FOLDER, ExecutableJob, Job, PushedFile
from windtunnel.farm_dispatcher.use_cases.scheduler.schedule import Scheduler
from windtunnel.farm_dispatcher.use_cases.scheduler.work import Work
from windtunnel.farm_dispatcher.use_cases.stored.leases import Leases
from windtunnel.farm_dispatcher.use_cases.stored.ledgers import Ledgers
from windtunnel.farm_dispatcher.use_cases.stored.measurements import Measurements
from windtunnel.farm_dispatcher.use_cases.stored.records import Records
from windtunnel.plan import Plan
from windtunnel.service.cancellation import Cancellations
from windtunnel.v1 import events_pb2, types_pb2

ENDED = [subjects.DEVICE_RUN_FINISHED, subjects.DEVICE_RUN_FAILED]


class Killed(BaseException):
    """The process is dead: nothing that it tries happens any more."""


class Process:
    """A process that dies at its n-th call to the outside, before the call or after it has taken effect.

    Args:
        dies_at: number of the call, from 1; None: never.
        after: the call takes effect, and its answer is lost.
    """

    def __init__(self, dies_at: int | None = None, *, after: bool = False) -> None:
        self.calls = 0
        self.dead = asyncio.Event()
        self._dies_at = dies_at
        self._after = after

    def wrap(self, target: Any) -> Any:
        return _Outside(target, self)

    async def call(self, method: Any, *args: Any, **named: Any) -> Any:
        if self.dead.is_set():
            raise Killed
        self.calls += 1
        if self.calls != self._dies_at:
            return await method(*args, **named)
        if self._after:
            await method(*args, **named)
        self.dead.set()
        raise Killed


class _Outside:
    def __init__(self, target: Any, process: Process) -> None:
        self._target = target
        self._process = process

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if not asyncio.iscoroutinefunction(value):
            return value

        async def call(*args: Any, **named: Any) -> Any:
            return await self._process.call(value, *args, **named)

        return call


class FarmLab:
    """A bus, a store and farms; schedulers come and go.

    Args:
        bus: of all schedulers.
        farms: by name.
        folder: for artifacts.
        deadline_s: of runs.
    """

    def __init__(self, bus: Bus, farms: Mapping[str, Farm], folder: Path, *, deadline_s: float = 3600.0) -> None:
        self.bus = bus
        self.farms = farms
        self.folder = folder
        self.artifacts = open_store(str(folder / "store"), cache=folder / "cache")
        self.listener = Listener(bus)
        self.now: datetime | None = None
        self._deadline_s = deadline_s

    async def records(self) -> Records:
        return Records(await self.bus.bucket(subjects.FARM_RUNS_BUCKET))

    async def canceled(self) -> Cancellations:
        return Cancellations(await self.bus.bucket(subjects.CANCELED_BUCKET), fresh_s=0.01)

    async def scheduler(self, process: Process | None = None, *, holder: str = "one", ttl_s: float = 2.0) -> Scheduler:
        process = process or Process()
        records = Records(process.wrap(await self.bus.bucket(subjects.FARM_RUNS_BUCKET)))
        artifacts = process.wrap(self.artifacts)
        work = Work(
            records=records,
            ledgers=Ledgers(records),
            jobs=Jobs(process.wrap(await self.bus.bucket(subjects.RESULTS_BUCKET))),
            publisher=Publisher(process.wrap(self.bus), "farm_dispatcher"),
            artifacts=artifacts,
            files=ArtifactFiles(artifacts),
            canceled=await self.canceled(),
            backoff_s=0.01,
            pauses_s=(0.01, 0.05),
            clock=lambda: self.now or datetime.now(UTC),
        )
        measurements = Measurements(process.wrap(await self.bus.bucket(subjects.MEASURED_BUCKET)))
        farms = {name: cast(Farm, process.wrap(farm)) for name, farm in self.farms.items()}
        return Scheduler(farms, work, measurements, Leases(records, holder, ttl_s=ttl_s), self._deadline_s)

    @asynccontextmanager
    async def scheduling(
        self, process: Process | None = None, *, holder: str = "one", ttl_s: float = 2.0
    ) -> AsyncIterator[Scheduler]:
        scheduler = await self.scheduler(process, holder=holder, ttl_s=ttl_s)
        task = asyncio.create_task(scheduler.run())
        try:
            yield scheduler
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def model(self) -> ArtifactRef:
        return await self.artifacts.put_file(dense_model(self.folder / "m.tflite"))

    async def cells(self, devices: Sequence[Device], count: int, run_id: str = "run-1") -> list[tuple[Cell, Job]]:
        """Cells with their jobs: `count` for each device."""
        job = ExecutableJob(PushedFile(await self.model(), f"{DEVICE_FOLDER}/model.tflite"), timeout_s=60)
        return [(cell_of(device, number, run_id), job) for device in devices for number in range(count)]

    async def context(self, plan: Plan | None = None, run_id: str = "run-1") -> types_pb2.RunContext:
        return await run_context(self, run_id, plan or Plan())  # type: ignore[arg-type]

    async def ended(self, count: int, timeout_s: float = 60.0) -> list[Any]:
        """How the first `count` cells ended."""

        def enough(messages: Sequence[Message]) -> bool:
            return len(messages) >= count

        return await self.listener.collect(enough, topics=ENDED, timeout_s=timeout_s)

    def require_each_once(self, ended: Sequence[Any], cells: Sequence[tuple[Cell, Job]]) -> None:
        """Every cell has ended, and in one way only."""
        counts = Counter(message.cell.id for message in ended)
        assert set(counts) == {cell.id for cell, _ in cells}
        assert set(counts.values()) <= {1}


def cell_of(device: Device, number: int, run_id: str = "run-1") -> Cell:
    fields = (device.farm, device.name, device.platform, device.os_version, "cpu", number + 1)
    return Cell(cell_id(run_id, "int8", *fields), "int8", *fields)


def finished(messages: Sequence[Any]) -> list[events_pb2.DeviceRunFinished]:
    return [message for message in messages if isinstance(message, events_pb2.DeviceRunFinished)]


def failures(messages: Sequence[Any]) -> list[events_pb2.DeviceRunFailed]:
    return [message for message in messages if isinstance(message, events_pb2.DeviceRunFailed)]
