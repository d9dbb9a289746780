"""The section of a page on latency: the chart, and every cell with all that was measured on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from windtunnel.cli.report.cell_bests import CellBests, cell_figure
from windtunnel.cli.report.farm_runs import dollars, job_words, status_words, web_link
from windtunnel.cli.report.formatting import (
    UNKNOWN,
    engine_of,
    entries,
    gates_of,
    is_number,
    measure,
    named,
    nodes_of,
    part,
    place_of,
    shorten,
)
from windtunnel.cli.report.html.latency_chart import Row, latency_chart
from windtunnel.cli.report.html.rendering import render
from windtunnel.input_shapes import shapes_words

_CELLS_SHOWN = 24
_KEY = "Line: minimum to maximum. Bar: p50 to p95. Dot: p50. Vertical tick: the gate's limit, red if it is exceeded."


@dataclass(frozen=True, slots=True)
class CellFigure:
    """A figure of a cell; `is_best`: of all variants on this cell."""

    shown: str
    is_best: bool = False


@dataclass(frozen=True, slots=True)
class CellRow:
    """A cell: where it ran, what carried it, its status, and its figures. `url`: of the farm run; empty: no link."""

    style: str
    variant: str
    device: str
    engine: str
    inputs: str
    status: str
    status_style: str
    reason: str
    job: str
    url: str
    cost: str
    warnings: Sequence[str]
    nodes: str
    figures: Sequence[CellFigure]


def latency(variants: Sequence[Mapping[str, Any]]) -> Markup:
    """The section on latency.

    Args:
        variants: of a report.

    Returns:
        The section; empty if no cell was planned.
    """
    rows = [
        Row(str(variant.get("name")), f"v{index % 8}", cell, _limits(variant))
        for index, variant in enumerate(variants)
        for cell in entries(variant, "cells")
    ]
    if not rows:
        return Markup()
    bests = CellBests(variants)
    return render(
        "latency_section.html.j2",
        chart=latency_chart(rows) if any(row.figures for row in rows) else Markup(),
        key=_KEY,
        cells=[_cell_row(row, bests) for row in rows],
        is_folded=len(rows) > _CELLS_SHOWN,
        warned=sum(bool(entries(row.cell, "warnings")) for row in rows),
    )


def _limits(variant: Mapping[str, Any]) -> dict[str, float]:
    """Limits of gates on latency, in ms, by figure."""
    found = {}
    for entry, gate in zip(entries(variant, "gates"), gates_of(variant), strict=True):
        if gate.column in ("p50", "p95") and is_number(entry.get("limit")):
            found[gate.column] = float(entry["limit"])
    return found


def _cell_row(row: Row, bests: CellBests) -> CellRow:
    cell = row.cell
    shapes = part(cell, "input_shapes")
    status, style = _status(cell)
    return CellRow(
        style=row.style,
        variant=shorten(named(row.variant), 40),
        device=place_of(cell),
        engine=engine_of(cell),
        inputs=shapes_words(shapes) if shapes else UNKNOWN,
        status=status,
        status_style=style,
        reason=cell.get("reason") or "",
        job=job_words(cell),
        url=web_link(cell.get("url")),
        cost=dollars(cell.get("cost_usd")),
        warnings=entries(cell, "warnings"),
        nodes=nodes_of(cell),
        figures=_figures(cell, bests),
    )


def _status(cell: Mapping[str, Any]) -> tuple[str, str]:
    """The status of a cell, and the class that colors it."""
    if cell.get("unstable"):
        return "unstable", "warn"
    status = cell.get("status")
    return status_words(cell) or UNKNOWN, {"measured": "good", "failed": "bad"}.get(str(status), "warn")


def _figures(cell: Mapping[str, Any], bests: CellBests) -> list[CellFigure]:
    """In the order of the table's heads."""
    latency = part(cell, "latency_ms")

    def ranked(*path: str) -> CellFigure:
        return CellFigure(measure(cell_figure(cell, path)), bests.is_best(cell, path))

    return [
        ranked("latency_ms", "p50"),
        ranked("latency_ms", "p95"),
        *(CellFigure(measure(latency.get(key))) for key in ("mean", "min", "max", "std")),
        CellFigure(named(latency.get("samples"))),
        CellFigure(measure(cell.get("init_ms"))),
        ranked("memory_mb"),
        CellFigure(named(cell.get("attempts"))),
    ]
