"""`python -m windtunnel.metrics_store`: the only place where the parts are put together."""

from __future__ import annotations

from windtunnel.bus import subjects
from windtunnel.metrics_store.adapters.database import wait_for_database
from windtunnel.metrics_store.adapters.latency_history import SqlLatencyHistory
from windtunnel.metrics_store.adapters.prometheus import PrometheusMetrics
from windtunnel.metrics_store.adapters.queries import SqlQueries
from windtunnel.metrics_store.adapters.repository import SqlRepository
from windtunnel.metrics_store.artifact_service import ArtifactServing, StoreFacts
from windtunnel.metrics_store.read_only import ARTIFACTS_API, RUNS_API
from windtunnel.metrics_store.service import MetricsStoreService, Reading
from windtunnel.metrics_store.settings import MetricsStoreSettings
from windtunnel.metrics_store.use_cases.cancel_runs import RunCanceler
from windtunnel.metrics_store.use_cases.change_signal import Signal
from windtunnel.metrics_store.use_cases.compare_latencies import LatencyComparer
from windtunnel.metrics_store.use_cases.complete_runs import Completer
from windtunnel.metrics_store.use_cases.keep_plans import Plans
from windtunnel.metrics_store.use_cases.publish_outbox import DeadlineWatch, Outbox
from windtunnel.metrics_store.use_cases.read_documents import Documents
from windtunnel.metrics_store.use_cases.record_events import TOPICS, EventRecorder
from windtunnel.service import runtime
from windtunnel.service.runtime import Parts, Runtime
from windtunnel.v1.artifacts_pb2_grpc import add_ArtifactServiceServicer_to_server
from windtunnel.v1.metrics_store_pb2_grpc import add_MetricsStoreServiceServicer_to_server

NAME = "metrics_store"


async def build(own: Runtime[MetricsStoreSettings]) -> Parts:
    """Opens the database and wires the parts.

    Args:
        own: what the service has to work with.

    Returns:
        Servicers, workers and what to close.
    """
    database = await wait_for_database(own.settings.database)
    repository, queries = SqlRepository(database), SqlQueries(database)
    documents, metrics, changed = Documents(own.artifacts), PrometheusMetrics(), Signal()
    latencies = LatencyComparer(SqlLatencyHistory(database))
    deadline_s = own.settings.run_deadline_s
    completer = Completer(repository, documents, latencies, own.artifacts, metrics, changed, deadline_s)
    runs = await own.bus.bucket(subjects.RUNS_BUCKET)
    recorder = EventRecorder(repository, completer, documents, own.artifacts, runs, metrics)
    reading = Reading(queries, repository, documents, latencies, own.artifacts, changed)
    plans = Plans(await own.bus.bucket(subjects.PLANS_BUCKET), own.artifacts)
    servicer = MetricsStoreService(reading, plans, RunCanceler(repository, completer, own.canceled))

    settings = own.settings
    facts = StoreFacts(settings.artifact_store, settings.home_folder, settings.max_source_bytes)
    files = ArtifactServing(queries, own.artifacts, facts)

    parts = Parts(
        servicers=[
            (RUNS_API, lambda server: add_MetricsStoreServiceServicer_to_server(servicer, server)),
            (ARTIFACTS_API, lambda server: add_ArtifactServiceServicer_to_server(files, server)),
        ],
        workers=[own.worker(NAME, TOPICS, recorder.handle, recorder.on_failure, skip_canceled=False)],
        tasks=[
            Outbox(repository, own.bus, changed, echo=own.publisher.echo).run,
            DeadlineWatch(repository, completer).run,
        ],
    )
    parts.resources.push_async_callback(database.close)
    return parts


if __name__ == "__main__":
    runtime.main(NAME, MetricsStoreSettings, build)
