"""What a service is given to work with, on a bus of the test's choice and stores in a folder; and what it published."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from google.protobuf.message import Message

from support.nats import NatsServer
from windtunnel.bus import Bus, decode, subjects
from windtunnel.bus.memory import MemoryBus
from windtunnel.bus.nats.jetstream import connect
from windtunnel.plan import Plan, plan_to_json
from windtunnel.service.protobuf_values import artifact_to_proto
from windtunnel.service.runtime import Runtime
from windtunnel.service.settings import ServiceSettings
from windtunnel.v1 import types_pb2

S = TypeVar("S", bound=ServiceSettings)


async def run_context(runtime: Runtime[S], run_id: str, plan: Plan) -> types_pb2.RunContext:
    """A run under `plan`, which is stored."""
    ref = await runtime.artifacts.put_bytes(plan_to_json(plan))
    return types_pb2.RunContext(
        run_id=run_id, model_name="digits", model_version="1", plan=artifact_to_proto(ref, "application/json")
    )


@asynccontextmanager
async def open_bus(kind: str, folder: Path) -> AsyncIterator[Bus]:
    """The fake bus ("memory"), or a real nats-server ("nats") that keeps its store in `folder`."""
    if kind == "memory":
        yield MemoryBus()
        return
    server = NatsServer(folder)
    server.start()
    try:
        bus = await connect(server.url, wait_s=10)
        yield bus
        await bus.close()
    finally:
        server.stop()


class Listener:
    """Every event on the bus, in the order of the stream."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.events: list[tuple[str, Message]] = []

    async def collect(
        self, enough: Callable[[Sequence[Message]], bool], *, topics: Sequence[str], timeout_s: float = 60.0
    ) -> list[Message]:
        """The messages on `topics`, from the first, until `enough` is true. Fails after `timeout_s`."""
        subscription = await self._bus.subscribe("test_listener", topics, ack_wait_s=30, max_pending=1000)
        deadline = time.monotonic() + timeout_s
        while not enough([message for _, message in self.events]):
            remaining = deadline - time.monotonic()
            assert remaining > 0, f"only {[subject for subject, _ in self.events]} after {timeout_s} s"
            for delivery in await subscription.fetch(10, min(remaining, 1.0)):
                event = decode(delivery.subject, delivery.headers, delivery.data)
                self.events.append((event.id, event.message()))
                await delivery.ack()
        await subscription.close()
        return [message for _, message in self.events]


async def publish_garbage(bus: Bus, subject: str) -> None:
    """An event whose attributes are right and whose data is not a message."""
    attributes = {"specversion": "1.0", "id": "bad", "source": "/test", "type": subjects.type_of(subject)}
    headers = {f"ce-{name}": value for name, value in attributes.items()}
    await bus.publish(subject, {**headers, "content-type": "application/protobuf"}, b"\xff\xff\xff")


def settings_in(home: Path, kind: type[S], **more: object) -> S:
    """Settings that keep everything below `home`."""
    return kind.model_validate({"home": home, **more})
