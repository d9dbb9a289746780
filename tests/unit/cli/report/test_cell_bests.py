"""The best of all variants is found within one cell, never across devices or threads."""

from __future__ import annotations

from typing import Any

import pytest

from support import reports
from windtunnel.cli.report.cell_bests import CellBests, worst_cell

P50 = ("latency_ms", "p50")


def variants(*cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": f"v{number}", "cells": found} for number, found in enumerate(cells)]


def test_the_smallest_figure_of_a_cell_is_the_best() -> None:
    slow, fast = reports.cell(4.0), reports.cell(2.0)
    bests = CellBests(variants([slow], [fast]))
    assert (bests.is_best(slow, P50), bests.is_best(fast, P50)) == (False, True)


@pytest.mark.parametrize(
    "other",
    [
        {"threads": 4},
        {"device": "pixel"},
        {"accelerator": "cpu"},
        {"farm": "arm"},
        {"os_version": "13"},
        {"input_shapes": {"x": [1, 224, 224, 3]}},
    ],
)
def test_other_cells_do_not_count(other: dict[str, Any]) -> None:
    own, elsewhere = reports.cell(2.0), reports.cell(4.0, **other)
    assert not CellBests(variants([own], [elsewhere])).is_best(own, P50)


@pytest.mark.parametrize("flaw", [{"unstable": True}, {"shapes_known": False}])
def test_a_figure_that_cannot_be_trusted_is_neither_best_nor_worst(flaw: dict[str, Any]) -> None:
    sure, doubtful = reports.cell(2.0), reports.cell(1.0, **flaw)
    bests = CellBests(variants([sure], [doubtful]))
    assert not bests.is_best(doubtful, P50) and not bests.is_best(sure, P50)


def test_figures_that_look_the_same_are_equal() -> None:
    cells = [reports.cell(p50) for p50 in (2.001, 2.002, 3.0)]
    bests = CellBests(variants(*([cell] for cell in cells)))
    assert [bests.is_best(cell, P50) for cell in cells] == [True, True, False]
    assert not any(CellBests(variants(*([cell] for cell in cells[:2]))).is_best(cell, P50) for cell in cells[:2])


def test_the_worst_cell_has_the_largest_figure() -> None:
    cells = [reports.cell(None), reports.cell(2.0), reports.cell(4.0, threads=4)]
    assert worst_cell(cells, P50) is cells[2]
    assert worst_cell(cells[:1], P50) is None
