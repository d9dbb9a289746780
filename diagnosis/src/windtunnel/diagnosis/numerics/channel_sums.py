"""Figures per channel (last dimension) of one layer, running over samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.numerics.block_sums import Tensor, channel_ends


@dataclass(frozen=True, slots=True)
class ChannelLook:
    """What one sample adds to the figures per channel, (C,) arrays.

    `count` is the number of values in each channel, `squares` their squared errors in real units. `ends` are the least
    and greatest value of the reference, then of the candidate, as stored; `scales` make them real.
    """

    count: int
    squares: NDArray[np.float64]
    ends: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
    scales: tuple[float, float]


def look_at_channels(sides: tuple[Tensor, Tensor], squares: NDArray[np.float64]) -> ChannelLook:
    """Looks at one sample, of which the squared errors of every channel are known.

    Args:
        sides: reference and candidate, of one shape whose last dimension are the channels.
        squares: sum of squared differences of every channel, (C,), in real units.

    Returns:
        What `ChannelSums.add` takes; it keeps no view of the arrays.
    """
    channels = len(squares)
    first, second = (channel_ends(one.array, channels) for one in sides)
    scales = float(sides[0].scale[0]), float(sides[1].scale[0])
    return ChannelLook(sides[0].array.size // channels, squares, (*first, *second), scales)


class ChannelSums:
    """Squared errors and ends of every channel.

    Ends are kept as stored values, where integers are: constant is constant whatever the scale. A channel is dead
    where it holds one and the same value over all positions of all samples added.

    Args:
        channels: how many.
    """

    def __init__(self, channels: int) -> None:
        self.channels = channels
        self.count = 0
        self.squares = np.zeros(channels)
        # Reference and candidate: least and greatest, as stored.
        self.ends = np.array([[[np.inf], [-np.inf]]] * 2) * np.ones(channels)

    def add(self, look: ChannelLook) -> None:
        """Adds one sample.

        Args:
            look: of as many channels.
        """
        self.count += look.count
        self.squares += look.squares
        pairs = zip(self.ends, (look.ends[:2], look.ends[2:]), strict=True)
        for ends, (low, high) in pairs:
            np.minimum(ends[0], low, out=ends[0])
            np.maximum(ends[1], high, out=ends[1])

    def dead(self) -> tuple[int, int]:
        """How many channels of the reference and of the candidate never varied."""
        reference, candidate = (int(np.count_nonzero(ends[0] == ends[1])) for ends in self.ends)
        return reference, candidate

    def ranges(self, sides: tuple[float, float]) -> NDArray[np.float64]:
        """The larger real range of both sides, for each channel.

        Args:
            sides: scales of reference and candidate.

        Returns:
            (C,), in real units.
        """
        found = [(ends[1] - ends[0]) * scale for ends, scale in zip(self.ends, sides, strict=True)]
        larger: NDArray[np.float64] = np.maximum(*found)
        return larger

    def nrmse(self, sides: tuple[float, float]) -> NDArray[np.float64]:
        """The nRMSE of every channel by its own range, (C,), over all samples added.

        Args:
            sides: the scales of reference and candidate.

        Returns:
            0 for a channel that is constant and equal on both sides; NaN for one that is constant but different.
        """
        errors, ranges = np.sqrt(self.squares / self.count), self.ranges(sides)
        constant = ranges <= 0.0
        found: NDArray[np.float64] = np.divide(errors, ranges, out=np.zeros_like(errors), where=~constant)
        found[constant & (errors > 0.0)] = np.nan
        return found

    def state(self) -> NDArray[np.float64]:
        """(6, C): counts, squares and ends, for `restore`."""
        return np.concatenate([np.full((1, self.channels), float(self.count)), self.squares[None], *self.ends])

    def restore(self, state: NDArray[Any]) -> None:
        """Replaces the sums with those of another `state`.

        Args:
            state: (6, C).
        """
        self.count = int(state[0, 0])
        self.squares = state[1].astype(np.float64)
        self.ends = state[2:].reshape(2, 2, self.channels).astype(np.float64)
