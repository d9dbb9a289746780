"""What a command asks of farms: the running farm dispatcher, or farms that the command opens itself.

A command that starts nothing needs no embedded Windtunnel, which would continue unfinished runs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Protocol

from windtunnel.cli.home.session import running_endpoints
from windtunnel.client import AsyncClient
from windtunnel.client.endpoints import home_folder
from windtunnel.errors import NotFound
from windtunnel.plan import DeviceFilter, Plan, VariantSpec, plan_to_proto
from windtunnel.v1 import farm_dispatcher_pb2 as pb
from windtunnel.v1 import farm_dispatcher_pb2_grpc

# The list of a large farm has several megabytes, and takes a farm with many pages a while.
_OPTIONS: Final = [("grpc.max_receive_message_length", 64 * 1024**2)]
_CALL_S: Final = 120.0


class FarmAccess(Protocol):
    """The farms of an installation."""

    async def devices(self, farms: Sequence[str]) -> pb.ListDevicesResponse:
        """The devices that farms offer now. A farm that fails is named in `outages`.

        Args:
            farms: their names; empty: all.

        Returns:
            The devices, the farms that answer, and those that do not.

        Raises:
            NotFound: a farm is not set up.
        """
        ...

    async def plan(self, variant: str, filters: Sequence[DeviceFilter]) -> pb.PlanCellsResponse:
        """The cells that filters mean now for a variant, with estimates of their cost.

        Args:
            variant: its name.
            filters: of the plan.

        Returns:
            The cells and the estimates, farm by farm.

        Raises:
            FarmError: a farm does not answer.
        """
        ...

    async def stored_plan(self, name: str) -> Plan:
        """A stored plan.

        Args:
            name: of the plan.

        Returns:
            The plan.

        Raises:
            NotFound: there is no such plan, or nothing runs that could store one.
        """
        ...


@asynccontextmanager
async def farm_access(farms_file: Path | None = None) -> AsyncIterator[FarmAccess]:
    """The farms of the running Windtunnel; if none runs, or a farms.yaml is given, those that are opened here.

    Args:
        farms_file: farms.yaml to use instead of what runs.

    Yields:
        What can be asked.

    Raises:
        InvalidSetting: farms.yaml cannot be used.
    """
    endpoints = None if farms_file is not None else await running_endpoints(home_folder())
    if endpoints is None:
        yield _Opened(farms_file)
        return
    import grpc

    async with (
        AsyncClient(endpoints) as client,
        grpc.aio.insecure_channel(endpoints.address_of("farm_dispatcher"), options=_OPTIONS) as channel,
    ):
        yield _Running(client, channel)


class _Running:
    """The farm dispatcher of a running Windtunnel.

    Args:
        client: of it.
        channel: to its farm dispatcher.
    """

    def __init__(self, client: AsyncClient, channel: Any) -> None:
        self._client = client
        self._channel = channel
        self._stub = farm_dispatcher_pb2_grpc.FarmDispatcherServiceStub(channel)

    async def devices(self, farms: Sequence[str]) -> pb.ListDevicesResponse:
        found = pb.ListDevicesResponse()
        for name in dict.fromkeys(farms or ("",)):
            request = pb.ListDevicesRequest(farm=name, list_others=True)
            found.MergeFrom(await self._call(self._stub.ListDevices, request))
        return found

    async def plan(self, variant: str, filters: Sequence[DeviceFilter]) -> pb.PlanCellsResponse:
        request = pb.PlanCellsRequest(variant=variant, devices=_messages(filters))
        response: pb.PlanCellsResponse = await self._call(self._stub.PlanCells, request)
        return response

    async def stored_plan(self, name: str) -> Plan:
        from windtunnel.plan import plan_from_proto
        from windtunnel.v1 import metrics_store_pb2

        request = metrics_store_pb2.GetPlanRequest(name=name)
        return plan_from_proto((await self._client.call(self._client.store.GetPlan, request)).plan)

    async def _call(self, method: Any, request: Any) -> Any:
        elsewhere = ("farm_dispatcher", self._channel)
        return await self._client.call(method, request, timeout_s=_CALL_S, elsewhere=elsewhere)


class _Opened:
    """Farms that are opened for each question.

    Args:
        farms_file: farms.yaml; None: that of the environment.
    """

    def __init__(self, farms_file: Path | None) -> None:
        from windtunnel.farm_dispatcher.installed_farms import installed_farms

        self._settings = installed_farms(farms_file)

    async def devices(self, farms: Sequence[str]) -> pb.ListDevicesResponse:
        from windtunnel.farm_dispatcher.installed_farms import open_installed

        async with open_installed(self._settings, farms or None) as opened:
            return await opened.list_devices()

    async def plan(self, variant: str, filters: Sequence[DeviceFilter]) -> pb.PlanCellsResponse:
        from windtunnel.farm_dispatcher.installed_farms import open_installed

        known = {one.name for one in self._settings}
        wanted = [name for name in dict.fromkeys(one.farm for one in filters) if name in known]
        async with open_installed(self._settings, wanted) as opened:
            return await opened.plan_cells(variant, filters)

    async def stored_plan(self, name: str) -> Plan:
        raise NotFound(
            f"plan {name!r}: stored plans are known to a running Windtunnel, and none runs",
            hint="start it with `windtunnel up`, or give the plan as a file: --plan FILE",
        )


def _messages(filters: Sequence[DeviceFilter]) -> Any:
    """Filters on the wire."""
    return plan_to_proto(Plan(variants=(VariantSpec("float32"),), devices=tuple(filters))).devices
