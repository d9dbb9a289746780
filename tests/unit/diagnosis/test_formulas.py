"""The formulas of layer figures: zero denominators, and intervals that hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from windtunnel.diagnosis.numerics import formulas


@pytest.mark.parametrize(
    ("products", "reference", "candidate", "expected"),
    [
        (2.0, 4.0, 1.0, 1.0),
        (-2.0, 4.0, 1.0, -1.0),
        (0.0, 0.0, 0.0, 1.0),
        (0.0, 4.0, 0.0, 0.0),
        (0.0, 0.0, 4.0, 0.0),
        (1e300, 1e300, 1e300, 1.0),
        (0.0, 4.0, -1e-20, 0.0),
    ],
)
def test_cosine(products: float, reference: float, candidate: float, expected: float) -> None:
    assert formulas.cosine(products, reference, candidate) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("reference", "squares", "expected"),
    [
        (100.0, 1.0, 20.0),
        (1.0, 100.0, -20.0),
        (0.0, 1.0, None),
        (1.0, 0.0, None),
        (0.0, 0.0, None),
        (1e300, 1e-300, 6000.0),
    ],
)
def test_snr(reference: float, squares: float, expected: float | None) -> None:
    found = formulas.snr_db(reference, squares)
    assert found is None if expected is None else found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("error", "value_range", "expected"), [(0.5, 2.0, 0.25), (0.0, 0.0, 0.0), (0.5, 0.0, None), (0.0, 2.0, 0.0)]
)
def test_nrmse(error: float, value_range: float, expected: float | None) -> None:
    assert formulas.nrmse(error, value_range) == expected


def test_channels_without_a_range_have_no_figure_or_none_to_have() -> None:
    found = formulas.channel_nrmse(np.array([4.0, 0.0, 4.0]), 1, np.array([4.0, 0.0, 0.0]))
    assert found[:2].tolist() == [0.5, 0.0]
    assert np.isnan(found[2])


@pytest.mark.parametrize(
    ("freedom", "expected"), [(1, 12.7062), (5, 2.5706), (30, 2.0423), (31, 2.0395), (60, 2.0003), (10_000, 1.9602)]
)
def test_quantiles_of_student(freedom: int, expected: float) -> None:
    assert formulas.t_975(freedom) == pytest.approx(expected, abs=1e-4)


def _moments(squares: np.ndarray, counts: np.ndarray) -> formulas.SampleMoments:
    sums = formulas.SampleMoments()
    for one, count in zip(squares.tolist(), counts.tolist(), strict=True):
        sums.add(one, count)
    return sums


def test_no_interval_without_a_second_sample_or_a_range() -> None:
    one = _moments(np.array([1.0]), np.array([10]))
    two = _moments(np.array([1.0, 2.0]), np.array([10, 10]))
    assert formulas.nrmse_interval(one, 1.0) is None
    assert formulas.nrmse_interval(two, 0.0) is None
    assert formulas.nrmse_interval(_moments(np.zeros(3), np.full(3, 5)), 1.0) == (0.0, 0.0)


def test_equal_samples_leave_no_doubt_and_two_unlike_ones_stay_finite() -> None:
    low, high = formulas.nrmse_interval(_moments(np.full(9, 4.0), np.full(9, 4)), 2.0) or (0.0, 0.0)
    assert (low, high) == pytest.approx((0.5, 0.5), rel=1e-6)
    wide = formulas.nrmse_interval(_moments(np.array([0.0, 1.0]), np.array([1, 1])), 1.0)
    assert wide is not None
    assert 0.0 <= wide[0] < np.sqrt(0.5) < wide[1] < np.inf


def test_samples_of_different_sizes_count_by_their_values() -> None:
    # Every value has the squared error 4, whatever the size of its sample: there is nothing to be unsure of.
    counts = np.array([1, 10, 100, 1000])
    low, high = formulas.nrmse_interval(_moments(4.0 * counts, counts), 2.0) or (0.0, 0.0)
    assert (low, high) == pytest.approx((1.0, 1.0), rel=1e-6)


@pytest.mark.parametrize(("sigma", "samples"), [(0.3, 10), (0.7, 40), (0.7, 200)])
def test_intervals_hold_the_truth_about_95_times_in_100(sigma: float, samples: int) -> None:
    draw = np.random.default_rng(5)
    truth = np.sqrt(np.exp(sigma**2 / 2))
    hits = 0
    for _ in range(1000):
        squares = np.exp(draw.normal(0.0, sigma, samples)) * 7
        low, high = formulas.nrmse_interval(_moments(squares, np.full(samples, 7)), 1.0) or (0.0, 0.0)
        hits += low <= truth <= high
    assert 0.91 <= hits / 1000 <= 0.97
