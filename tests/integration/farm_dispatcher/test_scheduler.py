"""Farm runs outlive dispatchers: every cell ends once, a paid device runs it once, and the bill adds up."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import ClassVar

import pytest
from google.protobuf.message import Message

from support.bus_wires import until
from support.farm_scheduler import ENDED, FarmLab, Process, failures, finished
from support.service_runtime import open_bus
from windtunnel.bus import Bus, decode, encode, subjects
from windtunnel.bus.memory import MemoryBus
from windtunnel.errors import FarmError
from windtunnel.farm_dispatcher.adapters.fake_farm import FAKE_DEVICE, FAKE_SETTINGS, FakeFarm, FakeVendor
from windtunnel.farm_dispatcher.domain.device_runs import JobFailure
from windtunnel.farm_dispatcher.domain.farm_settings import Budget, FarmSettings
from windtunnel.farm_dispatcher.use_cases.stored.ledgers import day_ledger, run_ledger
from windtunnel.farm_dispatcher.use_cases.stored.records import tag_of
from windtunnel.farms.failure_kinds import FailureKind
from windtunnel.metrics_store.domain import RunRecord, fold
from windtunnel.metrics_store.messages.decode_events import read_event
from windtunnel.plan import Plan
from windtunnel.v1 import events_pb2, farm_runs_pb2, types_pb2

PRICE = Decimal("0.17")
PAID = dataclasses.replace(FAKE_DEVICE, price_per_minute_usd=PRICE)
SETTINGS = dataclasses.replace(FAKE_SETTINGS, parallel=2, entries=4)


@pytest.fixture(params=["memory", "nats"])
async def bus(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bus]:
    async with open_bus(request.param, tmp_path / "nats") as opened:
        yield opened


def paid_farm(vendor: FakeVendor | None = None, **settings: object) -> FakeFarm:
    return FakeFarm(vendor or FakeVendor(), (PAID,), settings=dataclasses.replace(SETTINGS, **settings))  # type: ignore[arg-type]


async def spent(lab: FarmLab, key: str) -> int:
    stored = await (await lab.records()).read(key, farm_runs_pb2.Ledger)
    assert stored is None or not stored.message.reserved_micro_usd
    return 0 if stored is None else stored.message.spent_micro_usd


async def test_cells_of_one_device_share_a_farm_run(bus: Bus, tmp_path: Path) -> None:
    farm = paid_farm()
    lab = FarmLab(bus, {"fake": farm}, tmp_path)
    cells = await lab.cells([PAID], 4)
    async with lab.scheduling() as scheduler:
        await scheduler.queue.queue(await lab.context(), Plan(), cells)
        ended = await lab.ended(4)
    lab.require_each_once(ended, cells)
    assert len({message.farm_run.id for message in finished(ended)}) == len(farm.vendor.runs) <= 2
    # Four jobs of 30 s: 2 minutes if they share a farm run.
    costs = [message.farm_run.cost_micro_usd for message in finished(ended)]
    assert (
        sum(costs) == await spent(lab, run_ledger("run-1")) == await spent(lab, day_ledger("fake", datetime.now(UTC)))
    )
    assert sum(costs) in (340_000, 510_000)


async def _die_and_continue(tmp_path: Path, dies_at: int, *, after: bool) -> bool:
    """A dispatcher dies at one of its calls, another one continues. Returns False where it did not come so far."""
    vendor = FakeVendor(polls_until_end=2, failures=[None, FarmError("the phone is lost"), None])
    lab = FarmLab(MemoryBus(), {"fake": paid_farm(vendor)}, tmp_path)
    cells = await lab.cells([PAID], 3)
    plan, context = Plan(), await lab.context()
    process = Process(dies_at, after=after)
    async with lab.scheduling() as healthy:
        await healthy.queue.queue(context, plan, [])
    first = await lab.scheduler()
    await first.queue.queue(context, plan, cells)
    async with lab.scheduling(process):
        dead = asyncio.create_task(process.dead.wait())
        listening = asyncio.create_task(lab.ended(3))
        await asyncio.wait((dead, listening), return_when=asyncio.FIRST_COMPLETED, timeout=60)
        dead.cancel()
    async with lab.scheduling():
        ended = await listening
        await until(lambda: not _open_runs(lab), "all farm runs have ended")
    lab.require_each_once(ended, cells)
    ran = Counter(entry.cell.id for entry in vendor.ran)
    # The cell whose phone was lost ran twice, no other one did.
    assert sorted(ran.values()) == [1, 1, 2]
    assert sum(message.farm_run.cost_micro_usd for message in finished(ended)) <= await spent(lab, run_ledger("run-1"))
    assert await spent(lab, run_ledger("run-1")) == sum(
        int(PRICE * 1_000_000) * -(-30 * len(run.request.entries) // 60) for run in vendor.runs.values()
    )
    return process.dead.is_set()


def _open_runs(lab: FarmLab) -> list[str]:
    bucket = lab.bus._buckets["windtunnel_farm_runs"]  # type: ignore[attr-defined]
    return [key for key in bucket._records if key.startswith(("run.", "queue.", "taken."))]


@pytest.mark.heavy
@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
async def test_a_dispatcher_may_die_at_any_of_its_calls(tmp_path: Path, after: bool) -> None:
    """Every call to the bus, the store and the farm is where the process dies once."""
    dies_at = 0
    while True:
        dies_at += 1
        folder = tmp_path / f"{dies_at}"
        folder.mkdir()
        if not await _die_and_continue(folder, dies_at, after=after):
            break
    assert dies_at > 60


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchSettings(FarmSettings):
    """Of a farm that has each device in few instances."""

    exclusive_devices: ClassVar[bool] = True


async def test_each_instance_of_a_device_has_one_farm_run_at_a_time(tmp_path: Path) -> None:
    vendor = FakeVendor(polls_until_end=10**6)
    device = dataclasses.replace(PAID, instances=2)
    settings = BenchSettings(name="fake", parallel=9, poll_seconds=FAKE_SETTINGS.poll_seconds)
    farm = FakeFarm(vendor, (device,), settings=settings)
    lab = FarmLab(MemoryBus(), {"fake": farm}, tmp_path)
    cells = await lab.cells([device], 4)
    async with lab.scheduling() as scheduler:
        await scheduler.queue.queue(await lab.context(), Plan(), cells)
        await until(lambda: vendor.calls.count("poll") > 20, "farm runs are asked about")
        assert len(vendor.runs) == 2
        vendor.polls_until_end = 1
        lab.require_each_once(await lab.ended(4), cells)


async def test_a_lost_answer_is_looked_up_and_not_repeated(bus: Bus, tmp_path: Path) -> None:
    farm = paid_farm(FakeVendor(lost_answers=1))
    lab = FarmLab(bus, {"fake": farm}, tmp_path)
    cells = await lab.cells([PAID], 1)
    async with lab.scheduling() as scheduler:
        await scheduler.queue.queue(await lab.context(), Plan(), cells)
        ended = await lab.ended(1)
    assert len(finished(ended)) == 1 and len(farm.ran) == 1
    assert farm.vendor.calls.count("submit") == 1 and "find" in farm.vendor.calls


async def test_throttling_and_outages_never_lose_a_cell(bus: Bus, tmp_path: Path) -> None:
    farm = paid_farm(FakeVendor(faults=[FarmError("429"), FarmError("503")] * 3))
    lab = FarmLab(bus, {"fake": farm}, tmp_path)
    cells = await lab.cells([PAID], 1)
    async with lab.scheduling() as scheduler:
        await scheduler.queue.queue(await lab.context(), Plan(), cells)
        (message,) = await lab.ended(1)
    assert isinstance(message, events_pb2.DeviceRunFinished) and message.attempt == 1


@pytest.mark.parametrize(
    ("kind", "attempts"),
    [(FailureKind.INFRASTRUCTURE, 3), *((kind, 1) for kind in FailureKind if kind is not FailureKind.INFRASTRUCTURE)],
)
async def test_only_failures_of_the_farm_are_tried_again(tmp_path: Path, kind: FailureKind, attempts: int) -> None:
    farm = paid_farm()
    farm.fail([JobFailure(kind, "the phone is broken", field="outcome.x", instance="pixel-1")] * 3)
    lab = FarmLab(MemoryBus(), {"fake": farm}, tmp_path)
    cells = await lab.cells([PAID], 1)
    async with lab.scheduling() as scheduler:
        await scheduler.queue.queue(await lab.context(), Plan(), cells)
        (failed,) = failures(await lab.ended(1))
    assert len(farm.ran) == failed.attempt == attempts
    assert (failed.failure.field, failed.failure.message) == ("outcome.x", "the phone is broken")
    avoided = [run.request.avoid for run in farm.vendor.runs.values()]
    assert avoided == [(), ("pixel-1",), ("pixel-1",)][:attempts]


async def test_the_store_counts_what_the_ledger_counts(bus: Bus, tmp_path: Path) -> None:
    """The bills of failed attempts, too, are in the report."""
    farm = paid_farm()
    farm.fail([JobFailure(FailureKind.INFRASTRUCTURE, "the phone is broken", instance="pixel-1")] * 3)
    lab = FarmLab(bus, {"fake": farm}, tmp_path)
    cells = await lab.cells([PAID], 2)

    def all_ended(messages: Sequence[Message]) -> bool:
        return len(finished(messages)) == 2

    async with lab.scheduling() as scheduler:
        await scheduler.queue.queue(await lab.context(), Plan(), cells)
        heard = await lab.listener.collect(all_ended, topics=[*ENDED, subjects.DEVICE_RUN_PROGRESSED])
    assert sum(message.attempt - 1 for message in finished(heard)) == 3
    record = RunRecord("run-1")
    for number, message in enumerate([*heard, *heard]):
        event = decode(*encode(message, id=f"e-{number}", source="/tests", run_id="run-1"))
        record = fold(record, read_event(event).facts)
    costs = [cell.cost_micro_usd or 0 for cell in record.cells.values()]
    assert sum(costs) == await spent(lab, run_ledger("run-1")) > 0
    assert len({key for cell in record.cells.values() for key in cell.farm_runs}) >= 3


@pytest.mark.parametrize(
    ("plan", "budget"),
    [
        (Plan(budget_usd=0.35), Budget()),
        (Plan(budget_usd=5), Budget(run=Decimal("0.35"))),
        (Plan(), Budget(day=Decimal("0.35"))),
    ],
    ids=["of the plan", "of the farm for a run", "of the farm for a day"],
)
async def test_a_budget_stops_what_it_does_not_cover(tmp_path: Path, plan: Plan, budget: Budget) -> None:
    farm = paid_farm(budget_usd=budget, entries=1, parallel=1)
    lab = FarmLab(MemoryBus(), {"fake": farm}, tmp_path)
    cells = await lab.cells([PAID], 4)
    async with lab.scheduling() as scheduler:
        await scheduler.queue.queue(await lab.context(plan), plan, cells)
        ended = await lab.ended(4)
    # Each is expected to cost 0.17.
    assert (len(finished(ended)), len(failures(ended)), len(farm.ran)) == (2, 2, 2)
    for message in failures(ended):
        assert message.failure.kind == types_pb2.FAILURE_KIND_BUDGET
        assert "0.35 USD" in message.failure.message and "0.17 more" in message.failure.message
    assert await spent(lab, run_ledger("run-1")) == 340_000


async def test_a_canceled_run_is_canceled_on_its_farm(bus: Bus, tmp_path: Path) -> None:
    farm = paid_farm(FakeVendor(polls_until_end=10**6), parallel=1, entries=1)
    lab = FarmLab(bus, {"fake": farm}, tmp_path)
    cells = await lab.cells([PAID], 2)
    async with lab.scheduling() as scheduler:
        await scheduler.queue.queue(await lab.context(), Plan(), cells)
        await until(lambda: "poll" in farm.vendor.calls, "one runs on the farm")
        await (await lab.canceled()).add("run-1")
        ended = await lab.ended(2)
    assert {message.failure.kind for message in failures(ended)} == {types_pb2.FAILURE_KIND_CANCELLED}
    assert "cancel" in farm.vendor.calls and len(farm.vendor.runs) == 1


async def test_a_deadline_cancels_too(tmp_path: Path) -> None:
    farm = paid_farm(FakeVendor(polls_until_end=10**6), parallel=1, entries=1)
    lab = FarmLab(MemoryBus(), {"fake": farm}, tmp_path, deadline_s=600)
    cells = await lab.cells([PAID], 2)
    async with lab.scheduling() as scheduler:
        await scheduler.queue.queue(await lab.context(), Plan(), cells)
        await until(lambda: "poll" in farm.vendor.calls, "one runs on the farm")
        lab.now = datetime.now(UTC) + timedelta(seconds=601)
        ended = await lab.ended(2)
    assert {message.failure.message for message in failures(ended)} == {"the deadline of the run has passed"}
    assert "cancel" in farm.vendor.calls


async def test_a_job_that_does_not_end_times_out(tmp_path: Path) -> None:
    farm = paid_farm(FakeVendor(polls_until_end=10**6), parallel=1)
    lab = FarmLab(MemoryBus(), {"fake": farm}, tmp_path, deadline_s=10**6)
    cells = await lab.cells([PAID], 1)
    async with lab.scheduling() as scheduler:
        await scheduler.queue.queue(await lab.context(), Plan(), cells)
        await until(lambda: farm.vendor.calls.count("poll") > 2, "it runs on the farm")
        lab.now = datetime.now(UTC) + timedelta(seconds=60 + 301)
        (failed,) = failures(await lab.ended(1))
    assert failed.failure.kind == types_pb2.FAILURE_KIND_TIMEOUT
    assert "cancel" in farm.vendor.calls


async def test_a_measurement_is_reused_while_it_is_fresh(bus: Bus, tmp_path: Path) -> None:
    farm = paid_farm()
    lab = FarmLab(bus, {"fake": farm}, tmp_path)
    plan = Plan(reuse_seconds=3600)
    async with lab.scheduling() as scheduler:
        await scheduler.queue.queue(await lab.context(plan), plan, await lab.cells([PAID], 1))
        (first,) = await lab.ended(1)
        await scheduler.queue.remember(measured(first, p50=None))
        await scheduler.queue.remember(measured(first))
        cells = await lab.cells([PAID], 2, "run-2")
        await scheduler.queue.queue(await lab.context(plan, "run-2"), plan, cells)
        ended = finished(await lab.ended(3))
        lab.now = datetime.now(UTC) + timedelta(hours=2)
        await scheduler.queue.queue(await lab.context(plan, "run-3"), plan, await lab.cells([PAID], 1, "run-3"))
        late = finished(await lab.ended(4))[-1]
    assert [message.reused for message in ended] == [False, True, False] or [m.reused for m in ended] == [
        False,
        True,
        False,
    ]
    (reused,) = [message for message in ended if message.reused]
    assert (reused.run.run_id, reused.cell.id, reused.farm_run.cost_micro_usd) == ("run-2", cells[0][0].id, 0)
    assert (reused.log, reused.farm_run.id) == (first.log, first.farm_run.id)
    assert not late.reused and len(farm.ran) == 3


async def test_a_run_without_a_latency_is_not_reused(tmp_path: Path) -> None:
    farm = paid_farm()
    lab = FarmLab(MemoryBus(), {"fake": farm}, tmp_path)
    plan = Plan(reuse_seconds=3600)
    async with lab.scheduling() as scheduler:
        await scheduler.queue.queue(await lab.context(plan), plan, await lab.cells([PAID], 1))
        (first,) = await lab.ended(1)
        await scheduler.queue.remember(measured(first, p50=None))
        await scheduler.queue.queue(await lab.context(plan, "run-2"), plan, await lab.cells([PAID], 1, "run-2"))
        ended = finished(await lab.ended(2))
    assert [message.reused for message in ended] == [False, False] and len(farm.ran) == 2


def measured(run: events_pb2.DeviceRunFinished, p50: float | None = 1.0) -> events_pb2.DeviceRunMeasured:
    """What the log parser says of a run."""
    figures = types_pb2.Measurement(latency_ms=types_pb2.LatencyFigures(p50=p50))
    return events_pb2.DeviceRunMeasured(run=run.run, cell=run.cell, attempt=run.attempt, measurement=figures)


async def test_two_dispatchers_share_a_farm_and_one_leads(bus: Bus, tmp_path: Path) -> None:
    farm = paid_farm()
    lab = FarmLab(bus, {"fake": farm}, tmp_path)
    cells = await lab.cells([PAID], 6)
    async with lab.scheduling(holder="one") as first, lab.scheduling(holder="two") as second:
        context = await lab.context()
        await asyncio.gather(first.queue.queue(context, Plan(), cells), second.queue.queue(context, Plan(), cells))
        ended = await lab.ended(6)
    lab.require_each_once(ended, cells)
    assert len(farm.ran) == 6


async def test_another_dispatcher_takes_over_a_dead_ones_farm_runs(bus: Bus, tmp_path: Path) -> None:
    farm = paid_farm(FakeVendor(polls_until_end=10**6))
    lab = FarmLab(bus, {"fake": farm}, tmp_path)
    cells = await lab.cells([PAID], 1)
    process = Process(10**9)
    async with lab.scheduling(process, holder="one", ttl_s=1.0) as scheduler:
        await scheduler.queue.queue(await lab.context(), Plan(), cells)
        await until(lambda: "poll" in farm.vendor.calls, "it runs on the farm")
        process.dead.set()
    farm.vendor.polls_until_end = 1
    async with lab.scheduling(holder="two", ttl_s=1.0):
        (message,) = await lab.ended(1)
    assert isinstance(message, events_pb2.DeviceRunFinished)
    assert farm.vendor.calls.count("submit") == 1


async def test_a_device_that_fails_again_and_again_is_left_alone_and_probed(tmp_path: Path) -> None:
    farm = paid_farm(attempts=10)
    farm.fail([FarmError("the phone is lost")] * 3)
    lab = FarmLab(MemoryBus(), {"fake": farm}, tmp_path)
    cells = await lab.cells([PAID], 1)
    async with lab.scheduling() as scheduler:
        await scheduler.queue.queue(await lab.context(), Plan(), cells)
        records = await lab.records()
        key = f"health.fake.{tag_of(PAID)}"
        await until(lambda: len(farm.ran) == 3, "it failed three times")
        for _ in range(100):
            stored = await records.read(key, farm_runs_pb2.DeviceHealth)
            if stored is not None and stored.message.HasField("quarantined_until"):
                break
            await asyncio.sleep(0.02)
        assert stored is not None and stored.message.failures == 3
        lab.now = datetime.now(UTC) + timedelta(seconds=61)
        (message,) = await lab.ended(1)
    assert isinstance(message, events_pb2.DeviceRunFinished) and message.attempt == 4
    stored = await records.read(key, farm_runs_pb2.DeviceHealth)
    assert stored is not None and stored.message == farm_runs_pb2.DeviceHealth()


async def test_a_device_that_is_gone_fails_its_cells(tmp_path: Path) -> None:
    farm = paid_farm()
    lab = FarmLab(MemoryBus(), {"fake": farm}, tmp_path)
    cells = await lab.cells([dataclasses.replace(PAID, name="nokia")], 2)
    async with lab.scheduling() as scheduler:
        await scheduler.queue.queue(await lab.context(), Plan(), cells)
        ended = failures(await lab.ended(2))
    assert {message.failure.kind for message in ended} == {types_pb2.FAILURE_KIND_DEVICE}
    assert "'nokia'" in ended[0].failure.message and not farm.ran
