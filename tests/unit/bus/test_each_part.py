"""The parts of one message: each has its chance, whatever becomes of the others."""

from __future__ import annotations

import asyncio

import pytest

from windtunnel.bus import Jobs, each
from windtunnel.bus.memory import MemoryBus
from windtunnel.errors import Unavailable
from windtunnel.v1 import types_pb2


async def test_every_part_is_tried_before_the_first_error_is_raised() -> None:
    tried = []

    async def do(part: int) -> None:
        await asyncio.sleep(0)
        tried.append(part)
        if part in (2, 3):
            raise Unavailable(f"part {part}")

    with pytest.raises(Unavailable, match="part 2"):
        await each((1, 2, 3, 4), do)
    assert tried == [1, 2, 3, 4]


@pytest.mark.parametrize("at_once", [1, 3])
async def test_so_many_at_once(at_once: int) -> None:
    now, most = 0, 0

    async def do(part: int) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1

    await each(range(7), do, at_once=at_once)
    assert most == at_once


async def test_cancelling_ends_the_parts() -> None:
    started, ended = asyncio.Event(), []

    async def do(part: int) -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(part)

    task = asyncio.create_task(each((1, 2), do, at_once=2))
    await started.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [1, 2]


async def test_a_stored_result_can_be_asked_for() -> None:
    jobs = Jobs(await MemoryBus().bucket("results"))

    async def compute() -> types_pb2.Variant:
        return types_pb2.Variant(name="int8")

    assert await jobs.stored("k", types_pb2.Variant) is None
    await jobs.once("k", types_pb2.Variant, compute)
    assert await jobs.stored("k", types_pb2.Variant) == types_pb2.Variant(name="int8")
