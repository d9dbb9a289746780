"""What is written down about a threshold."""

from __future__ import annotations

import importlib
import pkgutil
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

# "measured": a record of it exists. "derived": it follows from a format, a formula or another threshold. "chosen": no
# measurement set it. In docs/thresholds.md, a chosen value that a case limits counts as measured: how far each can be
# changed is in benchmarks/diagnosis/threshold_sweep.json.
Basis = Literal["measured", "derived", "chosen"]


@dataclass(frozen=True, slots=True)
class Threshold:
    """The annotation of a constant: `NAME: Annotated[float, Threshold(...)] = 1.1`.

    Args:
        unit: what the number counts, for example "nRMSE" or "samples".
        meaning: what the program concludes from a value on either side.
        basis: how well the value is founded.
        record: the measurement, the derivation, or the reason of the choice.
    """

    unit: str
    meaning: str
    basis: Basis
    record: str


def thresholds_of(module: types.ModuleType) -> Iterator[tuple[str, Any, Threshold]]:
    """The thresholds that a module defines.

    Args:
        module: a module of `windtunnel.diagnosis.thresholds`.

    Yields:
        Name, value and annotation of each, in the order of their definition.
    """
    hints: Mapping[str, Any] = typing.get_type_hints(module, include_extras=True)
    for name, hint in hints.items():
        for note in typing.get_args(hint)[1:]:
            if isinstance(note, Threshold):
                yield name, getattr(module, name), note


def threshold_modules() -> Iterator[types.ModuleType]:
    """The modules that define thresholds, in the order of their names."""
    for found in pkgutil.walk_packages([str(Path(__file__).parent)], f"{__package__}."):
        if not found.ispkg and found.name != __name__:
            yield importlib.import_module(found.name)
