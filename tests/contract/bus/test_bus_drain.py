"""SIGTERM: what is in hand is finished, nothing more is taken, what is late is handed back."""

from __future__ import annotations

import asyncio
import time

from support.bus_events import Notes, announce, listen, worker
from support.bus_wires import Wire, running, until
from windtunnel.bus import Bus


async def test_finishes_what_is_in_hand_and_takes_no_more(bus: Bus) -> None:
    notes, gate = Notes(), asyncio.Event()
    await announce(bus, "a", "b", "c")
    tested = worker(bus, notes.waiting_for(gate), notes)
    task = asyncio.create_task(tested.run())
    await until(lambda: notes.handled == ["a"], "the first is in hand")
    tested.drain()
    await asyncio.sleep(0.2)
    assert not task.done(), "it waits for the handler"
    gate.set()
    await asyncio.wait_for(task, 5)
    assert notes.handled == ["a"]

    rest = await (await listen(bus)).fetch(10, 5)
    assert rest[0].headers["ce-id"] == "b"
    assert rest[0].attempt == 1, "nobody has had it"


async def test_an_idle_worker_ends_at_once(bus: Bus) -> None:
    tested = worker(bus, Notes().handle, Notes(), slots=8)
    task = asyncio.create_task(tested.run())
    await asyncio.sleep(0.3)
    started = time.monotonic()
    tested.drain()
    await asyncio.wait_for(task, 5)
    assert time.monotonic() - started < 1


async def test_what_is_late_is_handed_back(bus: Bus) -> None:
    """Also where every slot is taken: the time limit holds all the same."""
    notes, gate = Notes(), asyncio.Event()
    await announce(bus, "a", "b")
    tested = worker(bus, notes.waiting_for(gate), notes, slots=2, drain_s=0.3)
    task = asyncio.create_task(tested.run())
    await until(lambda: len(notes.handled) == 2, "both slots are taken")
    tested.drain()
    await asyncio.wait_for(task, 5)

    other = Notes()
    async with running(worker(bus, other.handle, other, slots=2)):
        await until(lambda: sorted(other.handled) == ["a", "b"], "long before the lease ends", timeout_s=5)
    assert notes.failed == other.failed == []


async def test_what_arrives_during_the_drain_is_not_held(wire: Wire, bus: Bus) -> None:
    """A worker that drains still listens for nothing: a message announced now goes to another worker at once."""
    notes, other, gate = Notes(), Notes(), asyncio.Event()
    await announce(bus, "a")
    tested = worker(bus, notes.waiting_for(gate), notes, slots=4)
    task = asyncio.create_task(tested.run())
    await until(lambda: notes.handled == ["a"], "one slot is taken, three are asked for")
    tested.drain()
    await asyncio.sleep(0.1)
    async with running(worker(await wire.open(), other.handle, other)):
        await announce(bus, "b")
        await until(lambda: other.handled == ["b"], "the other has it", timeout_s=5)
    gate.set()
    await asyncio.wait_for(task, 5)
    assert notes.handled == ["a"]


async def test_a_drained_worker_takes_nothing(bus: Bus) -> None:
    notes = Notes()
    await announce(bus, "a")
    tested = worker(bus, notes.handle, notes)
    tested.drain()
    await asyncio.wait_for(tested.run(), 5)
    assert notes.handled == []
