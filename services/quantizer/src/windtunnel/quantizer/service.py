"""The quantizer's gRPC servicer and event handler: decode, call the use case, encode."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from windtunnel.artifacts import ArtifactRef
from windtunnel.bus import Event, each, job_key
from windtunnel.diagnosis.quantize.make_variant import is_float32, quantize
from windtunnel.diagnosis.quantize.variants import Calibration, Quantized, choose_calibration
from windtunnel.diagnosis.thresholds.remedy_thresholds import DRAWN_SAMPLES
from windtunnel.errors import InvalidInput, WindtunnelError
from windtunnel.isolation import Pool
from windtunnel.plan import AS_IT_IS, Plan, VariantSpec, parse_plan
from windtunnel.quantizer.settings import QuantizerSettings
from windtunnel.service.protobuf_values import artifact_from_proto, artifact_to_proto, facts_to_proto, failure_to_proto
from windtunnel.service.run_inputs import (
    artifact_of,
    ingest,
    json_of,
    pipeline_in,
    pipeline_of,
    plan_of,
    with_local_files,
)
from windtunnel.service.runtime import Runtime
from windtunnel.v1 import events_pb2, plan_pb2, quantizer_pb2, quantizer_pb2_grpc, types_pb2

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/vnd.tflite"


@dataclass(frozen=True, slots=True)
class _Job:
    """One variant to make. `drawn`: the calibration set is the front of the samples. An absent set is not needed."""

    model: ArtifactRef
    variant: VariantSpec
    calibration: ArtifactRef | None
    drawn: bool
    pipeline: Mapping[str, Any] | None

    def key(self, versions: Mapping[str, str]) -> str:
        inputs = {
            "model": self.model.sha256,
            "variant": self.variant.name,
            "recipe": self.variant.recipe,
            "calibration": self.calibration.sha256 if self.calibration else None,
            "drawn": DRAWN_SAMPLES if self.drawn else None,
            "pipeline": self.pipeline if self.calibration else None,
        }
        return job_key("quantize", inputs, versions)


class QuantizerService(quantizer_pb2_grpc.QuantizerServiceServicer):
    """Makes variants on request and on `model.converted`.

    Args:
        runtime: what the service has to work with.
        pool: where native code runs.
        versions: of the tools, by name.
    """

    def __init__(self, runtime: Runtime[QuantizerSettings], pool: Pool, *, versions: Mapping[str, str]) -> None:
        self._runtime = runtime
        self._pool = pool
        self._versions = versions

    async def Quantize(  # noqa: N802 - named by the contract
        self, request: quantizer_pb2.QuantizeRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> quantizer_pb2.QuantizeResponse:
        """Implements `QuantizerService.Quantize` of the contract."""
        variant = _variant(request.variant)
        pipeline = pipeline_of(request.preprocessing_json)
        if not request.model_uri:
            raise InvalidInput("model_uri is empty", hint="give the URI of the float32 .tflite")
        runtime = self._runtime
        with tempfile.TemporaryDirectory(prefix="windtunnel-quantize-") as folder:
            model, _ = await ingest(runtime.artifacts, runtime.sources, request.model_uri, Path(folder, "model"))
            calibration = None
            if request.calibration_uri:
                calibration, _ = await ingest(
                    runtime.artifacts, runtime.sources, request.calibration_uri, Path(folder, "calibration")
                )
        chosen, drawn = choose_calibration(variant, calibration, None)
        return await self._make(_Job(model, variant, chosen, drawn, pipeline))

    async def on_model_converted(self, event: Event) -> None:
        """Handles `model.converted`: publishes `variant.ready`, or `variant.failed`, for each variant of the plan.

        Args:
            event: as received.
        """
        message = event.message()
        assert isinstance(message, events_pb2.ModelConverted)
        plan = await plan_of(message.run, self._runtime.artifacts)
        await each(plan.variants, lambda variant: self._on_variant(message, plan, variant))

    async def on_failure(self, event: Event, error: WindtunnelError) -> None:
        """Publishes for each variant that it is made, or could not be made.

        Args:
            event: that was given up.
            error: why.

        Raises:
            WindtunnelError: the plan may be read by another try.
        """
        message = event.message()
        assert isinstance(message, events_pb2.ModelConverted)
        try:
            plan = await plan_of(message.run, self._runtime.artifacts)
        except WindtunnelError as unreadable:
            if unreadable.retryable:
                raise
            # Without its plan the run has no variants that could fail.
            failure = events_pb2.ModelFailed(run=message.run, failure=failure_to_proto(unreadable, self._runtime.name))
            await self._runtime.publisher.publish(failure, run_id=message.run.run_id, parts=(self._runtime.name,))
            return
        await each(plan.variants, lambda variant: self._announce_given_up(message, plan, variant, error))

    async def _announce_given_up(
        self, message: events_pb2.ModelConverted, plan: Plan, variant: VariantSpec, error: WindtunnelError
    ) -> None:
        # What was made may never have been announced: the process can die in between, or the bus be away.
        made = await self._made(message, plan, variant)
        if made is None:
            await self._publish_failed(message.run, variant, error)
        else:
            await self._publish_ready(message, made)

    async def _on_variant(self, message: events_pb2.ModelConverted, plan: Plan, variant: VariantSpec) -> None:
        """Makes one variant; its error fails it, and no other.

        Raises:
            WindtunnelError: another try may help.
        """
        try:
            result = await self._make_planned(message, plan, variant)
        except WindtunnelError as error:
            if error.retryable:
                raise
            log.warning("variant %s of run %s: %s", variant.name, message.run.run_id, error)
            await self._publish_failed(message.run, variant, error)
            return
        await self._publish_ready(message, result)

    async def _publish_ready(self, message: events_pb2.ModelConverted, result: quantizer_pb2.QuantizeResponse) -> None:
        ready = events_pb2.VariantReady(
            run=message.run,
            variant=result.variant,
            float_model=message.model,
            duration_ms=result.duration_ms,
            input_shapes=message.input_shapes,
        )
        await self._runtime.publisher.publish(ready, run_id=message.run.run_id, parts=(result.variant.name,))

    async def _publish_failed(self, run: types_pb2.RunContext, variant: VariantSpec, error: WindtunnelError) -> None:
        message = events_pb2.VariantFailed(
            run=run,
            variant=variant.name,
            step=events_pb2.VariantFailed.STEP_QUANTIZE,
            failure=failure_to_proto(error, self._runtime.name),
        )
        await self._runtime.publisher.publish(message, run_id=run.run_id, parts=(variant.name, "quantize"))

    async def _make_planned(
        self, message: events_pb2.ModelConverted, plan: Plan, variant: VariantSpec
    ) -> quantizer_pb2.QuantizeResponse:
        return _as_it_is(message, variant) or await self._make(_planned_job(message, plan, variant))

    async def _made(
        self, message: events_pb2.ModelConverted, plan: Plan, variant: VariantSpec
    ) -> quantizer_pb2.QuantizeResponse | None:
        if (ready := _as_it_is(message, variant)) is not None:
            return ready
        try:
            key = _planned_job(message, plan, variant).key(self._versions)
        except InvalidInput:
            return None
        return await self._runtime.jobs.stored(key, quantizer_pb2.QuantizeResponse)

    async def _make(self, job: _Job) -> quantizer_pb2.QuantizeResponse:
        artifacts = self._runtime.artifacts

        async def compute() -> quantizer_pb2.QuantizeResponse:
            with tempfile.TemporaryDirectory(prefix="windtunnel-quantize-") as folder:
                calibration = None
                if job.calibration is not None:
                    # Under the name that the plan has for it, which messages show; the store's is a hash.
                    path = Path(folder, "data.samples" if job.drawn else "data.calibration")
                    path.symlink_to(await artifacts.path(job.calibration.sha256))
                    calibration = Calibration(path, DRAWN_SAMPLES if job.drawn else None)
                made = await quantize(
                    await artifacts.path(job.model.sha256),
                    job.variant,
                    Path(folder),
                    self._pool,
                    calibration=calibration,
                    pipeline=await with_local_files(job.pipeline, artifacts),
                )
                for one in made.left_float:
                    log.warning("variant %s: rule %d leaves %s %r float", job.variant.name, one.rule, one.op, one.layer)
                return _response(job, made, await artifacts.put_file(made.model), self._versions)

        return await self._runtime.jobs.once(job.key(self._versions), quantizer_pb2.QuantizeResponse, compute)


def _as_it_is(message: events_pb2.ModelConverted, variant: VariantSpec) -> quantizer_pb2.QuantizeResponse | None:
    """The converted model, where the variant is that: named by its precision. None: it must be made."""
    if variant.recipe is not None or variant.name != (message.facts.precision or AS_IT_IS):
        return None
    return quantizer_pb2.QuantizeResponse(
        variant=types_pb2.Variant(name=variant.name, model=message.model, facts=message.facts)
    )


def _planned_job(message: events_pb2.ModelConverted, plan: Plan, variant: VariantSpec) -> _Job:
    calibration, drawn = choose_calibration(variant, artifact_of(plan.data.calibration), artifact_of(plan.data.samples))
    return _Job(artifact_from_proto(message.model), variant, calibration, drawn, pipeline_in(plan))


def _variant(message: plan_pb2.VariantSpec) -> VariantSpec:
    """The variant that a request asks for, checked as in a plan. Raises InvalidPlan."""
    value: Any = message.name
    if message.recipe_json:
        value = {"name": message.name, "recipe": json_of(message.recipe_json, "recipe_json")}
    return parse_plan({"apiVersion": "windtunnel/v1", "variants": [value]}).variants[0]


def _response(
    job: _Job, made: Quantized, stored: ArtifactRef, versions: Mapping[str, str]
) -> quantizer_pb2.QuantizeResponse:
    variant = types_pb2.Variant(
        name=job.variant.name,
        model=artifact_to_proto(stored, MEDIA_TYPE),
        facts=facts_to_proto(made.facts),
        tool_versions=dict(versions) if not is_float32(job.variant) else {},
        calibration_samples=made.calibration_samples,
        calibration_from_samples=job.drawn,
    )
    return quantizer_pb2.QuantizeResponse(variant=variant, duration_ms=made.seconds * 1000)
