"""The gRPC API: decode, call, encode."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from windtunnel.enum_words import ARTIFACT_KIND, RUN_STATE
from windtunnel.errors import InvalidInput, NotFound
from windtunnel.metrics_store.domain import RunRecord, judge
from windtunnel.metrics_store.domain.lineage import LineageArtifact
from windtunnel.metrics_store.domain.listings import MeasurementFilter, RunFilter, RunSummary
from windtunnel.metrics_store.domain.stored_run import COMPLETED, StoredRun
from windtunnel.metrics_store.messages.encode_messages import (
    VERDICT_OF,
    artifact,
    execution_message,
    measured_cell_message,
    run_message,
)
from windtunnel.metrics_store.use_cases.build_report import Ending, build_report, with_later_facts
from windtunnel.metrics_store.use_cases.cancel_runs import RunCanceler
from windtunnel.metrics_store.use_cases.change_signal import Signal, wait_for
from windtunnel.metrics_store.use_cases.compare_latencies import LatencyComparer
from windtunnel.metrics_store.use_cases.keep_plans import Plans
from windtunnel.metrics_store.use_cases.ports import BlobReader, RunQueries, RunRepository
from windtunnel.metrics_store.use_cases.read_documents import Documents
from windtunnel.plan import plan_to_proto
from windtunnel.service.protobuf_values import artifact_to_proto
from windtunnel.v1 import metrics_store_pb2 as pb
from windtunnel.v1 import metrics_store_pb2_grpc, types_pb2

Context = grpc.aio.ServicerContext[Any, Any]
# Changes that another replica made are seen after this long.
WATCH_S = 0.5


@dataclass(frozen=True, slots=True)
class Reading:
    """What the API reads from."""

    queries: RunQueries
    repository: RunRepository
    documents: Documents
    latencies: LatencyComparer
    artifacts: BlobReader
    changed: Signal


class RunsReader(metrics_store_pb2_grpc.MetricsStoreServiceServicer):
    """What windtunnel.v1.MetricsStoreService reads: runs, reports, measurements, lineage.

    Args:
        reading: reads runs.
    """

    def __init__(self, reading: Reading) -> None:
        self._queries = reading.queries
        self._reading = reading

    async def GetRun(self, request: pb.GetRunRequest, context: Context) -> pb.GetRunResponse:  # noqa: N802
        """Implements `MetricsStoreService.GetRun` of the contract."""
        return pb.GetRunResponse(run=run_message(await self._run(request.run_id)))

    async def ListRuns(self, request: pb.ListRunsRequest, context: Context) -> pb.ListRunsResponse:  # noqa: N802
        """Implements `MetricsStoreService.ListRuns` of the contract."""
        runs, token = await self._queries.runs(_run_filter(request), request.page_size, request.page_token)
        return pb.ListRunsResponse(runs=map(run_message, runs), next_page_token=token)

    async def WatchRun(  # noqa: N802
        self, request: pb.WatchRunRequest, context: Context
    ) -> AsyncIterator[pb.WatchRunResponse]:
        """Implements `MetricsStoreService.WatchRun` of the contract."""
        run = await self._run(request.run_id)
        yield pb.WatchRunResponse(run=run_message(run))
        sent = run.version
        while run.state != COMPLETED or sent < run.version:
            watch = self._reading.changed.watch()
            changes = await self._queries.changes(run.run_id, sent)
            run = await self._run(request.run_id)
            for change in changes:
                yield pb.WatchRunResponse(run=run_message(run), event_type=change.event_type, text=change.text)
                sent = change.version
            if not changes:
                await wait_for(watch, WATCH_S)

    async def GetReport(self, request: pb.GetReportRequest, context: Context) -> pb.GetReportResponse:  # noqa: N802
        """Implements `MetricsStoreService.GetReport` of the contract."""
        stored = await self._reading.repository.load(request.run_id)
        if stored is None:
            raise _no_run(request.run_id)
        if stored.report_sha256 is not None:
            data = await self._reading.artifacts.read_bytes(stored.report_sha256)
            return pb.GetReportResponse(report_json=_up_to_date(data.decode(), stored.record))
        return pb.GetReportResponse(report_json=json.dumps(await self._draft(stored), allow_nan=False))

    async def ListMeasurements(  # noqa: N802
        self, request: pb.ListMeasurementsRequest, context: Context
    ) -> pb.ListMeasurementsResponse:
        """Implements `MetricsStoreService.ListMeasurements` of the contract."""
        wanted = MeasurementFilter(
            request.run_id, request.model_name, request.variant, request.device, request.accelerator
        )
        found, token = await self._queries.measurements(wanted, request.page_size, request.page_token)
        return pb.ListMeasurementsResponse(measurements=map(measured_cell_message, found), next_page_token=token)

    async def GetLineage(self, request: pb.GetLineageRequest, context: Context) -> pb.GetLineageResponse:  # noqa: N802
        """Implements `MetricsStoreService.GetLineage` of the contract."""
        await self._run(request.run_id)
        kept, executions = await self._queries.lineage(request.run_id)
        return pb.GetLineageResponse(
            artifacts=map(_lineage_message, kept),
            executions=map(execution_message, executions),
        )

    async def _run(self, run_id: str) -> RunSummary:
        run = await self._queries.run(run_id)
        if run is None:
            raise _no_run(run_id)
        return run

    async def _draft(self, stored: StoredRun) -> dict[str, Any]:
        """The report of a run that has not ended, as far as it is known."""
        run = stored.record
        found = await self._reading.documents.plan(run.plan_sha256)
        diagnoses = await self._reading.documents.diagnoses(run)
        comparisons = await self._reading.latencies.compare(run, found.plan)
        return build_report(run, judge(run, found.plan, comparisons=comparisons), diagnoses, Ending())


class MetricsStoreService(RunsReader):
    """windtunnel.v1.MetricsStoreService.

    Args:
        reading: reads runs.
        plans: stored under names.
        canceling: ends runs.
    """

    def __init__(self, reading: Reading, plans: Plans, canceling: RunCanceler) -> None:
        super().__init__(reading)
        self._plans = plans
        self._canceling = canceling

    async def PutPlan(self, request: pb.PutPlanRequest, context: Context) -> pb.PutPlanResponse:  # noqa: N802
        """Implements `MetricsStoreService.PutPlan` of the contract."""
        ref = await self._plans.put(request.name, request.plan_yaml)
        return pb.PutPlanResponse(plan=artifact_to_proto(ref, "application/json"))

    async def GetPlan(self, request: pb.GetPlanRequest, context: Context) -> pb.GetPlanResponse:  # noqa: N802
        """Implements `MetricsStoreService.GetPlan` of the contract."""
        plan, ref = await self._plans.get(request.name)
        return pb.GetPlanResponse(plan=plan_to_proto(plan), artifact=artifact_to_proto(ref, "application/json"))

    async def ListPlans(self, request: pb.ListPlansRequest, context: Context) -> pb.ListPlansResponse:  # noqa: N802
        """Implements `MetricsStoreService.ListPlans` of the contract."""
        return pb.ListPlansResponse(names=await self._plans.names())

    async def DeletePlan(self, request: pb.DeletePlanRequest, context: Context) -> pb.DeletePlanResponse:  # noqa: N802
        """Implements `MetricsStoreService.DeletePlan` of the contract."""
        await self._plans.delete(request.name)
        return pb.DeletePlanResponse()

    async def CancelRun(self, request: pb.CancelRunRequest, context: Context) -> pb.CancelRunResponse:  # noqa: N802
        """Implements `MetricsStoreService.CancelRun` of the contract."""
        canceled = await self._canceling.cancel(request.run_id, request.reason)
        return pb.CancelRunResponse(run=run_message(await self._run(request.run_id)), canceled=canceled)


def _up_to_date(report_json: str, run: RunRecord) -> str:
    """A stored report with what farms bill, also after the verdict."""
    if all(cell.cost_micro_usd is None for cell in run.cells.values()):
        return report_json
    report = json.loads(report_json)
    return json.dumps(report, allow_nan=False) if with_later_facts(report, run) else report_json


def _no_run(run_id: str) -> NotFound:
    return NotFound(f"there is no run {run_id[:80]!r}", hint="`windtunnel runs` lists them")


def _lineage_message(item: LineageArtifact) -> pb.LineageArtifact:
    return pb.LineageArtifact(
        artifact=artifact(item.artifact), kind=item.kind, artifact_kind=ARTIFACT_KIND.number(item.kind)
    )


def _run_filter(request: pb.ListRunsRequest) -> RunFilter:
    verdict = ""
    if request.verdict != types_pb2.VERDICT_UNSPECIFIED:
        if request.verdict not in VERDICT_OF:
            raise InvalidInput(f"verdict is {request.verdict}", hint="one of windtunnel.v1.Verdict")
        verdict = VERDICT_OF[request.verdict].value
    return RunFilter(
        model_name=request.model_name,
        model_version=request.model_version,
        state=RUN_STATE.required(request.run_state, request.state, "state"),
        verdict=verdict,
        labels=dict(sorted(request.labels.items())),
        started_after=_instant(request.started_after) if request.HasField("started_after") else None,
        started_before=_instant(request.started_before) if request.HasField("started_before") else None,
    )


def _instant(message: Timestamp) -> datetime:
    try:
        return message.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"a time is out of range: {error}") from error
