"""The devices of AWS Device Farm, as Windtunnel names them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from windtunnel.errors import FarmError
from windtunnel.farm_dispatcher.adapters.aws.client import DeviceFarmClient
from windtunnel.farm_dispatcher.domain.devices import Device, DeviceFacts
from windtunnel.farm_dispatcher.domain.farm_settings import AwsSettings
from windtunnel.farms.failure_kinds import FailureKind

# What can be asked for on a platform; cpu means no delegate.
ACCELERATORS: Final[Mapping[str, tuple[str, ...]]] = {
    "android": ("xnnpack", "cpu", "gpu", "nnapi"),
    "ios": ("xnnpack", "cpu", "gpu", "coreml"),
}
_SYSTEMS: Final = {"android": "Android", "ios": "iOS"}
_AVAILABILITY: Final = ("HIGHLY_AVAILABLE", "AVAILABLE", "BUSY", "TEMPORARY_NOT_AVAILABLE")
_AVAILABLE: Final = frozenset(_AVAILABILITY[:2])
# The list is asked for again after so long.
_FRESH_S: Final = 300.0


@dataclass
class Catalog:
    """The devices that a project sees.

    Attributes:
        client: of the service.
        settings: of the farm.
        clock: in seconds.
    """

    client: DeviceFarmClient
    settings: AwsSettings
    clock: Callable[[], float] = time.monotonic
    _known: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    _asked_at: float = float("-inf")

    async def devices(self) -> Sequence[Device]:
        """All devices that can be addressed.

        Returns:
            One for each name and OS version.
        """
        await self._ask()
        return [_device(self.settings, found) for found in self._known.values()]

    async def described(self, device: Device) -> Mapping[str, Any]:
        """What the service says of a device.

        Args:
            device: of this farm.

        Returns:
            As ListDevices shows it.

        Raises:
            FarmError: the service no longer has it.
        """
        key = (device.name, device.os_version)
        if key not in self._known:
            await self._ask(again=True)
        if key not in self._known:
            raise FarmError(
                f"AWS Device Farm has no device {device.name!r} with {device.platform} {device.os_version}",
                retryable=False,
                hint="list what it has: windtunnel devices --farm " + self.settings.name,
                kind=FailureKind.DEVICE,
            )
        return self._known[key]

    async def _ask(self, *, again: bool = False) -> None:
        if not again and self.clock() - self._asked_at < _FRESH_S:
            return
        found = await self.client.all_pages("list_devices", "devices", arn=self.settings.project)
        # The same name and OS may exist for several carriers: the one that is available most often stands for them.
        found.sort(key=_rank, reverse=True)
        self._known = {(one["name"], one["os"]): one for one in found if _is_usable(one)}
        self._known = dict(sorted(self._known.items(), key=lambda item: (item[1]["platform"], *item[0])))
        self._asked_at = self.clock()


def _is_usable(found: Mapping[str, Any]) -> bool:
    return all(found.get(name) for name in ("arn", "name", "os", "platform"))


def _rank(found: Mapping[str, Any]) -> tuple[int, str]:
    said = found.get("availability", "")
    return (_AVAILABILITY.index(said) if said in _AVAILABILITY else len(_AVAILABILITY), found.get("arn", ""))


def _device(settings: AwsSettings, found: Mapping[str, Any]) -> Device:
    platform = str(found["platform"]).lower()
    architecture = str((found.get("cpu") or {}).get("architecture") or "")
    return Device(
        farm=settings.name,
        name=found["name"],
        platform=platform,
        os_version=found["os"],
        accelerators=ACCELERATORS.get(platform, ("cpu",)),
        facts=device_facts(found),
        title=found["name"],
        maker=found.get("manufacturer", ""),
        form_factor=str(found.get("formFactor", "")).lower(),
        kind="physical",
        abis=_abis(platform, architecture),
        price_per_minute_usd=settings.price_per_minute_usd.get("physical"),
        available=found.get("availability", _AVAILABILITY[0]) in _AVAILABLE,
    )


def device_facts(found: Mapping[str, Any]) -> DeviceFacts:
    """The facts of a device.

    Args:
        found: as the service shows it.

    Returns:
        What it says. Its `memory` is that of the storage, not RAM, and is left out.
    """
    cpu = found.get("cpu") or {}
    platform = str(found.get("platform", "")).lower()
    return DeviceFacts(
        name=found.get("name", ""),
        cpu=str(cpu.get("architecture") or ""),
        os=_SYSTEMS.get(platform, platform),
        os_version=found.get("os", ""),
    )


def _abis(platform: str, architecture: str) -> tuple[str, ...]:
    if platform != "android":
        return ()
    known = {"arm64-v8a": ("arm64-v8a", "armeabi-v7a"), "aarch64": ("arm64-v8a", "armeabi-v7a")}
    if not architecture:
        return ("arm64-v8a", "armeabi-v7a")
    return known.get(architecture.lower(), (architecture,))
