"""Events, handlers and sightings for tests of the bus."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from windtunnel.bus import Bus, Event, Policy, Subscription, Worker, encode, subjects
from windtunnel.bus.worker import FailureHandler, Handler, IsCanceled
from windtunnel.errors import WindtunnelError
from windtunnel.v1 import events_pb2, types_pb2

SOURCE = "/tests"


def variant_ready(name: str, run_id: str = "run-1") -> events_pb2.VariantReady:
    return events_pb2.VariantReady(run=types_pb2.RunContext(run_id=run_id), variant=types_pb2.Variant(name=name))


async def announce(bus: Bus, *names: str, run_id: str = "run-1") -> None:
    """Publishes one variant.ready per name; the name is the event's id too."""
    for name in names:
        subject, headers, data = encode(variant_ready(name, run_id), id=name, source=SOURCE, run_id=run_id)
        await bus.publish(subject, headers, data)


class Notes:
    """What handlers have seen, in order."""

    def __init__(self) -> None:
        self.handled: list[str] = []
        self.failed: list[tuple[str, WindtunnelError]] = []

    async def handle(self, event: Event) -> None:
        self.handled.append(event.id)

    async def fail(self, event: Event, error: WindtunnelError) -> None:
        self.failed.append((event.id, error))

    def raising(self, make: Callable[[], Exception]) -> Handler:
        """A handler that notes the event, then raises."""

        async def handle(event: Event) -> None:
            self.handled.append(event.id)
            raise make()

        return handle

    def waiting_for(self, gate: asyncio.Event) -> Handler:
        """A handler that notes the event, then waits for `gate`."""

        async def handle(event: Event) -> None:
            self.handled.append(event.id)
            await gate.wait()

        return handle


def worker(
    bus: Bus,
    handle: Handler,
    notes: Notes,
    *,
    durable: str = "tested",
    topics: Sequence[str] = (subjects.VARIANT_READY,),
    on_failure: FailureHandler | None = None,
    slots: int = 1,
    lease_s: float = 30.0,
    attempts: int = 3,
    backoff_s: tuple[float, ...] = (0.1, 0.2),
    drain_s: float = 5.0,
    report_malformed: bool = False,
    is_canceled: IsCanceled | None = None,
    cancel_s: float = 0.05,
) -> Worker:
    policy = Policy(ack_wait_s=lease_s, attempts=attempts, backoff_s=backoff_s, drain_s=drain_s, cancel_s=cancel_s)
    return Worker(
        bus,
        durable,
        topics,
        handle,
        on_failure=on_failure or notes.fail,
        slots=slots,
        policy=policy,
        report_malformed=report_malformed,
        is_canceled=is_canceled,
    )


async def listen(bus: Bus, durable: str = "tested", *, lease_s: float = 30.0) -> Subscription:
    """A bare consumer of the variant.ready events: what it fetches it neither keeps alive nor settles."""
    return await bus.subscribe(durable, [subjects.VARIANT_READY], ack_wait_s=lease_s, max_pending=1000)


async def everything_on(bus: Bus, subject: str) -> list[str]:
    """Ids of all events that the stream holds on `subject`, in order."""
    subscription = await bus.subscribe(f"audit-{subject.replace('.', '-')}", [subject], ack_wait_s=30, max_pending=1000)
    seen: list[str] = []
    while found := await subscription.fetch(100, 0.5):
        for delivery in found:
            seen.append(delivery.headers["ce-id"])
            await delivery.ack()
    await subscription.close()
    return seen
