"""The times and statistics of an edge log as rows of a table, one for each figure's owner in each frame."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from typing import IO, Any, Final

from windtunnel.diagnosis.edge_logs.summary import moment_of
from windtunnel.diagnosis.edge_logs.tensor_figures import figures_of
from windtunnel.diagnosis.recording.edge_log import EdgeSession, LoggedFrame, LoggedTensor
from windtunnel.monitor.statistics import PERCENTS

_QUANTILES: Final = tuple(f"p{percent:02d}" for percent in PERCENTS)
_FIGURES: Final = ("count", "non_finite", "min", "max", "mean", "std")
COLUMNS: Final = (
    "session",
    "device",
    "frame",
    "time",
    "kind",
    "of",
    "name",
    "op",
    "begin_ms",
    "elapsed_ms",
    "dtype",
    "shape",
    *_FIGURES,
    *_QUANTILES,
    "value",
)


def write_rows(sessions: Sequence[EdgeSession], file: IO[str]) -> int:
    """Writes a CSV table with a row of heads.

    `kind` says what a row is: `time` (of a frame, stage, inference or layer), `statistics` (of a tensor), `memory`
    (bytes), `label`, `value` (of the app), or `sensor`. Cells that a kind does not have are empty.

    Args:
        sessions: of a log.
        file: where the table is written.

    Returns:
        How many rows, without the heads.
    """
    writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    count = 0
    for session in sessions:
        for row in _rows(session):
            writer.writerow(row)
            count += 1
    return count


def _rows(session: EdgeSession) -> Iterator[dict[str, Any]]:
    where = {"session": session.name, "device": session.device.device}
    for frame in session.frames:
        begin = {**where, "frame": frame.number, "time": moment_of(frame.time_ns)}
        yield from ({**begin, **row} for row in _frame_rows(frame))
    for reading in session.readings:
        value = " ".join(f"{one:.9g}" for one in reading.values)
        yield {**where, "time": moment_of(reading.time_ns), "kind": "sensor", "name": reading.sensor, "value": value}


def _frame_rows(frame: LoggedFrame) -> Iterator[dict[str, Any]]:
    for time in frame.times:
        yield {
            "kind": "time",
            "of": time.of,
            "name": time.name,
            "op": time.op,
            "begin_ms": "" if time.begin_ns is None else _milliseconds(time.begin_ns),
            "elapsed_ms": _milliseconds(time.elapsed_ns),
        }
    for tensor in frame.tensors:
        yield from _statistics(tensor)
    if frame.memory_bytes is not None:
        yield {"kind": "memory", "value": frame.memory_bytes}
    if frame.label is not None:
        yield {"kind": "label", "value": frame.label}
    for name, value in frame.values.items():
        yield {"kind": "value", "name": name, "value": value}


def _statistics(tensor: LoggedTensor) -> Iterator[dict[str, Any]]:
    figures = figures_of(tensor)
    if figures is None:
        return
    row: dict[str, Any] = {
        "kind": "statistics",
        "of": tensor.role,
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": "x".join(map(str, tensor.shape)),
        "count": figures.count,
        "non_finite": figures.non_finite,
    }
    if figures.count > figures.non_finite:
        row |= {name: f"{getattr(figures, name):.9g}" for name in _FIGURES[2:]}
        row |= {name: f"{value:.9g}" for name, value in zip(_QUANTILES, figures.quantiles, strict=False)}
    yield row


def _milliseconds(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e6:.6f}".rstrip("0").rstrip(".")
