"""The converter's gRPC servicer and event handler: decode, call the use case, encode."""

from __future__ import annotations

import asyncio
import contextlib
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc

from windtunnel.announcement import (
    Announcement,
    RunIdTaken,
    TrainedModel,
    claim_run,
    read_announcement,
    read_model,
)
from windtunnel.artifacts import ArtifactRef
from windtunnel.bus import Bucket, Event, job_key
from windtunnel.converter.convert import convert, tree_sha256
from windtunnel.converter.domain import Check, Converted, Format
from windtunnel.converter.resolve_plan import PlanResolver
from windtunnel.converter.settings import ConverterSettings
from windtunnel.errors import WindtunnelError
from windtunnel.isolation import Pool
from windtunnel.plan import plan_to_json
from windtunnel.runs import artifact_of, ingest, pipeline_of
from windtunnel.runtime import Runtime
from windtunnel.v1 import converter_pb2, converter_pb2_grpc, events_pb2, types_pb2
from windtunnel.wire import artifact_to_proto, facts_to_proto, failure_to_proto, scores_to_proto

MEDIA_TYPE = "application/vnd.tflite"


class ConverterService(converter_pb2_grpc.ConverterServiceServicer):
    """Converts on request and on `model.trained`."""

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
        model = read_model(request.model)
        pipeline = pipeline_of(request.preprocessing_json)
        with tempfile.TemporaryDirectory(prefix="windtunnel-convert-") as folder:
            samples = None
            if request.samples_uri:
                runtime = self._runtime
                samples, _ = await ingest(
                    runtime.artifacts, runtime.sources, request.samples_uri, Path(folder, "samples")
                )
            return await self._convert(model, samples, pipeline, Path(folder))

    async def on_model_trained(self, event: Event) -> None:
        """Handles `model.trained`: publishes `model.converted`."""
        run_id = await claim_run(self._runs, event)
        announcement = read_announcement(event)
        with tempfile.TemporaryDirectory(prefix="windtunnel-convert-") as folder:
            plan = await self._resolver.resolve(announcement, Path(folder, "plan"))
            plan_ref = await self._runtime.artifacts.put_bytes(plan_to_json(plan))
            result = await self._convert(
                announcement.model, artifact_of(plan.data.samples), plan.preprocessing, Path(folder)
            )
        run = _run_context(run_id, announcement, plan_ref, result.trained.sha256)
        message = events_pb2.ModelConverted(
            run=run,
            model=result.model,
            facts=result.facts,
            check=result.check,
            tool_versions=result.tool_versions,
            duration_ms=result.duration_ms,
            trained=result.trained,
        )
        await self._runtime.publisher.publish(message, run_id=run_id)

    async def on_failure(self, event: Event, error: WindtunnelError) -> None:
        """Says that the model of `event` could not be converted, as far as the event can be read."""
        if isinstance(error, RunIdTaken):
            # A failure under this id would end the run of the event that has it.
            return
        run_id = await claim_run(self._runs, event)
        announcement: Announcement | None = None
        model: TrainedModel | None = None
        with contextlib.suppress(WindtunnelError):
            model = _model_of(event)
            announcement = read_announcement(event)
        run = types_pb2.RunContext(run_id=run_id)
        if announcement is not None:
            run = _run_context(run_id, announcement, None, "")
        elif model is not None:
            run.model_name, run.model_version = model.name, model.version
        message = events_pb2.ModelFailed(run=run, failure=failure_to_proto(error, self._runtime.name))
        await self._runtime.publisher.publish(message, run_id=run_id)

    async def _convert(
        self,
        model: TrainedModel,
        samples: ArtifactRef | None,
        pipeline: Mapping[str, Any] | str | None,
        workdir: Path,
    ) -> converter_pb2.ConvertResponse:
        assert not isinstance(pipeline, str), "the plan has been resolved"
        runtime = self._runtime
        trained, path = await ingest(
            runtime.artifacts, runtime.sources, model.uri, workdir / "trained", sha256=model.sha256
        )
        if model.uri.startswith("sha256:"):
            # Messages name the file: by what its author called it, not by its hash.
            path = path.rename(path.with_name(re.sub(r"[^\w.-]", "_", model.name)[:100]))
        inputs = {
            "model": await asyncio.to_thread(tree_sha256, path),
            "format": model.format,
            "inputs": model.inputs,
            "outputs": model.outputs,
            "samples": samples.sha256 if samples else None,
            "pipeline": pipeline,
            "allow_code": runtime.settings.allow_model_code,
        }

        async def compute() -> converter_pb2.ConvertResponse:
            converted = await convert(
                path,
                workdir,
                self._pool,
                declared=Format(model.format) if model.format else None,
                inputs=model.inputs,
                outputs=model.outputs,
                samples=await runtime.artifacts.path(samples.sha256) if samples else None,
                pipeline=pipeline,
                allow_code=runtime.settings.allow_model_code,
            )
            stored = await runtime.artifacts.put_file(converted.model)
            return _response(converted, stored, trained)

        key = job_key("convert", inputs, self._versions)
        return await runtime.jobs.once(key, converter_pb2.ConvertResponse, compute)


def _model_of(event: Event) -> TrainedModel | None:
    """The model alone, where the rest of the announcement cannot be read."""
    if not event.is_json:
        return None
    body = event.json()
    model = body.get("model") if isinstance(body, dict) else None
    if not isinstance(model, dict):
        return None
    name, version, uri = (str(model.get(field, "")) for field in ("name", "version", "uri"))
    return TrainedModel(name, version, uri)


def _run_context(
    run_id: str, announcement: Announcement, plan: ArtifactRef | None, model_sha256: str
) -> types_pb2.RunContext:
    run = types_pb2.RunContext(
        run_id=run_id,
        model_name=announcement.model.name,
        model_version=announcement.model.version,
        model_sha256=model_sha256,
        plan=artifact_to_proto(plan, "application/json") if plan else None,
        labels=announcement.labels,
    )
    run.started_at.GetCurrentTime()
    return run


def _response(converted: Converted, stored: ArtifactRef, trained: ArtifactRef) -> converter_pb2.ConvertResponse:
    return converter_pb2.ConvertResponse(
        model=artifact_to_proto(stored, MEDIA_TYPE),
        facts=facts_to_proto(converted.facts),
        check=_check(converted.check),
        tool_versions=converted.tool_versions,
        trained=artifact_to_proto(trained),
        duration_ms=converted.seconds * 1000,
    )


def _check(check: Check) -> types_pb2.ConversionCheck:
    return types_pb2.ConversionCheck(
        original=scores_to_proto(check.original, check.samples) if check.original else None,
        converted=scores_to_proto(check.converted, check.samples),
        agreement=check.agreement,
        output_nrmse=check.output_nrmse,
        synthetic_samples=check.synthetic,
        passed=check.passed,
        message=check.message,
    )
