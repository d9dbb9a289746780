"""What the rules of the bus cost: the Worker and bare nats-py, on the same server in the same run.

Both take events of about 1 KB (protobuf CloudEvents) from a durable pull consumer and ack each: nats-py with
`fetch(100)` and `ack` in a loop, the Worker with 100 slots, decoding, tracing, leases and all.

    python benchmarks/bus.py [--messages 20000] [--rounds 5] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nats
from nats.js.api import AckPolicy, ConsumerConfig

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from support.nats import nats_server
from windtunnel.bus import Event, Worker, encode, subjects
from windtunnel.bus.nats.jetstream import NatsBus, connect
from windtunnel.errors import WindtunnelError
from windtunnel.v1 import events_pb2, types_pb2

BATCH = 100


def event(number: int) -> tuple[str, dict[str, str], bytes]:
    """A variant.compared event of about 1 KB, headers included."""
    run = types_pb2.RunContext(
        run_id=f"run-{number}",
        model_name="mobilenet",
        model_version="2026-11-20.3",
        model_sha256="a" * 64,
        plan=types_pb2.Artifact(sha256="b" * 64, size_bytes=1234, media_type="application/json"),
        labels={"team": "edge", "branch": "main"},
    )
    figures = types_pb2.QualityFigures(top1=0.7, precision=0.7, recall=0.7, loss=1.2, samples=500)
    message = events_pb2.VariantCompared(
        run=run,
        variant="int8",
        model=types_pb2.Artifact(sha256="c" * 64, size_bytes=3_500_000),
        reference=figures,
        candidate=figures,
        layers=types_pb2.LayerSummary(compared=64, total=65, max_nrmse=0.05, first_over="x" * 64),
        diagnosis=types_pb2.Artifact(sha256="d" * 64, size_bytes=4321),
    )
    traceparent = f"00-{'1' * 32}-{'2' * 16}-01"
    return encode(
        message, id=f"{number:032x}", source="/windtunnel/layer_diff", run_id=run.run_id, traceparent=traceparent
    )


async def publish(bus: NatsBus, count: int) -> int:
    """Publishes `count` events; the size of one in bytes."""
    size = 0
    for start in range(0, count, BATCH):
        events = [event(number) for number in range(start, min(start + BATCH, count))]
        await asyncio.gather(*(bus.publish(*each) for each in events))
        size = sum(len(name) + len(value) + 4 for name, value in events[0][1].items()) + len(events[0][2])
    return size


async def bare(url: str, durable: str, count: int) -> float:
    """Messages per second of nats-py: fetch a hundred, ack each."""
    client = await nats.connect(url)
    stream = client.jetstream()
    config = ConsumerConfig(durable_name=durable, ack_policy=AckPolicy.EXPLICIT, max_ack_pending=1000)
    await stream.add_consumer(subjects.STREAM, config)
    subscription = await stream.pull_subscribe_bind(durable, subjects.STREAM)
    started, done = time.perf_counter(), 0
    while done < count:
        for message in await subscription.fetch(BATCH):
            await message.ack()
            done += 1
    await client.flush()
    seconds = time.perf_counter() - started
    await client.close()
    return count / seconds


async def ours(url: str, durable: str, count: int) -> float:
    """Messages per second of our Worker."""
    bus = await connect(url)
    done = 0

    async def handle(event: Event) -> None:
        nonlocal done
        done += 1
        if done == count:
            worker.drain()

    async def fail(event: Event, error: WindtunnelError) -> None:
        raise AssertionError(error)

    worker = Worker(bus, durable, [subjects.VARIANT_COMPARED], handle, on_failure=fail, slots=BATCH)
    started = time.perf_counter()
    await worker.run()
    await bus.flush()
    seconds = time.perf_counter() - started
    await bus.close()
    return count / seconds


async def measure(messages: int, rounds: int) -> dict[str, Any]:
    """Both in turn, `rounds` times, so that a slow spell of the machine meets both."""
    with tempfile.TemporaryDirectory() as folder, nats_server(Path(folder)) as server:
        url = server.url
        bus = await connect(url)
        size = await publish(bus, messages)
        rates: dict[str, list[float]] = {"nats-py": [], "worker": []}
        for number in range(rounds):
            rates["nats-py"].append(await bare(url, f"bare{number}", messages))
            rates["worker"].append(await ours(url, f"ours{number}", messages))
        await bus.close()
    ratios = [mine / theirs for mine, theirs in zip(rates["worker"], rates["nats-py"], strict=True)]
    return {
        "messages": messages,
        "bytes": size,
        "rounds": rounds,
        "per_second": rates,
        "ratio": statistics.median(ratios),
    }


def table(result: dict[str, Any]) -> str:
    lines = [
        f"| {result['messages']} messages of {result['bytes']} B | median messages/s | min | max | ratio |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, rates in result["per_second"].items():
        ratio = result["ratio"] if name == "worker" else 1.0
        median = statistics.median(rates)
        lines.append(f"| {name} | {median:.0f} | {min(rates):.0f} | {max(rates):.0f} | {ratio:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="The Worker against bare nats-py.")
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    arguments = parser.parse_args()
    result = asyncio.run(measure(arguments.messages, arguments.rounds))
    print(json.dumps(result) if arguments.json else table(result))


if __name__ == "__main__":
    main()
