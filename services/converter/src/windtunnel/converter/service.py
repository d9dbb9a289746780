"""The converter's gRPC servicer and event handler: decode, call the use case, encode."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from windtunnel.artifacts import ArtifactRef
from windtunnel.bus import Bucket, Event, job_key
from windtunnel.converter.convert import convert
from windtunnel.converter.domain.conversion import Check, Converted, Format
from windtunnel.converter.settings import ConverterSettings
from windtunnel.converter.use_cases.convert_model import tree_sha256
from windtunnel.converter.use_cases.resolve_plan import PlanResolver, named_after_model, quantized_finding
from windtunnel.errors import WindtunnelError
from windtunnel.isolation import Pool
from windtunnel.output_files import safe_file_name
from windtunnel.pipeline import Shapes
from windtunnel.plan import AS_IT_IS, plan_to_json
from windtunnel.plan.plan_messages import shapes_from_proto, shapes_to_proto, task_from_proto
from windtunnel.service.announcement import (
    Announcement,
    ClaimedRun,
    RunIdTaken,
    TrainedModel,
    claim_run,
    read_announcement,
    read_model,
)
from windtunnel.service.protobuf_values import (
    artifact_to_proto,
    facts_to_proto,
    failure_to_proto,
    findings_to_proto,
    scores_to_proto,
)
from windtunnel.service.run_inputs import (
    artifact_of,
    ingest,
    pipeline_in,
    pipeline_of,
    temporary_folder,
    with_local_files,
)
from windtunnel.service.runtime import Runtime
from windtunnel.task_names import TaskSpec
from windtunnel.telemetry import current_trace_id
from windtunnel.v1 import converter_pb2, converter_pb2_grpc, events_pb2, types_pb2

MEDIA_TYPE = "application/vnd.tflite"


@dataclass(frozen=True, slots=True)
class _How:
    """What a plan or request says of the conversion. `samples` None: seeded random inputs."""

    samples: ArtifactRef | None
    pipeline: Mapping[str, Any] | None
    shapes: Shapes
    select_tf_ops: bool
    task: TaskSpec | None = None


@dataclass(frozen=True, slots=True)
class _Job:
    """One conversion. `path` is the model `trained` on disk."""

    model: TrainedModel
    trained: ArtifactRef
    path: Path
    how: _How
    allow_code: bool

    async def key(self, versions: Mapping[str, str]) -> str:
        how = self.how
        inputs = {
            "model": await asyncio.to_thread(tree_sha256, self.path),
            "format": self.model.format,
            "inputs": self.model.inputs,
            "outputs": self.model.outputs,
            "samples": how.samples.sha256 if how.samples else None,
            "pipeline": how.pipeline,
            "input_shapes": {name: list(shape) for name, shape in how.shapes.items()},
            "select_tf_ops": how.select_tf_ops,
            "task": None if how.task is None else how.task.to_json(),
            "allow_code": self.allow_code,
        }
        return job_key("convert", inputs, versions)


class ConverterService(converter_pb2_grpc.ConverterServiceServicer):
    """Converts on request and on `model.trained`.

    Args:
        runtime: what the service has to work with.
        pool: where native code runs.
        runs: the bucket of claims.
        plans: the bucket of stored plans.
        versions: of the tools, by name.
    """

    def __init__(
        self,
        runtime: Runtime[ConverterSettings],
        pool: Pool,
        *,
        runs: Bucket,
        plans: Bucket,
        versions: Mapping[str, str],
    ) -> None:
        self._runtime = runtime
        self._pool = pool
        self._runs = runs
        self._versions = versions
        self._resolver = PlanResolver(runtime.artifacts, runtime.sources, plans)

    async def Convert(  # noqa: N802 - named by the contract
        self, request: converter_pb2.ConvertRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> converter_pb2.ConvertResponse:
        """Implements `ConverterService.Convert` of the contract."""
        model = read_model(request.model)
        pipeline = pipeline_of(request.preprocessing_json)
        async with temporary_folder("windtunnel-convert-") as folder:
            samples = None
            if request.samples_uri:
                runtime = self._runtime
                samples, _ = await ingest(runtime.artifacts, runtime.sources, request.samples_uri, folder / "samples")
            shapes, task = shapes_from_proto(request.input_shapes), task_from_proto(request.task)
            how = _How(samples, pipeline, shapes, request.select_tf_ops, task)
            return await self._convert(await self._job(model, how, folder), folder)

    async def on_model_trained(self, event: Event) -> None:
        """Handles `model.trained`: publishes `model.converted`.

        Args:
            event: as received.
        """
        claimed = await claim_run(self._runs, event)
        await self._runtime.publisher.echo(event)
        announcement = read_announcement(event)
        async with temporary_folder("windtunnel-convert-") as folder:
            plan = await self._resolver.resolve(announcement, folder / "plan")
            samples = artifact_of(plan.data.samples)
            how = _How(samples, pipeline_in(plan), plan.input_shapes, plan.select_tf_ops, plan.data.task)
            job = await self._job(announcement.model, how, folder)
            result = await self._convert(job, folder)
        asked, precision = plan, result.facts.precision or AS_IT_IS
        plan = named_after_model(asked, precision)
        noticed = quantized_finding(asked, plan, precision)
        if noticed is not None:
            result.check.findings.extend(findings_to_proto([noticed]))
        plan_ref = await self._runtime.artifacts.put_bytes(plan_to_json(plan))
        run = _run_context(claimed, announcement, plan_ref, result.trained.sha256)
        message = events_pb2.ModelConverted(
            run=run,
            model=result.model,
            facts=result.facts,
            check=result.check,
            tool_versions=result.tool_versions,
            duration_ms=result.duration_ms,
            trained=result.trained,
            input_shapes=result.input_shapes,
        )
        await self._runtime.publisher.publish(message, run_id=claimed.run_id)

    async def on_failure(self, event: Event, error: WindtunnelError) -> None:
        """Publishes that the model could not be converted, as far as the event can be read.

        Args:
            event: that was given up.
            error: why.
        """
        if isinstance(error, RunIdTaken):
            # A failure under this id would end the run of the event that has it.
            return
        claimed = await claim_run(self._runs, event)
        announcement: Announcement | None = None
        model: TrainedModel | None = None
        with contextlib.suppress(WindtunnelError):
            model = _model_of(event)
            announcement = read_announcement(event)
        run = _bare_context(claimed)
        if announcement is not None:
            run = _run_context(claimed, announcement, None, "")
        elif model is not None:
            run.model_name, run.model_version = model.name, model.version
        message = events_pb2.ModelFailed(run=run, failure=failure_to_proto(error, self._runtime.name))
        await self._runtime.publisher.publish(message, run_id=claimed.run_id)

    async def _job(self, model: TrainedModel, how: _How, workdir: Path) -> _Job:
        """Fetches the model below `workdir`."""
        runtime = self._runtime
        trained, path = await ingest(
            runtime.artifacts, runtime.sources, model.uri, workdir / "trained", sha256=model.sha256
        )
        if model.uri.startswith("sha256:"):
            # Messages name the file: by what its author called it, not by its hash.
            path = path.rename(path.with_name(safe_file_name(model.name)))
        return _Job(model, trained, path, how, runtime.settings.allow_model_code)

    async def _convert(self, job: _Job, workdir: Path) -> converter_pb2.ConvertResponse:
        artifacts = self._runtime.artifacts

        async def compute() -> converter_pb2.ConvertResponse:
            how, samples = job.how, None
            if how.samples is not None:
                # Under the name that the plan has for them, which messages show; the store's is a hash.
                samples = workdir / "data.samples"
                samples.symlink_to(await artifacts.path(how.samples.sha256))
            converted = await convert(
                job.path,
                workdir,
                self._pool,
                declared=Format(job.model.format) if job.model.format else None,
                inputs=job.model.inputs,
                outputs=job.model.outputs,
                samples=samples,
                pipeline=await with_local_files(how.pipeline, artifacts),
                shapes=how.shapes,
                allow_code=job.allow_code,
                select_tf_ops=how.select_tf_ops,
                task=how.task,
            )
            return _response(converted, await artifacts.put_file(converted.model), job.trained)

        key = await job.key(self._versions)
        return await self._runtime.jobs.once(key, converter_pb2.ConvertResponse, compute)


def _model_of(event: Event) -> TrainedModel | None:
    """The model alone, where the rest of the announcement cannot be read. Raises Malformed for no announcement."""
    if not event.is_json:
        message = event.message()
        assert isinstance(message, events_pb2.ModelTrained)
        return TrainedModel(message.model.name, message.model.version, message.model.uri)
    body = event.json()
    model = body.get("model") if isinstance(body, dict) else None
    if not isinstance(model, dict):
        return None
    name, version, uri = (str(model.get(field, "")) for field in ("name", "version", "uri"))
    return TrainedModel(name, version, uri)


def _bare_context(claimed: ClaimedRun) -> types_pb2.RunContext:
    run = types_pb2.RunContext(run_id=claimed.run_id, trace_id=current_trace_id())
    run.started_at.FromDatetime(claimed.started_at)
    return run


def _run_context(
    claimed: ClaimedRun, announcement: Announcement, plan: ArtifactRef | None, model_sha256: str
) -> types_pb2.RunContext:
    run = _bare_context(claimed)
    run.MergeFrom(
        types_pb2.RunContext(
            model_name=announcement.model.name,
            model_version=announcement.model.version,
            model_sha256=model_sha256,
            plan=artifact_to_proto(plan, "application/json") if plan else None,
            labels=announcement.labels,
        )
    )
    return run


def _response(converted: Converted, stored: ArtifactRef, trained: ArtifactRef) -> converter_pb2.ConvertResponse:
    return converter_pb2.ConvertResponse(
        model=artifact_to_proto(stored, MEDIA_TYPE),
        facts=facts_to_proto(converted.facts),
        check=_check(converted.check),
        tool_versions=converted.tool_versions,
        trained=artifact_to_proto(trained),
        duration_ms=converted.seconds * 1000,
        input_shapes=shapes_to_proto(converted.check.input_shapes),
    )


def _check(check: Check) -> types_pb2.ConversionCheck:
    return types_pb2.ConversionCheck(
        original=None
        if check.original is None and check.elements[0] is None and check.tasks[0] is None
        else scores_to_proto(check.original, check.samples, check.elements[0], check.spreads[0], check.tasks[0]),
        converted=scores_to_proto(check.converted, check.samples, check.elements[1], check.spreads[1], check.tasks[1]),
        agreement=check.agreement,
        output_nrmse=check.output_nrmse,
        synthetic_samples=check.synthetic,
        passed=check.passed,
        message=check.message,
        findings=findings_to_proto(check.findings),
    )
