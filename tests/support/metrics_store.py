"""A metrics store for tests: every part of it real but the bus and the artifact store, which are those in memory."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import Message
from prometheus_client import CollectorRegistry

from support.run_events import STARTED, RunEvents, as_event
from windtunnel.artifacts import ArtifactRef, MemoryStore
from windtunnel.bus import Bus, Event, decode, subjects
from windtunnel.bus.memory import MemoryBus
from windtunnel.metrics_store.adapters.database import Database, open_database
from windtunnel.metrics_store.adapters.latency_history import SqlLatencyHistory
from windtunnel.metrics_store.adapters.prometheus import PrometheusMetrics
from windtunnel.metrics_store.adapters.queries import SqlQueries
from windtunnel.metrics_store.adapters.repository import SqlRepository
from windtunnel.metrics_store.service import MetricsStoreService, Reading
from windtunnel.metrics_store.use_cases.cancel_runs import RunCanceler
from windtunnel.metrics_store.use_cases.change_signal import Signal
from windtunnel.metrics_store.use_cases.compare_latencies import LatencyComparer
from windtunnel.metrics_store.use_cases.complete_runs import Completer
from windtunnel.metrics_store.use_cases.keep_plans import Plans
from windtunnel.metrics_store.use_cases.publish_outbox import DeadlineWatch, Outbox
from windtunnel.metrics_store.use_cases.read_documents import Documents
from windtunnel.metrics_store.use_cases.record_events import EventRecorder
from windtunnel.service.cancellation import Cancellations
from windtunnel.v1 import events_pb2
from windtunnel.v1.metrics_store_pb2_grpc import MetricsStoreServiceStub

if TYPE_CHECKING:
    from windtunnel.v1.metrics_store_pb2_grpc import MetricsStoreServiceAsyncStub


_BUCKETS = (subjects.RUNS_BUCKET, subjects.PLANS_BUCKET, subjects.CANCELED_BUCKET)


class Store:
    """One replica of the metrics store. `now` is its clock."""

    def __init__(self, database: Database, bus: Bus, artifacts: MemoryStore, buckets: Mapping[str, Any]) -> None:
        self.bus, self.artifacts, self.database = bus, artifacts, database
        self.now: datetime = STARTED + timedelta(seconds=10)
        self.repository, self.queries = SqlRepository(database), SqlQueries(database)
        self.registry = CollectorRegistry()
        documents, changed, metrics = Documents(artifacts), Signal(), PrometheusMetrics(self.registry)
        latencies = LatencyComparer(SqlLatencyHistory(database))
        parts = self.repository, documents, latencies, artifacts, metrics, changed
        self.completer = Completer(*parts, deadline_s=3600.0, clock=lambda: self.now)
        runs, plans = buckets[subjects.RUNS_BUCKET], buckets[subjects.PLANS_BUCKET]
        canceled = buckets[subjects.CANCELED_BUCKET]
        self.recorder = EventRecorder(self.repository, self.completer, documents, artifacts, runs, metrics)
        self.outbox = Outbox(self.repository, bus, changed, pause_s=0.05)
        self.watch = DeadlineWatch(self.repository, self.completer, pause_s=0.05)
        reading = Reading(self.queries, self.repository, documents, latencies, artifacts, changed)
        self.canceled = Cancellations(canceled)
        canceling = RunCanceler(self.repository, self.completer, self.canceled)
        self.service = MetricsStoreService(reading, Plans(plans, artifacts), canceling)

    async def record(self, *messages: Message) -> None:
        """Takes up these events, one after the other."""
        for message in messages:
            await self.recorder.handle(as_event(message))

    async def keep(self, content: bytes) -> ArtifactRef:
        return await self.artifacts.put_bytes(content)

    async def verdict(self, run_id: str = "run-1") -> tuple[str | None, tuple[str, ...]]:
        """The verdict in the database, and why."""
        stored = await self.repository.load(run_id)
        assert stored is not None
        return (None if stored.verdict is None else stored.verdict.value), stored.reasons

    async def report(self, run_id: str = "run-1") -> dict[str, Any]:
        """The report that the last verdict refers to."""
        stored = await self.repository.load(run_id)
        assert stored is not None and stored.report_sha256 is not None
        report: dict[str, Any] = json.loads(await self.artifacts.read_bytes(stored.report_sha256))
        return report

    def sample(self, name: str, **labels: str) -> float | None:
        """What Prometheus would read."""
        return self.registry.get_sample_value(name, labels)


@asynccontextmanager
async def metrics_store(url: str, bus: Bus | None = None, artifacts: MemoryStore | None = None) -> AsyncIterator[Store]:
    """A store on the database at `url`; several may share it, as replicas do."""
    bus = bus or MemoryBus()
    database = open_database(url)
    try:
        buckets = {name: await bus.bucket(name) for name in _BUCKETS}
        yield Store(database, bus, artifacts or MemoryStore(), buckets)
    finally:
        await database.close()


async def with_plan(store: Store, run: RunEvents) -> RunEvents:
    """`run`, its plan in the artifact store."""
    await store.keep(run.plan_json)
    return run


async def completed_events(
    bus: Bus, durable: str = "tests", wait_s: float = 0.3
) -> list[tuple[Event, events_pb2.RunCompleted]]:
    """All `run.completed` events on the bus that this consumer has not seen yet; waits for the first one."""
    subscription = await bus.subscribe(durable, [subjects.RUN_COMPLETED], ack_wait_s=30, max_pending=1000)
    found = []
    for delivery in await subscription.fetch(100, wait_s):
        event = decode(delivery.subject, delivery.headers, delivery.data)
        message = event.message()
        assert isinstance(message, events_pb2.RunCompleted)
        found.append((event, message))
        await delivery.ack()
    await subscription.close()
    return found


def async_stub(channel: grpc.aio.Channel) -> MetricsStoreServiceAsyncStub:
    """The client of the API; there is one class for both kinds of channel, whatever its types say."""
    return MetricsStoreServiceStub(channel)


def twice(items: Iterable[Message]) -> list[Message]:
    return [item for item in items for _ in range(2)]
