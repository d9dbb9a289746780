"""The farms of this installation for a command that opens them itself: without bus, stores and services."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from windtunnel.errors import FarmError, NotFound, WindtunnelError
from windtunnel.farm_dispatcher.adapters.farm_registry import open_farms
from windtunnel.farm_dispatcher.adapters.farms_file.read_farms import farms_of, read_farms
from windtunnel.farm_dispatcher.domain.estimates import estimate
from windtunnel.farm_dispatcher.domain.farm import Farm
from windtunnel.farm_dispatcher.domain.farm_settings import FarmSettings
from windtunnel.farm_dispatcher.messages.cell_messages import cell_to_proto
from windtunnel.farm_dispatcher.messages.estimate_messages import estimate_to_proto
from windtunnel.farm_dispatcher.settings import FarmDispatcherSettings
from windtunnel.farm_dispatcher.use_cases.list_devices import list_devices, listing_to_proto
from windtunnel.farm_dispatcher.use_cases.plan_cells import expand, nearest_farm, offer_of
from windtunnel.plan import DeviceFilter
from windtunnel.service.settings import load
from windtunnel.v1 import farm_dispatcher_pb2 as pb

__all__ = ["InstalledFarms", "installed_farms", "open_installed", "read_farms"]


def installed_farms(farms_file: Path | None) -> tuple[FarmSettings, ...]:
    """What is set up here.

    Args:
        farms_file: farms.yaml; None: that of WINDTUNNEL_FARMS_FILE, or the farms of WINDTUNNEL_FARMS.

    Returns:
        The settings of each farm.

    Raises:
        InvalidSetting: something is wrong with them.
    """
    return farms_of(load(FarmDispatcherSettings)) if farms_file is None else read_farms(farms_file)


@dataclass(frozen=True, slots=True)
class InstalledFarms:
    """Farms that are open.

    Attributes:
        names: of all farms of the installation.
        farms: those that were asked for and could be opened, by name.
        outages: why others could not be opened, by name.
    """

    names: tuple[str, ...]
    farms: Mapping[str, Farm]
    outages: Mapping[str, WindtunnelError]

    async def list_devices(self) -> pb.ListDevicesResponse:
        """The devices of the farms, as the farm dispatcher answers.

        Returns:
            The devices, and why those of other farms are not known.
        """
        listing = await list_devices(self.farms)
        return listing_to_proto(replace(listing, outages={**self.outages, **listing.outages}))

    async def plan_cells(self, variant: str, filters: Sequence[DeviceFilter]) -> pb.PlanCellsResponse:
        """The cells that filters mean now for a variant, as the farm dispatcher answers.

        Args:
            variant: its name.
            filters: of the plan.

        Returns:
            The cells, and estimates of their cost. What was spent today is not known here.

        Raises:
            FarmError: a farm does not answer.
            InvalidInput: there are too many cells.
        """
        wanted = [name for name in dict.fromkeys(one.farm for one in filters) if name in self.names]
        offers = {name: await offer_of(self.require(name)) for name in wanted}
        cells = expand("", variant, filters, offers, self.names)
        costs = [estimate(self.farms[name].settings, offer.devices, cells) for name, offer in offers.items()]
        estimates = [estimate_to_proto(cost, None) for cost in costs if cost is not None]
        return pb.PlanCellsResponse(cells=map(cell_to_proto, cells), estimates=estimates)

    def require(self, name: str) -> Farm:
        """One of the farms.

        Args:
            name: of it.

        Returns:
            The farm.

        Raises:
            FarmError: it could not be opened.
        """
        if name in self.outages:
            error = self.outages[name]
            raise FarmError(f"farm {name!r}: {error.message}", retryable=error.retryable, hint=error.hint)
        return self.farms[name]


@asynccontextmanager
async def open_installed(
    settings: Sequence[FarmSettings], names: Sequence[str] | None = None
) -> AsyncIterator[InstalledFarms]:
    """Opens farms; one that cannot be opened does not keep others from it.

    Args:
        settings: of the installation.
        names: of the farms to open; None: all.

    Yields:
        The farms.

    Raises:
        NotFound: a farm is not set up.
    """
    host = load(FarmDispatcherSettings)
    by_name = {one.name: one for one in settings}
    wanted = by_name if names is None else dict.fromkeys(names)
    for name in wanted:
        if name not in by_name:
            hint = nearest_farm(name, tuple(by_name))
            raise NotFound(f"farm {name!r} is not set up in this installation", hint=hint)
    farms: dict[str, Farm] = {}
    outages: dict[str, WindtunnelError] = {}
    async with AsyncExitStack() as stack:
        for name in wanted:
            try:
                farms |= await stack.enter_async_context(open_farms([by_name[name]], host))
            except WindtunnelError as error:
                outages[name] = error
        yield InstalledFarms(tuple(by_name), farms, outages)
