"""What a farm is: which app its devices run, whether they are emulated, whether their times count.

A farm's adapter states its properties, and every cell carries those of its farm. The table here is for those who have
a plan and no cell yet, and for events of writers that did not state them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class FarmProperties:
    """Properties that hold for every device of a farm.

    Attributes:
        platform: the platform of the app that all devices run: host, android or ios. Empty: each device has its own.
        emulated: the devices are emulated: they run what real ones run.
        times_count: latencies, initialization times and memory say something about the device. Otherwise they are
            not recorded, and no gate judges them.
    """

    platform: str = ""
    emulated: bool = False
    times_count: bool = True


# Phones: each says its own platform.
PHONES: Final = FarmProperties()
THIS_HOST: Final = FarmProperties(platform="host")
EMULATED_HOST: Final = FarmProperties(platform="host", emulated=True, times_count=False)

# The farms that a plan may name.
KNOWN_FARMS: Final[Mapping[str, FarmProperties]] = MappingProxyType(
    {
        "local": THIS_HOST,
        "arm": EMULATED_HOST,
        "adb": PHONES,
        "firebase": PHONES,
        "ddp": PHONES,
        "aws": PHONES,
    }
)


def properties_of(farm: str) -> FarmProperties:
    """What is known of a farm by its name.

    Args:
        farm: its name.

    Returns:
        Those of a farm with phones if the name is not known.
    """
    return KNOWN_FARMS.get(farm, PHONES)
