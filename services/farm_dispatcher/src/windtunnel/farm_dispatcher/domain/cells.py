"""The cells of a run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from windtunnel.farms.failure_kinds import FailureKind
from windtunnel.farms.properties import PHONES, FarmProperties

# How a cell runs: the benchmark program by itself, or inside the app.
RunAs = Literal["executable", "app"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One (variant, device, OS, accelerator, threads) of a run.

    `skip_reason` is not empty where the farm cannot run it, and `skip_kind` is its kind; its other fields then say what
    was asked for, empty where anything would have done.
    """

    id: str
    variant: str
    farm: str
    device: str
    platform: str
    os_version: str
    accelerator: str
    threads: int
    skip_reason: str = ""
    # Shapes that the inputs are to have, by name; empty: the model's own, a dynamic dimension taken as 1.
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    # What its farm says of all its devices.
    farm_properties: FarmProperties = PHONES
    run_as: RunAs = "executable"
    skip_kind: FailureKind | None = None


def cell_id(run_id: str, variant: str, *fields: str | int) -> str:
    """The id of a cell, so that planning twice plans the same cells.

    Args:
        run_id: of the run.
        variant: its name.
        *fields: the cell's other fields.

    Returns:
        The same for the same fields.
    """
    text = "\0".join((run_id, variant, *map(str, fields)))
    return f"c-{hashlib.sha256(text.encode()).hexdigest()[:20]}"
