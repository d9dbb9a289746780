"""The texts and JSON documents of `windtunnel layers`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from windtunnel.cli.report.formatting import UNKNOWN, VERDICTS, clean, entries, figure, megabytes, nrmse_text, part
from windtunnel.cli.report.layer_names import common_folder, layer_title
from windtunnel.cli.report.text.layout import GAP, room_beside
from windtunnel.diagnosis.layer_log.compare_logs import UNREADABLE, LoggedDiff
from windtunnel.diagnosis.layer_log.jobs import LogComparison, WrittenLog, worst_first

_SHOWN: Final = 25
_HEADS: Final = ("op", "nRMSE", "\u00b1", "RMSE")
# The shortest part of a name that is useful.
_LEAST_NAME: Final = 12
_EXITS: Final[Mapping[str, int]] = {"healthy": 0, "degraded": 1, "could_not_run": 2}


def log_document(written: WrittenLog, model: str, out: Path) -> dict[str, Any]:
    """The document `windtunnel.layers_log/1`: what was written, and its size.

    Args:
        written: the log.
        model: the file as the user named it.
        out: the file of the log.

    Returns:
        The document.
    """
    frames, layers, size = written.frames, written.layers, written.size_bytes
    return {
        "schema": "windtunnel.layers_log/1",
        "model": model,
        "file": str(out),
        **asdict(written),
        "bytes_per_frame": size / frames,
        "bytes_per_layer_and_frame": size / (frames * layers) if layers else None,
        "times_smaller_than_text": written.text_bytes_per_frame * frames / size,
    }


def log_words(document: Mapping[str, Any]) -> str:
    """The document as lines for the terminal.

    Args:
        document: a `windtunnel.layers_log/1`.

    Returns:
        The lines as one text.
    """
    frames, layers = document["frames"], document["layers"]
    before = f", {document['resumed']} of them from an earlier run" if document["resumed"] else ""
    lines = [
        f"{clean(document['model'])}: {frames} frame{'s' if frames != 1 else ''}{before}, {layers} layers, "
        f"{document['mode']}",
        f"  {megabytes(document['size_bytes'])} MB: {document['bytes_per_frame']:.0f} bytes per frame, "
        f"{figure(document['bytes_per_layer_and_frame'], '.1f')} per layer and frame (header included)",
        f"  {document['times_smaller_than_text']:.0f} times smaller than the same values as text",
    ]
    if document["coding"] == "predicted":
        lines.append(f"  read with {clean(document['model'])}: keep the model")
    return "\n".join(lines)


def diff_document(found: LogComparison, names: tuple[str, str], threshold: float) -> dict[str, Any]:
    """The document `windtunnel.layers_diff/1`: figures of every pair, in the order of the second log, and the verdict.

    Args:
        found: the comparison of two logs.
        names: the files as the user named them.
        threshold: nRMSE above which a layer diverges.

    Returns:
        The document.
    """
    above = [one for one in found.layers if one.nrmse is not None and one.nrmse > threshold]
    over, vague = [one for one in above if not one.is_bound], [one.second for one in above if one.is_bound]
    broken = [one for one in found.layers if one.problem is not None and one.problem != UNREADABLE]
    unreadable = [one.second for one in found.layers if one.problem == UNREADABLE]
    verdict = "degraded" if over or broken else "could_not_run" if unreadable or vague else "healthy"
    first = next((one for one in found.layers if one in over or one in broken), None)
    return {
        "schema": "windtunnel.layers_diff/1",
        "verdict": verdict,
        "first": names[0],
        "second": names[1],
        "frames": found.frames,
        "frames_held": list(found.held),
        "exact": found.exact,
        "threshold": threshold,
        "coverage": {
            "compared": len(found.layers) - len(unreadable),
            "total": len(found.layers) + len(found.unmatched),
            "unmatched": [one.to_json() for one in found.unmatched],
            "unreadable": unreadable,
            "undecided": vague,
        },
        "first_over": None if first is None else first.second,
        "same_inputs": found.same_inputs,
        "notes": _notes(found, names, unreadable, vague),
        "layers": [_row(one, *found.ops[one.second]) for one in found.layers],
        "worst": [one.second for one in worst_first(found.layers)],
    }


def _row(one: LoggedDiff, op_index: int, op: str) -> dict[str, Any]:
    return {
        "layer": one.second,
        "op": op,
        "op_index": op_index,
        "reference": one.first,
        "nrmse": _finite(one.nrmse),
        "rmse": _finite(one.rmse),
        "relative_error": None if one.nrmse is None or one.is_bound else one.relative_error,
        "is_bound": one.is_bound,
        "problem": one.problem,
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _notes(found: LogComparison, names: tuple[str, str], unreadable: list[str], vague: list[str]) -> list[str]:
    notes = [f"{name}: {tail}" for name, tail in zip(names, found.tails, strict=True) if tail is not None]
    if found.held[0] != found.held[1]:
        held = ", ".join(f"{name} has {count}" for name, count in zip(names, found.held, strict=True))
        short = names[found.held.index(found.frames)]
        notes.append(f"only the first {found.frames} frames were compared: {held}; {short} is not complete")
    if found.same_inputs is False:
        notes.append("the first frames have different inputs: the logs are not of the same samples")
    if unreadable:
        notes.append(
            f"{len(unreadable)} layers could not be read: this runtime computes different values than the one "
            "that wrote the log"
        )
    if vague:
        notes.append(
            f"{len(vague)} layers could not be judged: statistics are too coarse for this threshold; log every value"
        )
    return notes


def exit_code(document: Mapping[str, Any]) -> int:
    """The exit code of a comparison of logs.

    Args:
        document: a `windtunnel.layers_diff/1`.

    Returns:
        0 healthy, 1 degraded, 2 if no layer diverges but layers could not be read.
    """
    return _EXITS[document["verdict"]]


def render_diff(document: Mapping[str, Any], console: Console) -> None:
    """Prints the verdict and the worst layers.

    Args:
        document: a `windtunnel.layers_diff/1`.
        console: where it is printed.
    """
    coverage = part(document, "coverage")
    mark, word = VERDICTS[document["verdict"]]
    console.print(Text(f"{mark} {word.upper()}"), style="bold")
    kind = "exact figures" if document["exact"] else "estimates from statistics"
    frames = document["frames"]
    console.print(
        Text(
            f"  {coverage['compared']} of {coverage['total']} layers compared over {frames} "
            f"frame{'s' if frames != 1 else ''}, {kind}"
        )
    )
    if document["first_over"] is not None:
        console.print(Text(f"  diverges first (threshold {document['threshold']:g}): {clean(document['first_over'])}"))
    rows = {row["layer"]: row for row in entries(document, "layers")}
    folder = common_folder(list(rows))
    console.print(_table([rows[name] for name in document["worst"][:_SHOWN]], console.width, folder))
    if len(rows) > _SHOWN:
        console.print(Text(f"  and {len(rows) - _SHOWN} layers with smaller errors"), style="dim")
    if coverage["unmatched"]:
        for one in coverage["unmatched"][:5]:
            console.print(Text(f"  not compared: {clean(one['name'])}: {clean(one['reason'])}"), style="dim")
        if len(coverage["unmatched"]) > 5:
            console.print(Text(f"  and {len(coverage['unmatched']) - 5} more"), style="dim")


def _table(rows: list[Any], width: int, folder: str) -> Table:
    """The rows, `width` characters wide. Names of layers share the space next to the figures; most are in `folder`."""
    renamed = any(row["reference"] != row["layer"] for row in rows)
    figures = [_figures(row) for row in rows]
    room = room_beside(width, *zip(_HEADS, *figures, strict=True))
    if renamed:
        room = max(_LEAST_NAME, (room - GAP) // 2)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1), header_style="dim", show_edge=False)
    for name in _HEADS:
        table.add_column(name, justify="left" if name == "op" else "right", no_wrap=True)
    table.add_column("layer", no_wrap=True)
    if renamed:
        table.add_column("of the first log", no_wrap=True)
    for row, cells in zip(rows, figures, strict=True):
        names = (row["layer"], row["reference"]) if renamed else (row["layer"],)
        table.add_row(*cells, *(layer_title(name, room, folder=folder) for name in names))
    return table


def _figures(row: Mapping[str, Any]) -> tuple[str, ...]:
    error, under = row["relative_error"], "under " if row["is_bound"] else ""
    return (
        f"{row['op_index']} {clean(row['op'])}",
        row["problem"] or under + nrmse_text(row["nrmse"]),
        UNKNOWN if error is None else "0" if error == 0 else f"{error:.0%}",
        under + nrmse_text(row["rmse"]),
    )
