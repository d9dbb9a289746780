"""The app builder's gRPC servicer and event handler: decode, call the use case, encode."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

from windtunnel.app_builder.adapters.base_app_store import BaseAppStore
from windtunnel.app_builder.adapters.ios.provisioning import IosSigner
from windtunnel.app_builder.adapters.keys.signing_key import SigningKey
from windtunnel.app_builder.build_jobs import AppBuilds, BuildJob
from windtunnel.app_builder.domain.app_package import Platform
from windtunnel.app_builder.settings import AppBuilderSettings
from windtunnel.artifacts import SourceReader
from windtunnel.bus import Event, each
from windtunnel.catalog import Catalog
from windtunnel.enum_words import APP_KIND, PLATFORM, RUN_AS
from windtunnel.errors import InvalidInput, WindtunnelError
from windtunnel.service.protobuf_values import artifact_from_proto, failure_to_proto
from windtunnel.service.run_inputs import ingest
from windtunnel.service.runtime import Runtime
from windtunnel.v1 import app_builder_pb2, app_builder_pb2_grpc, events_pb2, types_pb2

log = logging.getLogger(__name__)

_NO_CATALOG: Final = Catalog()
# Cells on this host run as executables.
_OF_PHONES: Final = {platform.value: platform for platform in (Platform.ANDROID, Platform.IOS)}


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of one job: the package, or why there is none."""

    job: BuildJob
    built: app_builder_pb2.BuildResponse | None
    error: WindtunnelError | None = None


class AppBuilderService(app_builder_pb2_grpc.AppBuilderServiceServicer):
    """Builds apps on request and on `cells.planned`.

    Args:
        runtime: what the service has to work with.
        key: the configured one; None: there is none.
        base_apps: reads the URIs that the operator configured.
        versions: of the tools, by name.
        catalog: names more base apps.
        ios: signs IPAs; None: they are not signed.
    """

    def __init__(
        self,
        runtime: Runtime[AppBuilderSettings],
        *,
        key: SigningKey | None,
        base_apps: SourceReader,
        versions: Mapping[str, str],
        catalog: Catalog = _NO_CATALOG,
        ios: IosSigner | None = None,
    ) -> None:
        self._runtime = runtime
        store = BaseAppStore(
            runtime.settings.base_apps, catalog, runtime.artifacts, own=base_apps, sources=runtime.sources
        )
        self._builds = AppBuilds(runtime, store, key, ios, versions)

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
        job, *_ = await self._builds.jobs(platform, model, request.variant, APP_KIND.read(request.app_kind, ""))
        return await self._builds.build(job)

    async def on_cells_planned(self, event: Event) -> None:
        """Handles `cells.planned`: publishes `app.built`, or `app.failed`, for each platform that a cell needs.

        Args:
            event: as received.
        """
        message = event.message()
        assert isinstance(message, events_pb2.CellsPlanned)
        await each(_platforms_of(message.cells), lambda platform: self._on_platform(message, platform))

    async def on_failure(self, event: Event, error: WindtunnelError) -> None:
        """Publishes for each platform that its app is built, or could not be built.

        Args:
            event: that was given up.
            error: why.
        """
        message = event.message()
        assert isinstance(message, events_pb2.CellsPlanned)
        await each(_platforms_of(message.cells), lambda platform: self._announce_given_up(message, platform, error))

    async def _announce_given_up(
        self, message: events_pb2.CellsPlanned, platform: Platform, error: WindtunnelError
    ) -> None:
        # What was built may never have been announced: the process can die in between, or the bus be away.
        try:
            jobs = await self._jobs(message, platform)
        except (WindtunnelError, OSError):
            # No key can be had, so nothing was built with it.
            jobs = ()
        outcomes = [_Outcome(job, await self._builds.stored(job), error) for job in jobs]
        await self._publish(message, platform, outcomes, error)

    async def _on_platform(self, message: events_pb2.CellsPlanned, platform: Platform) -> None:
        """Builds for one platform; its error fails it, and no other.

        Raises:
            WindtunnelError: another try may help.
        """
        try:
            jobs = await self._jobs(message, platform)
        except WindtunnelError as error:
            if error.retryable:
                raise
            log.warning("%s app of %s, run %s: %s", platform, message.variant, message.run.run_id, error)
            await self._publish_failed(message, platform, error)
            return
        outcomes = [await self._outcome(job, message) for job in jobs]
        await self._publish(message, platform, outcomes, None)

    async def _jobs(self, message: events_pb2.CellsPlanned, platform: Platform) -> tuple[BuildJob, ...]:
        if not message.model.sha256:
            raise InvalidInput(
                f"the cells of variant {message.variant!r} are planned without a model to build into apps"
            )
        return await self._builds.jobs(platform, artifact_from_proto(message.model), message.variant)

    async def _outcome(self, job: BuildJob, message: events_pb2.CellsPlanned) -> _Outcome:
        """Builds one app; one that cannot be built does not keep others from it.

        Raises:
            WindtunnelError: another try may help.
        """
        try:
            return _Outcome(job, await self._builds.build(job))
        except WindtunnelError as error:
            if error.retryable:
                raise
            name = f"{job.platform} {job.kind}".rstrip()
            log.warning("%s app of %s, run %s: %s", name, message.variant, message.run.run_id, error)
            return _Outcome(job, None, error)

    async def _publish(
        self,
        message: events_pb2.CellsPlanned,
        platform: Platform,
        outcomes: Sequence[_Outcome],
        error: WindtunnelError | None,
    ) -> None:
        """Publishes what there is. If there is nothing, why: `error`, or the first reason among the outcomes."""
        first = next((one.built for one in outcomes if one.built is not None), None)
        if first is None:
            why = error or next(one.error for one in outcomes if one.error is not None)
            await self._publish_failed(message, platform, why)
            return
        built = events_pb2.AppBuilt(
            run=message.run,
            variant=message.variant,
            platform=platform.value,
            package=first.package,
            model_sha256=first.model_sha256,
            input_shapes=message.input_shapes,
            device_platform=PLATFORM.number(platform.value),
            apps=map(self._app, outcomes),
        )
        parts = (message.variant, platform.value)
        await self._runtime.publisher.publish(built, run_id=message.run.run_id, parts=parts)

    def _app(self, outcome: _Outcome) -> types_pb2.BuiltApp:
        if outcome.built is not None:
            return outcome.built.app
        assert outcome.error is not None, "a job that built nothing has a reason"
        return types_pb2.BuiltApp(
            kind=APP_KIND.number(outcome.job.kind), failure=failure_to_proto(outcome.error, self._runtime.name)
        )

    async def _publish_failed(
        self, message: events_pb2.CellsPlanned, platform: Platform, error: WindtunnelError
    ) -> None:
        failed = events_pb2.AppFailed(
            run=message.run,
            variant=message.variant,
            platform=platform.value,
            failure=failure_to_proto(error, self._runtime.name),
            device_platform=PLATFORM.number(platform.value),
        )
        parts = (message.variant, platform.value)
        await self._runtime.publisher.publish(failed, run_id=message.run.run_id, parts=parts)


def _platform(request: app_builder_pb2.BuildRequest) -> Platform:
    name = PLATFORM.required(request.device_platform, request.platform, "platform")
    if not name:
        raise InvalidInput("platform is ''", hint=f"one of {', '.join(PLATFORM.words)}")
    return Platform(name)


def _platforms_of(cells: Iterable[types_pb2.Cell]) -> tuple[Platform, ...]:
    """The platforms that cells need apps for, each once; a cell that is skipped or runs as an executable needs none."""
    apps = (cell for cell in cells if not cell.skip_reason and RUN_AS.read(cell.run_as, "") == "app")
    names = (PLATFORM.read(cell.device_platform, cell.platform) for cell in apps)
    return tuple(dict.fromkeys(_OF_PHONES[name] for name in names if name in _OF_PHONES))
