"""Whether the jobs of a candidate are slower than those of a baseline, beyond what identical jobs differ by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import numpy as np

from windtunnel.errors import InvalidInput
from windtunnel.noise.job_model import STEP, Array, locations, log_figures
from windtunnel.noise.looks import LIKELIER, confidence, unlikely
from windtunnel.noise.noise_model import Noise


class Decision(Enum):
    """What a comparison says."""

    SLOWER = "slower"
    NOT_SLOWER = "not_slower"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A candidate compared with a baseline.

    Attributes:
        ratio: figure of the candidate over that of the baseline: the posterior median.
        interval: ratios that the jobs and the noise of the pool leave open, low and high. Low above the limit is an
            alarm, high below it the opposite.
        noise: by how much one of two identical jobs is slower in 1 of 20 pairs, learned from these jobs too; see
            `Noise.difference`.
        decided: slower, not slower, or undecided.
        jobs: how many of the candidate and of the baseline.
    """

    ratio: float
    interval: tuple[float, float]
    noise: float
    decided: Decision
    jobs: tuple[int, int]


def compare(candidate: Sequence[float], baseline: Sequence[float], noise: Noise, max_increase: float) -> Comparison:
    """Compares the figures of jobs of a candidate with those of a baseline.

    d is the difference of the locations of both (see `job_model`), the logarithm of the ratio. Its posterior has a flat
    prior; the locations and the hypotheses on the noise are integrated out:

        p(d | jobs) ~ sum over h of P(h) integral of p(baseline | m, h) p(candidate | m + d, h) dm

    With the limit L = log(1 + max_increase), Q(p) the quantiles of d, and c the confidence that `looks` asks for:

        low  = min(Q(1 - c) + L, Q(1 - 0.6))      slower      if low > L
        high = Q(1 - u), u 0.03, or 0.01 early    not slower  if high < L

    So an alarm needs both: the candidate is slower at all, beyond what identical jobs show, and an increase above the
    limit is the likelier explanation. The first keeps false alarms rare in noisy pools. The second keeps the
    limit in quiet ones. What the limit allows is not asked for a second time: that costs most of the slowdowns of twice
    the limit in all but the quietest pools.

    Args:
        candidate: one figure for each job, in the unit of the baseline. Their order does not matter.
        baseline: one figure for each job; the numbers may differ.
        noise: of the pool that ran both.
        max_increase: the limit; 0.05 allows 5 %. Not negative.

    Returns:
        The same for the same arguments.

    Raises:
        InvalidInput: a side has no job, a figure is not a finite number above 0, or the limit is negative.
    """
    if not (math.isfinite(max_increase) and max_increase >= 0.0):
        raise InvalidInput(f"max_increase is {max_increase}", hint="give a share of at least 0, such as 0.05 for 5 %")
    limit = math.log1p(max_increase)
    found = _posterior(log_figures(candidate, "candidate"), log_figures(baseline, "baseline"), noise)
    jobs = (len(candidate), len(baseline))
    low = min(found.quantile(1.0 - confidence(*jobs)) + limit, found.quantile(1.0 - LIKELIER))
    high = found.quantile(1.0 - unlikely(*jobs))
    decided = Decision.UNDECIDED
    if low > limit:
        decided = Decision.SLOWER
    elif high < limit:
        decided = Decision.NOT_SLOWER
    interval = (math.exp(low), math.exp(high))
    difference = noise.learned([candidate, baseline]).difference
    return Comparison(math.exp(found.quantile(0.5)), interval, difference, decided, jobs)


class _Posterior(NamedTuple):
    """The difference of two locations, on the logarithm, and the probability of each value."""

    differences: Array
    probabilities: Array

    def quantile(self, share: float) -> float:
        """The difference below which a share of the probability lies.

        Args:
            share: 0 to 1.

        Returns:
            On the logarithm.
        """
        below = np.cumsum(self.probabilities) - 0.5 * self.probabilities
        return float(np.interp(share, below, self.differences))


def _posterior(candidate: Array, baseline: Array, noise: Noise) -> _Posterior:
    hypotheses = np.asarray(noise.likely)
    over, under = locations(candidate, hypotheses), locations(baseline, hypotheses)
    best_over = over.log_likelihood.max(axis=1, keepdims=True)
    best_under = under.log_likelihood.max(axis=1, keepdims=True)
    logs = np.log(np.asarray(noise.weights)[hypotheses]) + best_over[:, 0] + best_under[:, 0]
    weights = np.exp(logs - logs.max())[:, None]
    # Sum over m of p(baseline | m) p(candidate | m + d): a correlation, computed for all d by the transform.
    columns = over.log_likelihood.shape[1], under.log_likelihood.shape[1]
    length = 1 << (sum(columns) - 1).bit_length()
    spectrum = np.fft.rfft(np.exp(over.log_likelihood - best_over), length)
    spectrum *= np.conj(np.fft.rfft(np.exp(under.log_likelihood - best_under), length))
    total = np.fft.irfft((weights * spectrum).sum(axis=0), length)
    total = np.concatenate([total[length - columns[1] + 1 :], total[: columns[0]]])
    steps = np.arange(1 - columns[1], columns[0])
    found = np.maximum(total, 0.0)
    return _Posterior(over.first - under.first + steps * STEP, found / found.sum())
