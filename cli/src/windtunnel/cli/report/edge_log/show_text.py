"""An edge log in the terminal: the document windtunnel.edge_log/1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console

from windtunnel.cli.report.formatting import UNKNOWN, clean, entries, figure, is_number, measure, part
from windtunnel.cli.report.text.layout import bullets, heading, line, new_table

_SHOWN_LAYERS: Final = 12
# The shortest part of a name that is useful.
_LEAST_NAME: Final = 8
_DEVICE: Final = (
    ("app", ("app", "app_version")),
    ("device", ("device", "os")),
    ("runtime", ("runtime", "accelerator")),
    ("threads", ("threads",)),
    ("model", ("model_sha256",)),
)


def render_log(document: Mapping[str, Any], console: Console) -> None:
    """Prints every session of a log.

    Args:
        document: a windtunnel.edge_log/1.
        console: where it is printed.
    """
    for session in entries(document, "sessions"):
        heading(console, f"session {clean(session['name'])}")
        _head(session, console)
        _tensors(session, console)
        _times(session, console)
        _others(session, console)
        if session["gaps"]:
            heading(console, "missing")
            bullets(session["gaps"], console)


def _head(session: Mapping[str, Any], console: Console) -> None:
    device = part(session, "device")
    for title, names in _DEVICE:
        known = [clean(device[name]) for name in names if device.get(name)]
        if known:
            line(console, f"{title:9}{' '.join(known)}", indent=2)
    frames = part(session, "frames")
    levels = ", ".join(f"{count} {level}" for level, count in frames["levels"].items())
    seconds = f" in {measure(frames['seconds'])} s" if is_number(frames["seconds"]) else ""
    numbers = f", numbers {frames['first']} to {frames['last']}" if frames["count"] else ""
    line(console, f"{'frames':9}{frames['count']}{seconds} ({levels}){numbers}", indent=2)
    if frames["began_at"]:
        line(console, f"{'began':9}{frames['began_at']}", indent=2)
    if frames["labeled"]:
        line(console, f"{'labels':9}{frames['labeled']} frames", indent=2)
    if frames["sample_rates_hz"]:
        line(console, f"{'audio':9}{', '.join(f'{rate:g} Hz' for rate in frames['sample_rates_hz'])}", indent=2)
    if device["redacted"]:
        line(console, f"{'redacted':9}{clean(', '.join(device['redacted']))}", indent=2)
    if device["pipeline"]:
        line(console, f"{'pipeline':9}recorded", indent=2)
    for name, value in device["others"].items():
        line(console, f"{clean(name):9}{clean(value)}", indent=2)


def _tensors(session: Mapping[str, Any], console: Console) -> None:
    rows = entries(session, "tensors")
    layers = [row for row in rows if row["role"] == "layer"]
    shown = [row for row in rows if row["role"] != "layer"] + layers[:_SHOWN_LAYERS]
    if not shown:
        return
    heading(console, "tensors")
    table = new_table("role", "name", "type", "values", "range", "mean", "std", words=("role", "name", "type"))
    table.columns[1].min_width = _LEAST_NAME
    for row in shown:
        statistics = row["statistics"] or {}
        table.add_row(
            row["role"].replace("_", " "),
            clean(row["name"]) or UNKNOWN,
            f"{row['dtype']} {_shape(row)}",
            _recorded(row),
            _range(statistics),
            *(figure(statistics.get(name), ".3g") for name in ("mean", "std")),
        )
    console.print(table)
    if len(layers) > _SHOWN_LAYERS:
        line(console, f"and {len(layers) - _SHOWN_LAYERS} more layers", style="dim", indent=2)
    wrong = {f"{row['role']} {row['name']}": (row["statistics"] or {}).get("non_finite") for row in rows}
    bullets(
        [f"{title} has {count} values that are NaN or infinite" for title, count in wrong.items() if count], console
    )


def _range(statistics: Mapping[str, Any]) -> str:
    low, high = statistics.get("min"), statistics.get("max")
    return UNKNOWN if low is None or high is None else f"{low:.3g} to {high:.3g}"


def _shape(row: Mapping[str, Any]) -> str:
    shape = "x".join(map(str, row["shapes"][0])) or "1"
    return shape if row["shape_count"] == 1 else f"{shape} and {row['shape_count'] - 1} more"


def _recorded(row: Mapping[str, Any]) -> str:
    """In how many frames the values are recorded."""
    hidden = f", {row['redacted']} redacted" if row["redacted"] else ""
    return f"{row['with_values']} of {row['frames']}{hidden}"


def _times(session: Mapping[str, Any], console: Console) -> None:
    rows = entries(session, "times")
    layers = sorted((row for row in rows if row["of"] == "layer"), key=lambda row: -row["mean_ms"])
    shown = [row for row in rows if row["of"] != "layer"] + layers[:_SHOWN_LAYERS]
    if not shown:
        return
    heading(console, "latency, ms")
    table = new_table("of", "name", "op", "frames", "p50", "p95", "min", "max", words=("of", "name", "op"))
    for row in shown:
        figures = (measure(row[f"{name}_ms"]) for name in ("p50", "p95", "min", "max"))
        names = (clean(row["name"]) or UNKNOWN, clean(row["op"] or UNKNOWN))
        table.add_row(row["of"], *names, str(row["count"]), *figures)
    console.print(table)
    if len(layers) > _SHOWN_LAYERS:
        line(console, f"and {len(layers) - _SHOWN_LAYERS} faster layers", style="dim", indent=2)


def _others(session: Mapping[str, Any], console: Console) -> None:
    memory, sensors, values = session["memory_mb"], entries(session, "sensors"), entries(session, "values")
    if not (memory or sensors or values):
        return
    heading(console, "memory, sensors and values")
    said = []
    if memory:
        said.append(f"memory {measure(memory['min'])} to {measure(memory['max'])} MB")
    for one in sensors:
        ends = ", ".join(f"{low:g} to {high:g}" for low, high in zip(one["min"], one["max"], strict=True))
        said.append(f"{one['sensor']}: {one['readings']} readings{', ' + ends if ends else ''}")
    for one in values:
        different = "" if one["different"] == 1 else f" and {one['different'] - 1} other values"
        said.append(f"{one['name']} = {one['most_frequent']}{different}, in {one['frames']} frames")
    bullets(said, console)
