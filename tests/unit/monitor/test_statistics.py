"""The statistics agree with docs/edge-log.md, computed value by value."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from support.edge_golden import slow_statistics
from windtunnel.monitor import statistics as st

_rng = np.random.default_rng(7)


def _check(array: Any) -> None:
    got, want = st.of(array), slow_statistics(np.asarray(array))
    largest = max(abs(want.min), abs(want.max), 1e-38)
    assert (got.count, got.non_finite) == (want.count, want.non_finite)
    assert float(np.float32(got.min)) == want.min
    assert float(np.float32(got.max)) == want.max
    assert got.mean == pytest.approx(want.mean, abs=1e-6 * largest)
    assert got.std == pytest.approx(want.std, abs=1e-6 * largest)
    assert got.quantiles.tolist() == list(want.quantiles)
    values = np.asarray(array, np.float64)
    total = float(np.abs(values[np.isfinite(values)], dtype=np.float64).sum()) if largest < 1e300 else largest
    assert got.projection.dtype == np.float32
    np.testing.assert_allclose(got.projection, list(want.projection), rtol=0, atol=1e-6 * min(total, 3.4e38))


@pytest.mark.parametrize("n", [0, 1, 2, 15, 16, 17, 63, 64, 65, 1000, 1024, 1025, 2047, 8193, 16384, 16385, 27648])
def test_sizes(n: int) -> None:
    _check(_rng.normal(3, 2, n).astype(np.float32))


@pytest.mark.heavy
@pytest.mark.parametrize("n", [12 * 16384 + 5, 224 * 224 * 3])
def test_blocks_beyond_the_kept_signs(n: int) -> None:
    _check(_rng.random(n, np.float32))


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "i4", "i8", "u4", "u8", "f2", "f4", "f8", "?", ">f4", ">i2"])
@pytest.mark.parametrize("n", [5, 3000, 20000])
def test_types(dtype: str, n: int) -> None:
    _check(_rng.integers(0, 120, n).astype(dtype))


def test_bfloat16() -> None:
    array = _rng.normal(0, 1, 300).astype(ml_dtypes.bfloat16)
    assert st.of(array).mean == pytest.approx(float(array.astype(np.float64).mean()), abs=1e-6)


@pytest.mark.parametrize(
    "values",
    [
        [np.nan, 1, np.inf, -2, -np.inf],
        [np.nan] * 3,
        [np.inf],
        [-np.inf, 5.0] * 700,
        [np.nan, *range(20000)],
        [1e300, -1e300, 5.0],
        [3e38] * 40,
        [3e38, -3e38] * 900,
        [1e-45, 2e-45],
        [0.0] * 2000,
        [7.25] * 5000,
        [1e6, 1e6 + 1] * 3000,
        list(1000 + np.linspace(0, 1e-2, 3000)),
        [-(2.0**31), 2.0**31 - 1],
        5.5,
        True,
        [],
    ],
)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_unusual_values(values: Any, dtype: str) -> None:
    _check(np.asarray(values).astype(dtype))


def test_any_layout_counts_in_c_order() -> None:
    array = _rng.random((40, 50, 3), np.float32)
    for view in (array.transpose(2, 0, 1), array[::-1, ::2], np.asfortranarray(array)):
        _check(view)
        np.testing.assert_array_equal(st.of(view).projection, st.of(view.copy(order="C")).projection)


def test_the_array_is_not_changed() -> None:
    array = _rng.random(500, np.float32)
    before = array.copy()
    st.of(array)
    np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("values", [["a"], [1j], np.array([object()]), np.zeros(2, "M8[s]")])
def test_no_numbers(values: Any) -> None:
    with pytest.raises(TypeError, match="no statistics of"):
        st.of(values)


def test_distance_is_exact_for_small_arrays() -> None:
    a, b = _rng.normal(size=(2, 16))
    assert st.distance(st.of(a).projection, st.of(b).projection) == pytest.approx(np.linalg.norm(a - b), rel=1e-5)


@pytest.mark.parametrize("kind", ["spread", "one channel of 64", "one channel of 256", "one channel of 1024", "shift"])
def test_distance_estimate_has_the_stated_error(kind: str) -> None:
    errors = []
    for _ in range(200):
        a = _rng.normal(0, 1, (32, 1024)).astype(np.float32)
        difference = _rng.normal(0, 1, a.shape).astype(np.float32)
        if kind.startswith("one channel"):
            channels = int(kind.rpartition(" ")[2])
            keep = np.zeros(channels, bool)
            keep[_rng.integers(channels)] = True
            difference.reshape(-1, channels)[:, ~keep] = 0
        if kind == "shift":
            difference[:] = _rng.normal()
        estimate = st.distance(st.of(a).projection, st.of(a + difference).projection)
        errors.append(estimate / float(np.linalg.norm(difference)) - 1)
    assert np.std(errors) < st.DISTANCE_ERROR * 1.35
    assert np.mean((1 + np.array(errors)) ** 2) == pytest.approx(1, abs=0.12)


def test_distance_of_different_sizes() -> None:
    with pytest.raises(ValueError, match="projections of 3 and 16 sums"):
        st.distance([0, 0, 0], [0] * 16)
