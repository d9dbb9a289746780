"""Figures per channel (last dimension) of one layer, running over samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.layer_diff.blocks import Measured, Tensor, channel_ends

# More channels than this are no channels of a layer that anybody would look at one by one.
MAX_CHANNELS = 16384


class ChannelSums:
    """Squared errors and ends of every channel.

    Ends are kept as stored values, where integers are: constant is constant whatever the scale. A channel is dead
    where it holds one and the same value over all positions of all samples added.
    """

    def __init__(self, channels: int) -> None:
        self.channels = channels
        self.count = 0
        self.squares = np.zeros(channels)
        # Reference and candidate: least and greatest, as stored.
        self.ends = np.array([[[np.inf], [-np.inf]]] * 2) * np.ones(channels)

    def add(self, sides: tuple[Tensor, Tensor], measured: Measured) -> None:
        """Adds a sample that was measured per channel."""
        if measured.channel_squares is None:
            return
        self.count += measured.count // self.channels
        self.squares += measured.channel_squares
        for ends, tensor in zip(self.ends, sides, strict=True):
            low, high = channel_ends(tensor.array, self.channels)
            np.minimum(ends[0], low, out=ends[0])
            np.maximum(ends[1], high, out=ends[1])

    def dead(self) -> tuple[int, int]:
        """How many channels of the reference and of the candidate never varied."""
        reference, candidate = (int(np.count_nonzero(ends[0] == ends[1])) for ends in self.ends)
        return reference, candidate

    def ranges(self, sides: tuple[float, float]) -> NDArray[np.float64]:
        """The larger real range of both sides, (C,); `sides` are the scales of reference and candidate."""
        found = [(ends[1] - ends[0]) * scale for ends, scale in zip(self.ends, sides, strict=True)]
        larger: NDArray[np.float64] = np.maximum(*found)
        return larger

    def state(self) -> NDArray[np.float64]:
        """(6, C): counts, squares and ends, for `restore`."""
        return np.concatenate([np.full((1, self.channels), float(self.count)), self.squares[None], *self.ends])

    def restore(self, state: NDArray[Any]) -> None:
        """Takes the sums of another `state`."""
        self.count = int(state[0, 0])
        self.squares = state[1].astype(np.float64)
        self.ends = state[2:].reshape(2, 2, self.channels).astype(np.float64)
