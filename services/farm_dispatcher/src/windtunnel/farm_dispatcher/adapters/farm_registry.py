"""Which farms there are: the one place where a farm is registered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from windtunnel.farm_dispatcher.adapters import arm_farm as arm
from windtunnel.farm_dispatcher.adapters import local_farm as local
from windtunnel.farm_dispatcher.domain.farm import Farm, FarmSettings
from windtunnel.service.settings import InvalidSetting

# Opens a farm with the settings at hand and closes it in the end.
OpenFarm = Callable[[FarmSettings], AbstractAsyncContextManager[Farm]]

FARMS: Mapping[str, OpenFarm] = {
    "local": local.open_farm,
    "arm": arm.open_farm,
}


@asynccontextmanager
async def open_farms(settings: FarmSettings) -> AsyncIterator[Mapping[str, Farm]]:
    """Opens the farms that WINDTUNNEL_FARMS names.

    Args:
        settings: of the farms.

    Yields:
        The farms by name.

    Raises:
        InvalidSetting: no adapter has such a name.
    """
    unknown = [name for name in settings.farm_names if name not in FARMS]
    if unknown:
        raise InvalidSetting(
            f"WINDTUNNEL_FARMS names {', '.join(map(repr, unknown))}", hint=f"there are adapters for {', '.join(FARMS)}"
        )
    async with AsyncExitStack() as stack:
        yield {name: await stack.enter_async_context(FARMS[name](settings)) for name in settings.farm_names}
