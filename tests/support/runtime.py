"""A service inside a test: its parts as `__main__` builds them, on a bus of the test, behind a real gRPC port."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from support.bus_wires import MemoryWire, NatsWire, Wire, running
from support.nats import nats_server
from windtunnel.bus import Bus, Event, Subscription, decode, encode
from windtunnel.rpc import RpcServer
from windtunnel.service.runtime import Build, Runtime, runtime_on
from windtunnel.service.settings import ServiceSettings

S = TypeVar("S", bound=ServiceSettings)


async def make_runtime(name: str, settings: S, bus: Bus, tmp_path: Path) -> Runtime[S]:
    """What `runtime.main` would give the service, all its files below `tmp_path`."""
    return await runtime_on(bus, name, settings.model_copy(update={"home": tmp_path}))


@contextlib.asynccontextmanager
async def serving(build: Build[S], runtime: Runtime[S]) -> AsyncIterator[grpc.aio.Channel]:
    """The service with its workers and its API inside the block; gives a channel to it."""
    parts = await build(runtime)
    async with parts.resources:
        server = RpcServer(parts.servicers)
        await server.start("127.0.0.1", 0)
        await server.set_serving(True)
        try:
            async with running(*parts.workers), grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                yield channel
        finally:
            await server.stop(0)


class Outbox:
    """What is published on some subjects, in order, from the first event of the stream."""

    def __init__(self, bus: Bus, topics: Sequence[str]) -> None:
        self._bus = bus
        self._topics = topics
        self._subscription: Subscription | None = None

    async def __aenter__(self) -> Self:
        durable = f"outbox-{id(self)}"
        self._subscription = await self._bus.subscribe(durable, self._topics, ack_wait_s=30, max_pending=1000)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._subscription is not None
        await self._subscription.close()

    async def next(self, timeout_s: float = 30.0) -> Message:
        """The data of the next event."""
        return (await self.next_event(timeout_s)).message()

    async def next_event(self, timeout_s: float = 30.0) -> Event:
        """The next event."""
        assert self._subscription is not None
        deadline = asyncio.get_running_loop().time() + timeout_s
        while asyncio.get_running_loop().time() < deadline:
            for delivery in await self._subscription.fetch(1, 0.5):
                await delivery.ack()
                return decode(delivery.subject, delivery.headers, delivery.data)
        raise AssertionError(f"nothing on {self._topics} within {timeout_s} s")

    async def nothing(self, within_s: float = 0.5) -> None:
        """Fails if another event comes."""
        assert self._subscription is not None
        for delivery in await self._subscription.fetch(1, within_s):
            raise AssertionError(f"one event too many: {decode(delivery.subject, delivery.headers, delivery.data)}")


async def health_of(channel: grpc.aio.Channel, service: str) -> int:
    """The health of one service, as grpc.health.v1 reports it."""
    answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))
    status: int = answer.status
    return status


async def listed_services(channel: grpc.aio.Channel) -> list[str]:
    """The services that reflection lists."""
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([request]))
    async for answer in call:
        return [service.name for service in answer.list_services_response.service]
    return []


async def publish(bus: Bus, message: Message, id: str) -> None:
    """Publishes an event as another service would, under an id of the test's choice."""
    subject, headers, data = encode(message, id=id, source="/tests", run_id="run-1")
    await bus.publish(subject, headers, data)


@contextlib.asynccontextmanager
async def wire_of(kind: str, tmp_path: Path) -> AsyncIterator[Wire]:
    """The fake bus ("memory") or a real nats-server of its own ("nats")."""
    if kind == "memory":
        yield MemoryWire()
        return
    with nats_server(tmp_path / "nats") as server:
        wire = NatsWire(server)
        try:
            yield wire
        finally:
            await wire.close()
