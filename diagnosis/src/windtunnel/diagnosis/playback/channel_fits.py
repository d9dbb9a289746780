"""Least squares between the channels of two images, from their second moments alone.

All hypotheses about channel order and range are judged from the same sums, so that trying hundreds of them costs no
more than trying one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over the values of two images, channel by channel: `x` (C), `v` (K).

    Attributes:
        count: how many pixels.
        x: sums of the first (C,).
        v: sums of the second (K,).
        xx: sums of products of the first (C, C).
        xv: sums of products of both (C, K).
        vv: sums of squares of the second (K,).
    """

    count: float
    x: Floats
    v: Floats
    xx: Floats
    xv: Floats
    vv: Floats

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.count + other.count,
            self.x + other.x,
            self.v + other.v,
            self.xx + other.xx,
            self.xv + other.xv,
            self.vv + other.vv,
        )

    @property
    def variance(self) -> float:
        """Mean over the channels of the second image's variance."""
        return float(np.mean(self.vv / self.count - (self.v / self.count) ** 2))

    def free_mse(self) -> float:
        """Mean squared error of the best affine map from all channels to each."""
        mean_x, mean_v = self.x / self.count, self.v / self.count
        covariance = self.xx / self.count - np.outer(mean_x, mean_x)
        cross = self.xv / self.count - np.outer(mean_x, mean_v)
        total = self.vv / self.count - mean_v**2
        solved = np.linalg.pinv(covariance, rcond=1e-9) @ cross
        return float(np.mean(np.maximum(total - (cross * solved).sum(axis=0), 0)))

    def mapped_mse(self, order: tuple[int, ...], scale: Floats, offset: Floats) -> float:
        """Mean squared error of v[k] = scale[k] x[order[k]] + offset[k].

        Args:
            order: of the first image's channels.
            scale: for each channel of the second.
            offset: for each channel of the second.

        Returns:
            The error.
        """
        index = list(order)
        x, xx = self.x[index], self.xx[index, index]
        xv = self.xv[index, range(len(index))]
        total = (
            self.vv
            + scale**2 * xx
            + self.count * offset**2
            - 2 * scale * xv
            - 2 * offset * self.v
            + 2 * scale * offset * x
        )
        return float(np.maximum(total, 0).mean() / self.count)

    def line(self, order: tuple[int, ...]) -> tuple[Floats, Floats]:
        """The best scale and offset for each channel, with this order.

        Args:
            order: of the first image's channels.

        Returns:
            Scales and offsets (K,).
        """
        index = list(order)
        mean_x, mean_v = self.x[index] / self.count, self.v / self.count
        variance = self.xx[index, index] / self.count - mean_x**2
        covariance = self.xv[index, range(len(index))] / self.count - mean_x * mean_v
        scale = np.where(variance > 1e-9, covariance / np.maximum(variance, 1e-9), 0.0)
        return scale, mean_v - scale * mean_x


def total_of(sums: Sequence[Moments]) -> Moments:
    """The sums over several images.

    Args:
        sums: of each, at least one.

    Returns:
        Their total.
    """
    total = sums[0]
    for one in sums[1:]:
        total = total + one
    return total


def moments(x: NDArray[np.floating], v: NDArray[np.floating]) -> Moments:
    """The sums of two images.

    Args:
        x: (..., C).
        v: (..., K), as many pixels.

    Returns:
        The sums, in float64.
    """
    first = np.asarray(x, np.float64).reshape(-1, x.shape[-1])
    second = np.asarray(v, np.float64).reshape(-1, v.shape[-1])
    return Moments(
        float(len(first)),
        first.sum(axis=0),
        second.sum(axis=0),
        first.T @ first,
        first.T @ second,
        (second**2).sum(axis=0),
    )
