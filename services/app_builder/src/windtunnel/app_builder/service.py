"""The app builder's gRPC servicer and event handler: decode, call the use case, encode."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

from windtunnel.app_builder.adapters.keys.keyfile import kept_key
from windtunnel.app_builder.adapters.keys.signing_key import SigningKey
from windtunnel.app_builder.build import build
from windtunnel.app_builder.domain.app_package import (
    BaseApp,
    BenchmarkConfig,
    BuildRequest,
    BuiltApp,
    Platform,
)
from windtunnel.app_builder.domain.platforms import platforms_of
from windtunnel.app_builder.settings import AppBuilderSettings
from windtunnel.artifacts import ArtifactRef, SourceReader
from windtunnel.bus import Event, each, job_key
from windtunnel.enum_words import PLATFORM
from windtunnel.errors import InvalidInput, Unsupported, WindtunnelError
from windtunnel.service.protobuf_values import artifact_from_proto, artifact_to_proto, failure_to_proto
from windtunnel.service.run_inputs import ingest, plan_of
from windtunnel.service.runtime import Runtime
from windtunnel.v1 import app_builder_pb2, app_builder_pb2_grpc, events_pb2, types_pb2

log = logging.getLogger(__name__)

MEDIA_TYPES: Final = {Platform.HOST: "application/zip", Platform.ANDROID: "application/vnd.android.package-archive"}


@dataclass(frozen=True, slots=True)
class _Job:
    """One app to build. `base_sha256` and `key` are None where the platform needs none."""

    platform: Platform
    model: ArtifactRef
    config: BenchmarkConfig
    base_sha256: str | None
    key: SigningKey | None

    def id(self, versions: Mapping[str, str]) -> str:
        inputs = {
            "platform": self.platform.value,
            "model": self.model.sha256,
            "variant": self.config.variant,
            "base_app": self.base_sha256,
            "signing_cert": self.key.certificate_sha256 if self.key else None,
        }
        return job_key("build", inputs, versions)


class AppBuilderService(app_builder_pb2_grpc.AppBuilderServiceServicer):
    """Builds apps on request and on `variant.ready`.

    Args:
        runtime: what the service has to work with.
        key: the configured one; None: there is none.
        base_apps: reads the URI that the operator configured.
        versions: of the tools, by name.
    """

    def __init__(
        self,
        runtime: Runtime[AppBuilderSettings],
        *,
        key: SigningKey | None,
        base_apps: SourceReader,
        versions: Mapping[str, str],
    ) -> None:
        self._runtime = runtime
        self._key = key
        self._base_apps = base_apps
        self._versions = versions

    async def Build(  # noqa: N802 - named by the contract
        self, request: app_builder_pb2.BuildRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> app_builder_pb2.BuildResponse:
        """Implements `AppBuilderService.Build` of the contract."""
        platform = _platform(request)
        if not request.model_uri:
            raise InvalidInput("model_uri is empty", hint="give the URI of the variant's .tflite")
        runtime = self._runtime
        with tempfile.TemporaryDirectory(prefix="windtunnel-build-") as folder:
            model, _ = await ingest(runtime.artifacts, runtime.sources, request.model_uri, Path(folder, "model"))
        return await self._build(await self._job(platform, model, request.variant))

    async def on_variant_ready(self, event: Event) -> None:
        """Handles `variant.ready`: publishes `app.built`, or `app.failed`, for each platform that the plan needs.

        Args:
            event: as received.
        """
        message = event.message()
        assert isinstance(message, events_pb2.VariantReady)
        plan = await plan_of(message.run, self._runtime.artifacts)
        await each(platforms_of(plan.devices), lambda platform: self._on_platform(message, platform))

    async def on_failure(self, event: Event, error: WindtunnelError) -> None:
        """Publishes for each platform that its app is built, or could not be built.

        Args:
            event: that was given up.
            error: why.
        """
        message = event.message()
        assert isinstance(message, events_pb2.VariantReady)
        platforms = await self._platforms(message.run)
        await each(platforms, lambda platform: self._announce_given_up(message, platform, error))

    async def _announce_given_up(
        self, message: events_pb2.VariantReady, platform: Platform, error: WindtunnelError
    ) -> None:
        # What was built may never have been announced: the process can die in between, or the bus be away.
        built = await self._stored(message, platform)
        if built is None:
            await self._publish_failed(message, platform, error)
        else:
            await self._publish_built(message, platform, built)

    async def _on_platform(self, message: events_pb2.VariantReady, platform: Platform) -> None:
        """Builds for one platform; its error fails it, and no other.

        Raises:
            WindtunnelError: another try may help.
        """
        try:
            job = await self._job(platform, artifact_from_proto(message.variant.model), message.variant.name)
            result = await self._build(job)
        except WindtunnelError as error:
            if error.retryable:
                raise
            log.warning("%s app of %s, run %s: %s", platform, message.variant.name, message.run.run_id, error)
            await self._publish_failed(message, platform, error)
            return
        await self._publish_built(message, platform, result)

    async def _publish_built(
        self, message: events_pb2.VariantReady, platform: Platform, result: app_builder_pb2.BuildResponse
    ) -> None:
        built = events_pb2.AppBuilt(
            run=message.run,
            variant=message.variant.name,
            platform=platform.value,
            package=result.package,
            model_sha256=result.model_sha256,
            input_shapes=message.input_shapes,
            device_platform=PLATFORM.number(platform.value),
        )
        parts = (message.variant.name, platform.value)
        await self._runtime.publisher.publish(built, run_id=message.run.run_id, parts=parts)

    async def _publish_failed(
        self, message: events_pb2.VariantReady, platform: Platform, error: WindtunnelError
    ) -> None:
        failed = events_pb2.AppFailed(
            run=message.run,
            variant=message.variant.name,
            platform=platform.value,
            failure=failure_to_proto(error, self._runtime.name),
            device_platform=PLATFORM.number(platform.value),
        )
        parts = (message.variant.name, platform.value)
        await self._runtime.publisher.publish(failed, run_id=message.run.run_id, parts=parts)

    async def _platforms(self, run: types_pb2.RunContext) -> tuple[Platform, ...]:
        """The platforms that may wait for an app; all, if the plan cannot be read.

        Raises:
            WindtunnelError: another try may help.
        """
        try:
            return platforms_of((await plan_of(run, self._runtime.artifacts)).devices)
        except WindtunnelError as error:
            if error.retryable:
                raise
            return tuple(Platform)

    async def _stored(
        self, message: events_pb2.VariantReady, platform: Platform
    ) -> app_builder_pb2.BuildResponse | None:
        try:
            job = await self._job(platform, artifact_from_proto(message.variant.model), message.variant.name)
        except (WindtunnelError, OSError):
            # No key can be had, so nothing was built with it.
            return None
        return await self._runtime.jobs.stored(job.id(self._versions), app_builder_pb2.BuildResponse)

    async def _job(self, platform: Platform, model: ArtifactRef, variant: str) -> _Job:
        # Without a run in it, the same variant gives the same package in every run.
        config = BenchmarkConfig(run_id=None, variant=variant)
        if platform is not Platform.ANDROID:
            return _Job(platform, model, config, None, None)
        settings = self._runtime.settings
        if not settings.android_base_app:
            raise Unsupported(
                "no base app for android is configured",
                hint="set WINDTUNNEL_ANDROID_BASE_APP to the URI of a benchmark app's APK and "
                "WINDTUNNEL_ANDROID_BASE_APP_SHA256 to its SHA-256",
                code="no_base_app",
            )
        key = self._key or await asyncio.to_thread(kept_key, settings.kept_signing_key)
        return _Job(platform, model, config, settings.android_base_app_sha256, key)

    async def _build(self, job: _Job) -> app_builder_pb2.BuildResponse:
        artifacts = self._runtime.artifacts

        async def compute() -> app_builder_pb2.BuildResponse:
            base = await self._base_app(job.base_sha256) if job.base_sha256 else None
            with tempfile.TemporaryDirectory(prefix="windtunnel-build-") as folder:
                model = await artifacts.path(job.model.sha256)
                request = BuildRequest(job.platform, model, job.config, Path(folder, "app"), base)
                built = await self._built(request, job)
                stored = await artifacts.put_file(built.path)
            package = artifact_to_proto(stored, MEDIA_TYPES[job.platform])
            return app_builder_pb2.BuildResponse(package=package, model_sha256=built.model_sha256)

        return await self._runtime.jobs.once(job.id(self._versions), app_builder_pb2.BuildResponse, compute)

    async def _built(self, request: BuildRequest, job: _Job) -> BuiltApp:
        try:
            return await asyncio.to_thread(build, request, job.key)
        except InvalidInput as error:
            if job.base_sha256:
                # The file is known here by its hash; the operator knows it by where it came from.
                raise InvalidInput(
                    f"{error.message}; the base app is {self._runtime.settings.android_base_app}", hint=error.hint
                ) from error
            raise

    async def _base_app(self, sha256: str) -> BaseApp:
        """The configured base app; fetched once, then an artifact like any other."""
        artifacts = self._runtime.artifacts
        if await artifacts.stat(sha256) is None:
            uri = self._runtime.settings.android_base_app
            with tempfile.TemporaryDirectory(prefix="windtunnel-base-app-") as folder:
                await ingest(artifacts, self._base_apps, uri, Path(folder, "base"), sha256=sha256)
        return BaseApp(await artifacts.path(sha256), sha256)


def _platform(request: app_builder_pb2.BuildRequest) -> Platform:
    name = PLATFORM.required(request.device_platform, request.platform, "platform")
    if not name:
        raise InvalidInput("platform is ''", hint=f"one of {', '.join(PLATFORM.words)}")
    return Platform(name)
