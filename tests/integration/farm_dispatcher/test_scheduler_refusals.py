"""What a farm refuses, and what only one of several runs may not do: every cell ends, and no other one pays for it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from support.bus_wires import until
from support.farm_scheduler import FarmLab, failures, finished
from windtunnel.bus.memory import MemoryBus
from windtunnel.errors import FarmError
from windtunnel.farm_dispatcher.adapters.fake_farm import FAKE_DEVICE, FAKE_SETTINGS, FakeFarm, FakeVendor
from windtunnel.farm_dispatcher.domain.device_runs import Polled, Submitted
from windtunnel.farm_dispatcher.domain.devices import Device
from windtunnel.farm_dispatcher.domain.farm import Files
from windtunnel.farm_dispatcher.domain.jobs import FarmRunRequest
from windtunnel.farm_dispatcher.messages.cell_messages import device_to_proto
from windtunnel.farm_dispatcher.messages.timestamps import to_timestamp
from windtunnel.farm_dispatcher.use_cases.scheduler.claim_cells import Claims
from windtunnel.farm_dispatcher.use_cases.scheduler.work import name_of
from windtunnel.farm_dispatcher.use_cases.stored.records import name_in, queue_key, run_key, tag_of, taken_key
from windtunnel.plan import Plan
from windtunnel.v1 import farm_runs_pb2, types_pb2

PAID = dataclasses.replace(FAKE_DEVICE, price_per_minute_usd=Decimal("0.17"))
SETTINGS = dataclasses.replace(FAKE_SETTINGS, parallel=1, entries=4)


class _NoPolls(FakeFarm):
    async def poll(self, submitted: Submitted) -> Polled:
        self.vendor.called("poll")
        raise FarmError("no such run", retryable=False, kind="other")


class _NoCancel(FakeFarm):
    async def cancel(self, submitted: Submitted) -> None:
        self.vendor.called("cancel")
        raise FarmError("you may not cancel", retryable=False)


def _lab(farm: FakeFarm, folder: Path) -> FarmLab:
    farm.offered, farm.settings = (PAID,), SETTINGS
    return FarmLab(MemoryBus(), {"fake": farm}, folder)


async def test_the_budget_of_one_run_costs_no_cell_of_another(tmp_path: Path) -> None:
    lab = _lab(FakeFarm(), tmp_path)
    scheduler = await lab.scheduler()
    for run_id, plan in (("poor", Plan(budget_usd=0.05)), ("rich", Plan(budget_usd=5))):
        await scheduler.queue.queue(await lab.context(plan, run_id), plan, await lab.cells([PAID], 2, run_id))
    async with lab.scheduling():
        ended = await lab.ended(4)
    assert [message.run.run_id for message in finished(ended)] == ["rich"] * 2
    assert [(message.run.run_id, message.failure.kind) for message in failures(ended)] == [
        ("poor", types_pb2.FAILURE_KIND_BUDGET)
    ] * 2


async def test_a_farm_that_refuses_to_answer_does_not_hold_its_place_forever(tmp_path: Path) -> None:
    farm = _NoPolls()
    lab = _lab(farm, tmp_path)
    async with lab.scheduling() as scheduler:
        await scheduler.queue.queue(await lab.context(), Plan(), await lab.cells([PAID], 1))
        (failed,) = failures(await lab.ended(1))
    assert (failed.failure.message, failed.failure.kind) == ("no such run", types_pb2.FAILURE_KIND_OTHER)
    # It may still run there and cost money.
    assert farm.vendor.calls.count("poll") == 10 and "cancel" in farm.vendor.calls


async def test_a_farm_run_that_cannot_be_canceled_is_followed_to_its_end(tmp_path: Path) -> None:
    farm = _NoCancel(FakeVendor(polls_until_end=10**6))
    lab = _lab(farm, tmp_path)
    async with lab.scheduling() as scheduler:
        await scheduler.queue.queue(await lab.context(), Plan(), await lab.cells([PAID], 1))
        await until(lambda: "poll" in farm.vendor.calls, "it runs on the farm")
        await (await lab.canceled()).add("run-1")
        await until(lambda: "cancel" in farm.vendor.calls, "it is to be canceled")
        farm.vendor.polls_until_end = 1
        assert len(finished(await lab.ended(1))) == 1
    assert farm.vendor.calls.count("cancel") == 1


@pytest.mark.parametrize("down", [None, FarmError("the farm does not answer")], ids=["busy device", "no answer"])
async def test_cells_of_a_canceled_run_do_not_wait_for_a_device(tmp_path: Path, down: FarmError | None) -> None:
    farm = FakeFarm()
    lab = _lab(farm, tmp_path)
    farm.offered, farm.down = (dataclasses.replace(PAID, available=False),), down
    async with lab.scheduling() as scheduler:
        await scheduler.queue.queue(await lab.context(), Plan(), await lab.cells([PAID], 1))
        await (await lab.canceled()).add("run-1")
        (failed,) = failures(await lab.ended(1))
    assert failed.failure.kind == types_pb2.FAILURE_KIND_CANCELLED


class _BadList(FakeFarm):
    async def devices(self) -> Sequence[Device]:
        self.vendor.called("devices")
        if self.vendor.calls.count("devices") == 1:
            raise KeyError("manufacturer")
        return await super().devices()


async def test_a_fault_of_one_farm_ends_neither_its_leader_nor_the_others(tmp_path: Path) -> None:
    bad, good = _BadList(), FakeFarm()
    other = dataclasses.replace(PAID, farm="other")
    bad.offered, bad.settings = (PAID,), SETTINGS
    good.offered, good.settings = (other,), dataclasses.replace(SETTINGS, name="other")
    lab = FarmLab(MemoryBus(), {"fake": bad, "other": good}, tmp_path)
    cells = [*await lab.cells([PAID], 1), *await lab.cells([other], 1)]
    async with lab.scheduling() as scheduler:
        await scheduler.queue.queue(await lab.context(), Plan(), cells)
        assert len(finished(await lab.ended(2))) == 2


async def test_a_leader_that_loses_its_lease_while_its_farm_answers_leads_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class _Slow(FakeFarm):
        async def devices(self) -> Sequence[Device]:
            if not self.vendor.calls:
                self.vendor.called("devices")
                lease = await (await lab.records()).read("lease.fake", farm_runs_pb2.FarmLease)
                assert lease is not None
                lease.message.CopyFrom(
                    farm_runs_pb2.FarmLease(holder="another", token=lease.message.token + 1, released=True)
                )
                await (await lab.records()).write(lease)
                await until(lambda: "does not lead any more" in caplog.text, "it has noticed")
            return await super().devices()

    lab = _lab(_Slow(), tmp_path)
    async with lab.scheduling(ttl_s=0.5) as scheduler:
        await scheduler.queue.queue(await lab.context(), Plan(), await lab.cells([PAID], 1))
        assert len(finished(await lab.ended(1))) == 1


async def test_a_dispatcher_that_stood_still_for_longer_than_its_lease_continues_its_farm_runs(tmp_path: Path) -> None:
    class _StandsStill(FakeFarm):
        async def submit(self, request: FarmRunRequest, files: Files) -> Submitted:
            submitted = await super().submit(request, files)
            if not stood:
                stood.append(request.key)
                # The whole loop stops, as on a machine without a free core: no renewal is in time.
                time.sleep(0.5)  # noqa: ASYNC251
            return submitted

    stood: list[str] = []
    lab = _lab(_StandsStill(), tmp_path)
    async with lab.scheduling(ttl_s=0.4) as scheduler:
        await scheduler.queue.queue(await lab.context(), Plan(), await lab.cells([PAID], 1))
        assert len(finished(await lab.ended(1, timeout_s=20))) == 1
    assert stood


@pytest.mark.parametrize("is_open", [True, False], ids=["still there", "ended"])
async def test_a_cell_is_not_taken_from_a_farm_run_that_has_queued_it_again(tmp_path: Path, is_open: bool) -> None:
    """The earlier farm run would queue it once more."""
    lab = _lab(FakeFarm(), tmp_path)
    scheduler = await lab.scheduler()
    records = await lab.records()
    await scheduler.queue.queue(await lab.context(), Plan(), await lab.cells([PAID], 1))
    (waiting,) = await records.queued("fake", 1)
    name = name_in(waiting.key)
    assert waiting.key == queue_key(waiting.message, name_of(waiting.message))
    taken = farm_runs_pb2.QueuedCell()
    taken.CopyFrom(waiting.message)
    taken.farm_run = "earlier"
    await records.create(taken_key("fake", name), taken)
    waiting.message.attempt = 2
    await records.write(waiting)
    if is_open:
        await records.create(run_key("fake", "earlier"), farm_runs_pb2.FarmRun(key="earlier"))
    claimed = await _claims(scheduler).claim(
        farm_runs_pb2.FarmRun(
            key="later", entries=[name], device=device_to_proto(PAID), planned_at=to_timestamp(datetime.now(UTC))
        )
    )
    assert list(claimed) == ([] if is_open else [name])
    assert len(await records.queued_for("fake", tag_of(PAID), 5)) == (1 if is_open else 0)


def _claims(scheduler: Any) -> Claims:
    return Claims(SETTINGS, scheduler.queue.work, scheduler.queue.ender)
