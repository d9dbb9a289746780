"""The farm dispatcher's gRPC servicer and event handlers: decode, call the use case, encode."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.timestamp_pb2 import Timestamp

from windtunnel.bus import Event, each, job_key
from windtunnel.enum_words import PLATFORM
from windtunnel.errors import InvalidInput, Unavailable, WindtunnelError
from windtunnel.farm_dispatcher.adapters.artifact_files import ArtifactFiles
from windtunnel.farm_dispatcher.adapters.host.host_bundle import unpack_model
from windtunnel.farm_dispatcher.domain.cells import Cell
from windtunnel.farm_dispatcher.domain.device_runs import DeviceRun, Samples
from windtunnel.farm_dispatcher.domain.jobs import DEVICE_FOLDER, ExecutableJob, PushedFile
from windtunnel.farm_dispatcher.messages.cell_messages import (
    cell_from_proto,
    cell_to_proto,
    conditions_to_proto,
    device_to_proto,
    facts_to_proto,
)
from windtunnel.farm_dispatcher.settings import FarmDispatcherSettings
from windtunnel.farm_dispatcher.use_cases.run_cells import Attempted, Dispatcher
from windtunnel.plan import DeviceFilter, plan_from_proto, shapes_from_proto, shapes_to_proto
from windtunnel.service.protobuf_values import artifact_from_proto, artifact_to_proto, failure_to_proto
from windtunnel.service.run_inputs import plan_of
from windtunnel.service.runtime import Runtime
from windtunnel.telemetry import job_context
from windtunnel.v1 import events_pb2, farm_dispatcher_pb2, farm_dispatcher_pb2_grpc, plan_pb2, types_pb2

log = logging.getLogger(__name__)


class FarmDispatcherService(farm_dispatcher_pb2_grpc.FarmDispatcherServiceServicer):
    """Plans cells on `variant.ready`, runs them on `app.built`, and does both on request.

    Args:
        runtime: what the service has to work with.
        dispatcher: plans and runs cells.
    """

    def __init__(self, runtime: Runtime[FarmDispatcherSettings], dispatcher: Dispatcher) -> None:
        self._runtime = runtime
        self._dispatcher = dispatcher
        self._files = ArtifactFiles(runtime.artifacts)

    async def ListDevices(  # noqa: N802 - named by the contract
        self, request: farm_dispatcher_pb2.ListDevicesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> farm_dispatcher_pb2.ListDevicesResponse:
        """Implements `FarmDispatcherService.ListDevices` of the contract."""
        devices = await self._dispatcher.devices(request.farm)
        return farm_dispatcher_pb2.ListDevicesResponse(devices=[device_to_proto(device) for device in devices])

    async def PlanCells(  # noqa: N802 - named by the contract
        self, request: farm_dispatcher_pb2.PlanCellsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> farm_dispatcher_pb2.PlanCellsResponse:
        """Implements `FarmDispatcherService.PlanCells` of the contract."""
        cells = await self._dispatcher.plan(request.run_id, request.variant, _filters(request.devices))
        return farm_dispatcher_pb2.PlanCellsResponse(cells=[cell_to_proto(cell) for cell in cells])

    async def RunCell(  # noqa: N802 - named by the contract
        self, request: farm_dispatcher_pb2.RunCellRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> farm_dispatcher_pb2.RunCellResponse:
        """Implements `FarmDispatcherService.RunCell` of the contract."""
        cell = cell_from_proto(request.cell)
        self._dispatcher.farm_of(cell)
        if not request.package_uri and not request.model_uri:
            raise InvalidInput("package_uri is empty", hint="give the URI of the app package")
        with tempfile.TemporaryDirectory(prefix="windtunnel-cell-") as folder:
            source = Path(folder, "source")
            source.mkdir()
            found = await self._runtime.sources.open(request.model_uri or request.package_uri, into=source)
            model = found if request.model_uri else await asyncio.to_thread(unpack_model, found, Path(folder))
            run = await self._dispatcher.run(cell, await self._job(model), self._files, Path(folder, "run"))
        return farm_dispatcher_pb2.RunCellResponse(
            log=await self._put_log(run),
            samples=await self._put_samples(run.samples),
            device=facts_to_proto(run.facts),
            input_shapes=shapes_to_proto(run.input_shapes),
            shapes_known=run.shapes_known,
            conditions=conditions_to_proto(run.conditions),
        )

    async def on_variant_ready(self, event: Event) -> None:
        """Handles `variant.ready`: publishes `cells.planned`.

        Args:
            event: as received.
        """
        message = event.message()
        assert isinstance(message, events_pb2.VariantReady)
        planned = await self._plan(message.run, message.variant.name, message.input_shapes)
        await self._runtime.publisher.publish(planned, run_id=message.run.run_id, parts=(message.variant.name,))

    async def on_plan_failure(self, event: Event, error: WindtunnelError) -> None:
        """Publishes that the cells of the variant could not be planned.

        Args:
            event: that was given up.
            error: why.
        """
        message = event.message()
        assert isinstance(message, events_pb2.VariantReady)
        await self._publish_unplanned(message.run, message.variant.name, error)

    async def on_app_built(self, event: Event) -> None:
        """Handles `app.built`: publishes `device_run.finished` or `.failed` for each cell that the app is for.

        Args:
            event: as received.
        """
        message = event.message()
        assert isinstance(message, events_pb2.AppBuilt)
        cells = _runnable(await self._plan(message.run, message.variant, message.input_shapes), message)
        if not cells:
            return
        package = await self._runtime.artifacts.path(artifact_from_proto(message.package).sha256)
        with tempfile.TemporaryDirectory(prefix="windtunnel-app-") as folder:
            model = await asyncio.to_thread(unpack_model, package, Path(folder))
            job = await self._job(model)
        # All at once: the dispatcher knows how many each farm can take.
        await each(cells, lambda cell: self._run_cell(message.run, cell, job), at_once=len(cells))

    async def on_run_failure(self, event: Event, error: WindtunnelError) -> None:
        """Publishes for each cell of the app how its run ended, or that there was none.

        Args:
            event: that was given up.
            error: why.

        Raises:
            Unavailable: the bus does not answer.
        """
        message = event.message()
        assert isinstance(message, events_pb2.AppBuilt)
        try:
            # Not planned yet: the planner may be late, and its cells would wait for runs that never come.
            planned = await self._plan(message.run, message.variant, message.input_shapes)
        except Unavailable:
            raise
        except WindtunnelError as unplanned:
            await self._publish_unplanned(message.run, message.variant, unplanned)
            return
        await each(_runnable(planned, message), lambda cell: self._announce_given_up(message.run, cell, error))

    async def _job(self, model: Path) -> ExecutableJob:
        return ExecutableJob(PushedFile(await self._runtime.artifacts.put_file(model), f"{DEVICE_FOLDER}/model.tflite"))

    async def _announce_given_up(self, run: types_pb2.RunContext, cell: Cell, error: WindtunnelError) -> None:
        # A run that ended may never have been announced: the process can die in between, or the bus be away.
        outcome = await self._runtime.jobs.stored(_run_key(run.run_id, cell), AnyMessage)
        if outcome is not None:
            await self._publish_outcome(run, cell, outcome)
            return
        failed = self._failed(run, cell, Attempted(1, None, error))
        # An id of its own: should the message be replayed, what its first attempt says must not be taken for this.
        await self._runtime.publisher.publish(failed, run_id=run.run_id, parts=(cell.id, "given_up"))

    async def _plan(
        self, run: types_pb2.RunContext, variant: str, fed: Sequence[types_pb2.InputShape]
    ) -> events_pb2.CellsPlanned:
        """The cells of a variant, planned once: whoever asks first decides what the filters mean today.

        `fed`: the shapes in which samples reach the model; none: not known, and those of the plan are taken.
        """

        async def compute() -> events_pb2.CellsPlanned:
            plan = await plan_of(run, self._runtime.artifacts)
            shapes = shapes_from_proto(fed) or plan.input_shapes
            cells = await self._dispatcher.plan(run.run_id, variant, plan.devices)
            planned = [cell_to_proto(dataclasses.replace(cell, input_shapes=shapes)) for cell in cells]
            return events_pb2.CellsPlanned(run=run, variant=variant, cells=planned)

        return await self._runtime.jobs.once(_plan_key(run.run_id, variant), events_pb2.CellsPlanned, compute)

    async def _publish_unplanned(self, run: types_pb2.RunContext, variant: str, error: WindtunnelError) -> None:
        failure = failure_to_proto(error, self._runtime.name)
        failed = events_pb2.CellsFailed(run=run, variant=variant, failure=failure)
        await self._runtime.publisher.publish(failed, run_id=run.run_id, parts=(variant,))

    async def _run_cell(self, run: types_pb2.RunContext, cell: Cell, job: ExecutableJob) -> None:
        """Runs a cell once, whether that ends well or not: a failure that was published is not taken back."""

        async def compute() -> AnyMessage:
            with tempfile.TemporaryDirectory(prefix="windtunnel-cell-") as folder:
                started = datetime.now(UTC)
                attempted = await self._dispatcher.run_patiently(cell, job, self._files, Path(folder))
            if attempted.run is None:
                log.warning("cell %s of run %s: %s", cell.id, run.run_id, attempted.error)
                return _packed(self._failed(run, cell, attempted))
            return _packed(await self._finished(run, cell, attempted.attempt, attempted.run, started))

        with job_context(cell=cell.id):
            outcome = await self._runtime.jobs.once(_run_key(run.run_id, cell), AnyMessage, compute)
            await self._publish_outcome(run, cell, outcome)
            log.info("cell %s has run", cell.id)

    async def _publish_outcome(self, run: types_pb2.RunContext, cell: Cell, outcome: AnyMessage) -> None:
        failed = outcome.Is(events_pb2.DeviceRunFailed.DESCRIPTOR)
        message = events_pb2.DeviceRunFailed() if failed else events_pb2.DeviceRunFinished()
        outcome.Unpack(message)
        parts = (cell.id, str(message.attempt))
        await self._runtime.publisher.publish(message, run_id=run.run_id, parts=parts)

    async def _finished(
        self, run: types_pb2.RunContext, cell: Cell, attempt: int, result: DeviceRun, started: datetime
    ) -> events_pb2.DeviceRunFinished:
        return events_pb2.DeviceRunFinished(
            run=run,
            cell=cell_to_proto(cell),
            attempt=attempt,
            log=await self._put_log(result),
            samples=await self._put_samples(result.samples),
            device=facts_to_proto(result.facts),
            started_at=_timestamp(started),
            ended_at=_timestamp(datetime.now(UTC)),
            input_shapes=shapes_to_proto(result.input_shapes),
            shapes_known=result.shapes_known,
            conditions=conditions_to_proto(result.conditions),
        )

    def _failed(self, run: types_pb2.RunContext, cell: Cell, attempted: Attempted) -> events_pb2.DeviceRunFailed:
        assert attempted.error is not None
        return events_pb2.DeviceRunFailed(
            run=run,
            cell=cell_to_proto(cell),
            attempt=attempted.attempt,
            failure=failure_to_proto(attempted.error, self._runtime.name),
        )

    async def _put_log(self, run: DeviceRun) -> types_pb2.Artifact:
        return artifact_to_proto(await self._runtime.artifacts.put_bytes(run.log.encode()), "text/plain")

    async def _put_samples(self, samples: Samples | None) -> types_pb2.Artifact | None:
        if samples is None:
            return None
        data = {"unit": "us", "warmup": list(samples.warmup), "inference": list(samples.inference)}
        return artifact_to_proto(await self._runtime.artifacts.put_bytes(json.dumps(data).encode()), "application/json")


def _plan_key(run_id: str, variant: str) -> str:
    return job_key("cells", {"run": run_id, "variant": variant}, {})


def _run_key(run_id: str, cell: Cell) -> str:
    return job_key("run", {"run": run_id, "cell": cell.id}, {})


def _packed(outcome: events_pb2.DeviceRunFinished | events_pb2.DeviceRunFailed) -> AnyMessage:
    """How a cell ended, as its stored result: two kinds of message under one key."""
    packed = AnyMessage()
    packed.Pack(outcome)
    return packed


def _runnable(planned: events_pb2.CellsPlanned, app: events_pb2.AppBuilt) -> list[Cell]:
    platform = PLATFORM.read(app.device_platform, app.platform)
    cells = [cell_from_proto(cell) for cell in planned.cells]
    return [cell for cell in cells if not cell.skip_reason and cell.platform == platform]


def _filters(messages: Sequence[plan_pb2.DeviceFilter]) -> tuple[DeviceFilter, ...]:
    """The filters of a request, checked as in a plan; none: the default plan's. Raises InvalidPlan."""
    variants = [plan_pb2.VariantSpec(name="float32")]
    return plan_from_proto(plan_pb2.Plan(api_version="windtunnel/v1", variants=variants, devices=messages)).devices


def _timestamp(moment: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(moment)
    return message
