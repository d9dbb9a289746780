"""The latency chart: minimum, p50, p95 and maximum of every cell on one scale, as inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from windtunnel.cli.report.formatting import clean, engine_of, is_number, measure, named, place_of, shorten
from windtunnel.cli.report.html import chart_scale
from windtunnel.cli.report.html.chart_scale import Frame, Scale, Tick
from windtunnel.cli.report.html.rendering import render

_WIDTH = 1060
# To the right of the marks is room for both figures and `unstable`.
_LEFT, _RIGHT = 190, 800
_ROW, _HEAD, _AXIS = 26, 30, 34
_FIGURES = ("min", "p50", "p95", "max")


@dataclass(frozen=True, slots=True)
class Row:
    """One cell. `style` is the variant's color, `limits` its latency gates in ms by figure (p50, p95)."""

    variant: str
    style: str
    cell: Mapping[str, Any]
    limits: Mapping[str, float]

    @property
    def figures(self) -> dict[str, float]:
        """The figures of its latency that are known, in ms."""
        found = self.cell.get("latency_ms") or {}
        return {name: found[name] for name in _FIGURES if is_number(found.get(name))}

    @property
    def group(self) -> str:
        """The title of the block of cells."""
        return f"{place_of(self.cell)} · {engine_of(self.cell)}"


@dataclass(frozen=True, slots=True)
class GateMark:
    """A tick at the limit of a gate."""

    x: float
    words: str
    is_over: bool


@dataclass(frozen=True, slots=True)
class CellLine:
    """A cell in the chart: places of its figures by name, or in words why it has none."""

    y: float
    style: str
    variant: str
    words: str
    about: str
    at: Mapping[str, float]
    gates: Sequence[GateMark]


@dataclass(frozen=True, slots=True)
class Group:
    """Cells of one device and accelerator."""

    y: float
    name: str
    lines: Sequence[CellLine]


def latency_chart(rows: Sequence[Row]) -> Markup:
    """The chart of all cells on one scale.

    Args:
        rows: one per cell.

    Returns:
        Inline SVG; empty if no cell was planned.
    """
    if not rows:
        return Markup()
    values = [value for row in rows for value in row.figures.values()]
    along = chart_scale.fit(values, _LEFT, _RIGHT, whole_decades=False)
    groups, bottom = _groups(rows, along)
    return render(
        "latency_chart.svg.j2",
        frame=Frame(_WIDTH, bottom + _AXIS, _LEFT, _RIGHT, _HEAD - 4, bottom),
        row_height=_ROW,
        ticks=[Tick(along.at(value), chart_scale.label(value)) for value in along.ticks()] if values else [],
        unit="ms, logarithmic" if along.log else "ms",
        groups=groups,
    )


def _groups(rows: Sequence[Row], along: Scale) -> tuple[list[Group], int]:
    """The groups from top to bottom, and where the last one ends."""
    by_name: dict[str, list[Row]] = {}
    for row in rows:
        by_name.setdefault(row.group, []).append(row)
    groups, y = [], 0
    for name, members in by_name.items():
        first = y + _HEAD
        lines = [_line(row, along, first + (number + 0.5) * _ROW) for number, row in enumerate(members)]
        groups.append(Group(y + 21, name, lines))
        y = first + len(members) * _ROW
    return groups, y


def _line(row: Row, along: Scale, y: float) -> CellLine:
    variant, figures = shorten(clean(row.variant), 24), row.figures
    if "p50" not in figures:
        status = named(row.cell.get("status"))
        words = f"{status}: {named(row.cell['reason'])}" if row.cell.get("reason") else f"no figures: {status}"
        return CellLine(y, row.style, variant, words, words, {}, ())
    words = f"p50 {measure(figures['p50'])}  p95 {measure(figures.get('p95'))}"
    if row.cell.get("unstable"):
        words += "  unstable"
    at = {name: along.at(value) for name, value in figures.items()}
    return CellLine(y, row.style, variant, words, _words(row), at, _gates(row, along))


def _gates(row: Row, along: Scale) -> list[GateMark]:
    """The limits of gates that are on the scale."""
    return [
        GateMark(along.at(limit), f"gate: {name} at most {limit:g} ms", row.figures.get(name, 0.0) > limit)
        for name, limit in row.limits.items()
        if along.low <= limit <= along.high
    ]


def _words(row: Row) -> str:
    latency = row.cell.get("latency_ms") or {}
    figures = ", ".join(f"{name} {measure(value)}" for name, value in row.figures.items())
    notes = [clean(text) for text in row.cell.get("warnings") or []]
    return "; ".join([f"{clean(row.variant)}: {figures} ms; {named(latency.get('samples'))} inferences", *notes])
