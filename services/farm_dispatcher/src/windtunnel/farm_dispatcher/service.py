"""The farm dispatcher's gRPC servicer and event handlers: decode, call the use case, encode."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import grpc

from windtunnel.bus import Event, job_key
from windtunnel.enum_words import PLATFORM
from windtunnel.errors import InvalidInput, NotFound, Unavailable, WindtunnelError
from windtunnel.farm_dispatcher.adapters.host.host_bundle import unpack_model
from windtunnel.farm_dispatcher.domain.cells import Cell
from windtunnel.farm_dispatcher.domain.jobs import App, Job
from windtunnel.farm_dispatcher.messages.app_messages import apps_in, problems_in
from windtunnel.farm_dispatcher.messages.cell_messages import (
    cell_from_proto,
    cell_to_proto,
    conditions_to_proto,
    device_to_proto,
    facts_to_proto,
)
from windtunnel.farm_dispatcher.messages.estimate_messages import estimate_to_proto
from windtunnel.farm_dispatcher.settings import FarmDispatcherSettings
from windtunnel.farm_dispatcher.use_cases.list_devices import listing_to_proto
from windtunnel.farm_dispatcher.use_cases.run_cells import Dispatcher
from windtunnel.farm_dispatcher.use_cases.scheduler.active_runs import active_runs
from windtunnel.farm_dispatcher.use_cases.scheduler.end_cells import put_samples
from windtunnel.farm_dispatcher.use_cases.scheduler.queue_cells import CellQueue
from windtunnel.plan import DeviceFilter, plan_from_proto, shapes_from_proto, shapes_to_proto
from windtunnel.service.protobuf_values import artifact_from_proto, artifact_to_proto, failure_to_proto
from windtunnel.service.run_inputs import plan_of
from windtunnel.service.runtime import Runtime
from windtunnel.v1 import events_pb2, farm_dispatcher_pb2, farm_dispatcher_pb2_grpc, plan_pb2, types_pb2

log = logging.getLogger(__name__)

# Makes the job of a cell.
JobOf = Callable[[Cell], Awaitable[Job]]


class FarmDispatcherService(farm_dispatcher_pb2_grpc.FarmDispatcherServiceServicer):
    """Plans and queues cells on `variant.ready` and `app.built`; answers what the farms have, and runs single cells.

    Args:
        runtime: what the service has to work with.
        dispatcher: plans and runs cells.
        queue: where the schedulers find cells.
    """

    def __init__(self, runtime: Runtime[FarmDispatcherSettings], dispatcher: Dispatcher, queue: CellQueue) -> None:
        self._runtime = runtime
        self._dispatcher = dispatcher
        self._queue = queue

    async def ListDevices(  # noqa: N802 - named by the contract
        self, request: farm_dispatcher_pb2.ListDevicesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> farm_dispatcher_pb2.ListDevicesResponse:
        """Implements `FarmDispatcherService.ListDevices` of the contract."""
        if not request.list_others:
            devices = await self._dispatcher.devices(request.farm)
            return farm_dispatcher_pb2.ListDevicesResponse(devices=map(device_to_proto, devices))
        listing = await self._dispatcher.listing(request.farm)
        # Ten thousand devices take a while: not in the loop, which keeps leases and answers calls.
        return await asyncio.to_thread(listing_to_proto, listing)

    async def PlanCells(  # noqa: N802 - named by the contract
        self, request: farm_dispatcher_pb2.PlanCellsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> farm_dispatcher_pb2.PlanCellsResponse:
        """Implements `FarmDispatcherService.PlanCells` of the contract."""
        filters = _filters(request.devices)
        cells, estimates = await self._dispatcher.plan_with_costs(request.run_id, request.variant, filters)
        work = self._queue.work
        today = [await work.ledgers.known_today(one.farm.name, work.clock()) for one in estimates]
        return farm_dispatcher_pb2.PlanCellsResponse(
            cells=map(cell_to_proto, cells), estimates=map(estimate_to_proto, estimates, today)
        )

    async def GetFarmActivity(  # noqa: N802 - named by the contract
        self, request: farm_dispatcher_pb2.GetFarmActivityRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> farm_dispatcher_pb2.GetFarmActivityResponse:
        """Implements `FarmDispatcherService.GetFarmActivity` of the contract."""
        if not request.run_id:
            raise InvalidInput("run_id is empty", hint="give the id of the run")
        found = await active_runs(self._queue.work.records, self._dispatcher.farm_names, request.run_id)
        return farm_dispatcher_pb2.GetFarmActivityResponse(farm_runs=found)

    async def RunCell(  # noqa: N802 - named by the contract
        self, request: farm_dispatcher_pb2.RunCellRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> farm_dispatcher_pb2.RunCellResponse:
        """Implements `FarmDispatcherService.RunCell` of the contract."""
        cell = cell_from_proto(request.cell)
        self._dispatcher.farm_of(cell)
        if not request.package_uri and not request.model_uri:
            raise InvalidInput("package_uri is empty", hint="give the URI of the app package")
        with tempfile.TemporaryDirectory(prefix="windtunnel-cell-") as folder:
            job = await self._requested_job(request, cell, Path(folder))
            submitted, run = await self._dispatcher.run(cell, job, Path(folder, "run"))
        return farm_dispatcher_pb2.RunCellResponse(
            log=artifact_to_proto(await self._runtime.artifacts.put_bytes(run.log.encode()), "text/plain"),
            samples=await put_samples(self._runtime.artifacts, run.samples),
            device=facts_to_proto(run.facts),
            input_shapes=shapes_to_proto(run.input_shapes),
            shapes_known=run.shapes_known,
            conditions=conditions_to_proto(run.conditions),
            farm_run=types_pb2.FarmRunInfo(id=submitted.id, url=submitted.url, words=submitted.words),
        )

    async def on_variant_ready(self, event: Event) -> None:
        """Handles `variant.ready`: publishes `cells.planned`, and queues the cells that need no app.

        Args:
            event: as received.
        """
        message = event.message()
        assert isinstance(message, events_pb2.VariantReady)
        run, variant = message.run, message.variant
        planned = await self._plan(run, variant.name, message.input_shapes)
        announced = events_pb2.CellsPlanned(
            run=run, variant=variant.name, cells=planned.cells, model=variant.model, input_shapes=message.input_shapes
        )
        await self._runtime.publisher.publish(announced, run_id=run.run_id, parts=(variant.name,))
        cells = _executables(planned)
        if cells:
            model = artifact_from_proto(variant.model)
            await self._queue_all(run, cells, lambda cell: self._dispatcher.executable_job(cell, model))

    async def on_plan_failure(self, event: Event, error: WindtunnelError) -> None:
        """Publishes that the cells of the variant could not be planned, or that those that are planned do not run.

        Args:
            event: that was given up.
            error: why.
        """
        message = event.message()
        assert isinstance(message, events_pb2.VariantReady)
        planned = await self._planned(message.run.run_id, message.variant.name)
        if planned is None:
            await self._publish_unplanned(message.run, message.variant.name, error)
            return
        for cell in _executables(planned):
            await self._queue.refuse(message.run, cell, error)

    async def on_app_built(self, event: Event) -> None:
        """Handles `app.built`: queues the cells that the app is for.

        Args:
            event: as received.

        Raises:
            NotFound: the model of the app is not stored.
        """
        message = event.message()
        assert isinstance(message, events_pb2.AppBuilt)
        cells = _cells_of_app(await self._plan(message.run, message.variant, message.input_shapes), message)
        if not cells:
            return
        model = await self._runtime.artifacts.stat(message.model_sha256)
        if model is None:
            raise NotFound(f"the model {message.model_sha256} of the app is not in the artifact store")
        await self._keep(message)
        apps, problems = apps_in(message), problems_in(message)
        await self._queue_all(message.run, cells, lambda cell: self._dispatcher.app_job(cell, apps, model, problems))

    async def _keep(self, message: events_pb2.AppBuilt) -> None:
        """Keeps what the apps of a variant are: repeats need them."""

        async def compute() -> events_pb2.AppBuilt:
            return message

        platform = PLATFORM.read(message.device_platform, message.platform)
        key = _apps_key(message.run.run_id, message.variant, platform)
        await self._runtime.jobs.once(key, events_pb2.AppBuilt, compute)

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
        for cell in _cells_of_app(planned, message):
            await self._queue.refuse(message.run, cell, error)

    async def on_measured(self, event: Event) -> None:
        """Handles `device_run.measured`: the run may be reused from now on.

        Args:
            event: as received.
        """
        message = event.message()
        assert isinstance(message, events_pb2.DeviceRunMeasured)
        await self._queue.remember(message)

    async def on_measured_failure(self, event: Event, error: WindtunnelError) -> None:
        """A run that could not be kept is not reused; nobody waits for it.

        Args:
            event: that was given up.
            error: why.
        """
        log.warning("event %s: a measurement is not kept for reuse: %s", event.id, error)

    async def on_repeats_requested(self, event: Event) -> None:
        """Handles `repeats.requested`: queues repeats of the cell, the variant and the baseline in turn.

        Args:
            event: as received.
        """
        message = event.message()
        assert isinstance(message, events_pb2.RepeatsRequested)
        cell = cell_from_proto(message.cell)
        plan = await plan_of(message.run, self._runtime.artifacts)
        jobs = [await self._repeat_job(message, cell, model) for model in (message.model, message.baseline_model)]
        await self._queue.queue_repeats(message, plan, *jobs)

    async def on_repeats_failure(self, event: Event, error: WindtunnelError) -> None:
        """Publishes for each repeat that it was not run.

        Args:
            event: that was given up.
            error: why.
        """
        message = event.message()
        assert isinstance(message, events_pb2.RepeatsRequested)
        await self._queue.refuse_repeats(message, error)

    async def _repeat_job(self, asked: events_pb2.RepeatsRequested, cell: Cell, model: types_pb2.Artifact) -> Job:
        found = artifact_from_proto(model)
        if cell.run_as == "executable":
            return await self._dispatcher.executable_job(cell, found)
        key = _apps_key(asked.run.run_id, cell.variant, cell.platform)
        built = await self._runtime.jobs.stored(key, events_pb2.AppBuilt)
        if built is None:
            raise NotFound(f"the app of variant {cell.variant} for {cell.platform} is not known any more")
        # The app looks for its model in the file that is pushed next to it: the same app runs the baseline too.
        return await self._dispatcher.app_job(cell, apps_in(built), found)

    async def _queue_all(self, run: types_pb2.RunContext, cells: Sequence[Cell], job_of: JobOf) -> None:
        """Queues cells with their jobs; a cell for which there is no job ends.

        Raises:
            WindtunnelError: another try may help.
        """
        plan = await plan_of(run, self._runtime.artifacts)
        ready: list[tuple[Cell, Job]] = []
        for cell in cells:
            try:
                ready.append((cell, await job_of(cell)))
            except WindtunnelError as error:
                if error.retryable:
                    raise
                await self._queue.refuse(run, cell, error)
        await self._queue.queue(run, plan, ready)

    async def _requested_job(self, request: farm_dispatcher_pb2.RunCellRequest, cell: Cell, folder: Path) -> Job:
        source = folder / "source"
        source.mkdir()
        found = await self._runtime.sources.open(request.model_uri or request.package_uri, into=source)
        if cell.run_as == "app":
            package = await self._runtime.artifacts.put_file(found)
            return await self._dispatcher.app_job(cell, [App(package, cell.platform)], package)
        model = found if request.model_uri else await asyncio.to_thread(unpack_model, found, folder)
        return await self._dispatcher.executable_job(cell, await self._runtime.artifacts.put_file(model))

    async def _planned(self, run_id: str, variant: str) -> events_pb2.CellsPlanned | None:
        """The cells of a variant, if they were planned."""
        return await self._runtime.jobs.stored(_plan_key(run_id, variant), events_pb2.CellsPlanned)

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


def _plan_key(run_id: str, variant: str) -> str:
    return job_key("cells", {"run": run_id, "variant": variant}, {})


def _apps_key(run_id: str, variant: str, platform: str) -> str:
    return job_key("apps", {"run": run_id, "variant": variant, "platform": platform}, {})


def _executables(planned: events_pb2.CellsPlanned) -> list[Cell]:
    cells = [cell_from_proto(cell) for cell in planned.cells]
    return [cell for cell in cells if not cell.skip_reason and cell.run_as == "executable"]


def _cells_of_app(planned: events_pb2.CellsPlanned, app: events_pb2.AppBuilt) -> list[Cell]:
    platform = PLATFORM.read(app.device_platform, app.platform)
    cells = [cell_from_proto(cell) for cell in planned.cells]
    return [cell for cell in cells if not cell.skip_reason and cell.run_as == "app" and cell.platform == platform]


def _filters(messages: Sequence[plan_pb2.DeviceFilter]) -> tuple[DeviceFilter, ...]:
    """The filters of a request, checked as in a plan; none: the default plan's. Raises InvalidPlan."""
    variants = [plan_pb2.VariantSpec(name="float32")]
    return plan_from_proto(plan_pb2.Plan(api_version="windtunnel/v1", variants=variants, devices=messages)).devices
