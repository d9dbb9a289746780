"""Thresholds of the diagnosis library with other values: which there are, who reads them, and changing one."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any, TypeVar

import windtunnel.diagnosis
from windtunnel.diagnosis.thresholds import apps, confidences
from windtunnel.diagnosis.thresholds.threshold import threshold_modules, thresholds_of

Result = TypeVar("Result")
PACKAGE = "windtunnel.diagnosis"
# What a value is multiplied by, one step after another, and divided by.
FACTORS = (1.1, 1.25, 1.5, 2.0, 4.0, 10.0)


def known_thresholds() -> dict[str, Any]:
    """Every threshold about two models by its name, with its value.

    No confidences: nothing is compared with them. No thresholds about apps: benchmarks/app_diagnosis has their cases.
    """
    modules = (
        module
        for module in threshold_modules()
        if module is not confidences and not module.__name__.startswith(apps.__name__)
    )
    return {name: value for module in modules for name, value, _ in thresholds_of(module)}


def load_everything() -> None:
    """Imports every module of the library, so that `changed` reaches all of them."""
    root = Path(windtunnel.diagnosis.__path__[0])
    for path in sorted(root.rglob("*.py")):
        inside = path.relative_to(root).with_suffix("").parts
        importlib.import_module(".".join((PACKAGE, *inside)).removesuffix(".__init__"))


def readers(name: str, value: Any) -> list[ModuleType]:
    """The loaded modules that have the threshold as a global of its name."""
    return [
        module
        for found, module in list(sys.modules.items())
        if found.startswith(f"{PACKAGE}.") and vars(module).get(name) is value
    ]


@contextmanager
def changed(name: str, value: Any, other: Any) -> Iterator[None]:
    """Gives a threshold another value in every module that reads it, until the block ends.

    Args:
        name: of the threshold.
        value: the value that it has; modules in which the name means something else are left alone.
        other: the value for the block.

    Raises:
        LookupError: no module has the threshold.
    """
    modules = readers(name, value)
    if not modules:
        raise LookupError(f"no module of {PACKAGE} has {name} = {value!r}")
    for module in modules:
        setattr(module, name, other)
    try:
        yield
    finally:
        for module in modules:
            setattr(module, name, value)


def values_beside(value: Any, *, up: bool, factors: tuple[float, ...] = FACTORS) -> list[tuple[float, Any]]:
    """Other values of a threshold, the nearest first, each with its factor; whole numbers stay whole and above 0."""
    found: list[tuple[float, Any]] = []
    base = 1.0 if beside_one(value) else 0.0
    for factor in factors:
        by = factor if up else 1.0 / factor
        other = _times(value, by, base)
        if isinstance(value, int):
            # The nearest other number comes first, however small the value.
            if not found and abs(other - value) > 1:
                found.append(((value + (1 if up else -1)) / value, value + (1 if up else -1)))
            by = other / value
        if other != value and (not found or other != found[-1][1]):
            found.append((by, other))
    return found


def beside_one(value: Any) -> bool:
    """Whether a threshold is a ratio close to 1: then its distance to 1 is multiplied."""
    parts = tuple(value.values()) if isinstance(value, Mapping) else value if isinstance(value, tuple) else (value,)
    return any(isinstance(part, float) and 0.8 < part < 1.2 and part != 1.0 for part in parts)


def _times(value: Any, factor: float, base: float) -> Any:
    if isinstance(value, Mapping):
        return {key: _times(one, factor, base) for key, one in value.items()}
    if isinstance(value, tuple):
        return tuple(_times(one, factor, base) for one in value)
    return max(1, round(value * factor)) if isinstance(value, int) else base + (value - base) * factor


def executed(act: Callable[[], Result]) -> tuple[Result, set[CodeType]]:
    """What a function gives, and the code of the library that ran meanwhile, in any thread."""
    codes: set[CodeType] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            codes.add(frame.f_code)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        result = act()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return result, {code for code in codes if "/windtunnel/diagnosis/" in code.co_filename}


def names_in(codes: Iterable[CodeType], names: Container[str]) -> set[str]:
    """Which of the names some code reads."""
    return {name for code in codes for name in code.co_names if name in names}
