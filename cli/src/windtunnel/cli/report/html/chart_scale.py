"""Scales: from figures to places on a chart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# A linear scale shows figures below one thirtieth of the largest one as a flat line.
_LOG_FROM_RATIO = 30.0
_MAX_DECADES = 6
# Less than this counts as 0: a fraction of it would underflow to 0.
_LEAST = 1e-300


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps [low, high] to the pixels [start, end], linearly or logarithmically; figures outside go to the ends."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """The pixel of a figure.

        Args:
            value: a figure outside the scale counts as its nearest end.

        Returns:
            The distance in pixels.
        """
        inside = min(max(value, self.low), self.high)
        if self.log:
            span = math.log10(self.high) - math.log10(self.low)
            fraction = (math.log10(inside) - math.log10(self.low)) / span
        else:
            fraction = (inside - self.low) / (self.high - self.low)
        return round(self.start + fraction * (self.end - self.start), 2)

    def ticks(self) -> list[float]:
        """Round figures to label, lowest first."""
        if not self.log:
            return _round_steps(self.low, self.high)
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        found = [10.0**power for power in range(first, last + 1)]
        if len(found) > 2:
            return found
        finer = [digit * 10.0**power for power in range(first - 1, last + 1) for digit in (1, 2, 5)]
        return [value for value in finer if self.low <= value <= self.high]


@dataclass(frozen=True, slots=True)
class Frame:
    """A chart's size and the edges of its drawing, in pixels."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A labeled place on an axis, in pixels."""

    at: float
    label: str


def fit(values: Sequence[float], start: float, end: float, *, zero: bool = True, whole_decades: bool = True) -> Scale:
    """A scale for figures >= 0: logarithmic if they differ by more than a factor of 30, linear otherwise.

    Args:
        values: the figures; only those that are positive and finite count.
        start: the pixel of the smallest figure.
        end: the pixel of the largest figure.
        zero: begin a linear scale at 0.
        whole_decades: end a logarithmic scale at powers of ten.

    Returns:
        The scale; from 0 to 1 if no figure counts.
    """
    positive = [value for value in values if value > _LEAST and math.isfinite(value)]
    if not positive:
        return Scale(0.0, 1.0, start, end)
    high, low = max(positive), min(positive)
    if high / low > _LOG_FROM_RATIO:
        top = math.ceil(math.log10(high) - 1e-9)
        bottom = max(math.floor(math.log10(low) + 1e-9), top - _MAX_DECADES)
        if whole_decades:
            return Scale(10.0**bottom, 10.0**top, start, end, log=True)
        return Scale(max(low / 1.5, 10.0**bottom), high * 1.1, start, end, log=True)
    return Scale(0.0 if zero else low, high * 1.08, start, end)


def _round_steps(low: float, high: float) -> list[float]:
    rough = (high - low) / 5
    exponent = math.floor(math.log10(rough))
    power = 10.0**exponent
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    count = math.floor((high - first * step) / step + 1e-9)
    # Every tick is a multiple of `power`: smaller digits are rounding of the multiplication.
    return [round((first + number) * step, -exponent) for number in range(count + 1)]


def label(value: float) -> str:
    """A tick's figure in few characters.

    Args:
        value: the figure.

    Returns:
        The digits, with an exponent if it is tiny or huge.
    """
    if value == 0 or 0.001 <= abs(value) < 1e6:
        return f"{value:g}"
    return f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-")
