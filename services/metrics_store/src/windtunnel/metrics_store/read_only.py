"""The reading half of the service without its bus: for whoever has the database but no running Windtunnel."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc

from windtunnel.artifacts import open_store
from windtunnel.metrics_store.adapters.database import open_for_reading
from windtunnel.metrics_store.adapters.latency_history import SqlLatencyHistory
from windtunnel.metrics_store.adapters.queries import SqlQueries
from windtunnel.metrics_store.adapters.repository import SqlRepository
from windtunnel.metrics_store.artifact_service import ArtifactReader
from windtunnel.metrics_store.service import Reading, RunsReader
from windtunnel.metrics_store.use_cases.change_signal import Signal
from windtunnel.metrics_store.use_cases.compare_latencies import LatencyComparer
from windtunnel.metrics_store.use_cases.read_documents import Documents
from windtunnel.v1 import artifacts_pb2, metrics_store_pb2
from windtunnel.v1.artifacts_pb2_grpc import add_ArtifactServiceServicer_to_server
from windtunnel.v1.metrics_store_pb2_grpc import add_MetricsStoreServiceServicer_to_server

Servicers = Sequence[tuple[str, Callable[[grpc.aio.Server], None]]]
RUNS_API = metrics_store_pb2.DESCRIPTOR.services_by_name["MetricsStoreService"].full_name
ARTIFACTS_API = artifacts_pb2.DESCRIPTOR.services_by_name["ArtifactService"].full_name


@asynccontextmanager
async def open_to_read(database: Path, artifacts_url: str, cache: Path) -> AsyncIterator[Servicers]:
    """What serves the runs in an SQLite file, and their artifacts; nothing is written to either.

    Args:
        database: the file.
        artifacts_url: of the store.
        cache: folder for local copies of artifacts.

    Yields:
        The servicers.

    Raises:
        InvalidInput: the file is not such a database.
        Unavailable: it cannot be opened.
    """
    with tempfile.TemporaryDirectory(prefix="windtunnel-reading-") as scratch:
        opened = await asyncio.to_thread(open_for_reading, database, Path(scratch))
        try:
            artifacts = open_store(artifacts_url, cache=cache)
            reading = Reading(
                SqlQueries(opened),
                SqlRepository(opened),
                Documents(artifacts),
                LatencyComparer(SqlLatencyHistory(opened)),
                artifacts,
                Signal(),
            )
            # What they lack, the generated base answers with UNIMPLEMENTED.
            runs = RunsReader(reading)  # type: ignore[abstract]
            files = ArtifactReader(reading.queries, artifacts)  # type: ignore[abstract]
            yield [
                (RUNS_API, lambda server: add_MetricsStoreServiceServicer_to_server(runs, server)),
                (ARTIFACTS_API, lambda server: add_ArtifactServiceServicer_to_server(files, server)),
            ]
        finally:
            await opened.close()
