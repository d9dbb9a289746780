"""The best figure of all variants, compared within one cell: never across devices or threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from windtunnel.cli.report.formatting import entries, is_number, measure
from windtunnel.client.figures import cell_identity, cell_sizes

Cell = Mapping[str, Any]
Path = tuple[str, ...]


def cell_figure(cell: Cell, path: Path) -> float | None:
    """The figure of a cell at the end of a path of keys.

    Args:
        cell: of a report.
        path: keys from the cell to the figure.

    Returns:
        The figure; None if the cell does not have it.
    """
    value: Any = cell
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if is_number(value) else None


def worst_cell(cells: Sequence[Cell], path: Path) -> Cell | None:
    """The cell with the largest figure.

    Args:
        cells: of one variant.
        path: keys from a cell to the figure.

    Returns:
        The cell; None if no cell has that figure.
    """
    known = [(value, index) for index, cell in enumerate(cells) if (value := cell_figure(cell, path)) is not None]
    return cells[max(known)[1]] if known else None


class CellBests:
    """The cells of all variants, by where they ran.

    Args:
        variants: all variants of a report.
    """

    def __init__(self, variants: Sequence[Mapping[str, Any]]) -> None:
        self._groups: dict[tuple[Any, ...], list[Cell]] = {}
        for variant in variants:
            for cell in entries(variant, "cells"):
                if _can_be_compared(cell):
                    self._groups.setdefault(_key(cell), []).append(cell)

    def is_best(self, cell: Cell, path: Path) -> bool:
        """Whether no other variant has a smaller figure in the same cell, and some variant has a larger one.

        Figures that are shown with the same digits are equal. An unstable figure is neither best nor worst.

        Args:
            cell: one of the variants' cells.
            path: keys from a cell to the figure.
        """
        own = cell_figure(cell, path)
        if own is None or not _can_be_compared(cell):
            return False
        others = [cell_figure(one, path) for one in self._groups.get(_key(cell), ())]
        values = [value for value in others if value is not None]
        return len({measure(value) for value in values}) > 1 and measure(own) == measure(min(values))


def _can_be_compared(cell: Cell) -> bool:
    return not cell.get("unstable") and cell.get("shapes_known") is not False


def _key(cell: Cell) -> tuple[Any, ...]:
    return (cell_identity(cell), cell_sizes(cell))
