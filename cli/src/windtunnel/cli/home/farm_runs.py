"""The farm runs that carry cells of a run now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from windtunnel.errors import WindtunnelError

if TYPE_CHECKING:
    from windtunnel.client import AsyncClient
    from windtunnel.v1.farm_dispatcher_pb2 import ActiveFarmRun

_CALL_S = 5.0


async def active_farm_runs(client: AsyncClient, run_id: str) -> Sequence[ActiveFarmRun]:
    """What runs on farms for a run.

    Args:
        client: of the running Windtunnel.
        run_id: of the run.

    Returns:
        The farm runs; none if the farm dispatcher does not answer, or is older.
    """
    import grpc

    from windtunnel.v1 import farm_dispatcher_pb2, farm_dispatcher_pb2_grpc

    try:
        async with grpc.aio.insecure_channel(client.endpoints.address_of("farm_dispatcher")) as channel:
            stub = farm_dispatcher_pb2_grpc.FarmDispatcherServiceStub(channel)
            request = farm_dispatcher_pb2.GetFarmActivityRequest(run_id=run_id)
            response = await client.call(
                stub.GetFarmActivity, request, timeout_s=_CALL_S, elsewhere=("farm_dispatcher", channel)
            )
    except WindtunnelError:
        # What a command does with them is for people: it does not fail for the lack of them.
        return ()
    return list(response.farm_runs)
