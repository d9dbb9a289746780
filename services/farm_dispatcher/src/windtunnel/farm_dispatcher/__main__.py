"""`python -m windtunnel.farm_dispatcher`: the farm dispatcher as a process."""

from __future__ import annotations

from contextlib import AsyncExitStack

from windtunnel.bus import subjects
from windtunnel.farm_dispatcher.adapters.farm_registry import open_farms
from windtunnel.farm_dispatcher.adapters.farms_file.read_farms import farms_of
from windtunnel.farm_dispatcher.service import FarmDispatcherService
from windtunnel.farm_dispatcher.settings import FarmDispatcherSettings
from windtunnel.farm_dispatcher.use_cases.run_cells import Dispatcher, Patience
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
    async with AsyncExitStack() as stack:
        farms = await stack.enter_async_context(open_farms(farms_of(settings), settings))
        dispatcher = Dispatcher(farms, Patience(settings.cell_attempts, settings.cell_backoff_s))
        service = FarmDispatcherService(rt, dispatcher)
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
            ],
            resources=stack.pop_all(),
        )


if __name__ == "__main__":
    runtime.main("farm_dispatcher", FarmDispatcherSettings, build)
