"""The scheduler on AWS Device Farm: dispatchers die at any call, every cell ends once and is billed once."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections import Counter
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from support.farm_peers.aws.bench import TARGET, AwsBench
from support.farm_peers.aws.benchmark import printing_benchmark
from support.farm_peers.aws.faults import Outcome
from support.farm_peers.aws.server import start_aws_peer
from support.farm_scheduler import FarmLab, Process, failures, finished
from windtunnel.bus.memory import MemoryBus
from windtunnel.farm_dispatcher.adapters.aws.aws_farm import AwsFarm
from windtunnel.farm_dispatcher.domain.cells import Cell, cell_id
from windtunnel.farm_dispatcher.domain.farm_settings import PollSeconds
from windtunnel.farm_dispatcher.domain.jobs import ExecutableJob, Job, PushedFile
from windtunnel.farm_dispatcher.use_cases.stored.ledgers import run_ledger
from windtunnel.plan import Plan
from windtunnel.v1 import farm_runs_pb2

pytestmark = pytest.mark.heavy
PRICE = Decimal("0.17")


@pytest.fixture
async def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[FarmLab, AwsBench]]:
    with start_aws_peer(tmp_path / "farm", speed=60.0, page_size=20) as peer:
        for name, value in peer.environment.items():
            monkeypatch.setenv(name, value)
        bench = await asyncio.to_thread(AwsBench.make, peer, tmp_path / "bench")
        settings = dataclasses.replace(
            bench.farm.settings, parallel=3, entries=2, attempts=3, poll_seconds=PollSeconds(0.05, 0.2),
            price_per_minute_usd={"physical": PRICE},
        )  # fmt: skip
        bench.farm = AwsFarm(bench.client, settings)
        (tmp_path / "lab").mkdir()
        yield FarmLab(MemoryBus(), {"aws": bench.farm}, tmp_path / "lab"), bench
        bench.close()


async def cells_of(lab: FarmLab, bench: AwsBench, count: int) -> list[tuple[Cell, Job]]:
    """Cells of one device, each with a model of its own."""
    device = await bench.device()
    program = printing_benchmark(bench.folder / "benchmark_model")
    binary = PushedFile(await lab.artifacts.put_file(program), f"{TARGET}/benchmark_model")
    cells: list[tuple[Cell, Job]] = []
    for number in range(count):
        path = bench.folder / f"model-{number}"
        path.write_bytes(b"model %d" % number)
        model = PushedFile(await lab.artifacts.put_file(path), f"{TARGET}/{number}/model.tflite")
        job = ExecutableJob(model, binary=binary, arguments=(f"--graph={model.target}",), timeout_s=60.0)
        fields = (device.farm, device.name, device.platform, device.os_version, "xnnpack", 1)
        cells.append((Cell(cell_id("run-1", f"v{number}", *fields), f"v{number}", *fields), job))
    return cells


async def spent(lab: FarmLab) -> int:
    stored = await (await lab.records()).read(run_ledger("run-1"), farm_runs_pb2.Ledger)
    return 0 if stored is None else stored.message.spent_micro_usd


def billed(bench: AwsBench) -> int:
    """What the peer bills, in millionths of a dollar."""
    minutes = [Decimal(repr(job.minutes)) for job in bench.peer.runs.jobs()]
    return int(sum((minute * PRICE for minute in minutes), Decimal(0)) * 1_000_000)


def require_once(bench: AwsBench, cells: list[tuple[Cell, Job]]) -> None:
    """Each model was pushed to one phone only, and each run has a name of its own."""
    names = Counter(run.name for run in bench.peer.runs.by_arn.values())
    assert set(names.values()) == {1}
    pushed = [sha for phone in bench.peer.phones for sha, path in phone.received() if path.endswith("model.tflite")]
    assert Counter(pushed) == Counter(job.model_sha256 for _, job in cells)


async def test_cells_share_farm_runs_and_the_bill_adds_up(lab: tuple[FarmLab, AwsBench]) -> None:
    farm_lab, bench = lab
    cells = await cells_of(farm_lab, bench, 4)
    async with farm_lab.scheduling() as scheduler:
        await scheduler.queue.queue(await farm_lab.context(), Plan(), cells)
        ended = await farm_lab.ended(4)
        farm_lab.require_each_once(ended, cells)
    assert not failures(ended)
    require_once(bench, cells)
    costs = sum(message.farm_run.cost_micro_usd for message in finished(ended))
    assert costs == await spent(farm_lab) == billed(bench) > 0


async def test_a_failed_farm_is_tried_again(lab: tuple[FarmLab, AwsBench]) -> None:
    farm_lab, bench = lab
    bench.peer.faults.outcomes.append(Outcome(result="ERRORED", runs=False, counted=False))
    cells = await cells_of(farm_lab, bench, 1)
    async with farm_lab.scheduling() as scheduler:
        await scheduler.queue.queue(await farm_lab.context(), Plan(), cells)
        (ended,) = await farm_lab.ended(1)
    assert finished([ended])
    assert len(bench.peer.runs.by_arn) == 2


@pytest.mark.parametrize("seed", range(6))
async def test_dispatchers_that_die_lose_and_double_nothing(lab: tuple[FarmLab, AwsBench], seed: int) -> None:
    farm_lab, bench = lab
    draw = random.Random(seed)
    cells = await cells_of(farm_lab, bench, 3)
    first = await farm_lab.scheduler()
    await first.queue.queue(await farm_lab.context(), Plan(), cells)
    listening = asyncio.create_task(farm_lab.ended(3, 100.0))
    for number in range(4):
        process = Process(draw.randrange(5, 60), after=bool(draw.randrange(2)))
        async with farm_lab.scheduling(process, holder=f"d{number}", ttl_s=0.5):
            dead = asyncio.create_task(process.dead.wait())
            await asyncio.wait((dead, listening), return_when=asyncio.FIRST_COMPLETED, timeout=20)
            dead.cancel()
    async with farm_lab.scheduling(holder="last", ttl_s=0.5):
        ended = await listening
    farm_lab.require_each_once(ended, cells)
    assert not failures(ended)
    require_once(bench, cells)
