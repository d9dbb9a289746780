"""One vocabulary for what runs the ops of a model: an op resolver of the runtime, or a delegate.

    builtin    the runtime's optimized kernels, without a delegate
    reference  the runtime's plain reference kernels
    xnnpack    the builtin kernels with the XNNPACK delegate
    gpu, nnapi, coreml   delegates on phones

Documents keep the spelling in which they were promised: plans, cells and measurements call the builtin kernels `cpu`,
comparisons and layer logs call them `none`. People may write any spelling anywhere; texts for people say `builtin`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, cast

from windtunnel.errors import InvalidInput

# What the runtime has without a phone.
Accelerator = Literal["xnnpack", "builtin", "reference"]

BUILTIN: Final = "builtin"
REFERENCE: Final = "reference"
XNNPACK: Final = "xnnpack"

# Other spellings of each name. Case does not matter, nor whether words are joined by `-`, `_` or a space.
SPELLINGS: Final[Mapping[str, tuple[str, ...]]] = {
    BUILTIN: ("cpu", "none", "optimized", "builtin_without_default_delegates"),
    REFERENCE: ("ref", "builtin_ref"),
    XNNPACK: ("xnn",),
    "gpu": (),
    "nnapi": (),
    "coreml": ("core_ml",),
}
_NAMES: Final = {spelling: name for name, others in SPELLINGS.items() for spelling in (name, *others)}
# The member of the runtime's OpResolverType that each stands for.
_RESOLVERS: Final[Mapping[str, str]] = {
    XNNPACK: "BUILTIN",
    BUILTIN: "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
    REFERENCE: "BUILTIN_REF",
}
# The spelling in a plan, a cell and a measurement, and the one in a comparison and a layer log.
_IN_CELLS: Final = {BUILTIN: "cpu"}
_IN_COMPARISONS: Final = {BUILTIN: "none"}


def accelerator_name(text: str) -> str:
    """The name of an accelerator.

    Args:
        text: in any spelling.

    Returns:
        A text that is not known is returned as it is.
    """
    return _NAMES.get(text.strip().lower().replace("-", "_").replace(" ", "_"), text)


def parse_accelerator(text: str, among: Sequence[str]) -> str:
    """The name of an accelerator.

    Args:
        text: in any spelling.
        among: the names that are possible here.

    Returns:
        One of `among`.

    Raises:
        InvalidInput: it is not one of them.
    """
    name = accelerator_name(text)
    if name not in among:
        raise InvalidInput(f"unknown accelerator {text!r}", hint=f"use {', '.join(among)}")
    return name


def runtime_accelerator(text: str) -> Accelerator:
    """The name of an accelerator that the runtime has on this machine's processor.

    Args:
        text: in any spelling.

    Returns:
        One of `Accelerator`.

    Raises:
        InvalidInput: it is not one of them.
    """
    return cast(Accelerator, parse_accelerator(text, tuple(_RESOLVERS)))


def resolver_of(text: str) -> str:
    """The op resolver of the runtime that an accelerator stands for.

    Args:
        text: in any spelling.

    Returns:
        The name of a member of `OpResolverType`.

    Raises:
        InvalidInput: the runtime has none for it.
    """
    return _RESOLVERS[runtime_accelerator(text)]


def spelled_in_cells(text: str) -> str:
    """An accelerator as plans, cells and measurements spell it.

    Args:
        text: in any spelling.

    Returns:
        A text that is not known is returned as it is.
    """
    name = accelerator_name(text)
    return _IN_CELLS.get(name, name)


def spelled_in_comparisons(text: str) -> str:
    """An accelerator as comparisons, `kernels` and layer logs spell it.

    Args:
        text: in any spelling; also `arm:CPU:ACCELERATOR`, an accelerator on an emulated ARM CPU.

    Returns:
        A text that is not known is returned as it is.
    """
    place, separator, last = text.rpartition(":")
    if place.count(":") == 0 and separator:
        # `arm:CPU` alone names a CPU, not an accelerator.
        return text
    name = accelerator_name(last)
    return f"{place}{separator}{_IN_COMPARISONS.get(name, name)}"


def shown_accelerator(text: str) -> str:
    """An accelerator as texts for people name it.

    Args:
        text: in any spelling; also `arm:CPU:ACCELERATOR`.

    Returns:
        A text that is not known is returned as it is.
    """
    place, separator, last = text.rpartition(":")
    return text if separator and ":" not in place else f"{place}{separator}{accelerator_name(last)}"
