"""The shared formulas: zero denominators, huge and small values, samples one by one as all at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from windtunnel.datacheck.chance import wilson_interval
from windtunnel.diagnosis.minimal import run_case
from windtunnel.tflite.tensor_error import RunningNrmse, nrmse, nrmse_of, rmse


@pytest.mark.parametrize(
    ("squares", "count", "expected"), [(8.0, 2, 2.0), (0.0, 5, 0.0), (0.0, 0, 0.0), (1e300, 1, 1e150)]
)
def test_rmse(squares: float, count: int, expected: float) -> None:
    assert rmse(squares, count) == expected


@pytest.mark.parametrize(
    ("error", "value_range", "expected"),
    [
        (0.5, 2.0, 0.25),
        (0.0, 2.0, 0.0),
        (0.0, 0.0, 0.0),
        (0.5, 0.0, None),
        (1e-300, 1e-299, 0.1),
        (0.0, -math.inf, 0.0),
    ],
)
def test_nrmse_has_one_rule_for_a_range_of_zero(error: float, value_range: float, expected: float | None) -> None:
    found = nrmse(error, value_range)
    assert found == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
def test_samples_one_by_one_give_what_numpy_gives_for_all(scale: float) -> None:
    rng = np.random.default_rng(7)
    a = rng.normal(0.0, scale, (5, 3, 4))
    b = a + rng.normal(0.0, 0.1 * scale, a.shape)
    sums = RunningNrmse()
    for reference, candidate in zip(a, b, strict=True):
        sums.add(reference, candidate)
    expected = np.sqrt(np.mean((b - a) ** 2)) / max(np.ptp(a), np.ptp(b))
    assert sums.nrmse() == pytest.approx(expected, rel=1e-12)
    assert sums.count == a.size


@pytest.mark.parametrize(
    ("reference", "candidate", "expected"),
    [
        (np.full(4, 2.0), np.full(4, 2.0), 0.0),
        (np.full(4, 2.0), np.full(4, 3.0), None),
        (np.empty(0), np.empty(0), 0.0),
        # Integers wrap around if they are subtracted as they are stored.
        (np.array([0, 255], np.uint8), np.array([255, 0], np.uint8), 1.0),
        (np.array([-128, 127], np.int8), np.array([127, -128], np.int8), 1.0),
    ],
)
def test_constants_nothing_and_integers(reference: NDArray, candidate: NDArray, expected: float | None) -> None:  # type: ignore[type-arg]
    sums = RunningNrmse()
    sums.add(reference, candidate)
    assert sums.nrmse() == expected


# From statsmodels.stats.proportion.proportion_confint(method="wilson").
@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (1, 1000, 0.000177, 0.005643)],
)
def test_the_interval_of_a_share(hits: int, count: int, low: float, high: float) -> None:
    assert wilson_interval(hits / count, count, 1.959964) == pytest.approx((low, high), abs=6e-5)


@pytest.mark.parametrize(
    ("reference", "candidate"),
    [
        ([0.0, 1.0, 3.0], [0.5, 1.0, 2.0]),
        ([2.0, 2.0], [2.0, 2.0]),
        ([2.0, 2.0], [3.0, 3.0]),
        ([1.0, math.nan], [1.0, math.nan]),
        ([1.0, math.inf], [1.0, 2.0]),
        ([0.0, 1.0], [0.0, math.inf]),
    ],
)
def test_the_script_of_a_minimal_case_has_the_same_rule(reference: list[float], candidate: list[float]) -> None:
    """The script runs without Windtunnel, so it has a copy of the formula: infinity there is no figure here."""
    first, second = np.array(reference), np.array(candidate)
    figure = nrmse_of(first, second)
    with np.errstate(invalid="ignore"):
        copied = run_case.error(first, second)
    assert copied == math.inf if figure is None else copied == pytest.approx(figure, rel=1e-15)
