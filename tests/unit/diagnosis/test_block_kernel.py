"""The native kernel against float64, and against NumPy's way to the same sums."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from windtunnel.diagnosis.numerics import block_sums
from windtunnel.diagnosis.numerics.block_kernel import KernelSums, StoredValues, load
from windtunnel.diagnosis.numerics.block_sums import Measured, Tensor, Workspace, measure
from windtunnel.tflite import Quantization

SIZES = (1, 2, 15, 16, 17, 31, 2047, 2048, 2049, 5000)
KINDS = ("float32", "int8", "uint8", "int16", "uint16")


def stored(kind: str, size: int, seed: int) -> StoredValues:
    draw = np.random.default_rng(seed)
    if kind == "float32":
        return StoredValues(draw.normal(size=size).astype(np.float32), 1.0, 0)
    limits = np.iinfo(kind)
    values = draw.integers(limits.min, limits.max, size, endpoint=True).astype(kind)
    return StoredValues(values, float(np.float32(0.037)), 7 if limits.min else 131)


def real(one: StoredValues) -> NDArray[np.float64]:
    return (one.values.astype(np.float64) - one.zero) * one.scale


def sums(reference: StoredValues, candidate: StoredValues, **settings: Any) -> KernelSums:
    kernel = load()
    assert kernel is not None, "the package was built without its kernel"
    return kernel(reference, candidate, **{"closely": True, "ends": (True, True), "channels": 0, **settings})


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kinds", [(a, b) for a in KINDS for b in KINDS], ids="-".join)
def test_it_gives_the_sums_of_float64(kinds: tuple[str, str], size: int) -> None:
    reference, candidate = stored(kinds[0], size, 1), stored(kinds[1], size, 2)
    a, b = real(reference), real(candidate)
    d = b - a
    found = sums(reference, candidate)
    assert found.squares == pytest.approx(float(d @ d), rel=2e-6)
    assert found.largest == pytest.approx(float(np.abs(d).max()), rel=1e-6)
    assert found.energy == pytest.approx(float(a @ a), rel=2e-6)
    scale = math.sqrt(float(a @ a) * float(d @ d))
    assert found.products == pytest.approx(float(d @ a), abs=2e-6 * scale)
    assert found.difference == pytest.approx(float(d.sum()), abs=2e-6 * float(np.abs(d).sum()))
    assert found.ends == pytest.approx((a.min(), a.max(), b.min(), b.max()), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("channels", [1, 3, 16, 100, 2048, 3000])
def test_it_gives_the_squares_of_every_channel(channels: int) -> None:
    reference, candidate = stored("float32", 3 * channels, 1), stored("int8", 3 * channels, 2)
    found = sums(reference, candidate, channels=channels).channel_squares
    expected = np.square(real(candidate) - real(reference)).reshape(-1, channels).sum(axis=0)
    assert found is not None
    np.testing.assert_allclose(found, expected, rtol=2e-6)


def test_what_is_not_wanted_is_not_looked_for() -> None:
    found = sums(stored("float32", 100, 1), stored("float32", 100, 2), closely=False, ends=(False, True))
    assert (found.products, found.energy, found.difference, found.channel_squares) == (0.0, 0.0, 0.0, None)
    assert found.ends[:2] == (math.inf, -math.inf)
    assert math.isfinite(found.ends[2])


@pytest.mark.parametrize("place", [0, 15, 16, 2047, 2048, 4999])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_not_finite_is_never_lost(place: int, value: float) -> None:
    a, b = np.zeros(5000, np.float32), np.zeros(5000, np.float32)
    b[place] = value
    assert measure(Tensor(a), Tensor(b), Workspace()) is None
    assert measure(Tensor(b), Tensor(a), Workspace()) is None


@pytest.mark.parametrize("shape", [(1, 7), (2, 9, 16), (3, 40, 64)])
@pytest.mark.parametrize("kind", KINDS)
def test_numpy_gives_the_same_where_there_is_no_kernel(
    kind: str, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    size = math.prod(shape)
    reference, candidate = stored("float32", size, 3), stored(kind, size, 4)
    scale = (
        None if kind == "float32" else Quantization(scales=(candidate.scale,), zero_points=(candidate.zero,), axis=0)
    )
    sides = (
        Tensor(np.asarray(reference.values).reshape(shape)),
        Tensor(np.asarray(candidate.values).reshape(shape), scale),
    )
    assert load() is not None
    native = measure(*sides, Workspace(), channels=shape[-1])
    monkeypatch.setattr(block_sums, "load", lambda: None)
    numpy = measure(*sides, Workspace(), channels=shape[-1])
    assert native is not None and numpy is not None
    for name in Measured.__dataclass_fields__:
        np.testing.assert_allclose(getattr(native, name), getattr(numpy, name), rtol=5e-6, atol=1e-4, err_msg=name)
