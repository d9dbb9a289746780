"""`python -m windtunnel.farm_dispatcher`: the farm dispatcher as a process."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack

from windtunnel.bus import subjects
from windtunnel.catalog import Catalog, fetch, read_catalog
from windtunnel.farm_dispatcher.adapters.artifact_files import ArtifactFiles
from windtunnel.farm_dispatcher.adapters.dispatcher_identity import identity
from windtunnel.farm_dispatcher.adapters.farm_registry import open_farms
from windtunnel.farm_dispatcher.adapters.farms_file.read_farms import farms_of
from windtunnel.farm_dispatcher.domain.farm import Farm, Files
from windtunnel.farm_dispatcher.service import FarmDispatcherService
from windtunnel.farm_dispatcher.settings import FarmDispatcherSettings
from windtunnel.farm_dispatcher.use_cases.build_job import JobBuilder
from windtunnel.farm_dispatcher.use_cases.run_cells import Dispatcher
from windtunnel.farm_dispatcher.use_cases.scheduler.schedule import Scheduler
from windtunnel.farm_dispatcher.use_cases.scheduler.work import Work
from windtunnel.farm_dispatcher.use_cases.stored.leases import Leases
from windtunnel.farm_dispatcher.use_cases.stored.ledgers import Ledgers
from windtunnel.farm_dispatcher.use_cases.stored.measurements import Measurements
from windtunnel.farm_dispatcher.use_cases.stored.records import Records
from windtunnel.service import runtime
from windtunnel.service.runtime import Parts, Runtime
from windtunnel.v1 import farm_dispatcher_pb2, farm_dispatcher_pb2_grpc


async def build(rt: Runtime[FarmDispatcherSettings]) -> Parts:
    """Makes the farm dispatcher's parts.

    Args:
        rt: what the service has to work with.

    Returns:
        Servicers, workers and what to close.
    """
    settings = rt.settings
    catalog = read_catalog(settings.catalog_path) if settings.catalog_path else Catalog()
    files = ArtifactFiles(rt.artifacts)
    async with AsyncExitStack() as stack:
        farms = await stack.enter_async_context(open_farms(farms_of(settings), settings))
        holder = stack.enter_context(identity(settings.home_folder))
        jobs = JobBuilder(catalog, lambda entry: fetch(entry, rt.artifacts, rt.sources))
        scheduler = await scheduler_on(rt, farms, files, holder)
        service = FarmDispatcherService(rt, Dispatcher(farms, jobs, files), scheduler.queue)
        return Parts(
            servicers=[
                (
                    farm_dispatcher_pb2.DESCRIPTOR.services_by_name["FarmDispatcherService"].full_name,
                    lambda server: farm_dispatcher_pb2_grpc.add_FarmDispatcherServiceServicer_to_server(
                        service, server
                    ),
                )
            ],
            workers=[
                rt.worker(
                    "farm_dispatcher_plan", [subjects.VARIANT_READY], service.on_variant_ready, service.on_plan_failure
                ),
                rt.worker("farm_dispatcher_run", [subjects.APP_BUILT], service.on_app_built, service.on_run_failure),
                rt.worker(
                    "farm_dispatcher_measured",
                    [subjects.DEVICE_RUN_MEASURED],
                    service.on_measured,
                    service.on_measured_failure,
                ),
                rt.worker(
                    "farm_dispatcher_repeat",
                    [subjects.REPEATS_REQUESTED],
                    service.on_repeats_requested,
                    service.on_repeats_failure,
                ),
            ],
            tasks=[scheduler.run],
            resources=stack.pop_all(),
        )


async def scheduler_on(
    rt: Runtime[FarmDispatcherSettings], farms: Mapping[str, Farm], files: Files, holder: str
) -> Scheduler:
    """The scheduler of this dispatcher.

    Args:
        rt: what the service has to work with.
        farms: by name.
        files: artifacts as local files.
        holder: the identity of this dispatcher.

    Returns:
        The scheduler, not yet running.
    """
    records = Records(await rt.bus.bucket(subjects.FARM_RUNS_BUCKET))
    work = Work(
        records=records,
        ledgers=Ledgers(records),
        jobs=rt.jobs,
        publisher=rt.publisher,
        artifacts=rt.artifacts,
        files=files,
        canceled=rt.canceled,
        backoff_s=rt.settings.cell_backoff_s,
    )
    measurements = Measurements(await rt.bus.bucket(subjects.MEASURED_BUCKET))
    leases = Leases(records, holder, ttl_s=rt.settings.farm_lease_s)
    return Scheduler(farms, work, measurements, leases, rt.settings.run_deadline_s)


if __name__ == "__main__":
    runtime.main("farm_dispatcher", FarmDispatcherSettings, build)
