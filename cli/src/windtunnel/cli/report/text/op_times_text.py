"""The table of ops that `windtunnel ops` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from windtunnel.accelerators import shown_accelerator
from windtunnel.cli.report.formatting import UNKNOWN, clean, entries, input_words, is_number, measure, named, part
from windtunnel.cli.report.layer_names import common_folder, layer_title
from windtunnel.diagnosis.findings.cause_finding import CauseFinding
from windtunnel.diagnosis.findings.kinds.latency import DelegateFallback, LatencyStraggler, WideOpsSlow, time_words
from windtunnel.diagnosis.findings.kinds.reading import finding_of

_SHOWN: Final = 25
# The width of the table without the names of layers, and the shortest part of a name that is useful.
_OTHER_COLUMNS: Final = 84
_LEAST_NAME: Final = 12
_UNKNOWN_SHAPE: Final = "the model leaves the size of its input open, and neither --samples nor --shape gives it"
_METHODS: Final = {
    "profiler": "the runtime's profiler",
    "cutting": "each op in isolation, as a model",
    "log": "the log's table of ops",
}
_SLOW: Final = (LatencyStraggler, WideOpsSlow, DelegateFallback)


def render_ops(document: Mapping[str, Any], console: Console) -> None:
    """Prints the table of ops, slowest first, and the causes.

    Args:
        document: the document of `windtunnel ops --json`.
        console: where it is printed.
    """
    latency = part(document, "latency")
    threads = latency["threads"]
    total, explained = latency["total_ms"], latency["ops_ms"]
    console.print(Text(f"{document['verdict']}: {measure(total)} ms per inference"), style="bold")
    accelerator = shown_accelerator(latency["accelerator"])
    how = f"{accelerator}, {threads} thread{'s' if threads > 1 else ''}, {latency['runs']} runs"
    if shapes := part(latency, "input_shapes"):
        how += f", {clean(input_words(shapes))}"
    console.print(Text(f"  {how}; by {_METHODS[latency['method']]}, which explains {measure(explained)} ms"))
    if latency.get("shapes_known") is False:
        console.print(Text(f"  warning: {_UNKNOWN_SHAPE}"), style="yellow")
    rows = sorted(entries(document, "ops"), key=lambda row: -(row["ms"] or 0.0))
    folder = common_folder([row["layer"] for row in rows])
    console.print(_table(rows[:_SHOWN], console.width - _OTHER_COLUMNS, folder))
    if len(rows) > _SHOWN:
        rest = sum(row["ms"] or 0.0 for row in rows[_SHOWN:])
        console.print(Text(f"  and {len(rows) - _SHOWN} ops with {measure(rest)} ms together"), style="dim")
    for cause in entries(document, "causes"):
        _cause(cause, console)
    for one in entries(document, "excluded"):
        console.print(Text(f"  ruled out: {one['code']}: {clean(one['why'])}"), style="dim")


def _table(rows: list[Any], room: int, folder: str) -> Table:
    """The rows, with the layers' names if there is `room` for them; most are in `folder`."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1), header_style="dim", show_edge=False)
    table.add_column("op", no_wrap=True)
    for name in ("ms", "share", "MMAC", "kB", "expected"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    if room >= _LEAST_NAME:
        table.add_column("layer", no_wrap=True)
    for row in rows:
        cells = [
            f"{row['op_index']} {clean(row['op'])}",
            measure(row["ms"]),
            f"{row['share']:.1%}" if is_number(row["share"]) else UNKNOWN,
            measure(row["macs"] / 1e6),
            measure(row["bytes"] / 1e3),
            measure(row["expected_ms"]),
            row["verdict"],
        ]
        table.add_row(*cells, *([layer_title(row["layer"], room, folder=folder)] if room >= _LEAST_NAME else []))
    return table


def _cause(cause: Mapping[str, Any], console: Console) -> None:
    finding, fix, place = finding_of(cause).finding, part(cause, "fix"), part(cause, "place")
    where = f"op {named(place['op_index'])} ({named(place['layer'])})"
    spent = time_words(finding.measured_ms, finding.share) if isinstance(finding, _SLOW) else UNKNOWN
    if isinstance(finding, LatencyStraggler):
        spent += f"; expected from similar ops: {measure(finding.expected_ms)} ms"
    console.print(Text(f"{cause['code']} at {where}: {spent}"), style="bold")
    for reason in filter(None, _reasons(finding)):
        console.print(Text(f"  why: {clean(reason)}"))
    if isinstance(finding, DelegateFallback) and finding.kinds:
        console.print(Text(f"  ops: {clean(', '.join(finding.kinds))}"))
    tried = f" (tried: {measure(fix['measured_ms'])} ms)" if cause["verified"] else ""
    console.print(Text(f"  fix: {clean(fix['action'])}{tried}"))


def _reasons(finding: CauseFinding | None) -> tuple[str, ...]:
    match finding:
        case LatencyStraggler() | WideOpsSlow():
            return (finding.reason,)
        case DelegateFallback():
            return finding.reasons
    return ()
