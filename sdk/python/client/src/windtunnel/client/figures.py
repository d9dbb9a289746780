"""Figures of a report by their path, such as `variants[int8].accuracy`.

Names are joined by dots. An entry of a list is named in brackets: a variant by its name, a gate by its gate, a cell by
its id or by its label, `farm/device/os_version/accelerator/threads`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from windtunnel.errors import InvalidInput

_STEP: Final = re.compile(r"\.?([A-Za-z_][A-Za-z0-9_]*)|\[([^\]]+)\]")
# Cells of two runs or variants with the same values of these are the same cell: ids differ between runs.
CELL_IDENTITY: Final = ("farm", "device", "platform", "os_version", "accelerator", "threads")
_LABEL: Final = ("farm", "device", "os_version", "accelerator", "threads")
# Keys that name an entry of a list.
_KEYS: Final = ("name", "gate", "id")


class Missing(Exception):
    """A report has nothing at a path."""


def parse_path(path: str) -> list[str]:
    """The steps of a path.

    Args:
        path: such as `variants[int8].accuracy`.

    Returns:
        Names and keys.

    Raises:
        InvalidInput: it is not a path.
    """
    steps: list[str] = []
    position = 0
    while position < len(path):
        match = _STEP.match(path, position)
        if match is None:
            raise InvalidInput(
                f"{path!r} is not a figure's path: {path[position:]!r} cannot be read",
                hint="such as variants[int8].accuracy",
            )
        steps.append(match[1] or match[2])
        position = match.end()
    if not steps:
        raise InvalidInput("the path of the figure is empty", hint="such as variants[int8].accuracy")
    return steps


def figure_at(report: Mapping[str, Any], path: Sequence[str]) -> float | None:
    """A figure of a report.

    Args:
        report: `windtunnel.report/1` document.
        path: its steps.

    Returns:
        None: it is not known.

    Raises:
        Missing: the path leads nowhere, or not to a figure.
    """
    value: Any = report
    for step in path:
        value = _step(value, step)
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        raise Missing
    return value


def _step(value: Any, step: str) -> Any:
    if isinstance(value, Mapping) and step in value:
        return value[step]
    if isinstance(value, list):
        for entry in value:
            if isinstance(entry, Mapping) and step in (*(entry.get(key) for key in _KEYS), cell_label(entry)):
                return entry
    raise Missing


def cell_label(cell: Mapping[str, Any]) -> str:
    """A cell for people.

    Args:
        cell: of a report.

    Returns:
        farm/device/os_version/accelerator/threads, without what is not known.
    """
    return "/".join(str(cell[key]) for key in _LABEL if cell.get(key) is not None)


def cell_identity(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    """The place and settings of a cell, without its id.

    Args:
        cell: of a report.

    Returns:
        The values of `CELL_IDENTITY`.
    """
    return tuple(cell.get(name) for name in CELL_IDENTITY)


def cell_sizes(cell: Mapping[str, Any]) -> tuple[tuple[int, ...], ...]:
    """The sizes of a cell's inputs.

    Runs and variants may name their inputs differently; equal sizes mean equal work.

    Args:
        cell: of a report.

    Returns:
        In a fixed order; empty if they are not known.
    """
    return tuple(sorted(tuple(shape) for shape in (cell.get("input_shapes") or {}).values()))
