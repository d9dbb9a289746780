"""How far two tensors are apart: RMSE and nRMSE, one copy of each formula, in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def rmse(squares: float, count: float) -> float:
    """The root of the mean squared error.

    Args:
        squares: sum of d^2 over all values, d = candidate - reference.
        count: how many values.

    Returns:
        sqrt(squares / count), in the unit of the values; 0 without values.
    """
    return math.sqrt(squares / count) if count else 0.0


def nrmse(error: float, value_range: float) -> float | None:
    """RMSE / the larger range of both tensors (ML-EXray, MLSys 2022): the one rule for every nRMSE.

    Args:
        error: the RMSE.
        value_range: the larger of max - min of the reference and max - min of the candidate, over all samples.

    Returns:
        A number without unit, at least 0. If both sides are constant: 0 if they are equal, None (no figure) if not.
    """
    if value_range > 0.0:
        return error / value_range
    return 0.0 if error == 0.0 else None


def nrmse_of(reference: NDArray[Any], candidate: NDArray[Any]) -> float | None:
    """The nRMSE of two whole arrays.

    Args:
        reference: real numbers.
        candidate: real numbers, of the same shape.

    Returns:
        As `nrmse`; None if a value is NaN or infinite; 0 without values.
    """
    sums = RunningNrmse()
    sums.add(reference, candidate)
    figure = sums.nrmse()
    return figure if figure is not None and math.isfinite(figure) else None


class RunningNrmse:
    """The nRMSE of one tensor over samples that come one by one."""

    def __init__(self) -> None:
        self.count = 0
        self._squares = 0.0
        self._ends = [(math.inf, -math.inf), (math.inf, -math.inf)]

    def add(self, reference: NDArray[Any], candidate: NDArray[Any]) -> None:
        """Adds one sample.

        Args:
            reference: finite real numbers.
            candidate: finite real numbers of the same shape.
        """
        sides = np.asarray(reference, np.float64), np.asarray(candidate, np.float64)
        self._squares += float(np.square(sides[1] - sides[0]).sum())
        self.count += sides[0].size
        for side, array in enumerate(sides):
            low, high = self._ends[side]
            self._ends[side] = (
                min(low, float(array.min(initial=math.inf))),
                max(high, float(array.max(initial=-math.inf))),
            )

    def nrmse(self) -> float | None:
        """Over all samples so far, as `nrmse` defines it; 0 without values."""
        return nrmse(rmse(self._squares, self.count), max(high - low for low, high in self._ends))
