"""The statistics of an accuracy against sums by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from windtunnel.datacheck import chance


@pytest.mark.parametrize(
    ("right", "count", "share"), [(3, 10, 0.5), (0, 5, 0.1), (48, 50, 0.9), (50, 50, 0.9), (7, 9, 0.2)]
)
def test_the_tail_is_the_sum_of_its_terms(right: int, count: int, share: float) -> None:
    terms = [math.comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(count + 1)]
    assert chance.at_most(right, count, share) == pytest.approx(sum(terms[: right + 1]))
    assert chance.at_least(right, count, share) == pytest.approx(sum(terms[right:]))


def test_large_counts_do_not_overflow() -> None:
    assert chance.at_most(50_000, 100_000, 0.5) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("right", "count", "classes", "largest", "expected"),
    [
        (49, 400, 10, 0.11, True),
        (80, 400, 10, 0.11, False),
        # Saying the largest class always is as good.
        (320, 400, 2, 0.8, True),
        (0, 400, 10, 0.1, True),
    ],
)
def test_chance(right: int, count: int, classes: int, largest: float, expected: bool) -> None:
    assert chance.is_chance(right, count, classes, largest) is expected


@pytest.mark.parametrize("count", [0, 1, 20, 400, 10_000])
def test_the_lowest_expected_accuracy_comes_near_the_expected_one_with_more_samples(count: int) -> None:
    lowest = chance.lowest_expected(0.9, count)
    assert lowest <= 0.9 - (chance.TOLERANCE if count else 0.0)
    if count == 10_000:
        assert lowest > 0.88
    if count:
        right = round(lowest * count)
        assert chance.at_most(right, count, 0.89) >= chance.ALPHA > chance.at_most(right - 1, count, 0.89)


def test_the_lowest_share_of_masks_is_seldom_missed_and_near() -> None:
    rng = np.random.default_rng(2)
    for count in (6, 20, 100):
        # Shares of mean 0.9 and a spread of 0.06, of a model 0.01 below what was expected.
        shares = rng.beta(21.6, 2.4, (4000, count))
        lowest = [chance.lowest_expected_share(0.91, count, float(one.std(ddof=1))) for one in shares]
        assert float((shares.mean(axis=1) < lowest).mean()) < 0.03
        assert np.mean(lowest) > chance.lowest_expected(0.91, count) + 0.02
    assert chance.lowest_expected_share(0.91, 2, 0.001) == chance.lowest_expected(0.91, 2)
