"""Which kinds of farm there are: the one place where a kind is registered."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Final

from windtunnel.farm_dispatcher.adapters.host import arm_farm as arm
from windtunnel.farm_dispatcher.adapters.host import local_farm as local
from windtunnel.farm_dispatcher.domain.farm import Farm
from windtunnel.farm_dispatcher.domain.farm_settings import FarmSettings, HostSettings
from windtunnel.service.settings import InvalidSetting

# Opens a farm with its settings and those of the host, and closes it in the end. Each takes the settings of its kind.
OpenFarm = Callable[[Any, HostSettings], AbstractAsyncContextManager[Farm]]


def _with_extra(module: str, extra: str) -> OpenFarm:
    """Opens a farm whose libraries are an extra of this distribution: they are imported only if the farm is used."""

    @asynccontextmanager
    async def open_farm(settings: Any, host: HostSettings) -> AsyncIterator[Farm]:
        try:
            room = importlib.import_module(module)
        except ImportError as error:
            raise InvalidSetting(
                f"farm {settings.name!r} needs {error.name}", hint=f"pip install 'windtunnel-farm-dispatcher[{extra}]'"
            ) from error
        async with room.open_farm(settings, host) as farm:
            yield farm

    return open_farm


_ADAPTERS: Final = "windtunnel.farm_dispatcher.adapters"
FARMS: Mapping[str, OpenFarm] = {
    "local": local.open_farm,
    "arm": arm.open_farm,
    "adb": _with_extra(f"{_ADAPTERS}.adb.adb_farm", "adb"),
    "aws": _with_extra(f"{_ADAPTERS}.aws.aws_farm", "aws"),
    "firebase": _with_extra(f"{_ADAPTERS}.firebase.firebase_farm", "firebase"),
    "ddp": _with_extra(f"{_ADAPTERS}.ddp.ddp_farm", "firebase"),
}


@asynccontextmanager
async def open_farms(farms: Sequence[FarmSettings], host: HostSettings) -> AsyncIterator[Mapping[str, Farm]]:
    """Opens the farms of an installation.

    Args:
        farms: what farms.yaml says of each.
        host: settings of this service.

    Yields:
        The farms by name.

    Raises:
        InvalidSetting: no adapter has such a kind, or what a farm needs is missing.
    """
    unknown = [farm for farm in farms if farm.kind not in FARMS]
    if unknown:
        raise InvalidSetting(
            f"farm {unknown[0].name!r} has kind {unknown[0].kind!r}", hint=f"there are adapters for {', '.join(FARMS)}"
        )
    async with AsyncExitStack() as stack:
        yield {farm.name: await stack.enter_async_context(FARMS[farm.kind](farm, host)) for farm in farms}
