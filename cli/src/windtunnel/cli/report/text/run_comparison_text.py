"""Comparisons and histories of runs for the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.text import Text

from windtunnel.cli.report.formatting import UNKNOWN, clean, measure, named, share, shorten
from windtunnel.cli.report.text.layout import heading, line, new_table, verdict_words

if TYPE_CHECKING:
    from windtunnel.client import Comparison, History
    from windtunnel.client.comparison import Row

_TITLES: Final = {
    "accuracy": "accuracy",
    "accuracy_drop": "accuracy drop",
    "loss": "loss",
    "agreement": "agreement",
    "size_bytes": "size, MB",
    "layers.max_nrmse": "max layer nRMSE",
    "latency_ms.p50": "p50, ms",
    "latency_ms.p95": "p95, ms",
    "init_ms": "init, ms",
    "memory_mb": "memory, MB",
}
_IN_PERCENT: Final = ("size_bytes", "latency_ms.p50", "latency_ms.p95", "init_ms", "memory_mb")
_BARS: Final = "▁▂▃▄▅▆▇█"


def render_comparison(comparison: Comparison, console: Console) -> None:
    """Prints a comparison: the runs, then a table per variant and cell.

    Args:
        comparison: of runs.
        console: where it is printed.
    """
    for number, run in enumerate(comparison.runs, start=1):
        title = Text(f"{number}  ")
        title.append_text(verdict_words(run.verdict))
        title.append(f"  {named(run.model)} {named(run.version)}  {run.run_id}")
        for name, value in run.labels.items():
            title.append(f"  {clean(name)}={clean(value)}", style="dim")
        console.print(title)
    for note in comparison.notes:
        line(console, f"note: {clean(note)}", style="yellow")
    groups: dict[str, list[Row]] = {}
    for row in comparison.rows:
        if any(value is not None for value in row.values):
            groups.setdefault(_group(row), []).append(row)
    for title_of_group, rows in groups.items():
        heading(console, title_of_group)
        console.print(_table(rows, len(comparison.runs)))
    if not groups:
        line(console, "No figure is known in any of the runs.", style="dim")


def _group(row: Row) -> str:
    if row.cell is None:
        return clean(row.variant)
    shapes = row.cell.get("input_shapes")
    at = f" at {_shapes(shapes)}" if shapes else ""
    return f"{clean(row.variant)} on {clean(row.figure.partition('.cells[')[2].partition(']')[0])}{at}"


def _shapes(shapes: Mapping[str, Any]) -> str:
    return ", ".join(f"{clean(name)} {'x'.join(map(str, shape))}" for name, shape in shapes.items())


def _table(rows: Sequence[Row], runs: int) -> Any:
    heads = [str(number) for number in range(1, runs + 1)]
    table = new_table("Figure", *heads, words=("Figure",))
    for row in rows:
        cells = [_cell(row, index) for index in range(runs)]
        table.add_row(Text(_TITLES.get(row.name, row.name)), *cells)
    return table


def _cell(row: Row, index: int) -> Text:
    value, difference = row.values[index], row.differences[index]
    if value is None:
        return Text(UNKNOWN)
    text = Text(_shown(row.name, value))
    if row.unstable[index]:
        text.append(" unstable", style="yellow")
    if difference is not None:
        text.append(f" ({_difference(row, index, difference)})", style=_style(row, index, difference))
    return text


def _shown(name: str, value: float) -> str:
    return measure(value / 1e6) if name == "size_bytes" else measure(value) if name in _IN_PERCENT else share(value)


def _difference(row: Row, index: int, difference: float) -> str:
    ratio = row.ratios[index]
    if difference == 0:
        return "="
    if row.name in _IN_PERCENT and ratio is not None:
        return f"{100 * (ratio - 1):+.1f} %"
    return f"{difference:+.4f}"


def _style(row: Row, index: int, difference: float) -> str:
    if difference == 0 or row.more_is_better is None:
        return "dim"
    if row.unstable[0] or row.unstable[index] or _within_spread(row, index):
        return "dim"
    return "green" if (difference > 0) is row.more_is_better else "red"


def _within_spread(row: Row, index: int) -> bool:
    """Whether a latency differs by no more than the spread of one run's inferences."""
    ratio = row.ratios[index]
    if ratio is None or not row.spreads:
        return False
    known = [spread for spread in (row.spreads[0], row.spreads[index]) if spread is not None]
    return bool(known) and abs(ratio - 1) <= max(known)


def render_history(history: History, console: Console) -> None:
    """Prints a history: a sparkline, then the figure of each run, oldest first.

    Args:
        history: of one figure.
        console: where it is printed.
    """
    known = [point.value for point in history.points if point.value is not None]
    runs = "1 run" if len(history.points) == 1 else f"{len(history.points)} runs, oldest first"
    line(console, f"{clean(history.figure)} of {clean(history.model)}, {runs}")
    if known:
        bars = sparkline([point.value for point in history.points])
        line(console, f"{bars}  from {min(known):.6g} to {max(known):.6g}", indent=2)
    table = new_table("Version", "Value", "Verdict", "Run", "Started", words=("Version", "Verdict", "Run", "Started"))
    for point in history.points:
        value = UNKNOWN if point.value is None else f"{point.value:.6g}"
        started = (point.started_at or UNKNOWN)[:19].replace("T", " ")
        table.add_row(shorten(clean(point.version), 24), value, named(point.verdict), point.run_id, started)
    console.print(table)


def sparkline(values: Sequence[float | None]) -> str:
    """Draws figures with one character each, from lowest to highest.

    Args:
        values: the figures; None or not finite: a space.

    Returns:
        The characters.
    """
    known = [value for value in values if value is not None and math.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=0.0)
    span = high - low

    def bar(value: float | None) -> str:
        if value is None or not math.isfinite(value):
            return " "
        return _BARS[round((value - low) / span * (len(_BARS) - 1))] if span else _BARS[len(_BARS) // 2]

    return "".join(map(bar, values))
