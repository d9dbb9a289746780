"""What a session of an edge log holds, in figures: the document of `windtunnel log show`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from windtunnel.diagnosis.edge_logs.tensor_figures import figures_of
from windtunnel.diagnosis.recording.edge_log import EdgeSession, FrameStatistics, LoggedFrame, LoggedTensor, TimeOf
from windtunnel.diagnosis.recording.edge_recording import EdgeDevice

_MOST_SHAPES: Final = 4


@dataclass(frozen=True, slots=True)
class PooledFigures:
    """Statistics of a tensor over all frames: of all its finite values together."""

    count: int
    non_finite: int
    min: float | None
    max: float | None
    mean: float | None
    std: float | None


def summary_document(sessions: Sequence[EdgeSession], file: str) -> dict[str, Any]:
    """The document `windtunnel.edge_log/1`.

    Args:
        sessions: of a log.
        file: the log as the user named it.

    Returns:
        The document.
    """
    return {"schema": "windtunnel.edge_log/1", "file": file, "sessions": [_session(one) for one in sessions]}


def device_values(device: EdgeDevice) -> dict[str, Any]:
    """A device as JSON; null: not known.

    Args:
        device: of a session.

    Returns:
        The values by name.
    """
    values = asdict(replace(device, others={}))
    return {name: value or None for name, value in values.items() if name not in ("redacted", "others")} | {
        "redacted": list(device.redacted),
        "others": dict(device.others),
    }


def moment_of(time_ns: int) -> str | None:
    """A time as ISO 8601 in UTC.

    Args:
        time_ns: nanoseconds since 1970.

    Returns:
        The text; None: not a year that a calendar has.
    """
    try:
        moment = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
    except (OverflowError, OSError, ValueError):
        return None
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ns % 1_000_000_000 // 1000:06d}Z"


def _session(session: EdgeSession) -> dict[str, Any]:
    frames = session.frames
    return {
        "name": session.name,
        "files": list(session.files),
        "level": session.level or None,
        "device": device_values(session.device),
        "frames": _frames(frames),
        "tensors": _tensors(frames),
        "times": _times(frames),
        "memory_mb": _memory(frames),
        "sensors": _sensors(session),
        "values": _values(frames),
        "gaps": list(session.gaps),
    }


def _frames(frames: Sequence[LoggedFrame]) -> dict[str, Any]:
    first, last = (frames[0], frames[-1]) if frames else (None, None)
    return {
        "count": len(frames),
        "first": first.number if first else None,
        "last": last.number if last else None,
        "began_at": moment_of(first.time_ns) if first else None,
        "seconds": (last.time_ns - first.time_ns) / 1e9 if first and last else None,
        "levels": dict(Counter(frame.level or "unknown" for frame in frames)),
        "lost": sum(frame.frames_lost for frame in frames),
        "labeled": sum(frame.label is not None for frame in frames),
        "sample_rates_hz": sorted({frame.sample_rate_hz for frame in frames if frame.sample_rate_hz is not None}),
    }


def _tensors(frames: Sequence[LoggedFrame]) -> list[dict[str, Any]]:
    grouped: dict[tuple[str, str], list[LoggedTensor]] = {}
    for frame in frames:
        for tensor in frame.tensors:
            grouped.setdefault((tensor.role, tensor.name), []).append(tensor)
    return [_tensor(role, name, tensors) for (role, name), tensors in grouped.items()]


def _tensor(role: str, name: str, tensors: Sequence[LoggedTensor]) -> dict[str, Any]:
    shapes = list(dict.fromkeys(tensor.shape for tensor in tensors))
    scales = {(tensor.scale, tensor.zero_point) for tensor in tensors}
    scale, zero_point = scales.pop() if len(scales) == 1 else (0.0, 0)
    pooled = pooled_figures([one for tensor in tensors if (one := figures_of(tensor)) is not None])
    return {
        "role": role,
        "name": name,
        "dtype": " or ".join(dict.fromkeys(tensor.dtype for tensor in tensors)),
        "shapes": [list(shape) for shape in shapes[:_MOST_SHAPES]],
        "shape_count": len(shapes),
        "frames": len(tensors),
        "with_values": sum(tensor.values is not None for tensor in tensors),
        "redacted": sum(tensor.redacted for tensor in tensors),
        "scale": scale or None,
        "zero_point": zero_point if scale else None,
        "op_index": tensors[0].op_index,
        "statistics": None if pooled is None else asdict(pooled),
    }


def pooled_figures(figures: Sequence[FrameStatistics]) -> PooledFigures | None:
    """Statistics of several arrays as those of all their values together.

    Args:
        figures: of each array.

    Returns:
        The figures; None: there are no arrays. Without a finite value min, max, mean and std are None.
    """
    if not figures:
        return None
    filled = [one for one in figures if one.count > one.non_finite]
    counts = np.array([one.count - one.non_finite for one in filled], np.float64)
    count, non_finite = sum(one.count for one in figures), sum(one.non_finite for one in figures)
    if not filled:
        return PooledFigures(count, non_finite, None, None, None, None)
    means, stds = (np.array([getattr(one, name) for one in filled]) for name in ("mean", "std"))
    mean = float(np.average(means, weights=counts))
    # The variance of all values: that within the arrays, and that of their means.
    variance = float(np.average(stds**2 + (means - mean) ** 2, weights=counts))
    return PooledFigures(
        count, non_finite, min(one.min for one in filled), max(one.max for one in filled), mean, math.sqrt(variance)
    )


def _times(frames: Sequence[LoggedFrame]) -> list[dict[str, Any]]:
    grouped: dict[tuple[TimeOf, str, str], list[float]] = {}
    for frame in frames:
        for time in frame.times:
            grouped.setdefault((time.of, time.name, time.op), []).append(time.elapsed_ns / 1e6)
    return [
        {"of": of, "name": name, "op": op or None, **latency_figures(values)}
        for (of, name, op), values in grouped.items()
    ]


def latency_figures(values: Sequence[float]) -> dict[str, Any]:
    """Figures of times.

    Args:
        values: milliseconds, at least one.

    Returns:
        Count, and mean, median, 95th percentile, least and largest in milliseconds.
    """
    return {
        "count": len(values),
        "mean_ms": float(np.mean(values)),
        "p50_ms": float(np.percentile(values, 50)),
        "p95_ms": float(np.percentile(values, 95)),
        "min_ms": min(values),
        "max_ms": max(values),
    }


def _memory(frames: Sequence[LoggedFrame]) -> dict[str, float] | None:
    known = [frame.memory_bytes / 1e6 for frame in frames if frame.memory_bytes is not None]
    return {"min": min(known), "max": max(known), "last": known[-1]} if known else None


def _sensors(session: EdgeSession) -> list[dict[str, Any]]:
    grouped: dict[str, list[tuple[float, ...]]] = {}
    for reading in session.readings:
        grouped.setdefault(reading.sensor, []).append(reading.values)
    return [{"sensor": sensor, "readings": len(rows), **_ends(rows)} for sensor, rows in grouped.items()]


def _ends(rows: Sequence[tuple[float, ...]]) -> dict[str, list[float]]:
    width = max(map(len, rows))
    columns = [[row[at] for row in rows if at < len(row) and math.isfinite(row[at])] for at in range(width)]
    filled = [column for column in columns if column]
    return {"min": [min(column) for column in filled], "max": [max(column) for column in filled]}


def _values(frames: Sequence[LoggedFrame]) -> list[dict[str, Any]]:
    found: dict[str, Counter[str]] = {}
    for frame in frames:
        for name, value in frame.values.items():
            found.setdefault(name, Counter())[value] += 1
    return [_value(name, counted) for name, counted in found.items()]


def _value(name: str, counted: Mapping[str, int]) -> dict[str, Any]:
    most = max(counted, key=lambda value: counted[value])
    return {"name": name, "frames": sum(counted.values()), "different": len(counted), "most_frequent": most}
