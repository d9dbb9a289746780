"""The numbers that a quantized input holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Grid:
    """The real numbers that a quantized input holds: multiples of `step` from `low` to `high`; step 0: all.

    `zero_point`: the integer that stands for 0.
    """

    step: float = 0.0
    low: float = -np.inf
    high: float = np.inf
    zero_point: int = 0

    def of(self, values: Floats) -> Floats:
        """Values as they are stored, rounded to the nearest.

        Args:
            values: real numbers.

        Returns:
            Real numbers on the grid.
        """
        return values if not self.step else np.clip(np.rint(values / self.step) * self.step, self.low, self.high)

    def truncated(self, values: Floats) -> Floats:
        """Values whose stored integers are truncated toward zero.

        Args:
            values: real numbers.

        Returns:
            Real numbers, of which `of` keeps the integers.
        """
        return np.asarray((np.trunc(values / self.step + self.zero_point) - self.zero_point) * self.step)

    def wrapped(self, values: Floats) -> Floats:
        """Values whose stored integers overflow instead of being clipped.

        Args:
            values: real numbers.

        Returns:
            Real numbers, of which `of` keeps the integers.
        """
        count = round((self.high - self.low) / self.step) + 1
        stored = np.rint((values - self.low) / self.step)
        return np.asarray(np.mod(stored, count) * self.step + self.low)

    def inside(self, values: Floats) -> NDArray[np.bool_]:
        """Where values are not clipped.

        Args:
            values: on the grid.

        Returns:
            True where they are inside.
        """
        return (values > self.low) & (values < self.high)


EVERY: Final = Grid()
