"""Every frame of an edge log as JSON, without the values of tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from windtunnel.diagnosis.edge_logs.summary import device_values, moment_of
from windtunnel.diagnosis.edge_logs.tensor_figures import figures_of
from windtunnel.diagnosis.recording.edge_log import (
    EdgeSession,
    FrameStatistics,
    LoggedFrame,
    LoggedTensor,
    LoggedTime,
    SensorValues,
)


def frames_document(sessions: Sequence[EdgeSession], file: str) -> dict[str, Any]:
    """The document `windtunnel.edge_log_frames/1`: everything that a log says, but the values of tensors.

    Args:
        sessions: of a log.
        file: the log as the user named it.

    Returns:
        The document.
    """
    return {
        "schema": "windtunnel.edge_log_frames/1",
        "file": file,
        "sessions": [
            {
                "name": one.name,
                "files": list(one.files),
                "level": one.level or None,
                "device": device_values(one.device),
                "frames": [_frame(frame) for frame in one.frames],
                "readings": [_reading(reading) for reading in one.readings],
                "gaps": list(one.gaps),
            }
            for one in sessions
        ],
    }


def _frame(frame: LoggedFrame) -> dict[str, Any]:
    return {
        "number": frame.number,
        "time": moment_of(frame.time_ns),
        "time_ns": frame.time_ns,
        "level": frame.level or None,
        "tensors": [_tensor(one) for one in frame.tensors],
        "times": [_time(one) for one in frame.times],
        "memory_bytes": frame.memory_bytes,
        "values": dict(frame.values),
        "label": frame.label,
        "frames_lost": frame.frames_lost,
        "left_out": list(frame.left_out),
        "sample_rate_hz": frame.sample_rate_hz,
    }


def _tensor(tensor: LoggedTensor) -> dict[str, Any]:
    figures = figures_of(tensor)
    return {
        "role": tensor.role,
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        "has_values": tensor.values is not None,
        "redacted": tensor.redacted,
        "scale": tensor.scale or None,
        "zero_point": tensor.zero_point if tensor.scale else None,
        "op_index": tensor.op_index,
        "statistics": None if figures is None else _statistics(figures),
    }


def _statistics(figures: FrameStatistics) -> dict[str, Any]:
    known = figures.count > figures.non_finite
    return {
        "count": figures.count,
        "non_finite": figures.non_finite,
        **{name: _finite(getattr(figures, name)) if known else None for name in ("min", "max", "mean", "std")},
        "quantiles": [_finite(one) for one in figures.quantiles],
        "projection": [_finite(one) for one in figures.projection],
    }


def _time(time: LoggedTime) -> dict[str, Any]:
    return {
        "of": time.of,
        "name": time.name,
        "op": time.op or None,
        "begin_ms": None if time.begin_ns is None else time.begin_ns / 1e6,
        "elapsed_ms": time.elapsed_ns / 1e6,
    }


def _reading(reading: SensorValues) -> dict[str, Any]:
    return {
        "time": moment_of(reading.time_ns),
        "time_ns": reading.time_ns,
        "sensor": reading.sensor,
        "values": [_finite(one) for one in reading.values],
    }


def _finite(value: float) -> float | None:
    """A number that JSON has."""
    return value if math.isfinite(value) else None
