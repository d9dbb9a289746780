"""Buckets, connections, and consumers that change."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from support.bus_events import Notes, announce, listen, worker
from support.bus_wires import NatsWire, Wire, running, until
from windtunnel.bus import Bus, Jobs
from windtunnel.bus.nats.jetstream import StreamLimits, connect
from windtunnel.bus.port import MAX_MESSAGE_BYTES
from windtunnel.errors import InvalidInput, Unavailable
from windtunnel.v1 import events_pb2


async def test_the_first_to_create_wins(wire: Wire, bus: Bus) -> None:
    other = await wire.open()
    first, second = await bus.bucket("windtunnel_results"), await other.bucket("windtunnel_results")
    assert await first.get("a.b") is None
    stored = await asyncio.gather(first.create("a.b", b"1"), second.create("a.b", b"2"))
    assert stored[0] == stored[1] == await first.get("a.b") == await second.get("a.b")
    assert await second.create("a.b", b"3") == stored[0]


async def test_put_delete_keys(bus: Bus) -> None:
    bucket = await bus.bucket("windtunnel_plans")
    assert await bucket.keys() == []
    await bucket.put("b", b"1")
    await bucket.put("a", b"")
    await bucket.put("b", b"2")
    assert await bucket.keys() == ["a", "b"]
    assert (await bucket.get("a"), await bucket.get("b")) == (b"", b"2")
    await bucket.delete("b")
    assert (await bucket.keys(), await bucket.get("b")) == (["a"], None)
    assert await bucket.create("b", b"3") == b"3"


async def test_a_deleted_key_can_be_taken_again(bus: Bus) -> None:
    bucket = await bus.bucket("windtunnel_runs")
    await bucket.create("r", b"1")
    await bucket.delete("r")
    assert await bucket.create("r", b"2") == b"2"
    assert await bucket.create("r", b"3") == b"2"


async def test_only_one_of_two_writers_updates_a_value(wire: Wire, bus: Bus) -> None:
    first, second = await bus.bucket("windtunnel_farm_runs"), await (await wire.open()).bucket("windtunnel_farm_runs")
    assert await first.read("a.b") is None
    created = await first.update("a.b", b"1", 0)
    assert created and await second.update("a.b", b"2", 0) is None
    updated = await asyncio.gather(first.update("a.b", b"3", created), second.update("a.b", b"4", created))
    (winner,) = [revision for revision in updated if revision is not None]
    found = await second.read("a.b")
    assert found is not None and found.revision == winner > created
    assert found.value == (b"3" if updated[0] else b"4")
    assert await first.update("a.b", b"5", created) is None


async def test_a_forgotten_key_leaves_nothing_and_can_be_taken_again(bus: Bus) -> None:
    bucket = await bus.bucket("windtunnel_farm_runs")
    await bucket.update("q.a", b"1", 0)
    await bucket.update("q.b", b"2", 0)
    await bucket.forget("q.a")
    await bucket.forget("q.none")
    assert await bucket.get("q.a") is None
    assert [one.key for one in await bucket.page("q", 10)] == ["q.b"]
    assert await bucket.update("q.a", b"3", 0) is not None


async def test_pages_follow_the_order_of_the_last_writes(bus: Bus) -> None:
    bucket = await bus.bucket("windtunnel_farm_runs")
    for number in range(7):
        await bucket.put(f"q.f.{number}", str(number).encode())
    await bucket.put("q.other.9", b"of another farm")
    await bucket.put("q.f.2", b"again")
    await bucket.delete("q.f.4")
    first = await bucket.page("q.f", 3)
    assert [one.key for one in first] == ["q.f.0", "q.f.1", "q.f.3"]
    second = await bucket.page("q.f", 10, after=first[-1].revision)
    assert [(one.key, one.value) for one in second] == [("q.f.5", b"5"), ("q.f.6", b"6"), ("q.f.2", b"again")]
    assert list(await bucket.page("q.f", 10, after=second[-1].revision)) == []
    assert list(await bucket.page("nobody", 10)) == []
    read = await bucket.read("q.f.2")
    assert read == second[-1]


@pytest.mark.parametrize("key", ["", "a b", "a*", ".a", "a.", "a..b", "ü", "a\n", ">"])
async def test_a_bad_key_is_refused(bus: Bus, key: str) -> None:
    bucket = await bus.bucket("windtunnel_plans")
    for call in (bucket.get(key), bucket.create(key, b""), bucket.put(key, b""), bucket.delete(key)):
        with pytest.raises(InvalidInput):
            await call


async def test_a_value_too_large_is_refused(bus: Bus) -> None:
    bucket = await bus.bucket("windtunnel_plans")
    await bucket.put("k", b"x" * MAX_MESSAGE_BYTES)
    for call in (bucket.put("k", b"x" * (MAX_MESSAGE_BYTES + 1)), bucket.create("l", b"x" * (MAX_MESSAGE_BYTES + 1))):
        with pytest.raises(InvalidInput, match="bytes"):
            await call


async def test_a_job_that_fails_stores_nothing(bus: Bus) -> None:
    jobs = Jobs(await bus.bucket("windtunnel_results"))

    async def fail() -> events_pb2.VariantCompared:
        raise InvalidInput("bad model")

    async def succeed() -> events_pb2.VariantCompared:
        return events_pb2.VariantCompared(variant="int8")

    with pytest.raises(InvalidInput):
        await jobs.once("compare.1", events_pb2.VariantCompared, fail)
    assert (await jobs.once("compare.1", events_pb2.VariantCompared, succeed)).variant == "int8"
    assert (await jobs.once("compare.1", events_pb2.VariantCompared, fail)).variant == "int8"


async def test_an_empty_result_is_a_result(bus: Bus) -> None:
    jobs, calls = Jobs(await bus.bucket("windtunnel_results")), []

    async def compute() -> events_pb2.VariantCompared:
        calls.append(1)
        return events_pb2.VariantCompared()

    for _ in range(2):
        await jobs.once("compare.2", events_pb2.VariantCompared, compute)
    assert len(calls) == 1


async def test_a_consumer_takes_a_new_policy(wire: Wire, bus: Bus) -> None:
    """The next release of a service has another lease and other slots; the durable stays."""
    notes = Notes()
    async with running(worker(bus, notes.handle, notes, lease_s=30)):
        await announce(bus, "a")
        await until(lambda: notes.handled == ["a"], "the first policy")
    await announce(bus, "b")
    assert len(await (await listen(bus, lease_s=wire.lease_s)).fetch(1, 5)) == 1
    async with running(worker(bus, notes.handle, notes, lease_s=wire.lease_s, slots=500)):
        await until(lambda: notes.handled == ["a", "b"], "the second policy", timeout_s=10)


async def test_a_dead_server_is_unavailable(wire: Wire, bus: Bus) -> None:
    bucket = await bus.bucket("windtunnel_plans")
    await wire.kill()
    await until(lambda: not bus.connected, "the loss is seen")
    calls = (announce(bus, "a"), bucket.get("k"), bucket.put("k", b""), bus.dead_letters())
    results = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 12)
    assert [type(result) for result in results] == [Unavailable] * 4
    await wire.start()
    await until(lambda: bus.connected, "it is back")
    await bucket.put("k", b"v")


async def test_a_bucket_is_made_again_where_the_server_lost_its_store(nats_wire: NatsWire) -> None:
    bus = await nats_wire.open()
    bucket = await bus.bucket("windtunnel_runs")
    await bucket.put("k", b"v")
    calls: tuple[tuple[Awaitable[object], list[str]], ...] = (
        (bucket.create("a", b"1"), ["a", "k"]),
        (bucket.put("a", b"1"), ["a", "k"]),
        (bucket.get("a"), ["k"]),
        (bucket.keys(), ["k"]),
        (bucket.delete("a"), ["k"]),
    )
    for call, keys in calls:
        await nats_wire.kill()
        await until(lambda: not bus.connected, "the loss is seen")
        nats_wire.server.wipe()
        await nats_wire.start()
        await until(lambda: bus.connected, "it is back")
        await call
        assert await bucket.get("k") is None
        await bucket.put("k", b"v")
        assert await bucket.keys() == keys


async def test_no_server_at_all() -> None:
    with pytest.raises(Unavailable, match="no NATS server") as caught:
        await connect("nats://127.0.0.1:9", wait_s=0.5)
    assert "windtunnel up" in caught.value.hint


async def test_a_server_without_room_says_so(nats_wire: NatsWire) -> None:
    with pytest.raises(Unavailable, match="insufficient storage"):
        await connect(nats_wire.server.url, limits=StreamLimits(max_bytes=2**60), wait_s=1)
