"""Times and statistics of frames as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.recording.edge_log import FrameStatistics, LoggedFrame, LoggedTensor, Role, TimeOf
from windtunnel.diagnosis.recording.edge_recording import EdgeStatistics, EdgeTimes, TensorStatistics

_QUANTILES: Final = 9
_LONGEST_PROJECTION: Final = 16


def statistics_of(frames: Sequence[LoggedFrame]) -> EdgeStatistics:
    """The statistics of frames.

    Args:
        frames: of one session.

    Returns:
        The statistics of every tensor that has them in some frame.
    """
    found: dict[Role, dict[str, dict[int, LoggedTensor]]] = {role: {} for role in Role}
    for index, frame in enumerate(frames):
        for tensor in frame.tensors:
            if tensor.statistics is not None:
                found[tensor.role].setdefault(tensor.name, {}).setdefault(index, tensor)
    made: dict[Role, Mapping[str, TensorStatistics]] = {
        role: MappingProxyType({name: _of_tensor(by_frame, len(frames)) for name, by_frame in named.items()})
        for role, named in found.items()
    }
    return EdgeStatistics(
        raw=made[Role.RAW],
        inputs=made[Role.INPUT],
        outputs=made[Role.OUTPUT],
        layers=made[Role.LAYER],
        postprocessed=made[Role.POSTPROCESSED],
        function_inputs=made[Role.FUNCTION_INPUT],
        function_outputs=made[Role.FUNCTION_OUTPUT],
    )


def _of_tensor(by_frame: Mapping[int, LoggedTensor], count: int) -> TensorStatistics:
    rows = {index: tensor.statistics for index, tensor in by_frame.items() if tensor.statistics is not None}
    shapes, dtypes = ({getattr(one, name) for one in by_frame.values()} for name in ("shape", "dtype"))
    width = min(max(len(one.projection) for one in rows.values()), _LONGEST_PROJECTION)
    return TensorStatistics(
        shape=shapes.pop() if len(shapes) == 1 else None,
        dtype=dtypes.pop() if len(dtypes) == 1 else None,
        count=_whole(rows, count, "count"),
        non_finite=_whole(rows, count, "non_finite"),
        min=_real(rows, count, "min"),
        max=_real(rows, count, "max"),
        mean=_real(rows, count, "mean"),
        std=_real(rows, count, "std"),
        quantiles=_several({index: one.quantiles for index, one in rows.items()}, count, _QUANTILES),
        projections=_several({index: one.projection for index, one in rows.items()}, count, width),
    )


def _whole(rows: Mapping[int, FrameStatistics], count: int, name: str) -> NDArray[np.int64]:
    values = np.zeros(count, np.int64)
    for index, row in rows.items():
        values[index] = getattr(row, name)
    return values


def _real(rows: Mapping[int, FrameStatistics], count: int, name: str) -> NDArray[np.float64]:
    values = np.full(count, np.nan)
    for index, row in rows.items():
        # Without a finite value there is no least, largest or mean.
        if row.count > row.non_finite:
            values[index] = getattr(row, name)
    return values


def _several(rows: Mapping[int, Sequence[float]], count: int, width: int) -> NDArray[np.float64]:
    values = np.full((count, width), np.nan)
    for index, row in rows.items():
        kept = row[:width]
        values[index, : len(kept)] = kept
    return values


def times_of(frames: Sequence[LoggedFrame]) -> EdgeTimes:
    """The times of frames. What a frame has several times, for example two inferences, is added.

    Args:
        frames: of one session.

    Returns:
        The times; NaN where a frame has none.
    """
    return EdgeTimes(
        total=_only(frames, TimeOf.FRAME),
        inference=_only(frames, TimeOf.INFERENCE),
        stages=_by_name(frames, TimeOf.STAGE),
        layers=_by_name(frames, TimeOf.LAYER),
    )


def _only(frames: Sequence[LoggedFrame], of: TimeOf) -> NDArray[np.float64] | None:
    if not any(time.of == of for frame in frames for time in frame.times):
        return None
    return np.array([_milliseconds([time.elapsed_ns for time in frame.times if time.of == of]) for frame in frames])


def _by_name(frames: Sequence[LoggedFrame], of: TimeOf) -> Mapping[str, NDArray[np.float64]]:
    found: dict[str, NDArray[np.float64]] = {}
    for index, frame in enumerate(frames):
        for time in frame.times:
            if time.of == of:
                row = found.setdefault(time.name, np.full(len(frames), np.nan))
                row[index] = np.nansum([row[index], time.elapsed_ns / 1e6])
    return MappingProxyType(found)


def _milliseconds(elapsed_ns: Sequence[int]) -> float:
    return sum(elapsed_ns) / 1e6 if elapsed_ns else float("nan")
