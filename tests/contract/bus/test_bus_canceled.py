"""What becomes of the messages of a canceled run."""

from __future__ import annotations

import asyncio

from support.bus_events import Notes, announce, listen, worker
from support.bus_wires import Wire, running, until
from windtunnel.bus import Bus, Event, subjects
from windtunnel.cancellation import Cancellations
from windtunnel.errors import WindtunnelError
from windtunnel.telemetry import current_job, note_job


async def left_over(bus: Bus, wire: Wire) -> int:
    """Messages that the consumer still has to handle, once every lease is over."""
    await asyncio.sleep(wire.lease_s)
    return len(await (await listen(bus)).fetch(10, 0.3))


async def test_messages_of_a_canceled_run_are_skipped_and_others_are_not(wire: Wire, bus: Bus) -> None:
    canceled, notes = Cancellations(await bus.bucket(subjects.CANCELED_BUCKET)), Notes()
    await canceled.add("run-1")
    await canceled.add("run-1")
    await announce(bus, "mine")
    await announce(bus, "other", run_id="run-2")
    async with running(worker(bus, notes.handle, notes, is_canceled=canceled.covers, lease_s=wire.lease_s)):
        await until(lambda: notes.handled == ["other"], "the run that goes on is handled")
        assert await left_over(bus, wire) == 0
    assert notes.handled == ["other"] and notes.failed == []
    assert await bus.dead_letters() == []


async def test_a_handler_in_hand_ends_and_its_message_does_not_come_again(wire: Wire, bus: Bus) -> None:
    canceled, notes, ended = Cancellations(await bus.bucket(subjects.CANCELED_BUCKET)), Notes(), asyncio.Event()

    async def endless(event: Event) -> None:
        notes.handled.append(event.id)
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    await announce(bus, "m")
    async with running(worker(bus, endless, notes, is_canceled=canceled.covers, lease_s=wire.lease_s)):
        await until(lambda: notes.handled == ["m"], "it is in hand")
        await asyncio.sleep(1.2)
        assert not ended.is_set()
        await canceled.add("run-1")
        await asyncio.wait_for(ended.wait(), 5)
        assert await left_over(bus, wire) == 0
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
        await until(lambda: jobs == ["known-later"], "the failure is told in the job's context")


async def test_a_worker_that_is_stopped_hands_its_message_back(wire: Wire, bus: Bus) -> None:
    canceled, notes = Cancellations(await bus.bucket(subjects.CANCELED_BUCKET)), Notes()
    gate = asyncio.Event()
    await announce(bus, "m")
    first = worker(bus, notes.waiting_for(gate), notes, is_canceled=canceled.covers, drain_s=0.1, lease_s=wire.lease_s)
    async with running(first):
        await until(lambda: notes.handled == ["m"], "it is in hand")
    async with running(worker(bus, notes.handle, notes, is_canceled=canceled.covers, lease_s=wire.lease_s)):
        await until(lambda: notes.handled == ["m", "m"], "it comes again")
