"""The fake bus and a real nats-server behind one interface, for tests that must hold on both."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import nats

from support.nats import NatsServer
from windtunnel.bus import Bus, Worker, subjects
from windtunnel.bus.memory import MemoryBus
from windtunnel.bus.nats.jetstream import StreamLimits, connect


class Wire(Protocol):
    """Where messages travel. `lease_s` is the shortest ack_wait that is worth trusting on it."""

    lease_s: float

    async def open(self, *, small: bool = False) -> Bus:
        """A connection. `small`: the stream is full after few messages (the first connection decides)."""
        ...

    async def kill(self) -> None: ...
    async def start(self) -> None: ...
    async def purge(self, subject: str) -> None:
        """Makes room: removes the events on `subject`."""
        ...

    async def close(self) -> None: ...


class MemoryWire:
    lease_s = 0.2

    def __init__(self) -> None:
        self._bus: MemoryBus | None = None

    async def open(self, *, small: bool = False) -> Bus:
        self._bus = self._bus or MemoryBus(max_messages=5 if small else None)
        return self._bus

    async def kill(self) -> None:
        assert self._bus is not None
        await self._bus.stop()

    async def start(self) -> None:
        assert self._bus is not None
        await self._bus.start()

    async def purge(self, subject: str) -> None:
        assert self._bus is not None
        await self._bus.purge(subject)

    async def close(self) -> None:
        return None


class NatsWire:
    lease_s = 0.5

    def __init__(self, server: NatsServer) -> None:
        self.server = server
        self._open: list[Bus] = []

    async def open(self, *, small: bool = False) -> Bus:
        limits = StreamLimits(max_bytes=4000 if small else 100_000_000)
        bus = await connect(self.server.url, limits=limits, wait_s=10)
        self._open.append(bus)
        return bus

    async def kill(self) -> None:
        self.server.kill()

    async def start(self) -> None:
        self.server.start()

    async def purge(self, subject: str) -> None:
        client = await nats.connect(self.server.url)
        await client.jetstream().purge_stream(subjects.STREAM, subject=subject)
        await client.close()

    async def close(self) -> None:
        for bus in self._open:
            await bus.close()


async def until(holds: Callable[[], bool], what: str, *, timeout_s: float = 15.0) -> None:
    """Waits until `holds`, and fails with `what` where that takes too long."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not holds():
        assert asyncio.get_running_loop().time() < deadline, f"waited {timeout_s} s in vain: {what}"
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running(*workers: Worker) -> AsyncIterator[None]:
    """The workers run inside the block and are drained at its end."""
    tasks = [asyncio.create_task(worker.run()) for worker in workers]
    try:
        yield
        for worker in workers:
            worker.drain()
        await asyncio.wait_for(asyncio.gather(*tasks), 15)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
