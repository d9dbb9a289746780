"""What becomes of the messages of a canceled run."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from support.bus_events import Notes, announce, listen, worker
from support.bus_wires import NatsWire, Wire, running, until
from windtunnel.bus import Bucket, Bus, Event, subjects
from windtunnel.errors import Unavailable, WindtunnelError
from windtunnel.service.cancellation import Cancellations
from windtunnel.telemetry import current_job, note_job


async def nothing_is_left(bus: Bus, wire: Wire) -> None:
    """Every message of the consumer is settled: a new one comes, and no other comes before it."""
    await announce(bus, "last")
    listener = await listen(bus)
    end = asyncio.get_running_loop().time() + 2 * wire.lease_s
    seen: list[str] = []
    # What was not settled comes again when its lease is over.
    while (left := end - asyncio.get_running_loop().time()) > 0:
        for delivery in await listener.fetch(10, left):
            seen.append(delivery.headers["ce-id"])
            await delivery.ack()
    assert seen == ["last"]


async def test_messages_of_a_canceled_run_are_skipped_and_others_are_not(wire: Wire, bus: Bus) -> None:
    canceled, notes = Cancellations(await bus.bucket(subjects.CANCELED_BUCKET)), Notes()
    await canceled.add("run-1")
    await canceled.add("run-1")
    await announce(bus, "mine")
    await announce(bus, "other", run_id="run-2")
    async with running(worker(bus, notes.handle, notes, is_canceled=canceled.covers, lease_s=wire.lease_s)):
        await until(lambda: notes.handled == ["other"], "the run that was not canceled is handled")
    await nothing_is_left(bus, wire)
    assert notes.handled == ["other"] and notes.failed == []
    assert await bus.dead_letters() == []


async def test_a_handler_in_hand_ends_and_its_message_does_not_come_again(wire: Wire, bus: Bus) -> None:
    bucket, notes, ended = await bus.bucket(subjects.CANCELED_BUCKET), Notes(), asyncio.Event()
    mine, of_another = Cancellations(bucket, fresh_s=0.05), Cancellations(bucket)
    asked: list[bool] = []

    async def covers(event: Event) -> bool:
        asked.append(await mine.covers(event))
        return asked[-1]

    async def endless(event: Event) -> None:
        notes.handled.append(event.id)
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    await announce(bus, "m")
    async with running(worker(bus, endless, notes, is_canceled=covers, lease_s=wire.lease_s)):
        await until(lambda: len(asked) > 3, "it is in hand, and asked for")
        assert not ended.is_set() and not any(asked)
        await of_another.add("run-1")
        await asyncio.wait_for(ended.wait(), 5)
    await nothing_is_left(bus, wire)
    assert notes.handled == ["m"] and notes.failed == []


async def test_a_handler_that_fails_by_itself_is_not_taken_for_canceled(wire: Wire, bus: Bus) -> None:
    canceled, notes = Cancellations(await bus.bucket(subjects.CANCELED_BUCKET)), Notes()
    failing = notes.raising(lambda: ValueError("broken"))
    await announce(bus, "m")
    consumer = worker(bus, failing, notes, attempts=2, backoff_s=(0.1,), is_canceled=canceled.covers)
    async with running(consumer):
        await until(lambda: len(notes.failed) == 1, "it is given up")
    assert notes.handled == ["m"] * 2


async def test_what_a_handler_notes_holds_for_the_lines_after_it(wire: Wire, bus: Bus) -> None:
    """The line that says that a job is done carries what became known during the job."""
    canceled, notes = Cancellations(await bus.bucket(subjects.CANCELED_BUCKET)), Notes()
    jobs: list[str] = []

    async def noting(event: Event) -> None:
        note_job(variant="known-later")
        raise ValueError("broken")

    async def failed(event: Event, error: WindtunnelError) -> None:
        jobs.append(current_job()["variant"])

    await announce(bus, "m")
    consumer = worker(bus, noting, notes, attempts=1, on_failure=failed, is_canceled=canceled.covers)
    async with running(consumer):
        await until(lambda: jobs == ["known-later"], "the failure is reported in the job's context")


async def test_a_worker_that_is_stopped_hands_its_message_back(wire: Wire, bus: Bus) -> None:
    canceled, notes = Cancellations(await bus.bucket(subjects.CANCELED_BUCKET)), Notes()
    gate = asyncio.Event()
    await announce(bus, "m")
    first = worker(bus, notes.waiting_for(gate), notes, is_canceled=canceled.covers, drain_s=0.1, lease_s=wire.lease_s)
    async with running(first):
        await until(lambda: notes.handled == ["m"], "it is in hand")
    async with running(worker(bus, notes.handle, notes, is_canceled=canceled.covers, lease_s=wire.lease_s)):
        await until(lambda: notes.handled == ["m", "m"], "it comes again")


class Counting:
    """A bucket that counts what it is asked, and can refuse to answer."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self.asked: list[str] = []
        self.away = False

    def __getattr__(self, name: str) -> Any:
        if self.away:
            raise Unavailable("the bus does not answer")
        self.asked.append(name)
        return getattr(self._bucket, name)


async def test_many_events_and_handlers_ask_the_bucket_once(wire: Wire, bus: Bus) -> None:
    bucket = Counting(await bus.bucket(subjects.CANCELED_BUCKET))
    canceled = Cancellations(cast(Bucket, bucket), fresh_s=60)
    answers = await asyncio.gather(*(canceled.has(f"run-{number}") for number in range(100)))
    assert not any(answers)
    assert bucket.asked == ["revision", "keys"]
    again = Cancellations(cast(Bucket, bucket), fresh_s=0)
    assert not await again.has("run-1") and not await again.has("run-1")
    # The keys are read only if there is a new one.
    assert bucket.asked[2:] == ["revision", "keys", "revision"]


async def test_no_cancellation_is_missed(wire: Wire, bus: Bus) -> None:
    """By others, before and after the first question, while the bus is away, and after the server lost its store."""
    bucket = await bus.bucket(subjects.CANCELED_BUCKET)
    watched = Counting(bucket)
    canceled = Cancellations(cast(Bucket, watched), fresh_s=0)
    await bucket.create("run-1", b"canceled")
    assert await canceled.has("run-1") and not await canceled.has("run-2")
    await bucket.create("run-2", b"canceled")
    assert await canceled.has("run-2")
    watched.away = True
    await bucket.create("run-3", b"canceled")
    with pytest.raises(Unavailable):
        await canceled.has("run-3")
    assert await canceled.has("run-1")
    watched.away = False
    assert await canceled.has("run-3")


async def test_a_cancellation_in_a_store_made_anew_is_seen(nats_wire: NatsWire) -> None:
    bucket = await (await nats_wire.open()).bucket(subjects.CANCELED_BUCKET)
    canceled = Cancellations(bucket, fresh_s=0)
    await bucket.create("run-1", b"canceled")
    assert not await canceled.has("run-2")
    nats_wire.server.stop()
    nats_wire.server.wipe()
    nats_wire.server.start()
    again = await (await nats_wire.open()).bucket(subjects.CANCELED_BUCKET)
    # The first write to the new store has the number of the first write to the old one.
    await again.create("run-2", b"canceled")
    assert await canceled.has("run-2")


async def test_a_watcher_that_fails_acks_nothing_and_goes_on_watching(wire: Wire, bus: Bus) -> None:
    notes, gate, asked = Notes(), asyncio.Event(), 0

    async def broken(event: Event) -> bool:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise RuntimeError("broken on purpose")
        return False

    await announce(bus, "m")
    first = worker(bus, notes.waiting_for(gate), notes, is_canceled=broken, drain_s=0.1, lease_s=wire.lease_s)
    async with running(first):
        await until(lambda: asked > 3, "it is asked again after it failed")
    async with running(worker(bus, notes.handle, notes, lease_s=wire.lease_s)):
        await until(lambda: notes.handled == ["m", "m"], "it comes again")


async def test_a_watcher_that_ends_with_the_process_acks_nothing(wire: Wire, bus: Bus) -> None:
    """What `asyncio.run` does at its end: every task is canceled at once, the watchers too."""
    canceled, notes = Cancellations(await bus.bucket(subjects.CANCELED_BUCKET)), Notes()
    before = asyncio.all_tasks()
    await announce(bus, "m")
    first = worker(bus, notes.waiting_for(asyncio.Event()), notes, is_canceled=canceled.covers, lease_s=wire.lease_s)
    running_first = asyncio.create_task(first.run())
    await until(lambda: notes.handled == ["m"], "it is in hand")
    watchers = [task for task in asyncio.all_tasks() - before if "_stop_when_canceled" in repr(task.get_coro())]
    assert len(watchers) == 1
    watchers[0].cancel()
    await asyncio.sleep(0)
    running_first.cancel()
    await asyncio.gather(running_first, return_exceptions=True)
    async with running(worker(bus, notes.handle, notes, lease_s=wire.lease_s)):
        await until(lambda: notes.handled == ["m", "m"], "it comes again")
