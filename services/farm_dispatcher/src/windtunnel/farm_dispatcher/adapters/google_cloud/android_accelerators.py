"""What Android devices of Google's farms can be asked for: the catalogs do not list it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from windtunnel.farm_dispatcher.domain.devices import DeviceKind

# Virtual devices have no GPU and no accelerator of their own.
ANDROID_ACCELERATORS: Final[Mapping[DeviceKind, tuple[str, ...]]] = MappingProxyType(
    {
        "physical": ("xnnpack", "cpu", "gpu", "nnapi"),
        "virtual": ("xnnpack", "cpu"),
    }
)
