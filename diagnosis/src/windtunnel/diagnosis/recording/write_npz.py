"""Writes a recording as an edge.npz, which `read_npz_recording` reads back equal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from windtunnel.diagnosis.recording.edge_recording import ONLY, Array, EdgeRecording, Rows
from windtunnel.diagnosis.recording.npz_extras import extra_arrays
from windtunnel.errors import InvalidInput

# What unused slots of detections are filled with, if frames have different numbers of them.
_FILL: Final[Mapping[str, float]] = {"boxes": 0.0, "scores": 0.0, "classes": -1}


def write_npz_recording(recording: EdgeRecording, path: Path) -> tuple[str, ...]:
    """Writes an edge.npz. Statistics have no place in it; the command `log export --csv` writes them.

    Raw samples of different sizes become raw/<i>, one by one. Detections of different counts are filled with class -1.

    Args:
        recording: what an app recorded.
        path: the file to write; one that exists is replaced.

    Returns:
        What could not be written, as sentences: other arrays whose sizes differ between frames.

    Raises:
        InvalidInput: the recording has no values, only statistics.
    """
    if not (recording.raw or recording.inputs or recording.outputs):
        raise InvalidInput(
            f"{recording.source} has no values of inputs and outputs: an edge.npz would be empty",
            hint="record at level io or layers; `windtunnel log export --csv` writes statistics and times",
        )
    left_out: list[str] = []
    arrays = dict(_arrays(recording, left_out)) | extra_arrays(recording)
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    return tuple(left_out)


def _arrays(recording: EdgeRecording, left_out: list[str]) -> Iterator[tuple[str, Array]]:
    yield from _raw(recording.raw)
    for group, rows in (("input", recording.inputs), ("output", recording.outputs), ("layer", recording.layers)):
        for name, one in rows.items():
            yield from _even(f"{group}/{name}" if name else group, one, left_out)
    for name, one in recording.postprocessed.items():
        yield from _even(f"postprocessed/{name}", _filled(name, one), left_out)
    for name, pair in recording.functions.items():
        both = [
            *_even(f"function_input/{name}", pair[0], left_out),
            *_even(f"function_output/{name}", pair[1], left_out),
        ]
        if len(both) == len(pair):
            yield from both
    if recording.labels is not None:
        yield "labels", recording.labels
    if recording.sample_rate_hz is not None:
        yield "sample_rate", np.array(recording.sample_rate_hz)
    if recording.times.total is not None:
        yield "latency_ms", recording.times.total
    if recording.device.accelerator:
        yield "accelerator", np.array(recording.device.accelerator)


def _raw(raw: Mapping[str, Rows]) -> Iterator[tuple[str, Array]]:
    for name, rows in raw.items():
        title = f"raw/{name}" if name != ONLY else "raw"
        if isinstance(rows, np.ndarray):
            yield title, rows
        else:
            yield from ((f"{title}/{number}", np.asarray(row)) for number, row in enumerate(rows))


def _filled(name: str, rows: Rows) -> Rows:
    if isinstance(rows, np.ndarray) or name not in _FILL or len({row.shape[1:] for row in rows}) > 1:
        return rows
    most = max(len(row) for row in rows)
    dtype = np.result_type(*rows, *([np.int8] if _FILL[name] < 0 else []))
    filled = np.full((len(rows), most, *rows[0].shape[1:]), _FILL[name], dtype)
    for number, row in enumerate(rows):
        filled[number, : len(row)] = row
    return filled


def _even(title: str, rows: Rows, left_out: list[str]) -> Iterator[tuple[str, Array]]:
    if isinstance(rows, np.ndarray):
        yield title, rows
    else:
        left_out.append(f"{title}: its size differs between frames, which an edge.npz cannot hold")
