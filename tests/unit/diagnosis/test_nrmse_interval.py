"""The interval of an nRMSE holds what it promises."""

from __future__ import annotations

import numpy as np
import pytest

from windtunnel.diagnosis.numerics.nrmse_interval import SampleMoments, nrmse_interval, t_975


@pytest.mark.parametrize(
    ("freedom", "expected"), [(1, 12.7062), (5, 2.5706), (30, 2.0423), (31, 2.0395), (60, 2.0003), (10_000, 1.9602)]
)
def test_quantiles_of_student(freedom: int, expected: float) -> None:
    assert t_975(freedom) == pytest.approx(expected, abs=1e-4)


def _moments(squares: np.ndarray, counts: np.ndarray) -> SampleMoments:
    sums = SampleMoments()
    for one, count in zip(squares.tolist(), counts.tolist(), strict=True):
        sums.add(one, count)
    return sums


def test_no_interval_without_a_second_sample_or_a_range() -> None:
    one = _moments(np.array([1.0]), np.array([10]))
    two = _moments(np.array([1.0, 2.0]), np.array([10, 10]))
    assert nrmse_interval(one, 1.0) is None
    assert nrmse_interval(two, 0.0) is None
    assert nrmse_interval(_moments(np.zeros(3), np.full(3, 5)), 1.0) == (0.0, 0.0)


def test_equal_samples_leave_no_doubt_and_two_unlike_ones_stay_finite() -> None:
    low, high = nrmse_interval(_moments(np.full(9, 4.0), np.full(9, 4)), 2.0) or (0.0, 0.0)
    assert (low, high) == pytest.approx((0.5, 0.5), rel=1e-6)
    wide = nrmse_interval(_moments(np.array([0.0, 1.0]), np.array([1, 1])), 1.0)
    assert wide is not None
    assert 0.0 <= wide[0] < np.sqrt(0.5) < wide[1] < np.inf


def test_samples_of_different_sizes_count_by_their_values() -> None:
    # Every value has the squared error 4, whatever the size of its sample: there is nothing to be unsure of.
    counts = np.array([1, 10, 100, 1000])
    low, high = nrmse_interval(_moments(4.0 * counts, counts), 2.0) or (0.0, 0.0)
    assert (low, high) == pytest.approx((1.0, 1.0), rel=1e-6)


@pytest.mark.parametrize(("sigma", "samples"), [(0.3, 10), (0.7, 40), (0.7, 200)])
def test_intervals_hold_the_truth_about_95_times_in_100(sigma: float, samples: int) -> None:
    draw = np.random.default_rng(5)
    truth = np.sqrt(np.exp(sigma**2 / 2))
    hits = 0
    for _ in range(1000):
        squares = np.exp(draw.normal(0.0, sigma, samples)) * 7
        low, high = nrmse_interval(_moments(squares, np.full(samples, 7)), 1.0) or (0.0, 0.0)
        hits += low <= truth <= high
    assert 0.91 <= hits / 1000 <= 0.97
