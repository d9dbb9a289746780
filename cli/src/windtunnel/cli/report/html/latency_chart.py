"""The latency chart: minimum, p50, p95 and maximum of every cell on one scale, as inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from windtunnel.cli.report.formatting import clean, engine_of, is_number, measure, named, place_of, shorten
from windtunnel.cli.report.html import chart_scale
from windtunnel.cli.report.html.chart_scale import Scale
from windtunnel.cli.report.html.markup import NOTHING, Html, tag

_WIDTH = 1060
# Behind the marks is room for both figures and `unstable`.
_LEFT, _RIGHT = 190, 800
_ROW, _HEAD, _AXIS = 26, 30, 34
_FIGURES = ("min", "p50", "p95", "max")


@dataclass(frozen=True, slots=True)
class Row:
    """One cell. `style` is the variant's colour, `limits` its latency gates in ms by figure (p50, p95)."""

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
        """What cells of one block share."""
        return f"{place_of(self.cell)} · {engine_of(self.cell)}"


def latency_chart(rows: Sequence[Row]) -> Html:
    """The chart; nothing where no cell was planned."""
    if not rows:
        return NOTHING
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    values = [value for row in rows for value in row.figures.values()]
    along = chart_scale.fit(values, _LEFT, _RIGHT, whole_decades=False)
    height = len(groups) * _HEAD + len(rows) * _ROW + _AXIS
    drawn = []
    y = 0
    for name, members in groups.items():
        drawn.append(tag("text", shorten(name, 110), tag("title", name), x=0, y=y + 21, class_="group"))
        y += _HEAD
        for row in members:
            drawn.append(_row(row, along, y + _ROW / 2))
            y += _ROW
    axis = _axis(along, y) if values else NOTHING
    chart = tag(
        "svg",
        axis,
        *drawn,
        viewBox=f"0 0 {_WIDTH} {height}",
        role="img",
        class_="chart",
        aria_label="Latency of every cell in milliseconds",
    )
    return tag("div", chart, class_="scroll", tabindex="0")


def _axis(along: Scale, bottom: int) -> Html:
    lines = []
    for value in along.ticks():
        x = along.at(value)
        lines.append(tag("line", x1=x, x2=x, y1=_HEAD - 4, y2=bottom, class_="grid"))
        lines.append(tag("text", f"{chart_scale.label(value)}", x=x, y=bottom + 18, class_="tick middle"))
    lines.append(tag("text", "ms, logarithmic" if along.log else "ms", x=_RIGHT + 14, y=bottom + 18, class_="tick"))
    return tag("g", *lines)


def _row(row: Row, along: Scale, y: float) -> Html:
    label = tag("text", shorten(clean(row.variant), 24), x=_LEFT - 12, y=y + 4, class_="name end")
    figures = row.figures
    if "p50" not in figures:
        why = named(row.cell.get("reason") or row.cell.get("status"))
        text = f"{named(row.cell.get('status'))}: {why}" if row.cell.get("reason") else f"no figures: {why}"
        words = tag("text", shorten(text, 96), tag("title", text), x=_LEFT, y=y + 4, class_="quiet-text")
        return tag("g", label, words)
    said = f"p50 {measure(figures['p50'])}  p95 {measure(figures.get('p95'))}"
    if row.cell.get("unstable"):
        said += "  unstable"
    return tag(
        "g",
        tag("title", _words(row)),
        tag("rect", x=0, y=y - _ROW / 2, width=_WIDTH, height=_ROW, class_="strip"),
        label,
        *_marks(figures, along, y),
        *_limits(row, along, y),
        tag("text", said, x=_RIGHT + 14, y=y + 4, class_="name figures"),
        class_=row.style,
    )


def _marks(figures: Mapping[str, float], along: Scale, y: float) -> list[Html]:
    at = {name: along.at(value) for name, value in figures.items()}
    marks = []
    if "min" in at and "max" in at:
        marks.append(tag("line", x1=at["min"], x2=at["max"], y1=y, y2=y, class_="whisker"))
        marks += [tag("line", x1=at[end], x2=at[end], y1=y - 4, y2=y + 4, class_="whisker") for end in ("min", "max")]
    if "p95" in at:
        width = max(at["p95"] - at["p50"], 1)
        marks.append(tag("rect", x=at["p50"], y=y - 4, width=width, height=8, rx=2, class_="bar"))
    marks.append(tag("circle", cx=at["p50"], cy=y, r=5, class_="median"))
    return marks


def _limits(row: Row, along: Scale, y: float) -> list[Html]:
    """Ticks where a gate lies, as far as it is on the scale."""
    marks = []
    for name, limit in row.limits.items():
        if along.low <= limit <= along.high:
            over = row.figures.get(name, 0.0) > limit
            x = along.at(limit)
            title = tag("title", f"gate: {name} at most {limit:g} ms")
            kind = "gate over" if over else "gate"
            marks.append(tag("line", title, x1=x, x2=x, y1=y - 9, y2=y + 9, class_=kind))
    return marks


def _words(row: Row) -> str:
    latency = row.cell.get("latency_ms") or {}
    figures = ", ".join(f"{name} {measure(value)}" for name, value in row.figures.items())
    notes = [clean(text) for text in row.cell.get("warnings") or []]
    return "; ".join([f"{clean(row.variant)}: {figures} ms; {named(latency.get('samples'))} inferences", *notes])
