"""Accelerators of `kernels`: which implementation of the ops runs, and on which processor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

from windtunnel.arm_emulator import CPUS
from windtunnel.errors import InvalidInput
from windtunnel.tflite import Accelerator

# The order of trust if two accelerators disagree: the reference kernels define what an op means.
_X86: Final[tuple[Accelerator, ...]] = ("none", "reference", "xnnpack")
DEFAULT: Final = ("none", "reference", "xnnpack")


@dataclass(frozen=True, slots=True)
class Kernel:
    """What runs the ops.

    `accelerator` is none (the runtime's optimized kernels), reference or xnnpack. `cpu` is the emulated ARM CPU; None:
    this machine's own.
    """

    name: str
    accelerator: Accelerator
    cpu: str | None = None


def parse_kernel(text: str) -> Kernel:
    """Reads the name of an accelerator.

    Args:
        text: `none`, `reference`, `xnnpack`, `arm:CPU` (what an app gets there: XNNPACK) or `arm:CPU:none`.

    Returns:
        The accelerator.

    Raises:
        InvalidInput: it is not known; the hint lists what there is.
    """
    place, _, rest = text.partition(":")
    cpu, _, accelerator = rest.partition(":")
    if place == "arm" and cpu in CPUS and (accelerator or "xnnpack") in _X86:
        return Kernel(text, cast(Accelerator, accelerator or "xnnpack"), cpu)
    if text in _X86:
        return Kernel(text, text)
    known = ", ".join((*_X86, *(f"arm:{cpu}" for cpu in CPUS)))
    raise InvalidInput(f"unknown accelerator {text!r}", hint=f"use {known}; arm also as arm:{CPUS[0]}:none")


def parse_kernels(texts: Sequence[str]) -> tuple[Kernel, ...]:
    """Reads the names of accelerators.

    Args:
        texts: without any, those of this machine.

    Returns:
        Each once.

    Raises:
        InvalidInput: one is not known.
    """
    return tuple(parse_kernel(text) for text in dict.fromkeys(texts or DEFAULT))
