"""The layer diff's gRPC servicer and event handler: decode, call the use case, encode."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

from windtunnel.artifacts import ArtifactRef
from windtunnel.bus import Event, Malformed, job_key
from windtunnel.datacheck.classifier_scores import Scores
from windtunnel.diagnosis.app_diagnosis.app_result import AppDiagnoses
from windtunnel.diagnosis.comparison.survive_crashes import compare_safely
from windtunnel.diagnosis.findings.comparison import Comparison
from windtunnel.diagnosis.findings.output_diff import Accuracy
from windtunnel.diagnosis.kernels.planned_processors import planned_kernels, with_kernels
from windtunnel.enum_words import APP_VERDICT
from windtunnel.errors import InvalidInput, WindtunnelError
from windtunnel.isolation import Pool
from windtunnel.layer_diff.diagnose_recordings import diagnose_in_child, gaps_of, log_names, worst_of
from windtunnel.layer_diff.settings import LayerDiffSettings
from windtunnel.plan import Plan
from windtunnel.plan.plan_messages import task_from_proto
from windtunnel.service.protobuf_values import (
    artifact_from_proto,
    artifact_to_proto,
    cut_text,
    failure_to_proto,
    findings_to_proto,
    scores_to_proto,
)
from windtunnel.service.run_inputs import (
    artifact_of,
    ingest,
    pipeline_in,
    pipeline_of,
    plan_of,
    temporary_folder,
    with_local_files,
)
from windtunnel.service.runtime import Runtime
from windtunnel.task_names import TaskSpec
from windtunnel.tasks.task_sums import TaskFigures
from windtunnel.thresholds import DEFAULT_THRESHOLD
from windtunnel.v1 import events_pb2, layer_diff_pb2, layer_diff_pb2_grpc, types_pb2

MEDIA_TYPE: Final = "application/json"
# What an event holds at most; the artifact has everything.
_MOST_CAUSES: Final = 20
_MOST_GAPS: Final = 20


@dataclass(frozen=True, slots=True)
class _Job:
    """One comparison. `samples` None: seeded random inputs. `kernels`: those that the candidate is also run on."""

    reference: ArtifactRef
    candidate: ArtifactRef
    samples: ArtifactRef | None
    pipeline: Mapping[str, Any] | None
    threshold: float
    kernels: tuple[str, ...] = ()
    task: TaskSpec | None = None

    def key(self, versions: Mapping[str, str]) -> str:
        inputs = {
            "reference": self.reference.sha256,
            "candidate": self.candidate.sha256,
            "samples": self.samples.sha256 if self.samples else None,
            "pipeline": self.pipeline if self.samples else None,
            "threshold": self.threshold,
            "kernels": list(self.kernels),
            "task": None if self.task is None else self.task.to_json(),
        }
        return job_key("compare", inputs, versions)


class LayerDiffService(layer_diff_pb2_grpc.LayerDiffServiceServicer):
    """Compares on request and on `variant.ready`.

    Args:
        runtime: what the service has to work with.
        pool: where native code runs.
        versions: of the tools, by name.
    """

    def __init__(self, runtime: Runtime[LayerDiffSettings], pool: Pool, *, versions: Mapping[str, str]) -> None:
        self._runtime = runtime
        self._pool = pool
        self._versions = versions

    async def Compare(  # noqa: N802 - named by the contract
        self, request: layer_diff_pb2.CompareRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> layer_diff_pb2.CompareResponse:
        """Implements `LayerDiffService.Compare` of the contract."""
        pipeline = pipeline_of(request.preprocessing_json)
        for name in ("reference_uri", "candidate_uri"):
            if not getattr(request, name):
                raise InvalidInput(f"{name} is empty", hint="give the URI of a .tflite file")
        async with temporary_folder("windtunnel-compare-") as folder:
            reference = await self._ingest(request.reference_uri, folder / "reference")
            candidate = await self._ingest(request.candidate_uri, folder / "candidate")
            samples = await self._ingest(request.samples_uri, folder / "samples") if request.samples_uri else None
        threshold = request.nrmse_threshold or DEFAULT_THRESHOLD
        task = task_from_proto(request.task)
        return await self._compare(_Job(reference, candidate, samples, pipeline, threshold, task=task))

    async def on_variant_ready(self, event: Event) -> None:
        """Handles `variant.ready`: publishes `variant.compared`.

        Args:
            event: as received.
        """
        message = event.message()
        assert isinstance(message, events_pb2.VariantReady)
        plan = await plan_of(message.run, self._runtime.artifacts)
        result = await self._compare(_planned_job(message, plan))
        compared = events_pb2.VariantCompared(
            run=message.run,
            variant=message.variant.name,
            model=message.variant.model,
            reference=result.reference,
            candidate=result.candidate,
            agreement=result.agreement if result.HasField("agreement") else None,
            layers=result.layers,
            diagnosis=result.diagnosis,
            synthetic_samples=result.synthetic_samples,
            findings=result.findings,
        )
        parts = (message.variant.name,)
        await self._runtime.publisher.publish(compared, run_id=message.run.run_id, parts=parts)

    async def on_failure(self, event: Event, error: WindtunnelError) -> None:
        """Publishes that the variant could not be compared.

        Args:
            event: that was given up.
            error: why.
        """
        if isinstance(error, Malformed):
            # Which variant it is about cannot be known; the message is a dead letter.
            return
        message = event.message()
        assert isinstance(message, events_pb2.VariantReady)
        failed = events_pb2.VariantFailed(
            run=message.run,
            variant=message.variant.name,
            step=events_pb2.VariantFailed.STEP_COMPARE,
            failure=failure_to_proto(error, self._runtime.name),
        )
        parts = (message.variant.name, "compare")
        await self._runtime.publisher.publish(failed, run_id=message.run.run_id, parts=parts)

    async def on_device_run_finished(self, event: Event) -> None:
        """Handles `device_run.finished` with an edge log: publishes `device_run.diagnosed`.

        Repeats are not diagnosed: they record what the cell's own measurement records.

        Args:
            event: as received.
        """
        message = event.message()
        assert isinstance(message, events_pb2.DeviceRunFinished)
        if message.edge_logs and not message.repeat:
            await self._publish_diagnosed(message, await self._diagnose(message))

    async def on_diagnosis_failure(self, event: Event, error: WindtunnelError) -> None:
        """Publishes that an edge log could not be diagnosed.

        Args:
            event: that was given up.
            error: why.
        """
        if isinstance(error, Malformed):
            # Which cell it is about cannot be known; the message is a dead letter.
            return
        message = event.message()
        assert isinstance(message, events_pb2.DeviceRunFinished)
        if message.edge_logs and not message.repeat:
            failed = events_pb2.DeviceRunDiagnosed(failure=failure_to_proto(error, self._runtime.name))
            await self._publish_diagnosed(message, failed)

    async def _publish_diagnosed(
        self, message: events_pb2.DeviceRunFinished, diagnosed: events_pb2.DeviceRunDiagnosed
    ) -> None:
        diagnosed.run.CopyFrom(message.run)
        diagnosed.cell.CopyFrom(message.cell)
        diagnosed.attempt = message.attempt
        parts = (message.cell.id, str(message.attempt), *(("failed",) if diagnosed.HasField("failure") else ()))
        await self._runtime.publisher.publish(diagnosed, run_id=message.run.run_id, parts=parts)

    async def _diagnose(self, message: events_pb2.DeviceRunFinished) -> events_pb2.DeviceRunDiagnosed:
        """The diagnosis of an edge log, without run, cell and attempt: it is stored under what it depends on.

        Raises:
            InvalidInput: the event does not say which model was run.
        """
        if not message.model.sha256:
            raise InvalidInput("the event does not say which model was run", hint="update the farm dispatcher")
        plan = await plan_of(message.run, self._runtime.artifacts)
        pipeline = pipeline_in(plan)
        logs = [artifact.sha256 for artifact in message.edge_logs]

        async def compute() -> events_pb2.DeviceRunDiagnosed:
            names = log_names(logs, {path: artifact.sha256 for path, artifact in message.pulled.items()})
            async with temporary_folder("windtunnel-diagnose-") as folder:
                for sha256, name in zip(logs, names, strict=True):
                    await self._runtime.artifacts.fetch(sha256, folder / name)
                model = await self._runtime.artifacts.path(message.model.sha256)
                steps = await with_local_files(pipeline, self._runtime.artifacts)
                found = await diagnose_in_child(self._pool, model, folder, steps)
            diagnosis = await self._runtime.artifacts.put_bytes(_compact_json(found.to_json()))
            return _diagnosed(found, diagnosis)

        inputs = {"model": message.model.sha256, "logs": logs, "pipeline": pipeline}
        key = job_key("diagnose", inputs, self._versions)
        return await self._runtime.jobs.once(key, events_pb2.DeviceRunDiagnosed, compute)

    async def _compare(self, job: _Job) -> layer_diff_pb2.CompareResponse:
        artifacts = self._runtime.artifacts

        async def compute() -> layer_diff_pb2.CompareResponse:
            given = (
                await artifacts.path(job.reference.sha256),
                await artifacts.path(job.candidate.sha256),
                await artifacts.path(job.samples.sha256) if job.samples else None,
                await with_local_files(job.pipeline, artifacts),
            )
            threads = self._runtime.settings.compare_threads
            comparison = await compare_safely(
                self._pool, given, threshold=job.threshold, threads=threads, task=job.task
            )
            comparison = await with_kernels(comparison, job.kernels, self._pool, *given[1:])
            diagnosis = await artifacts.put_bytes(diagnosis_json(comparison))
            return _response(comparison, diagnosis, synthetic=job.samples is None)

        return await self._runtime.jobs.once(job.key(self._versions), layer_diff_pb2.CompareResponse, compute)

    async def _ingest(self, uri: str, workdir: Path) -> ArtifactRef:
        ref, _ = await ingest(self._runtime.artifacts, self._runtime.sources, uri, workdir)
        return ref


def diagnosis_json(comparison: Comparison) -> bytes:
    """The diagnosis as windtunnel.diagnosis/1.

    Args:
        comparison: of a variant.

    Returns:
        JSON.
    """
    return _compact_json(comparison.to_json())


def _compact_json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()


def _diagnosed(found: AppDiagnoses, diagnosis: ArtifactRef) -> events_pb2.DeviceRunDiagnosed:
    return events_pb2.DeviceRunDiagnosed(
        verdict=APP_VERDICT.number(found.verdict),
        causes=[
            events_pb2.AppCause(
                code=str(cause.code),
                layer=cause.layer or "",
                op_index=cause.op_index,
                confidence=cause.confidence,
                verified=cause.verified,
                words=[cut_text(text) for text in cause.words()],
            )
            for cause in worst_of(found).causes[:_MOST_CAUSES]
        ],
        diagnosis=artifact_to_proto(diagnosis, MEDIA_TYPE),
        frames=sum(one.frames for one in found.recordings),
        gaps=[cut_text(text) for text in gaps_of(found)[:_MOST_GAPS]],
    )


def _planned_job(message: events_pb2.VariantReady, plan: Plan) -> _Job:
    gate = plan.gates_of(message.variant.name).layer_nrmse
    return _Job(
        artifact_from_proto(message.float_model),
        artifact_from_proto(message.variant.model),
        artifact_of(plan.data.samples),
        pipeline_in(plan),
        # A gate of 0 allows no difference at all: that is the least threshold that there is.
        DEFAULT_THRESHOLD if gate is None else max(gate, math.ulp(0.0)),
        planned_kernels(plan),
        plan.data.task,
    )


def _response(comparison: Comparison, diagnosis: ArtifactRef, *, synthetic: bool) -> layer_diff_pb2.CompareResponse:
    first = comparison.first_over
    output, task = comparison.output, comparison.task
    first_figures, second_figures = (None, None) if task is None else (task.reference, task.candidate)
    return layer_diff_pb2.CompareResponse(
        reference=_figures(output.reference, comparison.samples, output.elements[0], first_figures),
        candidate=_figures(output.candidate, comparison.samples, output.elements[1], second_figures),
        agreement=output.agreement,
        layers=types_pb2.LayerSummary(
            compared=comparison.coverage.compared,
            total=comparison.coverage.total,
            max_nrmse=comparison.max_nrmse,
            first_over=first.name if first else "",
            non_finite=comparison.non_finite,
        ),
        diagnosis=artifact_to_proto(diagnosis, MEDIA_TYPE),
        synthetic_samples=synthetic,
        findings=findings_to_proto(comparison.findings),
    )


def _figures(
    accuracy: Accuracy | None, samples: int, elements: float | None, task: TaskFigures | None
) -> types_pb2.QualityFigures:
    scores = None if accuracy is None else Scores(**accuracy.to_json(), count=samples)
    return scores_to_proto(scores, samples, elements, task=task)
