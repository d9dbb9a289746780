"""A simulated farm of many devices, and dispatchers that run many cells on it and are killed on the way."""

from __future__ import annotations

import asyncio
import math
import random
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Final

import psutil

from support.farm_scheduler import FarmLab, Process
from windtunnel.bus import subjects
from windtunnel.bus.nats.jetstream import NatsBus
from windtunnel.farm_dispatcher.adapters.benchmark import benchmark_log
from windtunnel.farm_dispatcher.adapters.benchmark.delegation import Delegation
from windtunnel.farm_dispatcher.adapters.benchmark.measurement import Measured
from windtunnel.farm_dispatcher.domain.cells import Cell, RunAs, cell_id
from windtunnel.farm_dispatcher.domain.device_runs import Collected, DeviceRun, JobResult, Phase, Polled, Submitted
from windtunnel.farm_dispatcher.domain.devices import Device, DeviceFacts
from windtunnel.farm_dispatcher.domain.farm import Files
from windtunnel.farm_dispatcher.domain.farm_settings import FarmSettings, PollSeconds
from windtunnel.farm_dispatcher.domain.jobs import AppKind, ExecutableJob, FarmRunRequest, Job, PushedFile
from windtunnel.farms.properties import PHONES
from windtunnel.plan import Plan

RUN: Final = "benchmark"
PRICE: Final = Decimal("0.17")
START_S, JOB_S = 30.0, 20.0
_TIMES: Final = (1000.0, 1100.0)
_LOG: Final = benchmark_log.render(
    Measured(1000, "cpu", 1, 5000.0, _TIMES[:1], _TIMES, None, None, Delegation(0, 4, 0, 1))
)


@dataclass
class SimulatedFarm:
    """A farm whose state is a few bytes for each farm run, so that memory is that of the dispatcher."""

    devices_offered: Sequence[Device]
    cells: int
    settings: FarmSettings
    properties = PHONES
    default_accelerator = "cpu"
    runs: tuple[RunAs, ...] = ("executable",)
    app_kinds: tuple[AppKind, ...] = ()
    started: set[str] = field(default_factory=set)
    # In minutes.
    billed: int = 0

    def __post_init__(self) -> None:
        self.ran = array("H", [0]) * self.cells

    async def devices(self) -> Sequence[Device]:
        """Implements `Farm.devices`."""
        return self.devices_offered

    async def find(self, key: str) -> Submitted | None:
        """Implements `Farm.find`."""
        return Submitted(key) if key in self.started else None

    async def submit(self, request: FarmRunRequest, files: Files) -> Submitted:
        """Implements `Farm.submit`."""
        if request.key not in self.started:
            self.started.add(request.key)
            self.billed += billed_minutes(len(request.entries))
            for entry in request.entries:
                self.ran[int(entry.cell.variant)] += 1
        return Submitted(request.key, f"https://farm.example/{request.key}", "PENDING")

    async def poll(self, submitted: Submitted) -> Polled:
        """Implements `Farm.poll`."""
        return Polled(Phase.ENDED, "FINISHED")

    async def collect(self, submitted: Submitted, request: FarmRunRequest, into: Path) -> Collected:
        """Implements `Farm.collect`."""
        run = DeviceRun(_LOG, None, request.device.facts)
        results = tuple(JobResult(run=run, seconds=JOB_S) for _ in request.entries)
        return Collected(results, Decimal(billed_minutes(len(results))))

    async def cancel(self, submitted: Submitted) -> None:
        """Implements `Farm.cancel`."""


def billed_minutes(jobs: int) -> int:
    return math.ceil((START_S + jobs * JOB_S) / 60)


def simulated_farm(devices: int, cells: int, parallel: int, entries: int) -> SimulatedFarm:
    """A farm.

    Args:
        devices: how many.
        cells: how many it will run.
        parallel: farm runs at once.
        entries: cells in a farm run.
    """
    offered = [
        Device("sim", f"phone-{n}", "android", "14", ("cpu",), DeviceFacts(f"phone-{n}"), price_per_minute_usd=PRICE)
        for n in range(devices)
    ]
    settings = FarmSettings(name="sim", parallel=parallel, entries=entries, poll_seconds=PollSeconds(0.001, 0.05))
    return SimulatedFarm(offered, cells, settings)


async def queue_all(lab: FarmLab, farm: SimulatedFarm, cells: int) -> float:
    """Queues the cells; returns seconds. The variant is the number of the cell, so that the farm can count."""
    scheduler = await lab.scheduler()
    context, model = await lab.context(run_id=RUN), await lab.model()
    job = ExecutableJob(PushedFile(model, "/data/local/tmp/model.tflite"), timeout_s=60)
    begun = time.monotonic()
    page = 1000
    for first in range(0, cells, page):
        wanted: list[tuple[Cell, Job]] = []
        for number in range(first, min(cells, first + page)):
            device = farm.devices_offered[number % len(farm.devices_offered)]
            fields = ("sim", device.name, "android", "14", "cpu", 1)
            wanted.append((Cell(cell_id(RUN, str(number), *fields), str(number), *fields), job))
        await scheduler.queue.queue(context, Plan(), wanted)
    return time.monotonic() - begun


async def run_all(lab: FarmLab, bus: NatsBus, cells: int, kills: int, seed: int) -> tuple[float, list[float]]:
    """Runs all cells, with dispatchers that die at random calls; returns seconds and the memory over time in MB."""
    draw = random.Random(seed)
    begun, memory = time.monotonic(), []
    own = psutil.Process()
    while True:
        # A cell takes some 15 calls.
        process = Process(draw.randrange(1, 15 * cells // kills), after=draw.random() < 0.5) if kills else Process()
        async with lab.scheduling(process, ttl_s=5.0):
            while not process.dead.is_set():
                await asyncio.sleep(0.2)
                memory.append(own.memory_info().rss / 1e6)
                if await ended(bus) >= cells and not await _open(lab):
                    return time.monotonic() - begun, memory
        kills -= 1


async def _open(lab: FarmLab) -> bool:
    records = await lab.records()
    return bool(await records.runs("sim", 1) or await records.queued("sim", 1))


async def ended(bus: NatsBus) -> int:
    """How many cells have ended, by the stream: every event is there once."""
    info = await bus._js.stream_info("WINDTUNNEL", subjects_filter=subjects.DEVICE_RUN_FINISHED)
    return (info.state.subjects or {}).get(subjects.DEVICE_RUN_FINISHED, 0)
