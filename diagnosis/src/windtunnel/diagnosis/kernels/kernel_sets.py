"""Kernel sets: which implementation of the ops runs, and on what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

from windtunnel.arm_emulator import CPUS
from windtunnel.errors import InvalidInput
from windtunnel.tflite import Accelerator

# The order of trust where two kernel sets stand against each other: the plain kernels define what an op means.
_X86: Final[tuple[Accelerator, ...]] = ("none", "reference", "xnnpack")
DEFAULT: Final = ("none", "reference", "xnnpack")


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel set. `accelerator` is none (the runtime's optimised kernels), reference or xnnpack; `cpu` is the
    emulated ARM CPU, None for this machine's own.
    """

    name: str
    accelerator: Accelerator
    cpu: str | None = None


def parse_kernel(text: str) -> Kernel:
    """`none`, `reference`, `xnnpack`, `arm:CPU` (what an app gets there: XNNPACK) or `arm:CPU:none`.

    Raises InvalidInput that lists what there is.
    """
    place, _, rest = text.partition(":")
    cpu, _, accelerator = rest.partition(":")
    if place == "arm" and cpu in CPUS and (accelerator or "xnnpack") in _X86:
        return Kernel(text, cast(Accelerator, accelerator or "xnnpack"), cpu)
    if text in _X86:
        return Kernel(text, text)
    known = ", ".join((*_X86, *(f"arm:{cpu}" for cpu in CPUS)))
    raise InvalidInput(f"unknown kernel set {text!r}", hint=f"use {known}; arm also as arm:{CPUS[0]}:none")


def parse_kernels(texts: Sequence[str]) -> tuple[Kernel, ...]:
    """The kernel sets that are named, each once; without any, those of this machine. Raises InvalidInput."""
    return tuple(parse_kernel(text) for text in dict.fromkeys(texts or DEFAULT))
