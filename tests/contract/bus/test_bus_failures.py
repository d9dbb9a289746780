"""What becomes of a message whose handler fails, and of what nobody can read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from support.bus_events import SOURCE, Notes, announce, everything_on, listen, variant_ready, worker
from support.bus_wires import Wire, running, until
from windtunnel.bus import Bus, Event, encode, subjects
from windtunnel.bus.deadletters import replay
from windtunnel.bus.port import MAX_MESSAGE_BYTES
from windtunnel.bus.publisher import Publisher
from windtunnel.errors import FarmError, InvalidInput, NotFound, Unavailable, WindtunnelError
from windtunnel.v1 import events_pb2


async def settled(bus: Bus, wire: Wire, durable: str = "tested") -> None:
    """Nothing is left for the consumer: what it had is acked or terminated."""
    await asyncio.sleep(wire.lease_s)
    assert await (await listen(bus, durable)).fetch(1, 0.3) == []


async def test_a_poison_message_is_tried_then_buried(wire: Wire, bus: Bus) -> None:
    notes, times = Notes(), []

    async def poison(event: Event) -> None:
        notes.handled.append(event.id)
        times.append(time.monotonic())
        raise ValueError("half a tensor:\nbroken")

    await announce(bus, "m")
    async with running(worker(bus, poison, notes, attempts=3, backoff_s=(0.2, 0.4), lease_s=wire.lease_s)):
        await until(lambda: len(notes.failed) == 1, "it is given up")
        await settled(bus, wire)

    assert notes.handled == ["m"] * 3
    assert times[1] - times[0] >= 0.2
    assert times[2] - times[1] >= 0.4
    event_id, error = notes.failed[0]
    assert event_id == "m"
    assert isinstance(error, WindtunnelError)
    assert "ValueError: half a tensor" in str(error)
    (letter,) = await bus.dead_letters()
    assert (letter.subject, letter.event_id, letter.attempts) == (subjects.VARIANT_READY, "m", 3)
    assert letter.reason == "ValueError: half a tensor: broken"
    assert letter.consumer == "tested"
    assert abs((datetime.now(UTC) - letter.at).total_seconds()) < 60
    assert letter.data == variant_ready("m").SerializeToString()
    assert letter.headers["ce-id"] == "m"


async def test_a_passing_fault_passes(bus: Bus) -> None:
    notes = Notes()

    async def handle(event: Event) -> None:
        await notes.handle(event)
        if len(notes.handled) < 3:
            raise Unavailable("the store does not answer")

    await announce(bus, "m")
    async with running(worker(bus, handle, notes, attempts=5)):
        await until(lambda: len(notes.handled) == 3, "it is tried again")
    assert notes.failed == []
    assert list(await bus.dead_letters()) == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: InvalidInput("no such tensor", hint="name another"),
        lambda: FarmError("the farm refuses this app", retryable=False),
    ],
    ids=["user", "not-retryable"],
)
async def test_what_a_retry_cannot_mend_fails_once(wire: Wire, bus: Bus, make: Callable[[], WindtunnelError]) -> None:
    notes = Notes()
    await announce(bus, "m")
    async with running(worker(bus, notes.raising(make), notes, lease_s=wire.lease_s)):
        await until(lambda: len(notes.failed) == 1, "the failure is reported")
        await settled(bus, wire)
    assert notes.handled == ["m"]
    assert len(notes.failed) == 1
    assert type(notes.failed[0][1]) is type(make())
    assert list(await bus.dead_letters()) == []


async def test_what_nobody_can_read_is_one_dead_letter(wire: Wire, bus: Bus) -> None:
    one, two = Notes(), Notes()
    await bus.publish(subjects.VARIANT_READY, {"ce-specversion": "1.0", "ce-id": "x"}, b"\xff\xff")
    async with running(
        worker(bus, one.handle, one, durable="one", lease_s=wire.lease_s),
        worker(bus, two.handle, two, durable="two", lease_s=wire.lease_s),
    ):
        await announce(bus, "good")
        await until(lambda: one.handled == two.handled == ["good"], "the good one is done")
        await settled(bus, wire, "one")
        await settled(bus, wire, "two")
    (letter,) = await bus.dead_letters()
    assert letter.reason.startswith("malformed_event: attribute 'source' is missing")
    assert (letter.event_id, letter.data) == ("x", b"\xff\xff")
    assert one.failed == two.failed == []


async def test_data_that_is_no_message_is_one_dead_letter_and_told_to_who_asks(wire: Wire, bus: Bus) -> None:
    """The envelope can be read, which is enough for some to say whose event failed; the others would fail on it."""
    one, two = Notes(), Notes()

    def reader(notes: Notes) -> object:
        async def handle(event: Event) -> None:
            event.message()

        return handle

    subject, headers, _ = encode(variant_ready("m"), id="m", source=SOURCE, run_id="run-1")
    await bus.publish(subject, headers, b"\xff\xff")
    async with running(
        worker(bus, reader(one), one, durable="one", lease_s=wire.lease_s, report_malformed=True),  # type: ignore[arg-type]
        worker(bus, reader(two), two, durable="two", lease_s=wire.lease_s),  # type: ignore[arg-type]
    ):
        await until(lambda: len(one.failed) == 1, "who asks gets the failure")
        await settled(bus, wire, "one")
        await settled(bus, wire, "two")
    assert two.failed == []
    assert len(await bus.dead_letters()) == 1


async def test_a_message_under_which_the_process_dies_each_time(wire: Wire, bus: Bus) -> None:
    notes, attempts = Notes(), 2
    await announce(bus, "m")
    dying = await listen(bus, lease_s=wire.lease_s)
    for expected in range(1, attempts + 1):
        deadline = time.monotonic() + 10
        while not (found := await dying.fetch(1, 1)):
            assert time.monotonic() < deadline
        assert found[0].attempt == expected
    await dying.close()
    async with running(worker(bus, notes.handle, notes, attempts=attempts, lease_s=wire.lease_s)):
        await until(lambda: len(notes.failed) == 1, "it is given up")
        await settled(bus, wire)
    assert notes.handled == [], "it is not tried once more"
    assert notes.failed[0][1].code == "attempts_exhausted"
    (letter,) = await bus.dead_letters()
    assert letter.reason.startswith("attempts_exhausted: given up after 2 attempts")


async def test_a_failure_that_cannot_be_told_comes_again(wire: Wire, bus: Bus) -> None:
    notes = Notes()

    async def tell(event: Event, error: WindtunnelError) -> None:
        await notes.fail(event, error)
        if len(notes.failed) == 1:
            raise Unavailable("the stream is full")

    def make() -> Exception:
        return InvalidInput("bad model")

    await announce(bus, "m")
    async with running(worker(bus, notes.raising(make), notes, on_failure=tell, lease_s=wire.lease_s)):
        await until(lambda: len(notes.failed) == 2, "it is reported the second time")
        await settled(bus, wire)
    assert len(notes.failed) == 2
    assert list(await bus.dead_letters()) == []


async def test_a_bug_in_telling_does_not_go_round_for_ever(wire: Wire, bus: Bus) -> None:
    notes = Notes()

    async def tell(event: Event, error: WindtunnelError) -> None:
        await notes.fail(event, error)
        raise KeyError("our bug")

    def make() -> Exception:
        return InvalidInput("bad model")

    await announce(bus, "m")
    tested = worker(bus, notes.raising(make), notes, on_failure=tell, attempts=2, lease_s=wire.lease_s)
    async with running(tested):
        await until(lambda: len(notes.failed) == 2, "both attempts are used")
        await settled(bus, wire)
    assert len(notes.failed) == 2
    (letter,) = await bus.dead_letters()
    assert "our bug" in letter.reason


async def test_a_failed_event_published_twice_is_one(wire: Wire, bus: Bus) -> None:
    """Two attempts to publish: the ids are deterministic, so the stream has it once."""
    notes = Notes()

    async def tell(event: Event, error: WindtunnelError) -> None:
        await Publisher(bus, "layer_diff").publish(
            events_pb2.VariantFailed(variant=event.id), run_id="run-1", parts=(event.id,)
        )
        await notes.fail(event, error)
        if len(notes.failed) == 1:
            raise Unavailable("lost before it was settled")

    def make() -> Exception:
        return InvalidInput("bad model")

    await announce(bus, "m")
    async with running(worker(bus, notes.raising(make), notes, on_failure=tell, lease_s=wire.lease_s)):
        await until(lambda: len(notes.failed) == 2, "reported twice")
    assert len(await everything_on(bus, subjects.VARIANT_FAILED)) == 1


async def test_a_replayed_dead_letter_reaches_the_mended_version(wire: Wire, bus: Bus) -> None:
    notes = Notes()
    await announce(bus, "m")
    async with running(worker(bus, notes.raising(lambda: ValueError("bug")), notes, attempts=1)):
        await until(lambda: len(notes.failed) == 1, "buried")
    (letter,) = await bus.dead_letters()

    again = await replay(bus, letter.id)
    assert not again.duplicate, "although its message id was seen"
    mended = Notes()
    async with running(worker(bus, mended.handle, mended)):
        await until(lambda: mended.handled == ["m"], "the event is itself again")
    assert list(await bus.dead_letters()) == []
    with pytest.raises(NotFound, match=letter.id):
        await replay(bus, letter.id)


async def test_a_replay_that_was_cut_off_is_not_doubled(bus: Bus) -> None:
    notes = Notes()
    await announce(bus, "m")
    async with running(worker(bus, notes.raising(lambda: ValueError("bug")), notes, attempts=1)):
        await until(lambda: len(notes.failed) == 1, "buried")
    (letter,) = await bus.dead_letters()
    headers = {name: value for name, value in letter.headers.items() if name != "Nats-Msg-Id"}
    await bus.publish(letter.subject, {**headers, "Nats-Msg-Id": f"replay-{letter.id}"}, letter.data)
    assert (await replay(bus, letter.id)).duplicate
    assert await everything_on(bus, subjects.VARIANT_READY) == ["m", "m"]


async def test_dead_letters_are_listed_shown_and_forgotten(bus: Bus) -> None:
    notes = Notes()
    await announce(bus, "a", "b", "c")
    async with running(worker(bus, notes.raising(lambda: ValueError("bug")), notes, attempts=1)):
        await until(lambda: len(notes.failed) == 3, "three are buried")
    letters = await bus.dead_letters()
    assert [letter.event_id for letter in letters] == ["a", "b", "c"]
    assert await bus.dead_letter(letters[1].id) == letters[1]
    await bus.forget_dead_letter(letters[1].id)
    assert [letter.event_id for letter in await bus.dead_letters()] == ["a", "c"]
    for id in (letters[1].id, "0", "-1", "99", "no", ""):
        with pytest.raises(NotFound):
            await bus.dead_letter(id)
        with pytest.raises(NotFound):
            await bus.forget_dead_letter(id)


async def test_a_full_stream_is_unavailable_until_there_is_room(wire: Wire) -> None:
    bus, notes = await wire.open(small=True), Notes()
    with pytest.raises(Unavailable) as full:
        await announce(bus, *(f"m{i}" for i in range(1000)))
    assert full.value.hint == "the stream is full: raise its limits or purge old events"
    await wire.purge(subjects.VARIANT_READY)
    async with running(worker(bus, notes.handle, notes)):
        await announce(bus, "after")
        await until(lambda: "after" in notes.handled, "it works again")


async def test_a_handler_meets_a_full_stream(wire: Wire) -> None:
    """The result cannot be published: the message comes again until there is room."""
    bus, notes = await wire.open(small=True), Notes()
    await announce(bus, "m")
    filler = events_pb2.AppBuilt(variant="x" * 200)

    async def handle(event: Event) -> None:
        await notes.handle(event)
        result = events_pb2.VariantCompared(variant="x" * 200)
        await Publisher(bus, "layer_diff").publish(result, run_id="run-1")
        notes.handled.append("published")

    with pytest.raises(Unavailable):
        for number in range(1000):
            await Publisher(bus, "tests").publish(filler, run_id="run-1", parts=(str(number),))
    async with running(worker(bus, handle, notes, attempts=100, lease_s=wire.lease_s)):
        await until(lambda: len(notes.handled) >= 3, "it comes again and again")
        assert set(notes.handled) == {"m"}
        await wire.purge(subjects.APP_BUILT)
        await until(lambda: notes.handled[-1] == "published", "there is room")
    assert notes.failed == []
    assert len(await everything_on(bus, subjects.VARIANT_COMPARED)) == 1


async def test_an_event_too_large_is_the_input_s_fault(bus: Bus) -> None:
    notes = Notes()

    async def handle(event: Event) -> None:
        await notes.handle(event)
        message = events_pb2.VariantCompared(variant="x" * MAX_MESSAGE_BYTES)
        await Publisher(bus, "layer_diff").publish(message, run_id="run-1")

    await announce(bus, "m")
    async with running(worker(bus, handle, notes)):
        await until(lambda: len(notes.failed) == 1, "it fails at once")
    assert "bytes" in str(notes.failed[0][1])
    assert notes.handled == ["m"]


async def test_the_largest_event_can_still_be_buried(bus: Bus) -> None:
    notes = Notes()
    message = variant_ready("x" * (MAX_MESSAGE_BYTES - 1000))
    subject, headers, data = encode(message, id="big", source=SOURCE, run_id="run-1")
    await bus.publish(subject, headers, data)
    async with running(worker(bus, notes.raising(lambda: ValueError("é" * 5000)), notes, attempts=1)):
        await until(lambda: len(notes.failed) == 1, "buried")
    (letter,) = await bus.dead_letters()
    assert letter.data == data
    assert letter.reason.endswith("é")


async def test_events_out_of_order_and_doubled(bus: Bus) -> None:
    """The second step is announced before the first, and both of them twice."""
    notes = Notes()
    done: set[str] = set()

    async def handle(event: Event) -> None:
        if event.id.startswith("second") and not any(name.startswith("first") for name in done):
            raise Unavailable("the first step is not here yet")
        done.add(event.id)
        message = events_pb2.VariantCompared(variant=event.subject)
        await Publisher(bus, "layer_diff").publish(message, run_id="run-1", parts=(event.id.split("-")[0],))
        await notes.handle(event)

    async with running(worker(bus, handle, notes, slots=4, attempts=20)):
        await announce(bus, "second-1", "second-2", "second-1")
        await asyncio.sleep(0.3)
        await announce(bus, "first-1", "first-2")
        await until(lambda: len(notes.handled) == 4, "all are done")
    assert sorted(notes.handled) == ["first-1", "first-2", "second-1", "second-2"]
    assert len(await everything_on(bus, subjects.VARIANT_COMPARED)) == 2
    assert notes.failed == []
