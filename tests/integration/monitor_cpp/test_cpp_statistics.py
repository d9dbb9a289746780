"""Statistics of the C++ monitor compared with docs/edge-log.md, written once more with numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from support.cpp_monitor import ELEMENTS, App, read_log, write_arrays
from windtunnel.v1.edge_pb2 import EdgeStatistics

pytestmark = pytest.mark.heavy
Array = npt.NDArray[Any]
SIZES = (0, 1, 2, 15, 16, 17, 63, 64, 65, 1000, 1023, 1024, 1025, 2047, 5000, 27648)
_MAX = float(np.finfo(np.float32).max)


def _h(j: int) -> int:
    mask = 2**64 - 1
    z = (0x57494E4454554E4E + (j + 1) * 0x9E3779B97F4A7C15) & mask
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
    return z ^ (z >> 31)


def _signs(n: int) -> Array:
    words = [_h(word) for word in range((n + 63) // 64)]
    return np.array([-1.0 if words[i // 64] >> (i % 64) & 1 else 1.0 for i in range(n)])


def _sample(values: Array) -> Array:
    n = values.size
    if n <= 1024:
        return values
    starts = [j * n // 1024 for j in range(1025)]
    return values[[starts[j] + _h(j) % (starts[j + 1] - starts[j]) for j in range(1024)]]


def check(figures: EdgeStatistics, array: Array) -> None:
    values = array.reshape(-1).astype(np.float64)
    n, finite = values.size, values[np.isfinite(values)]
    assert figures.count == n and figures.non_finite == n - finite.size
    zeroed = np.where(np.isfinite(values), values, 0.0)
    k = min(n, 16)
    lanes: list[list[float]] = [[] for _ in range(k)]
    for i, value in enumerate(zeroed * _signs(n)):
        lanes[(i + i // 64 + i // 1024) % k].append(value)
    total = float(np.abs(zeroed).sum())
    projection = [np.clip(np.sum(lane), -_MAX, _MAX) for lane in lanes]
    np.testing.assert_allclose(
        np.array(figures.projection, np.float64), projection, rtol=0, atol=1e-6 * min(total, _MAX) + 1e-45
    )
    if finite.size == 0:
        assert not figures.quantiles and figures.min == figures.max == figures.mean == figures.std == 0
        return
    bound = 1e-6 * min(float(np.abs(finite).max()), _MAX) + 1e-45
    expected = (finite.min(), finite.max(), finite.mean(), finite.std())
    found = (figures.min, figures.max, figures.mean, figures.std)
    np.testing.assert_allclose(found, np.clip(expected, -_MAX, _MAX), rtol=0, atol=bound)
    chosen = _sample(values)
    ordered = np.sort(chosen[np.isfinite(chosen)])
    if ordered.size:
        places = [(p * (ordered.size - 1) + 50) // 100 for p in (1, 5, 10, 25, 50, 75, 90, 95, 99)]
        exact = np.clip(ordered[places], -_MAX, _MAX).astype(np.float32)
        np.testing.assert_array_equal(np.array(figures.quantiles, np.float32), exact)


def _random(kind: str, size: int, seed: int) -> Array:
    random = np.random.default_rng(seed)
    dtype = np.dtype(kind)
    if kind == "bool":
        return random.integers(0, 2, size).astype(bool)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return random.integers(limits.min, limits.max, size, dtype=dtype, endpoint=True)
    return (random.standard_normal(size) * 3 + 1).astype(dtype)


def _hard(seed: int) -> list[Array]:
    random = np.random.default_rng(seed)
    made: list[Array] = []
    for size in (3, 64, 1025, 5000):
        for share in (0.01, 0.5, 1.0):
            array = random.standard_normal(size).astype(np.float32)
            places = random.random(size) < share
            array[places] = random.choice([np.nan, np.inf, -np.inf], int(places.sum()))
            made.append(array)
        made.append(np.full(size, 1000.123, np.float32))
        made.append((1e6 + random.standard_normal(size)).astype(np.float32))
        made.append((random.standard_normal(size) * 1e38).clip(-_MAX, _MAX).astype(np.float32))
        made.append((random.standard_normal(size) * 1e-30).astype(np.float32))
        made.append(random.integers(0, 2**16, size).astype(np.uint16).view(np.float16))
        made.append(random.standard_normal(size) * 1e300)
        made.append(np.zeros(size, np.float32))
        outlier = random.random(size).astype(np.float32)
        outlier[size // 2] = 1e9
        made.append(outlier)
    return made


@pytest.mark.parametrize("kind", list(ELEMENTS))
def test_statistics_of_random_arrays(any_app: App, tmp_path: Path, kind: str) -> None:
    arrays = [_random(kind, size, 7 * size + 1) for size in SIZES]
    write_arrays(tmp_path / "arrays", arrays)
    any_app.run("arrays", tmp_path / "log", tmp_path / "arrays", "level=statistics")
    log = read_log(tmp_path / "log")
    assert log.numbers == list(range(len(SIZES)))
    for frame, array in zip(log.frames, arrays, strict=True):
        (tensor,) = frame.tensors
        assert tensor.element == ELEMENTS[kind] and list(tensor.shape) == list(array.shape) and not tensor.data
        check(tensor.statistics, array)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the oracle's own sums of huge values
def test_statistics_of_hard_arrays(any_app: App, tmp_path: Path) -> None:
    arrays = _hard(5)
    write_arrays(tmp_path / "arrays", arrays)
    any_app.run("arrays", tmp_path / "log", tmp_path / "arrays", "level=statistics")
    frames = read_log(tmp_path / "log").frames
    for frame, array in zip(frames, arrays, strict=True):
        check(frame.tensors[0].statistics, array)


@pytest.mark.parametrize("kind", list(ELEMENTS))
def test_values_are_recorded_as_they_are(app: App, tmp_path: Path, kind: str) -> None:
    arrays = [_random(kind, 2 * size, size).reshape(2, size) for size in (0, 1, 50, 4000)]
    arrays.append(np.array(1, np.dtype(kind)))
    write_arrays(tmp_path / "arrays", arrays)
    app.run("arrays", tmp_path / "log", tmp_path / "arrays", "level=io")
    for frame, array in zip(read_log(tmp_path / "log").frames, arrays, strict=True):
        tensor = frame.tensors[0]
        assert list(tensor.shape) == list(array.shape) and not tensor.HasField("statistics")
        assert tensor.data == array.tobytes()
