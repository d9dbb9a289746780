"""What a phone says of itself: model, maker, system, processor, accelerators."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from windtunnel.farm_dispatcher.domain.devices import Device, DeviceFacts, DeviceKind

_PROPERTY: Final = re.compile(r"\[([^]]+)]: \[(.*)]")
_MEMORY: Final = re.compile(r"MemTotal:\s+(\d+) kB")
_CORES: Final = re.compile(r"cores (?:\d+-)?(\d+)$", re.MULTILINE)
# What the runtime's delegates load; a phone that has none of a row's files does not have that accelerator.
_LIBRARIES: Final[Mapping[str, Sequence[str]]] = {
    "gpu": (
        "/vendor/lib64/libOpenCL.so",
        "/system/vendor/lib64/libOpenCL.so",
        "/vendor/lib64/libOpenCL-pixel.so",
        "/vendor/lib64/egl/libGLES_mali.so",
        "/vendor/lib/libOpenCL.so",
    ),
    "nnapi": (
        "/apex/com.android.neuralnetworks/lib64/libneuralnetworks.so",
        "/system/lib64/libneuralnetworks.so",
        "/system/lib/libneuralnetworks.so",
    ),
}
_ALL: Final = " ".join(path for paths in _LIBRARIES.values() for path in paths)
# One command for everything: each costs a round trip.
FACTS_COMMAND: Final = (
    "getprop; cat /proc/meminfo; echo cores $(cat /sys/devices/system/cpu/possible); "
    f"for file in {_ALL}; do [ -e $file ] && echo has $file; done; true"
)
_FORM_FACTORS: Final = {"tablet": "tablet", "watch": "wearable", "tv": "tv", "automotive": "automotive"}


@dataclass(frozen=True, slots=True)
class PhoneFacts:
    """What FACTS_COMMAND printed."""

    properties: Mapping[str, str]
    memory_bytes: int | None
    cores: int | None
    accelerators: tuple[str, ...]

    @property
    def name(self) -> str:
        """The model, which phones of one kind share."""
        return self._first("ro.product.model", "ro.product.device") or "unknown"

    @property
    def os_version(self) -> str:
        """Of Android."""
        return self._first("ro.build.version.release")

    @property
    def is_virtual(self) -> bool:
        """Whether it is an emulator."""
        return self._first("ro.kernel.qemu", "ro.boot.qemu") == "1"

    @property
    def soc(self) -> str:
        """The chip, as far as the phone names it."""
        return self._first("ro.soc.model", "ro.board.platform", "ro.hardware")

    @property
    def abis(self) -> tuple[str, ...]:
        """Of programs, the preferred one first."""
        found = self._first("ro.product.cpu.abilist", "ro.product.cpu.abi")
        return tuple(abi for abi in found.split(",") if abi)

    def _first(self, *names: str) -> str:
        return next((value for name in names if (value := self.properties.get(name, ""))), "")

    def device(self, farm: str, prices: Mapping[str, Decimal], *, available: bool) -> Device:
        """The phone as a device of its farm.

        Args:
            farm: its name.
            prices: per minute, by kind.
            available: whether it can be used now.

        Returns:
            The device.
        """
        maker = self._first("ro.product.manufacturer", "ro.product.brand")
        kind: DeviceKind = "virtual" if self.is_virtual else "physical"
        shown = self.name if self.name.lower().startswith(maker.lower()) else f"{maker} {self.name}"
        chip = " ".join(filter(None, (self._first("ro.soc.manufacturer"), self.soc)))
        return Device(
            farm=farm,
            name=self.name,
            platform="android",
            os_version=self.os_version,
            accelerators=self.accelerators,
            facts=DeviceFacts(self.name, chip, self.cores, self.memory_bytes, "Android", self.os_version),
            title=shown.strip(),
            maker=maker,
            form_factor=_form_factor(self._first("ro.build.characteristics")),
            kind=kind,
            soc=self.soc,
            abis=self.abis,
            price_per_minute_usd=prices.get(kind),
            available=available,
        )


def parse_facts(text: str) -> PhoneFacts:
    """Reads the output of FACTS_COMMAND.

    Args:
        text: what was printed.

    Returns:
        The facts.
    """
    properties = dict(_PROPERTY.findall(text))
    memory, cores = _MEMORY.search(text), _CORES.search(text)
    has = {line.removeprefix("has ") for line in text.splitlines() if line.startswith("has /")}
    more = tuple(name for name, paths in _LIBRARIES.items() if has.intersection(paths))
    return PhoneFacts(
        properties=properties,
        memory_bytes=int(memory[1]) << 10 if memory else None,
        cores=int(cores[1]) + 1 if cores else None,
        accelerators=("xnnpack", "cpu", *more),
    )


def _form_factor(characteristics: str) -> str:
    words = characteristics.split(",")
    return next((name for word, name in _FORM_FACTORS.items() if word in words), "phone")
