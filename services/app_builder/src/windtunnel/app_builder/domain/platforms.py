"""Which platforms a plan needs apps for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from windtunnel.app_builder.domain.app_package import Platform
from windtunnel.farms.properties import properties_of
from windtunnel.plan import DeviceFilter

_BY_NAME: Final = {platform.value: platform for platform in Platform}


def platforms_of(devices: Iterable[DeviceFilter]) -> tuple[Platform, ...]:
    """The platforms that device filters need.

    A filter on phones that names no platform means Android. A platform without an app gives nothing: the farm
    dispatcher plans no cell there that could run.

    Args:
        devices: filters of the plan.

    Returns:
        Each once, in their order.
    """
    needed: dict[Platform, None] = {}
    for wanted in devices:
        of_farm = properties_of(wanted.farm).platform
        names = (of_farm,) if of_farm else wanted.platform or (Platform.ANDROID,)
        needed.update(dict.fromkeys(_BY_NAME[name] for name in names if name in _BY_NAME))
    return tuple(needed)
