"""How the figures of identical jobs spread: a main mode, and slow jobs above it.

The logarithm of a job's figure is y = m + e, where m belongs to the model and the pool, and e is noise:

    e ~ (1 - o) [(1 - w) N(0, s^2) + w (N(0, s^2) + Exp(t))] + o Laplace(0, 0.5)

s is the scale of the main mode, w the share of slow jobs (throttled, on a small core, with other work), t how much
longer these take in the mean. All are on the logarithm, so that nothing depends on the unit. N + Exp is the
exponentially modified normal distribution (Grushka 1972, Analytical Chemistry 44). o = 2 % of the jobs may be anything:
one wild job decides nothing.

(s, w, t) are not estimated as one point: a `Noise` is a probability for each triple of a fixed grid (`HYPOTHESES`).
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from windtunnel.errors import InvalidInput

Array = npt.NDArray[np.float64]

_SCALES: Final = (0.005, 0.008, 0.012, 0.018, 0.025, 0.035, 0.05, 0.065, 0.085, 0.11, 0.15, 0.2)
_SHARES: Final = (0.05, 0.15, 0.3, 0.5)
_LENGTHS: Final = (0.1, 0.25, 0.5)
_OUTLIERS: Final = 0.02
_OUTLIER_LENGTH: Final = 0.5

# Steps of the grids, on the logarithm. The location's is below the smallest scale, and a multiple of the table's.
STEP: Final = 0.004
_TABLE_STEP: Final = 0.002
_PER_STEP: Final = 2
# A job further from the middle one than this counts as that far: a factor of 1100.
_FURTHEST: Final = 7.0
_TABLE_REACH: Final = 2 * _FURTHEST + 2.0
# How far the main mode may lie below the fastest and above the slowest job.
_BELOW: Final = 1.0
_ABOVE: Final = 0.5


class Hypothesis(NamedTuple):
    """One way in which the jobs of a pool may spread, on the natural logarithm of their figures.

    Attributes:
        scale: standard deviation of the main mode.
        slow_share: share of slow jobs, 0 to 1.
        slow_length: mean of what slow jobs take longer; 0 if there are none.
    """

    scale: float
    slow_share: float
    slow_length: float


HYPOTHESES: Final = tuple(
    [Hypothesis(scale, 0.0, 0.0) for scale in _SCALES]
    + [Hypothesis(*triple) for triple in itertools.product(_SCALES, _SHARES, _LENGTHS)]
)


def log_figures(jobs: Sequence[float], of: str) -> Array:
    """The logarithms of the figures of jobs, sorted: their order says nothing.

    Args:
        jobs: one figure for each job, in any unit, at least one.
        of: what they are the jobs of, for the message of an error.

    Returns:
        Natural logarithms, ascending.

    Raises:
        InvalidInput: there is no job, or a figure is not a finite number above 0.
    """
    if not len(jobs):
        raise InvalidInput(f"there is no job of the {of}", hint="give the figure of at least one job")
    for position, figure in enumerate(jobs, start=1):
        if not (math.isfinite(figure) and figure > 0.0):
            raise InvalidInput(
                f"job {position} of the {of} has the figure {figure}",
                hint="give a finite number above 0, and leave out jobs without a figure",
            )
    logs = np.sort(np.log(np.asarray(jobs, dtype=np.float64)))
    middle = float(np.median(logs))
    return np.asarray(np.clip(logs, middle - _FURTHEST, middle + _FURTHEST))


class Locations(NamedTuple):
    """How well each location of the main mode explains some jobs.

    Attributes:
        first: the lowest location; the others follow at steps of `STEP`.
        log_likelihood: of the jobs; one row for each hypothesis, one column for each location.
    """

    first: float
    log_likelihood: Array


def locations(logs: Array, hypotheses: npt.NDArray[np.intp]) -> Locations:
    """Computes log p(jobs | location, hypothesis).

    Args:
        logs: logarithms of the figures of identical jobs, ascending.
        hypotheses: indices into `HYPOTHESES`.

    Returns:
        For the locations around the jobs.
    """
    first = float(logs[0]) - _BELOW
    count = math.ceil((float(logs[-1]) + _ABOVE - first) / STEP) + 1
    table = _log_densities()[hypotheses]
    total = np.zeros((len(hypotheses), count))
    for value in logs:
        # Every location is a whole number of table steps from the next: one fraction serves all of them.
        place = (float(value) - first + _TABLE_REACH) / _TABLE_STEP
        at = math.floor(place)
        part = place - at
        end = at - _PER_STEP * (count - 1)
        low = table[:, end : at + 1 : _PER_STEP][:, ::-1]
        high = table[:, end + 1 : at + 2 : _PER_STEP][:, ::-1]
        total += (1.0 - part) * low + part * high
    return Locations(first, total)


def group_log_likelihood(logs: Array) -> Array:
    """log p(identical jobs | hypothesis), their common location integrated out with a flat prior.

    Args:
        logs: logarithms of the figures of identical jobs, ascending.

    Returns:
        One value for each of `HYPOTHESES`.
    """
    found = locations(logs, np.arange(len(HYPOTHESES))).log_likelihood
    top = found.max(axis=1, keepdims=True)
    return np.asarray(top[:, 0] + np.log(np.exp(found - top).sum(axis=1) * STEP))


@functools.cache
def pair_differences() -> Array:
    """P(e1 - e2 <= x) for two identical jobs, one row for each of `HYPOTHESES`, at x = `pair_offsets()`."""
    found = np.exp(_log_densities()[:, ::_PER_STEP])
    length = 1 << (2 * found.shape[1] - 1).bit_length()
    spectrum = np.fft.rfft(found, length, axis=1)
    shares = np.fft.irfft(np.abs(spectrum) ** 2, length, axis=1)[:, : len(pair_offsets())]
    # Symmetric around 0: half of what is exactly 0, and half of all pairs, lies below.
    below = np.cumsum(np.maximum(shares, 0.0), axis=1) - 0.5 * shares[:, :1]
    return np.asarray(0.5 + 0.5 * below / below[:, -1:])


@functools.cache
def pair_offsets() -> Array:
    """Where `pair_differences()` are given: from 0 upwards."""
    return np.asarray((np.arange(round(_FURTHEST / STEP)) + 0.5) * STEP)


@functools.cache
def information() -> Array:
    """Fisher information on the location that one job carries, for each of `HYPOTHESES`: integral of (f')^2 / f."""
    found = np.exp(_log_densities())
    slope = np.gradient(found, _TABLE_STEP, axis=1)
    return np.asarray((slope**2 / np.maximum(found, 1e-300)).sum(axis=1) * _TABLE_STEP)


@functools.cache
def _log_densities() -> Array:
    x = np.asarray(np.arange(round(2 * _TABLE_REACH / _TABLE_STEP) + 2) * _TABLE_STEP - _TABLE_REACH, np.float64)
    outliers = np.exp(-np.abs(x) / _OUTLIER_LENGTH) / (2 * _OUTLIER_LENGTH)
    rows = np.empty((len(HYPOTHESES), len(x)))
    for row, (scale, share, length) in zip(rows, HYPOTHESES, strict=True):
        usual = np.exp(-0.5 * (x / scale) ** 2) / (scale * math.sqrt(2 * math.pi))
        if share:
            usual = (1 - share) * usual + share * _modified_normal(x, scale, length)
        row[:] = np.log((1 - _OUTLIERS) * usual + _OUTLIERS * outliers)
    return rows


def _modified_normal(x: Array, scale: float, length: float) -> Array:
    """Density of N(0, scale^2) + Exp(length): exp(-x^2 / (2 s^2)) erfcx(z) / (2 t), z = (s / t - x / s) / sqrt(2)."""
    z = (scale / length - x / scale) / math.sqrt(2)
    normal = np.exp(-0.5 * (x / scale) ** 2)
    # For z < 0: erfcx(z) = 2 exp(z^2) - erfcx(-z), with the exponents added before they can overflow.
    tail = 2 * np.exp(np.minimum(scale**2 / (2 * length**2) - x / length, 0.5 * (scale / length) ** 2))
    scaled = _scaled_erfc(np.abs(z))
    return np.asarray(np.maximum(np.where(z >= 0, normal * scaled, tail - normal * scaled), 0.0) / (2 * length))


def _scaled_erfc(z: Array) -> Array:
    """exp(z^2) erfc(z) for z >= 0, to 1.2e-7 (Press et al., Numerical Recipes in C, 2nd edition, 6.2)."""
    t = 1.0 / (1.0 + 0.5 * z)
    powers = [-1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806]
    powers += [0.27886807, -1.13520398, 1.48851587, -0.82215223, 0.17087277]
    total = np.zeros_like(t)
    for power in reversed(powers):
        total = total * t + power
    return np.asarray(t * np.exp(total))
