"""Accelerators of `kernels`: which implementation of the ops runs, and on which processor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from windtunnel.accelerators import BUILTIN, REFERENCE, XNNPACK, Accelerator, accelerator_name, spelled_in_comparisons
from windtunnel.arm_emulator import CPUS
from windtunnel.errors import InvalidInput

# The order of trust if two accelerators disagree: the reference kernels define what an op means.
_X86: Final[tuple[Accelerator, ...]] = (BUILTIN, REFERENCE, XNNPACK)
DEFAULT: Final = tuple(map(spelled_in_comparisons, _X86))


@dataclass(frozen=True, slots=True)
class Kernel:
    """What runs the ops.

    `name` is as documents spell it (`spelled_in_comparisons`). `cpu` is the emulated ARM CPU; None: this machine's own.
    """

    name: str
    accelerator: Accelerator
    cpu: str | None = None


def parse_kernel(text: str) -> Kernel:
    """Reads the name of an accelerator.

    Args:
        text: `builtin`, `reference`, `xnnpack`, `arm:CPU` (what an app gets there: XNNPACK), `arm:CPU:builtin` or
            `arm:CPU:reference`; in any spelling of `windtunnel.accelerators`.

    Returns:
        The accelerator.

    Raises:
        InvalidInput: it is not known; the hint lists what there is.
    """
    place, _, rest = text.partition(":")
    cpu, _, accelerator = rest.partition(":")
    if place == "arm" and cpu in CPUS and (name := accelerator_name(accelerator or XNNPACK)) in _X86:
        return Kernel(spelled_in_comparisons(text), name, cpu)
    if (name := accelerator_name(text)) in _X86:
        return Kernel(spelled_in_comparisons(text), name)
    known = ", ".join((*_X86, *(f"arm:{cpu}" for cpu in CPUS)))
    raise InvalidInput(
        f"unknown accelerator {text!r}", hint=f"use {known}, arm:{CPUS[0]}:{BUILTIN} or arm:{CPUS[0]}:reference"
    )


def parse_kernels(texts: Sequence[str]) -> tuple[Kernel, ...]:
    """Reads the names of accelerators.

    Args:
        texts: without any, those of this machine.

    Returns:
        Each once.

    Raises:
        InvalidInput: one is not known.
    """
    return tuple(dict.fromkeys(parse_kernel(text) for text in texts or DEFAULT))
