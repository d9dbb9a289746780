"""The devices of Test Lab's catalog."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from windtunnel.farm_dispatcher.adapters.google_cloud.android_accelerators import ANDROID_ACCELERATORS
from windtunnel.farm_dispatcher.domain.devices import Device, DeviceFacts, DeviceKind
from windtunnel.farm_dispatcher.domain.farm_settings import FarmSettings

_KINDS: Final[Mapping[str, DeviceKind]] = {"PHYSICAL": "physical", "VIRTUAL": "virtual", "EMULATOR": "virtual"}


@dataclass(frozen=True, slots=True)
class Environment:
    """A device as Test Lab wants it named."""

    model: str
    version: str
    locale: str
    orientation: str

    @property
    def folder(self) -> str:
        """The beginning of the folder that its results have in the bucket."""
        return f"{self.model}-{self.version}-{self.locale}-{self.orientation}"


@dataclass(frozen=True, slots=True)
class Catalog:
    """The catalog: devices as plans see them, and by model and OS version as Test Lab does."""

    devices: tuple[Device, ...]
    environments: Mapping[tuple[str, str], Environment]


def read_catalog(answer: Mapping[str, Any], settings: FarmSettings) -> Catalog:
    """The Android devices of a catalog.

    Args:
        answer: of the service, for the environment ANDROID.
        settings: of the farm: its name and prices.

    Returns:
        One device for each model and version.
    """
    catalog = answer.get("androidDeviceCatalog", {})
    names = _version_names(catalog.get("versions", ()))
    runtime = catalog.get("runtimeConfiguration", {})
    locale = _default(runtime.get("locales", ()), "en")
    orientation = _default(runtime.get("orientations", ()), "portrait")
    devices, environments = [], {}
    for model in catalog.get("models", ()):
        for version in model.get("supportedVersionIds", ()):
            device = _device(model, str(version), names.get(str(version), str(version)), settings)
            devices.append(device)
            environments[device.name, device.os_version] = Environment(
                str(model["id"]), str(version), locale, orientation
            )
    return Catalog(tuple(devices), environments)


def _version_names(versions: Any) -> dict[str, str]:
    """By id ("34"), what people say ("14"). The catalog writes "14.x"; a name that two ids have says which."""
    spoken = {str(one["id"]): str(one.get("versionString", one["id"])).removesuffix(".x") for one in versions}
    often = Counter(spoken.values())
    return {key: name if often[name] == 1 else f"{name} (API {key})" for key, name in spoken.items()}


def _default(choices: Any, usual: str) -> str:
    found = [str(one["id"]) for one in choices if "default" in one.get("tags", ())]
    return found[0] if found else usual


def _device(model: Mapping[str, Any], version: str, os_version: str, settings: FarmSettings) -> Device:
    name, kind = str(model["id"]), _KINDS.get(str(model.get("form", "")), "physical")
    abis = tuple(map(str, model.get("supportedAbis", ())))
    return Device(
        farm=settings.name,
        name=name,
        platform="android",
        os_version=os_version,
        accelerators=ANDROID_ACCELERATORS[kind],
        facts=DeviceFacts(name, cpu=abis[0] if abis else "", os="Android", os_version=os_version),
        title=str(model.get("name", name)),
        maker=str(model.get("manufacturer", "")),
        form_factor=str(model.get("formFactor", "")).lower(),
        kind=kind,
        abis=abis,
        price_per_minute_usd=settings.price_per_minute_usd.get(kind),
        available=_is_available(model, version),
    )


def _is_available(model: Mapping[str, Any], version: str) -> bool:
    if model.get("accessDeniedReasons"):
        return False
    about = {str(one.get("versionId")): one for one in model.get("perVersionInfo", ())}.get(version, {})
    return bool(about.get("deviceCapacity") != "DEVICE_CAPACITY_NONE")
