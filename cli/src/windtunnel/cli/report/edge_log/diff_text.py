"""The comparison of two edge logs: the document windtunnel.edge_log_diff/1, and its text for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from windtunnel.cli.report.formatting import UNKNOWN, VERDICTS, clean, entries, measure, nrmse_text, part
from windtunnel.cli.report.text.layout import bullets, heading, line, new_table
from windtunnel.diagnosis.edge_logs.compare_sessions import NOT_RECORDED, SessionDiff, TensorDiff
from windtunnel.diagnosis.edge_logs.summary import latency_figures
from windtunnel.diagnosis.recording.edge_log import EdgeSession

EXITS: Final[Mapping[str, int]] = {"healthy": 0, "degraded": 1, "could_not_run": 2}
_SHOWN: Final = 25


def diff_document(
    found: SessionDiff, sessions: tuple[EdgeSession, EdgeSession], names: tuple[str, str], threshold: float
) -> dict[str, Any]:
    """The document of a comparison.

    Args:
        found: the comparison.
        sessions: the first and the second.
        names: the logs as the user named them.
        threshold: nRMSE above which a tensor diverges.

    Returns:
        A windtunnel.edge_log_diff/1.
    """
    compared = [one for one in found.tensors if one.problem != NOT_RECORDED and one.frames]
    over = [one for one in compared if one.problem is not None or (one.nrmse or 0.0) > threshold]
    verdict = "could_not_run" if not compared else "degraded" if over else "healthy"
    return {
        "schema": "windtunnel.edge_log_diff/1",
        "verdict": verdict,
        "first": names[0],
        "second": names[1],
        "threshold": threshold,
        "frames": {
            "compared": len(found.pairs),
            "by_number": found.by_number,
            "only_in_first": found.alone[0],
            "only_in_second": found.alone[1],
        },
        "exact": all(one.relative_error == 0 for one in compared),
        "first_over": _first_over(over),
        "tensors": [_tensor(one, one in over) for one in found.tensors],
        "unmatched": [{"role": key[0], "name": key[1], "only_in": side} for key, side in found.unmatched],
        "times": list(_times(sessions)),
        "notes": list(found.notes),
        "gaps": {"first": list(sessions[0].gaps), "second": list(sessions[1].gaps)},
    }


def _first_over(over: list[TensorDiff]) -> dict[str, Any] | None:
    """The first tensor that diverges, in the order of the app, with the frame that differs most."""
    if not over:
        return None
    worst = over[0].worst
    return {"role": over[0].role, "name": over[0].name, "frame": None if worst is None else worst.frame}


def _tensor(one: TensorDiff, diverges: bool) -> dict[str, Any]:
    worst = one.worst
    return {
        "role": one.role,
        "name": one.name,
        "frames": one.frames,
        "nrmse": one.nrmse,
        "rmse": one.rmse,
        "relative_error": one.relative_error,
        "worst_frame": None if worst is None else worst.frame,
        "diverges": diverges,
        "problem": one.problem,
        "errors": [{"frame": error.frame, "rmse": error.rmse, "problem": error.problem} for error in one.errors],
    }


def _times(sessions: tuple[EdgeSession, EdgeSession]) -> Iterator[dict[str, Any]]:
    first, second = (_medians(session) for session in sessions)
    for key, median in first.items():
        if key in second:
            ratio = second[key] / median if median else None
            yield {"of": key[0], "name": key[1], "first_p50_ms": median, "second_p50_ms": second[key], "ratio": ratio}


def _medians(session: EdgeSession) -> dict[tuple[str, str], float]:
    grouped: dict[tuple[str, str], list[float]] = {}
    for frame in session.frames:
        for time in frame.times:
            grouped.setdefault((time.of, time.name), []).append(time.elapsed_ns / 1e6)
    return {key: latency_figures(values)["p50_ms"] for key, values in grouped.items()}


def render_diff(document: Mapping[str, Any], console: Console) -> None:
    """Prints the verdict, the tensors and the times.

    Args:
        document: a windtunnel.edge_log_diff/1.
        console: where it is printed.
    """
    mark, word = VERDICTS[document["verdict"]]
    console.print(Text(f"{mark} {word.upper()}"), style="bold")
    rows, frames = entries(document, "tensors"), part(document, "frames")
    kind = "exact figures" if document["exact"] else "estimates from statistics"
    line(console, f"{len(rows)} tensors compared over {frames['compared']} frames, {kind}", indent=2)
    first = document["first_over"]
    if first is not None:
        title = _title(first["role"], first["name"])
        at = "" if first["frame"] is None else f", most in frame {first['frame']}"
        line(console, f"diverges first (threshold {document['threshold']:g}): {title}{at}", indent=2)
    if rows:
        console.print(_table(rows))
    if len(rows) > _SHOWN:
        line(console, f"and {len(rows) - _SHOWN} tensors with smaller errors", style="dim", indent=2)
    for one in document["unmatched"][:5]:
        line(console, f"only in the {one['only_in']} log: {_title(one['role'], one['name'])}", style="dim", indent=2)
    if len(document["unmatched"]) > 5:
        line(console, f"and {len(document['unmatched']) - 5} more", style="dim", indent=2)
    _render_times(document, console)
    for side in ("first", "second"):
        if document["gaps"][side]:
            heading(console, f"missing in the {side} log")
            bullets(document["gaps"][side], console)


def _table(rows: list[Any]) -> Any:
    table = new_table("role", "name", "nRMSE", "\u00b1", "RMSE", "worst frame", words=("role", "name"))
    for row in sorted(rows, key=_badness)[:_SHOWN]:
        table.add_row(
            row["role"].replace("_", " "),
            clean(row["name"]) or UNKNOWN,
            Text(clean(row["problem"] or nrmse_text(row["nrmse"])), style="bold" if row["diverges"] else ""),
            "0" if not row["relative_error"] else f"{row['relative_error']:.0%}",
            nrmse_text(row["rmse"]),
            UNKNOWN if row["worst_frame"] is None else str(row["worst_frame"]),
        )
    return table


def _badness(row: Mapping[str, Any]) -> tuple[bool, float]:
    """Sorts what has no figure first, then by the figure; equal ones stay in the order of the app."""
    return row["problem"] is None, -(row["nrmse"] or 0.0)


def _render_times(document: Mapping[str, Any], console: Console) -> None:
    rows = [row for row in document["times"] if row["of"] != "layer"]
    layers = [row for row in document["times"] if row["of"] == "layer" and row["ratio"] is not None]
    rows += sorted(layers, key=lambda row: -row["ratio"])[:5]
    if not rows:
        return
    heading(console, "latency, median ms")
    table = new_table("of", "name", "first", "second", "ratio", words=("of", "name"))
    for row in rows:
        ratio = UNKNOWN if row["ratio"] is None else f"{row['ratio']:.2f}"
        name = clean(row["name"]) or UNKNOWN
        table.add_row(row["of"], name, measure(row["first_p50_ms"]), measure(row["second_p50_ms"]), ratio)
    console.print(table)


def _title(role: str, name: str) -> str:
    return f"{role.replace('_', ' ')} {clean(name)}".rstrip()
