"""Statistics of a logged tensor: those that the app recorded, or the same figures of its values."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.recording.edge_log import TEXT, FrameStatistics, LoggedTensor
from windtunnel.monitor import statistics as formulas


def figures_of(tensor: LoggedTensor) -> FrameStatistics | None:
    """The statistics of a tensor in one frame, of its values as stored.

    Args:
        tensor: of a frame.

    Returns:
        The recorded statistics, or those of the values by the same formulas; None: text, or neither is recorded.
    """
    if tensor.statistics is not None or tensor.values is None or tensor.dtype == TEXT:
        return tensor.statistics
    found = formulas.of(tensor.values)
    return FrameStatistics(
        count=found.count,
        non_finite=found.non_finite,
        min=found.min,
        max=found.max,
        mean=found.mean,
        std=found.std,
        quantiles=tuple(map(float, found.quantiles)),
        projection=tuple(map(float, found.projection)),
    )


def real_projection(figures: FrameStatistics, scale: float, zero_point: int) -> NDArray[np.float64]:
    """The projection of the real values of a quantized tensor.

    The projection is linear: that of (v - zero_point) scale is (that of v - zero_point that of ones) scale.

    Args:
        figures: statistics of the values as stored.
        scale: of the tensor; 0: it is not quantized.
        zero_point: of the tensor.

    Returns:
        The sums.
    """
    stored = np.asarray(figures.projection, np.float64)
    if not scale:
        return stored
    shift = zero_point * _projection_of_ones(figures.count) if zero_point else 0.0
    return (stored - shift) * scale


@lru_cache(maxsize=256)
def _projection_of_ones(count: int) -> NDArray[np.float64]:
    return np.asarray(formulas.of(np.ones(count, np.float32)).projection, np.float64)
