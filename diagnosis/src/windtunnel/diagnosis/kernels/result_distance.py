"""How far two results of one op differ, over all samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.kernels.rounding_bounds import Limit
from windtunnel.tflite.tensor_error import nrmse

# Kernels may or may not flush denormal numbers to zero; nothing real lies below the smallest normal float32.
_NOTHING: Final = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, slots=True)
class Distance:
    """Differences of two arrays of one shape, in the units that are stored (integer steps, or real numbers).

    `max_abs` is the largest difference, `rmse` its root mean square, `share` of the values that differ at all;
    `size` is the largest range or absolute value on either side. `non_finite` counts NaN and infinity that only the
    first, or only the second holds, or in another form. `shapes` is False where the shapes differ.
    """

    max_abs: float = 0.0
    rmse: float = 0.0
    share: float = 0.0
    size: float = 0.0
    non_finite: tuple[int, int] = (0, 0)
    shapes: bool = True

    @property
    def of_range(self) -> float:
        """`max_abs` as a share of `size`."""
        return self.max_abs / self.size if self.size > 0.0 else 0.0

    @property
    def nrmse(self) -> float | None:
        """`rmse` as a share of `size`; None if the shapes differ, or only one side is finite.

        For integers it is the nRMSE of a comparison. Real values are divided by the larger of their range and their
        absolute value: rounding is relative to that, and a constant output has a figure too.
        """
        return None if not self.shapes or any(self.non_finite) else nrmse(self.rmse, self.size)

    def turned(self) -> Distance:
        """The distance seen from the other side."""
        return replace(self, non_finite=(self.non_finite[1], self.non_finite[0]))

    def within(self, limit: Limit) -> bool:
        """Whether rounding may explain it.

        Args:
            limit: what right kernels may differ by.
        """
        if not self.shapes or any(self.non_finite):
            return False
        found = self.max_abs if limit.unit == "steps" else self.of_range
        return found <= limit.value or self.max_abs < _NOTHING


class DistanceSums:
    """Sums a distance over samples, in float64."""

    def __init__(self) -> None:
        self._max = self._squares = 0.0
        self._count = self._differing = 0
        self._low, self._high, self._largest = [math.inf, math.inf], [-math.inf, -math.inf], 0.0
        self._bad = [0, 0]
        self._shapes = True

    def add(self, first: NDArray[Any], second: NDArray[Any]) -> None:
        """Adds one sample of both sides. NaN on both sides, and equal infinities, do not count as a difference.

        Args:
            first: one side.
            second: the other side.
        """
        if first.shape != second.shape:
            self._shapes = False
            return
        a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
        whole_a, whole_b = np.isfinite(a), np.isfinite(b)
        both = whole_a & whole_b
        if not both.all():
            equal = (np.isnan(a) & np.isnan(b)) | (a == b)
            self._bad[0] += int(np.count_nonzero(~whole_a & ~equal))
            self._bad[1] += int(np.count_nonzero(~whole_b & ~equal))
            a, b = a[both], b[both]
        if not a.size:
            return
        difference = (a - b).ravel()
        self._count += difference.size
        self._differing += int(np.count_nonzero(difference))
        self._squares += float(np.dot(difference, difference))
        self._max = max(self._max, float(np.abs(difference).max()))
        for side, values in enumerate((a, b)):
            low, high = float(values.min()), float(values.max())
            self._low[side], self._high[side] = min(self._low[side], low), max(self._high[side], high)
            self._largest = max(self._largest, abs(low), abs(high))

    def distance(self, *, integer: bool) -> Distance:
        """The distance over all samples.

        Args:
            integer: whether stored integers are compared: they have a range, but no distance from zero.

        Returns:
            The distance.
        """
        size = max(0.0, *(high - low for low, high in zip(self._low, self._high, strict=True)))
        if not integer or size == 0.0:
            size = max(size, self._largest)
        count = max(1, self._count)
        rmse, share = math.sqrt(self._squares / count), self._differing / count
        return Distance(self._max, rmse, share, size, (self._bad[0], self._bad[1]), self._shapes)


def consensus(names: Sequence[str], agree: Callable[[str, str], bool]) -> tuple[tuple[str, ...], bool]:
    """The largest group of accelerators that agree two by two.

    Args:
        names: the most trusted first: of equally large groups the one with the more trusted members is taken.
        agree: whether two agree.

    Returns:
        The group, and whether another one is as large.
    """
    agreed = {pair for pair in combinations(names, 2) if agree(*pair)}
    for size in range(len(names), 0, -1):
        found = [
            members for members in combinations(names, size) if all(pair in agreed for pair in combinations(members, 2))
        ]
        if found:
            return found[0], len(found) > 1
    return (), False
