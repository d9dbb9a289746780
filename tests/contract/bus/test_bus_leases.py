"""Who holds a message, and what becomes of it when its holder dies."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence

import pytest

from support.bus_events import Notes, announce, everything_on, listen, variant_ready, worker
from support.bus_wires import NatsWire, Wire, running, until
from windtunnel.bus import Bus, Delivery, Event, Jobs, Published, Subscription, subjects
from windtunnel.bus.publisher import Publisher
from windtunnel.v1 import events_pb2


async def test_what_is_published_is_stored_and_a_repeat_is_told(bus: Bus) -> None:
    publisher = Publisher(bus, "converter")
    first = await publisher.publish(variant_ready("int8"), run_id="run-1", parts=("int8",))
    again = await publisher.publish(variant_ready("int8"), run_id="run-1", parts=("int8",))
    other = await publisher.publish(variant_ready("float16"), run_id="run-1", parts=("float16",))

    assert (first.duplicate, again.duplicate, other.duplicate) == (False, True, False)
    assert again.sequence == first.sequence < other.sequence
    assert len(await everything_on(bus, subjects.VARIANT_READY)) == 2


async def test_a_worker_holds_no_more_than_its_slots(bus: Bus) -> None:
    notes, gate = Notes(), asyncio.Event()
    names = [f"m{i}" for i in range(10)]
    await announce(bus, *names)
    async with running(worker(bus, notes.waiting_for(gate), notes, slots=3)):
        await until(lambda: len(notes.handled) == 3, "three are taken")
        await asyncio.sleep(0.2)
        assert len(notes.handled) == 3

        rest = await take(await listen(bus), 7)
        assert [delivery.attempt for delivery in rest] == [1] * 7, "what the worker cannot work on is free for others"
        for delivery in rest:
            await delivery.ack()
        gate.set()
    assert sorted(notes.handled + [d.headers["ce-id"] for d in rest]) == names


async def test_no_more_than_the_slots_run_at_once(bus: Bus) -> None:
    """Also while slots become free one by one."""
    notes, busy, most = Notes(), 0, 0

    async def handle(event: Event) -> None:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0.02 * (1 + int(event.id) % 4))
        busy -= 1
        await notes.handle(event)

    await announce(bus, *(str(number) for number in range(40)))
    async with running(worker(bus, handle, notes, slots=4)):
        await until(lambda: len(notes.handled) == 40, "all are done")
    assert most == 4


async def test_a_free_slot_is_filled_while_others_are_busy(bus: Bus) -> None:
    notes, gate = Notes(), asyncio.Event()

    async def handle(event: Event) -> None:
        await notes.handle(event)
        if event.id == "slow":
            await gate.wait()

    await announce(bus, "slow", "a", "b", "c")
    async with running(worker(bus, handle, notes, slots=2)):
        await until(lambda: len(notes.handled) == 4, "the free slot works on")
        await announce(bus, "d")
        await until(lambda: "d" in notes.handled, "and continues with")
        gate.set()


async def test_a_handler_slower_than_the_lease_keeps_its_message(wire: Wire, bus: Bus) -> None:
    notes = Notes()

    async def slow(event: Event) -> None:
        await notes.handle(event)
        await asyncio.sleep(4 * wire.lease_s)

    await announce(bus, "m")
    both = [worker(bus, slow, notes, lease_s=wire.lease_s) for _ in range(2)]
    async with running(*both):
        await asyncio.sleep(5 * wire.lease_s)
    assert notes.handled == ["m"]
    assert await (await listen(bus)).fetch(1, 2 * wire.lease_s) == [], "it is settled"


async def test_two_workers_share_one_durable(wire: Wire, bus: Bus) -> None:
    notes, names = Notes(), [f"m{i:02}" for i in range(20)]
    other = await wire.open()
    async with running(worker(bus, notes.handle, notes, slots=2), worker(other, notes.handle, notes, slots=2)):
        await announce(bus, *names)
        await until(lambda: len(notes.handled) >= 20, "all are done")
        await asyncio.sleep(0.2)
    assert sorted(notes.handled) == names


async def test_each_durable_sees_every_message(bus: Bus) -> None:
    one, two = Notes(), Notes()
    await announce(bus, "before")
    async with running(
        worker(bus, one.handle, one, durable="one"),
        worker(bus, two.handle, two, durable="two"),
    ):
        await announce(bus, "after")
        await until(lambda: len(one.handled) == len(two.handled) == 2, "both see both")
    assert one.handled == two.handled == ["before", "after"]


class DeafBus:
    """A bus on which leases cannot be kept: a worker whose process is stopped, or cut off, looks like this."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def subscribe(
        self, durable: str, subjects: Sequence[str], *, ack_wait_s: float, max_pending: int
    ) -> DeafSubscription:
        return DeafSubscription(
            await self._bus.subscribe(durable, subjects, ack_wait_s=ack_wait_s, max_pending=max_pending)
        )

    def __getattr__(self, name: str) -> object:
        return getattr(self._bus, name)


class DeafSubscription:
    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self.close = subscription.close

    async def fetch(self, count: int, timeout_s: float) -> Sequence[DeafDelivery]:
        return [DeafDelivery(delivery) for delivery in await self._subscription.fetch(count, timeout_s)]


class DeafDelivery:
    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery

    async def in_progress(self) -> None:
        return None

    def __getattr__(self, name: str) -> object:
        return getattr(self._delivery, name)


async def test_two_workers_on_one_message_give_one_result(wire: Wire, bus: Bus) -> None:
    """The first worker loses its lease, the second finishes; the first then finds the second's result."""
    notes, gate = Notes(), asyncio.Event()
    jobs = Jobs(await bus.bucket(subjects.RESULTS_BUCKET))
    published: list[Published] = []

    def handler(result: str, wait: bool) -> object:
        async def compute() -> events_pb2.VariantCompared:
            if wait:
                await gate.wait()
            return events_pb2.VariantCompared(variant=result)

        async def handle(event: Event) -> None:
            await notes.handle(event)
            message = await jobs.once("compare.0", events_pb2.VariantCompared, compute)
            assert message.variant == "second"
            published.append(await Publisher(bus, "layer_diff").publish(message, run_id="run-1", parts=("int8",)))

        return handle

    await announce(bus, "m")
    first = worker(DeafBus(bus), handler("first", True), notes, lease_s=wire.lease_s)  # type: ignore[arg-type]
    second = worker(bus, handler("second", False), notes, lease_s=wire.lease_s)  # type: ignore[arg-type]
    async with running(first):
        await until(lambda: notes.handled == ["m"], "the first has it")
        async with running(second):
            await until(lambda: len(published) == 1, "the second is done")
        gate.set()
        await until(lambda: len(published) == 2, "the first is done too")
    assert [p.duplicate for p in published] == [False, True]
    assert published[0].sequence == published[1].sequence
    assert len(await everything_on(bus, subjects.VARIANT_COMPARED)) == 1
    assert notes.failed == []


async def test_a_message_whose_holder_vanished_comes_again(wire: Wire, bus: Bus) -> None:
    notes = Notes()
    await announce(bus, "m")
    assert len(await (await listen(bus, lease_s=wire.lease_s)).fetch(1, 5)) == 1
    async with running(worker(bus, notes.handle, notes, lease_s=wire.lease_s)):
        await until(lambda: notes.handled == ["m"], "the lease has run out")


async def test_a_cancelled_worker_hands_its_message_back_at_once(bus: Bus) -> None:
    notes, gate = Notes(), asyncio.Event()
    await announce(bus, "m")
    task = asyncio.create_task(worker(bus, notes.waiting_for(gate), notes, lease_s=30).run())
    await until(lambda: notes.handled == ["m"], "the first has it")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with running(worker(bus, notes.handle, notes, lease_s=30)):
        await until(lambda: notes.handled == ["m", "m"], "the second has it, long before the lease ends", timeout_s=5)
    assert notes.failed == []


async def test_a_killed_process_loses_nothing(nats_wire: NatsWire) -> None:
    bus, notes = await nats_wire.open(), Notes()
    await announce(bus, "m")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "support.hanging_worker",
        nats_wire.server.url,
        "tested",
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 20) == b"holds m\n"
    process.send_signal(signal.SIGKILL)
    await process.wait()
    async with running(worker(bus, notes.handle, notes, lease_s=nats_wire.lease_s)):
        await until(lambda: notes.handled == ["m"], "another worker has it")


async def test_a_server_that_dies_and_returns(wire: Wire, bus: Bus) -> None:
    """Everything that was announced is done, and seen once, although the server died under the work."""
    notes, names = Notes(), [f"m{i}" for i in range(6)]
    jobs = Jobs(await bus.bucket(subjects.RESULTS_BUCKET))

    async def handle(event: Event) -> None:
        await notes.handle(event)

        async def compute() -> events_pb2.VariantCompared:
            await asyncio.sleep(0.3)
            return events_pb2.VariantCompared(variant=event.id)

        message = await jobs.once(f"compare.{event.id}", events_pb2.VariantCompared, compute)
        await Publisher(bus, "layer_diff").publish(message, run_id="run-1", parts=(event.id,))

    await announce(bus, *names)
    async with running(worker(bus, handle, notes, slots=2, lease_s=wire.lease_s, attempts=20)):
        await until(lambda: len(notes.handled) >= 3, "the work has begun")
        await wire.kill()
        await asyncio.sleep(2 * wire.lease_s)
        await wire.start()
        await until(lambda: set(notes.handled) == set(names), "all were taken up", timeout_s=30)
    assert len(await everything_on(bus, subjects.VARIANT_COMPARED)) == 6
    assert notes.failed == []
    assert list(await bus.dead_letters()) == []


async def test_a_server_that_lost_its_store(nats_wire: NatsWire) -> None:
    bus, notes = await nats_wire.open(), Notes()
    async with running(worker(bus, notes.handle, notes)):
        await announce(bus, "before")
        await until(lambda: notes.handled == ["before"], "it works")
        nats_wire.server.stop()
        nats_wire.server.wipe()
        nats_wire.server.start()
        again = await nats_wire.open()
        await announce(again, "after")
        await until(lambda: notes.handled == ["before", "after"], "streams and consumer are made again")


async def test_a_worker_waits_for_a_server_that_is_not_there_yet(wire: Wire, bus: Bus) -> None:
    notes = Notes()
    await announce(bus, "m")
    await wire.kill()
    await until(lambda: not bus.connected, "the loss is seen")
    async with running(worker(bus, notes.handle, notes)):
        await asyncio.sleep(0.2)
        await wire.start()
        await until(lambda: notes.handled == ["m"], "it has found the server")


async def test_a_worker_without_a_server_can_be_drained(wire: Wire, bus: Bus) -> None:
    await wire.kill()
    await until(lambda: not bus.connected, "the loss is seen")
    tested = worker(bus, Notes().handle, Notes())
    task = asyncio.create_task(tested.run())
    await asyncio.sleep(0.1)
    tested.drain()
    await asyncio.wait_for(task, 10)


async def take(subscription: Subscription, count: int) -> list[Delivery]:
    """Fetches until `count` messages are here."""
    found: list[Delivery] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            found += await subscription.fetch(count - len(found), 1)
    return found


def environment() -> Mapping[str, str]:
    """The environment of a child that imports what this process imports."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
