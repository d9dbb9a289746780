"""Devices that farms offer."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

DeviceKind = Literal["physical", "virtual", "emulated", "host"]


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What is known about a device; empty or None: not known. Nodes are those of the model that it ran."""

    name: str
    cpu: str = ""
    cores: int | None = None
    memory_bytes: int | None = None
    os: str = ""
    os_version: str = ""
    # Inference runtime and its version, for example "ai-edge-litert 2.3.0".
    runtime: str = ""
    nodes_delegated: int | None = None
    nodes_total: int | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """A device that a farm offers now; one that exists with several OS versions is several devices of one name.

    `name` is what plans call it, `title` what people do. `platform` is host, android or ios; `accelerators` are those
    that can be asked for, cpu meaning no delegate. `abis`: of the programs that it runs, the preferred one first.
    Empty or None: not known. `price_per_minute_usd` None: it costs nothing.
    """

    farm: str
    name: str
    platform: str
    os_version: str
    accelerators: tuple[str, ...]
    facts: DeviceFacts
    title: str = ""
    maker: str = ""
    form_factor: str = ""
    kind: DeviceKind = "physical"
    soc: str = ""
    abis: tuple[str, ...] = ()
    price_per_minute_usd: Decimal | None = None
    available: bool = True
    # How many of them the farm has, as far as it is known.
    instances: int = 1
