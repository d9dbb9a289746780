"""The devices of farms: which of them a filter means, and as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from windtunnel.accelerators import spelled_in_cells
from windtunnel.enum_words import DEVICE_KIND, PLATFORM

if TYPE_CHECKING:
    from windtunnel.v1.farm_dispatcher_pb2 import Device

_MICROS = 1_000_000


@dataclass(frozen=True, slots=True)
class DeviceFilter:
    """Which devices are listed. Empty or None: any.

    Attributes:
        platform: host, android or ios.
        os_version: as in a plan: 14 means 14.1 too.
        kind: physical, virtual, emulated or host.
        accelerator: in any spelling.
        name: a part of what the device is called, of its maker or of its system on a chip, in any case.
        available: only those that can be used now.
        max_price: in US dollars for a started minute.
    """

    platform: str = ""
    os_version: str = ""
    kind: str = ""
    accelerator: str = ""
    name: str = ""
    available: bool = False
    max_price: Decimal | None = None

    def takes(self, device: dict[str, Any]) -> bool:
        """Whether a device is listed.

        Args:
            device: as `device_document` describes it.

        Returns:
            True: it is.
        """
        price = Decimal(str(device["price_per_minute_usd"] or 0))
        names = (device["device"], device["name"], device["maker"] or "", device["soc"] or "")
        called = " ".join(names).casefold()
        system = device["os_version"]
        return (
            self.platform in ("", device["platform"])
            and self.kind in ("", device["kind"])
            and (self.os_version in ("", system) or system.startswith(f"{self.os_version}."))
            and (not self.accelerator or spelled_in_cells(self.accelerator) in device["accelerators"])
            and all(word in called for word in self.name.casefold().split())
            and (device["available"] or not self.available)
            and (self.max_price is None or price <= self.max_price)
        )


def device_documents(devices: Iterable[Device], wanted: DeviceFilter) -> list[dict[str, Any]]:
    """Devices as `devices --json` lists them.

    Args:
        devices: as a farm dispatcher answers.
        wanted: which of them.

    Returns:
        One object for each, in their order.
    """
    return [document for document in map(device_document, devices) if wanted.takes(document)]


def device_document(device: Device) -> dict[str, Any]:
    """A device as `devices --json` lists it.

    Args:
        device: as a farm dispatcher answers.

    Returns:
        Its fields; null is what the farm does not say.
    """
    platform = PLATFORM.read(device.device_platform, device.platform)
    return {
        "farm": device.farm,
        "device": device.name,
        "name": device.title or device.name,
        "maker": device.maker or None,
        "platform": platform,
        "os_version": device.os_version,
        "form_factor": device.form_factor or None,
        # Older services list phones and this host, and do not say which.
        "kind": DEVICE_KIND.read(device.kind, "host" if platform == "host" else "physical"),
        "soc": device.soc or None,
        "accelerators": list(device.accelerators),
        "price_per_minute_usd": device.price_micro_usd / _MICROS if device.HasField("price_micro_usd") else None,
        "available": not device.unavailable,
    }
