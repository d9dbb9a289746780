"""The devices of Device Run's catalog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from windtunnel.farm_dispatcher.adapters.google_cloud.android_accelerators import ANDROID_ACCELERATORS
from windtunnel.farm_dispatcher.domain.devices import Device, DeviceFacts, DeviceKind
from windtunnel.farm_dispatcher.domain.farm_settings import FarmSettings

_KINDS: Final[Mapping[str, DeviceKind]] = {"PHYSICAL": "physical", "VIRTUAL": "virtual"}
# Android's name of an API level; the catalog gives levels.
_ANDROID: Final[Mapping[str, str]] = {
    "26": "8.0", "27": "8.1", "28": "9", "29": "10", "30": "11", "31": "12", "32": "12L", "33": "13", "34": "14",
    "35": "15", "36": "16", "37": "17",
}  # fmt: skip


def read_devices(listed: Sequence[Mapping[str, Any]], settings: FarmSettings) -> tuple[Device, ...]:
    """The Android devices that run executables.

    Args:
        listed: of `devices list`.
        settings: of the farm: its name and prices.

    Returns:
        One for each of the catalog; its name is the catalog's id, which has the version in it.
    """
    return tuple(_device(one, settings) for one in listed if one.get("platform") == "ANDROID" and _is_for_jobs(one))


def _is_for_jobs(listed: Mapping[str, Any]) -> bool:
    products = listed.get("supportedProducts")
    return not products or any("automation" in product for product in products)


def _device(listed: Mapping[str, Any], settings: FarmSettings) -> Device:
    name = str(listed["name"]).rpartition("/")[2]
    kind = _KINDS.get(str(listed.get("hardwareType", "")), "physical")
    level = str(listed.get("osVersion", ""))
    version = _ANDROID.get(level, level)
    abis = tuple(map(str, listed.get("androidDetails", {}).get("supportedAbis", ())))
    denied = bool(listed.get("accessDeniedReasons"))
    capacity = listed.get("availability", {}).get("capacity")
    return Device(
        farm=settings.name,
        name=name,
        platform="android",
        os_version=version,
        accelerators=ANDROID_ACCELERATORS[kind],
        facts=DeviceFacts(name, cpu=abis[0] if abis else "", os="Android", os_version=version),
        title=str(listed.get("displayName", name)),
        maker=str(listed.get("manufacturer", "")),
        form_factor=str(listed.get("formFactor", "")).lower(),
        kind=kind,
        abis=abis,
        price_per_minute_usd=settings.price_per_minute_usd.get(kind),
        available=not denied and capacity != "CAPACITY_NONE",
    )
