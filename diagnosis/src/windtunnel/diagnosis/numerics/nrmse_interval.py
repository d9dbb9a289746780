"""The confidence interval of an nRMSE over samples, in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence

from windtunnel.datacheck.chance import Z_975
from windtunnel.diagnosis.thresholds.numerics_thresholds import MOST_INTERVAL

# Quantiles 0.975 of Student's t for 1 to 30 degrees of freedom (any statistics table).
_T_975 = (
    12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004, 2.262157, 2.228139,
    2.200985, 2.178813, 2.160369, 2.144787, 2.131450, 2.119905, 2.109816, 2.100922, 2.093024, 2.085963,
    2.079614, 2.073873, 2.068658, 2.063899, 2.059539, 2.055529, 2.051831, 2.048407, 2.045230, 2.042272,
)  # fmt: skip


def nrmse_interval(sums: SampleMoments, value_range: float) -> tuple[float, float] | None:
    """95 % confidence interval of the nRMSE over samples, as if they were drawn independently.

    The MSE is the ratio sum S_i / sum n_i of per-sample sums of squares and counts. Its variance is that of the ratio
    estimator: sum (S_i - MSE n_i)^2 / (N (N - 1) mean(n)^2) (Cochran, Sampling Techniques, 1977, 6.4). The interval is
    MSE * exp(-+ t se / MSE), t with N - 1 degrees of freedom. It is on the logarithm (delta method), because errors per
    sample are skewed and not negative.

    Args:
        sums: of the samples.
        value_range: the larger range of both sides; it counts as known.

    Returns:
        (low, high), without unit; None for fewer than two samples or no range.
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

    A table to 30 degrees of freedom; above it the expansion around the normal's (Abramowitz and Stegun 26.7.5), which
    is good to 1e-6 there.

    Args:
        freedom: degrees of freedom, at least 1.

    Returns:
        The quantile.
    """
    if freedom <= len(_T_975):
        return _T_975[freedom - 1]
    z, v = Z_975, float(freedom)
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
        """Adds one sample.

        Args:
            squares: its sum of squared differences.
            count: its number of values.
        """
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
        """Replaces the sums with those of another `state`.

        Args:
            state: the numbers, in the order of the attributes.
        """
        for name, value in zip(self.__slots__, state, strict=True):
            setattr(self, name, float(value))
        self.samples = int(self.samples)
