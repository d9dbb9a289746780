"""The figures of a layer as pure functions of sums over its values; all in float64.

a is the reference, b the candidate, d = b - a, over all n values of all samples. A figure whose denominator is zero
is defined below or None: never infinite, never a NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.thresholds.numerics_thresholds import MOST_INTERVAL
from windtunnel.tflite.tensor_error import nrmse, rmse

__all__ = ["SampleMoments", "channel_nrmse", "cosine", "nrmse", "nrmse_interval", "rmse", "snr_db", "t_975"]

# Quantiles 0.975 of Student's t for 1 to 30 degrees of freedom (any statistics table).
_T_975 = (
    12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004, 2.262157, 2.228139,
    2.200985, 2.178813, 2.160369, 2.144787, 2.131450, 2.119905, 2.109816, 2.100922, 2.093024, 2.085963,
    2.079614, 2.073873, 2.068658, 2.063899, 2.059539, 2.055529, 2.051831, 2.048407, 2.045230, 2.042272,
)  # fmt: skip
_Z_975 = 1.959963984540054


def channel_nrmse(squares: NDArray[np.float64], count: int, ranges: NDArray[np.float64]) -> NDArray[np.float64]:
    """`nrmse` of every channel by its own range, (C,), from sums of squares over `count` values each.

    NaN marks a channel that is constant on both sides but different: it has none.
    """
    errors = np.sqrt(squares / count)
    constant = ranges <= 0.0
    found: NDArray[np.float64] = np.divide(errors, ranges, out=np.zeros_like(errors), where=~constant)
    found[constant & (errors > 0.0)] = np.nan
    return found


def cosine(products: float, reference: float, candidate: float) -> float:
    """sum ab / sqrt(sum a^2 * sum b^2), in [-1, 1]; 1 where both are all zeros, 0 where one is."""
    if reference <= 0.0 or candidate <= 0.0:
        return 1.0 if reference <= 0.0 and candidate <= 0.0 else 0.0
    return max(-1.0, min(1.0, products / (math.sqrt(reference) * math.sqrt(candidate))))


def snr_db(reference: float, squares: float) -> float | None:
    """Signal to noise, 10 log10(sum a^2 / sum d^2) in dB; None without noise or without a signal."""
    if reference <= 0.0 or squares <= 0.0:
        return None
    return 10.0 * (math.log10(reference) - math.log10(squares))


def nrmse_interval(sums: SampleMoments, value_range: float) -> tuple[float, float] | None:
    """95 % confidence interval of the nRMSE over samples, as if they were drawn independently.

    The MSE is the ratio sum S_i / sum n_i of per-sample sums of squares and counts; its variance is that of the
    ratio estimator, sum (S_i - MSE n_i)^2 / (N (N - 1) mean(n)^2) (Cochran, Sampling Techniques, 1977, 6.4).
    The interval is MSE * exp(-+ t se / MSE), t with N - 1 degrees of freedom: on the logarithm (delta method),
    because errors per sample are skewed and not negative. The range counts as known. None for fewer than two
    samples or no range.
    """
    if sums.samples < 2 or not value_range > 0.0 or not sums.counts:
        return None
    mse = sums.squares / sums.counts
    if mse == 0.0:
        return (0.0, 0.0)
    scatter = max(0.0, sums.squares_squared - 2.0 * mse * sums.squares_counts + mse * mse * sums.counts_squared)
    mean_count = sums.counts / sums.samples
    error = math.sqrt(scatter / (sums.samples * (sums.samples - 1))) / mean_count
    reach = min(MOST_INTERVAL, t_975(sums.samples - 1) * error / mse)
    middle = math.sqrt(mse) / value_range
    return (middle * math.exp(-reach / 2.0), middle * math.exp(reach / 2.0))


def t_975(freedom: int) -> float:
    """Quantile 0.975 of Student's t.

    A table to 30 degrees of freedom, above it the expansion around the normal's (Abramowitz and Stegun 26.7.5),
    good to 1e-6 there.
    """
    if freedom <= len(_T_975):
        return _T_975[freedom - 1]
    z, v = _Z_975, float(freedom)
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )


class SampleMoments:
    """Sums over samples of S_i (a sample's sum of squared errors) and n_i (its count of values)."""

    __slots__ = ("counts", "counts_squared", "samples", "squares", "squares_counts", "squares_squared")

    def __init__(self) -> None:
        self.samples = 0
        self.counts = 0.0
        self.squares = 0.0
        self.squares_squared = 0.0
        self.squares_counts = 0.0
        self.counts_squared = 0.0

    def add(self, squares: float, count: int) -> None:
        """Adds one sample."""
        self.samples += 1
        self.counts += count
        self.squares += squares
        self.squares_squared += squares * squares
        self.squares_counts += squares * count
        self.counts_squared += float(count) * count

    def state(self) -> list[float]:
        """The sums as numbers, for `restore`."""
        return [float(getattr(self, name)) for name in self.__slots__]

    def restore(self, state: Sequence[float]) -> None:
        """Takes the sums of another `state`."""
        for name, value in zip(self.__slots__, state, strict=True):
            setattr(self, name, float(value))
        self.samples = int(self.samples)
