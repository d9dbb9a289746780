"""Farm runs on Firebase Test Lab and Device Run through the scheduler: faults on the way, dispatchers that die."""

from __future__ import annotations

import asyncio
import math
import random
from pathlib import Path

import pytest

from support.bus_wires import until
from support.farm_jobs import FolderFiles, job_for
from support.farm_peers.google.fake_gcloud import CallFault, SessionBehavior
from support.farm_peers.google.lab import INFRASTRUCTURE, Behavior
from support.farm_peers.google.open_farms import OpenFarm, open_google_farm
from support.farm_peers.google.server import Fault, Quota
from support.farm_scheduler import FarmLab, Process, failures, finished
from support.graphs import dense_model
from windtunnel.bus.memory import MemoryBus
from windtunnel.farm_dispatcher.domain.cells import Cell, cell_id
from windtunnel.farm_dispatcher.domain.devices import Device
from windtunnel.farm_dispatcher.domain.farm_settings import PollSeconds
from windtunnel.farm_dispatcher.domain.jobs import Job
from windtunnel.farm_dispatcher.use_cases.stored.ledgers import run_ledger
from windtunnel.plan import Plan
from windtunnel.v1 import farm_runs_pb2

pytestmark = pytest.mark.heavy
MICRO_USD_PER_MINUTE = 83_400
# A question to Device Run is a process.
POLL = PollSeconds(0.1, 0.3)


async def cells_of(lab: FarmLab, google: OpenFarm, device: Device) -> list[tuple[Cell, Job]]:
    """Three cells of one model: they share a farm run."""
    files = FolderFiles()
    model = dense_model(lab.folder / "m.tflite")
    cells: list[tuple[Cell, Job]] = []
    for accelerator, threads in (("cpu", 1), ("xnnpack", 1), ("xnnpack", 2)):
        fields = (device.farm, device.name, device.platform, device.os_version, accelerator, threads)
        cell = Cell(cell_id("run-1", "int8", *fields), "int8", *fields)
        job = job_for(files, device, model, cell, f"cell-{threads}")
        for blob in job.blobs:
            await lab.artifacts.put_file(await files.path(blob))
        cells.append((cell, job))
    return cells


async def device_of(google: OpenFarm, kind: str) -> Device:
    return await google.device({"firebase": "shiba", "ddp": "shiba-34"}[kind])


async def spent(lab: FarmLab) -> int:
    stored = await (await lab.records()).read(run_ledger("run-1"), farm_runs_pb2.Ledger)
    assert stored is None or not stored.message.reserved_micro_usd
    return 0 if stored is None else stored.message.spent_micro_usd


def open_runs(lab: FarmLab) -> list[str]:
    bucket = lab.bus._buckets["windtunnel_farm_runs"]  # type: ignore[attr-defined]
    return [key for key in bucket._records if key.startswith(("run.", "queue.", "taken."))]


def started(google: OpenFarm) -> int:
    """Farm runs that the vendor knows."""
    return len(google.peer.matrices.matrices) if google.gcloud is None else len(google.gcloud.state()["sessions"])


def billed_minutes(google: OpenFarm) -> int:
    """What the vendor bills: the steps of Test Lab, the executions of Device Run."""
    if google.gcloud is None:
        steps = [step for all_steps in google.peer.lab.steps.values() for step in all_steps]
        used = [step.get("deviceUsageDuration", {}) for step in steps]
        return sum(math.ceil(int(one.get("seconds", 0)) / 60) for one in used)
    return sum(1 for session in google.gcloud.state()["sessions"] if session["report"])


async def run_all(lab: FarmLab, cells: list[tuple[Cell, Job]], *dying: Process) -> list[object]:
    """Queues the cells and takes them to their ends; each process that dies is followed by the next one."""
    plan, context = Plan(), await lab.context()
    first = await lab.scheduler()
    await first.queue.queue(context, plan, cells)
    listening = asyncio.create_task(lab.ended(len(cells), timeout_s=100))
    for number, process in enumerate(dying):
        async with lab.scheduling(process, holder=f"dispatcher-{number}", ttl_s=0.3):
            dead = asyncio.create_task(process.dead.wait())
            await asyncio.wait((dead, listening), return_when=asyncio.FIRST_COMPLETED, timeout=30)
            dead.cancel()
    async with lab.scheduling(holder="the-last", ttl_s=0.3):
        ended: list[object] = list(await listening)
        await until(lambda: not open_runs(lab), "all farm runs have ended")
    lab.require_each_once(ended, cells)
    return ended


@pytest.mark.parametrize("kind", ["firebase", "ddp"])
async def test_cells_share_a_farm_run_and_its_bill(tmp_path: Path, kind: str) -> None:
    async with open_google_farm(kind, tmp_path, time_passes=True, poll_seconds=POLL) as google:
        lab = FarmLab(MemoryBus(), {kind: google.farm}, tmp_path)
        cells = await cells_of(lab, google, await device_of(google, kind))
        ended = finished(await run_all(lab, cells))
        assert (len(ended), started(google)) == (3, 1)
        assert sum(message.farm_run.cost_micro_usd for message in ended) == await spent(lab)
        assert await spent(lab) == billed_minutes(google) * MICRO_USD_PER_MINUTE


@pytest.mark.parametrize("kind", ["firebase", "ddp"])
async def test_faults_on_the_way_lose_and_double_nothing(tmp_path: Path, kind: str) -> None:
    async with open_google_farm(kind, tmp_path, time_passes=True, poll_seconds=POLL) as google:
        lab = FarmLab(MemoryBus(), {kind: google.farm}, tmp_path)
        cells = await cells_of(lab, google, await device_of(google, kind))
        peer = google.peer
        peer.faults += [
            Fault("testing.projects.testMatrices.create", kind="lost", times=4),
            Fault("testing.*.get", "UNAVAILABLE", times=3, after=1),
            Fault("toolresults.*", kind="garbage", times=2),
            Fault("storage.objects.list", kind="dropped"),
        ]
        peer.quotas.append(Quota("testing.*.get", 20, 600))
        if google.gcloud is not None:
            google.gcloud.fail(
                CallFault("android-executable", "ERROR: gcloud crashed (ConnectionError): reset", lost=True),
                CallFault("describe", "ERROR: (gcloud.x) UNAVAILABLE: backend", times=2),
                CallFault("list", "ERROR: (gcloud.x) RESOURCE_EXHAUSTED: Quota exceeded", times=1),
            )
        ended = finished(await run_all(lab, cells))
        assert (len(ended), started(google)) == (3, 1)
        assert await spent(lab) == billed_minutes(google) * MICRO_USD_PER_MINUTE


@pytest.mark.parametrize("kind", ["firebase", "ddp"])
async def test_only_the_farms_own_failures_are_tried_again(tmp_path: Path, kind: str) -> None:
    async with open_google_farm(kind, tmp_path, time_passes=True, poll_seconds=POLL) as google:
        google.peer.lab.coming += [INFRASTRUCTURE, Behavior(crash="native", crashes_at=4)]
        if google.gcloud is not None:
            google.gcloud.behave(SessionBehavior(result="ERROR", cause="INFRA"), SessionBehavior())
        lab = FarmLab(MemoryBus(), {kind: google.farm}, tmp_path)
        cells = await cells_of(lab, google, await device_of(google, kind))
        ended = await run_all(lab, cells)
        if kind == "ddp":
            assert [message.attempt for message in finished(ended)] == [2, 2, 2]
            return
        # The crash is the second scenario's own; the third one had no turn and runs again.
        (crashed,) = failures(ended)
        assert (crashed.cell.accelerator, crashed.cell.threads) == ("xnnpack", 1)
        assert sorted(message.attempt for message in finished(ended)) == [2, 3]


@pytest.mark.parametrize("kind", ["firebase", "ddp"])
@pytest.mark.parametrize("seed", range(3))
async def test_dispatchers_may_die_while_they_talk_to_google(tmp_path: Path, kind: str, seed: int) -> None:
    draw = random.Random(seed)
    dying = [Process(draw.randrange(3, 60), after=bool(draw.randrange(2))) for _ in range(5)]
    async with open_google_farm(kind, tmp_path, time_passes=True, poll_seconds=POLL) as google:
        lab = FarmLab(MemoryBus(), {kind: google.farm}, tmp_path)
        cells = await cells_of(lab, google, await device_of(google, kind))
        ended = finished(await run_all(lab, cells, *dying))
        assert (len(ended), started(google)) == (3, 1)
        assert await spent(lab) == billed_minutes(google) * MICRO_USD_PER_MINUTE
    assert any(process.dead.is_set() for process in dying)
