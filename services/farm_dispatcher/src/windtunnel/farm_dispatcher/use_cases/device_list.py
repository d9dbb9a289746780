"""The devices of a farm, asked for at most every so often."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from windtunnel.farm_dispatcher.domain.devices import Device
from windtunnel.farm_dispatcher.domain.farm import Farm

_FRESH_S: Final = 60.0


class DeviceList:
    """The devices of a farm.

    Args:
        farm: that offers them.
        fresh_s: how long an answer counts, in seconds.
    """

    def __init__(self, farm: Farm, *, fresh_s: float = _FRESH_S) -> None:
        self._farm = farm
        self._fresh_s = fresh_s
        self._devices: Mapping[tuple[str, str], Device] = {}
        self._asked = float("-inf")

    async def find(self, name: str, os_version: str) -> Device | None:
        """A device as the farm offers it.

        Args:
            name: as the farm knows it.
            os_version: of the device.

        Returns:
            None: the farm does not have it now.

        Raises:
            FarmError: the farm does not answer.
        """
        known = self._devices.get((name, os_version))
        if known is None or not known.available or time.monotonic() - self._asked > self._fresh_s:
            await self._ask()
        return self._devices.get((name, os_version))

    async def _ask(self) -> None:
        devices = await self._farm.devices()
        self._devices = {(device.name, device.os_version): device for device in devices}
        self._asked = time.monotonic()
