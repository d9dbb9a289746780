"""A worker process that takes a message and never comes to an end: `python -m support.hanging_worker URL DURABLE`."""

from __future__ import annotations

import asyncio
import sys

from windtunnel.bus import Event, Policy, Worker, subjects
from windtunnel.bus.nats.jetstream import connect
from windtunnel.errors import WindtunnelError


async def hang(event: Event) -> None:
    print(f"holds {event.id}", flush=True)
    await asyncio.sleep(3600)


async def ignore(event: Event, error: WindtunnelError) -> None:
    raise AssertionError((event, error))


async def main(url: str, durable: str) -> None:
    bus = await connect(url)
    policy = Policy(ack_wait_s=0.5)
    await Worker(bus, durable, [subjects.VARIANT_READY], hang, on_failure=ignore, policy=policy).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
