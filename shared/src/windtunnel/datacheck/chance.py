"""How sure an accuracy is: binomial statistics of a share of right samples."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

# One in so many sets of samples may be misjudged.
ALPHA: Final = 0.01
# An expected accuracy is rounded, and measured with another runtime: this much less is acceptable for all samples.
TOLERANCE: Final = 0.01
# Fewer samples say too little of their spread.
_FEW: Final = 4
# Quantile 0.975 of the standard normal distribution: both ends of a 95 % interval.
Z_975: Final = 1.959963984540054


def at_most(right: int, count: int, share: float) -> float:
    """P(X <= right) for X binomial with `count` trials of probability `share`; the exact sum.

    Args:
        right: how many trials succeeded.
        count: how many trials there were.
        share: probability of success, 0 to 1.

    Returns:
        A probability, 0 to 1.
    """
    if right >= count or share <= 0.0:
        return 1.0
    if right < 0 or share >= 1.0:
        return 0.0
    # The shorter tail is summed: its terms do not cancel.
    if right > count * share:
        return 1.0 - math.fsum(_term(k, count, share) for k in range(right + 1, count + 1))
    return math.fsum(_term(k, count, share) for k in range(right + 1))


def at_least(right: int, count: int, share: float) -> float:
    """P(X >= right) for X binomial with `count` trials of probability `share`.

    Args:
        right: how many trials succeeded.
        count: how many trials there were.
        share: probability of success, 0 to 1.

    Returns:
        A probability, 0 to 1.
    """
    return at_most(count - right, count, 1.0 - share)


def is_chance(right: int, count: int, classes: int, largest_class: float) -> bool:
    """Whether so many right samples are no more than guessing gives.

    Guessing is right with the probability p = max(1 / classes, share of the largest class among the labels), the best
    that an answer without a look at the sample can do. Chance: P(X >= right) > ALPHA for X ~ Binomial(count, p).

    Args:
        right: how many samples are right.
        count: how many samples there are.
        classes: how many classes the model knows, at least 2.
        largest_class: share of the most frequent label, 0 to 1.

    Returns:
        False without samples.
    """
    return count > 0 and at_least(right, count, guessing(classes, largest_class)) > ALPHA


def guessing(classes: int, largest_class: float) -> float:
    """Accuracy of the best answer that does not depend on the sample.

    Args:
        classes: how many classes the model knows.
        largest_class: share of the most frequent label, 0 to 1.

    Returns:
        A share, 0 to 1.
    """
    return max(1.0 / max(classes, 2), largest_class)


def lowest_expected(expected: float, count: int) -> float:
    """The lowest accuracy on `count` samples that still agrees with an expected one.

    It is k / count with the smallest k for which P(X <= k) >= ALPHA, X ~ Binomial(count, expected - TOLERANCE). Less
    happens by chance in fewer than 1 of 100 sets of samples, even if the true accuracy is TOLERANCE below the expected
    one.

    Args:
        expected: accuracy, 0 to 1.
        count: how many samples are measured.

    Returns:
        A share, 0 to 1; 0 without samples.
    """
    if count < 1:
        return 0.0
    share = max(0.0, expected - TOLERANCE)
    total = 0.0
    for right in range(count + 1):
        total += _term(right, count, share)
        if total >= ALPHA:
            return right / count
    return 1.0


def lowest_expected_share(expected: float, count: int, spread: float | None) -> float:
    """The lowest share of right elements of masks on `count` samples that still agrees with an expected one.

    It is expected - TOLERANCE - t * spread / sqrt(count), with Student's t of ALPHA and count - 1 degrees of freedom.
    It is at least `lowest_expected`: shares from 0 to 1 differ at most as much as right and wrong samples do.

    Args:
        expected: share, 0 to 1.
        count: how many samples are measured.
        spread: standard deviation of a sample's share; None: not known.

    Returns:
        A share, 0 to 1.
    """
    lowest = lowest_expected(expected, count)
    if spread is None or count < _FEW:
        return lowest
    return max(lowest, expected - TOLERANCE - _student(count - 1) * spread / math.sqrt(count))


def _student(freedom: int) -> float:
    """The value that Student's t exceeds with probability ALPHA, within 2 % from 3 degrees of freedom on.

    Expansion in 1 / freedom around the normal distribution (Abramowitz and Stegun 26.7.5).
    """
    z = NormalDist().inv_cdf(1.0 - ALPHA)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + math.fsum(term / float(freedom**power) for power, term in enumerate(terms, start=1))


def wilson_interval(share: float, count: int, z: float) -> tuple[float, float]:
    """Score interval of a share (E. B. Wilson, JASA 22, 1927).

    Args:
        share: hits / count, in [0, 1].
        count: how many independent trials, at least 1.
        z: quantile of the standard normal distribution: 1.96 for both ends of a 95 % interval, 1.645 for one.

    Returns:
        The lower and the upper end, in [0, 1].
    """
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def better_by_luck(gained: int, lost: int) -> float:
    """The probability of so many gains among the changed answers if gains and losses are equally likely.

    The exact one-sided McNemar test of two classifiers on the same samples.

    Args:
        gained: how many samples become right with the second classifier.
        lost: how many become wrong.

    Returns:
        P(X >= gained) for X ~ Binomial(gained + lost, 1/2); 1 if no answer changed.
    """
    return at_least(gained, gained + lost, 0.5) if gained + lost else 1.0


def _term(k: int, count: int, share: float) -> float:
    """P(X = k), through logarithms: large counts overflow nothing."""
    if share <= 0.0 or share >= 1.0:
        return 1.0 if k == (0 if share <= 0.0 else count) else 0.0
    ways = math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
    return math.exp(ways + k * math.log(share) + (count - k) * math.log1p(-share))
