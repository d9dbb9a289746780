"""Running figures against plain numpy on stacked tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from windtunnel.diagnosis.numerics.block_sums import BLOCK, UNBOUNDED, Tensor, Workspace
from windtunnel.diagnosis.numerics.layer_sums import LayerFigures, LayerSums
from windtunnel.diagnosis.numerics.metrics import METRICS
from windtunnel.diagnosis.thresholds.numerics_thresholds import CLOSE_EVERY, CLOSE_FIRST
from windtunnel.tflite import Quantization, dequantize, quantize


@given(seed=st.integers(0, 10_000), samples=st.integers(1, 6), size=st.integers(1, 9), scale=st.floats(1e-3, 1e3))
def test_streaming_equals_the_definition(seed: int, samples: int, size: int, scale: float) -> None:
    draw = np.random.default_rng(seed)
    a = draw.normal(size=(samples, size)) * scale
    b = a + draw.normal(size=a.shape) * scale * 0.1
    sums = LayerSums()
    for left, right in zip(a, b, strict=True):
        sums.add(left, right)
    found = sums.figures()
    value_range = max(np.ptp(a), np.ptp(b))
    assert found.rmse == pytest.approx(np.sqrt(((a - b) ** 2).mean()))
    assert found.values["range"] == pytest.approx(value_range)
    if value_range:
        assert found.nrmse == pytest.approx(np.sqrt(((a - b) ** 2).mean()) / value_range)


@pytest.mark.parametrize(
    ("reference", "candidate", "nrmse", "problem"),
    [
        ([1.0, 1.0], [1.0, 1.0], 0.0, None),
        ([0.0, 0.0], [0.0, 0.0], 0.0, None),
        ([1.0, 1.0], [2.0, 2.0], None, "constant_differs"),
        ([0.0, 1.0], [0.0, 1.0], 0.0, None),
        ([0.0, 1.0], [0.5, 0.5], 0.5, None),
        ([0.0, 1.0], [0.0, np.nan], None, "non_finite"),
        ([0.0, np.inf], [0.0, 1.0], None, "non_finite"),
        ([0.0, np.inf], [0.0, np.inf], None, "non_finite"),
        ([0.0, 1.0], [0.0], None, "shape_differs"),
        ([], [], 0.0, None),
    ],
)
def test_edges(reference: list[float], candidate: list[float], nrmse: float | None, problem: str | None) -> None:
    sums = LayerSums()
    sums.add(np.array(reference), np.array(candidate))
    found = sums.figures()
    assert (found.nrmse, found.problem) == (nrmse, problem)


def test_one_bad_sample_is_not_forgotten() -> None:
    sums = LayerSums()
    for value in (1.0, np.nan, 2.0):
        sums.add(np.array([0.0, 1.0]), np.array([0.0, value]))
    assert sums.figures().problem == "non_finite"
    assert (sums.candidate_non_finite, sums.reference_non_finite) == (1, 0)


INT8 = Quantization((0.03125,), (-7,))
RELU8 = Quantization((0.02,), (-128,))
INT16 = Quantization((0.0001,), (0,))
UINT8 = Quantization((0.05,), (128,))
PER_CHANNEL = Quantization(tuple(0.01 * (1 + i) for i in range(24)), (3,) * 24, axis=3)
STORED: dict[str, tuple[str, Quantization | None]] = {
    "float32": ("float32", None),
    "float16": ("float16", None),
    "float64": ("float64", None),
    "int8": ("int8", INT8),
    "relu int8": ("int8", RELU8),
    "uint8": ("uint8", UINT8),
    "int16": ("int16", INT16),
    "per channel": ("int8", PER_CHANNEL),
    "plain int32": ("int32", None),
    "bool": ("bool", None),
}


def _stored(values: NDArray[np.float64], kind: str) -> tuple[NDArray[Any], Quantization | None]:
    dtype, quantization = STORED[kind]
    if quantization is not None:
        return np.stack([quantize(one, quantization, dtype) for one in values]), quantization
    return (values * 10 if dtype == "int32" else values).astype(dtype), None


def _plain(a: NDArray[np.float64], b: NDArray[np.float64]) -> dict[str, float]:
    """The definitions, on (samples, ..., C) arrays at once."""
    d = b - a
    value_range = max(np.ptp(a), np.ptp(b))
    return {
        "nrmse": np.sqrt((d**2).mean()) / value_range,
        "rmse": np.sqrt((d**2).mean()),
        "max_abs": np.abs(d).max(),
        "range": value_range,
        "cosine": (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()),
        "snr_db": 10 * np.log10((a**2).sum() / (d**2).sum()),
        "bias": d.mean(),
    }


def _channels(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    axes = tuple(range(a.ndim - 1))
    errors = np.sqrt(((b - a) ** 2).mean(axis=axes))
    return np.asarray(errors / np.maximum(np.ptp(a, axis=axes), np.ptp(b, axis=axes)))


def _sum_up(sides: list[tuple[NDArray[Any], Quantization | None]], **settings: Any) -> LayerFigures:
    sums = LayerSums(**settings)
    for a, b in zip(sides[0][0], sides[1][0], strict=True):
        sums.add(a, b, sides[0][1], sides[1][1])
    return sums.figures()


# One value, less than a row, more than a block with rows and channels that do not divide it.
@pytest.mark.parametrize("shape", [(1, 1, 1, 24), (1, 5, 7, 24), (1, 61, 53, 24)], ids=str)
@pytest.mark.parametrize("reference", ["float32", "int8", "float64"])
@pytest.mark.parametrize("candidate", list(STORED))
def test_every_figure_is_that_of_stacked_tensors(shape: tuple[int, ...], reference: str, candidate: str) -> None:
    draw = np.random.default_rng(len(candidate) + len(reference))
    a = draw.normal(0.3, 0.5, (3, *shape)) * np.linspace(0.2, 1.5, shape[-1])
    b = a + draw.normal(0.01, 0.05, a.shape)
    sides = [_stored(a, reference), _stored(b, candidate)]
    found = _sum_up(sides)
    real = [np.stack([dequantize(one, quantization) for one in stored]) for stored, quantization in sides]
    for name, expected in _plain(*real).items():
        assert found.values[name] == pytest.approx(expected, rel=2e-6, abs=1e-7), name
    channels = _channels(*real)
    assert found.values["channel_nrmse"] is not None
    assert found.values["channel_nrmse"]["max"] == pytest.approx(channels.max(), rel=1e-5)
    assert found.values["channel_nrmse"]["worst"] == channels.argmax()
    assert found.values["channel_nrmse"]["median"] == pytest.approx(np.median(channels), rel=1e-5)
    assert found.reference_range == pytest.approx((real[0].min(), real[0].max()))
    assert found.candidate_range == pytest.approx((real[1].min(), real[1].max()))
    stored, quantization = sides[1]
    if quantization is None:
        assert found.values["saturated"] is None
    else:
        limits = np.iinfo(stored.dtype)
        assert found.values["saturated"] == ((stored == limits.min) | (stored == limits.max)).mean()


@pytest.mark.parametrize("scale", [1e-37, 1e-25, 1e-18, 1e18, 1e30, 3e37])
def test_values_whose_squares_float32_cannot_hold(scale: float) -> None:
    draw = np.random.default_rng(2)
    a = (draw.normal(size=(2, 1, 50, 24)) * scale).astype(np.float32)
    b = (a * np.float32(1.01)).astype(np.float32)
    found = _sum_up([(a, None), (b, None)])
    for name, expected in _plain(a.astype(np.float64), b.astype(np.float64)).items():
        assert found.values[name] == pytest.approx(expected, rel=1e-5), name


def test_an_error_in_the_last_digit_is_seen_and_no_error_is_none() -> None:
    a = np.random.default_rng(4).normal(size=(1, 300, 300)).astype(np.float32)
    b = a.copy()
    b[0, 299, 299] = np.nextafter(b[0, 299, 299], np.float32(9))
    assert _sum_up([(a[None], None), (a[None], None)]).rmse == 0.0
    found = _sum_up([(a[None], None), (b[None], None)])
    assert found.values["max_abs"] == float(b[0, 299, 299]) - float(a[0, 299, 299]) > 0.0
    assert found.rmse == pytest.approx(found.values["max_abs"] / 300)


def test_the_largest_difference_is_exact() -> None:
    draw = np.random.default_rng(6)
    for _ in range(200):
        a, b = draw.normal(size=(2, 1, 50, 3)).astype(np.float32)
        found = _sum_up([(a[None], None), (b[None], None)])
        assert found.values["max_abs"] == float(np.abs(b - a).max())


def test_a_difference_whose_square_float32_cannot_hold_is_one() -> None:
    a = np.ones((1, 1, 40), np.float32)
    a[0, 0, 7] = 1e-25
    b = a.copy()
    b[0, 0, 7] = 0.0
    found = _sum_up([(a[None], None), (b[None], None)])
    assert found.values["max_abs"] == pytest.approx(1e-25)
    assert found.rmse == pytest.approx(1e-25 / np.sqrt(40))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, BLOCK - 1, BLOCK, BLOCK + 5])
def test_a_bad_value_is_seen_wherever_it_lies(bad: float, place: int) -> None:
    a = np.zeros((1, BLOCK + 6), np.float32)
    b = a.copy()
    b[0, place] = bad
    for sides, counts in ((a, b), (0, 1)), ((b, a), (1, 0)):
        sums = LayerSums()
        sums.add(sides[0], sides[1])
        assert (sums.reference_non_finite, sums.candidate_non_finite) == counts
        assert sums.figures().problem == "non_finite"


def test_dead_channels_are_those_that_never_vary() -> None:
    draw = np.random.default_rng(6)
    a = draw.normal(size=(5, 1, 4, 4, 6)).astype(np.float32)
    b = a.copy()
    a[..., 2], b[..., 2], b[..., 3] = 7.0, 7.0, 0.0
    # Constant within each sample, but not over them.
    b[..., 4] = np.arange(5, dtype=np.float32).reshape(5, 1, 1, 1)
    found = _sum_up([(a, None), (b, None)])
    assert found.values["dead_channels"] is not None
    dead = found.values["dead_channels"]
    assert dead == {"candidate": 2, "reference": 1, "channels": 6}
    assert found.values["channel_nrmse"] is not None
    assert found.values["channel_nrmse"]["without"] == 0


def test_channels_that_are_constant_but_different_have_no_figure() -> None:
    a = np.zeros((2, 1, 3, 2), np.float32)
    a[..., 0] = [0.0, 1.0, 2.0]
    b = a.copy()
    b[..., 1] = 1.0
    found = _sum_up([(a, None), (b, None)])
    assert found.values["channel_nrmse"] is not None
    assert (
        found.values["channel_nrmse"]["without"],
        found.values["channel_nrmse"]["max"],
        found.values["channel_nrmse"]["worst"],
    ) == (1, 0.0, 0)


def test_large_models_are_looked_at_closely_now_and_then() -> None:
    count = CLOSE_EVERY * 2 + 1
    draw = np.random.default_rng(8)
    a = draw.normal(size=(count, 1, 9, 4)).astype(np.float32)
    b = a + draw.normal(0, np.linspace(0.01, 0.1, count)[:, None, None, None], a.shape).astype(np.float32)
    every, some = (_sum_up([(a, None), (b, None)], sparing=sparing) for sparing in (False, True))
    for name in (one.name for one in METRICS if one.samples == "all"):
        assert every.values[name] == some.values[name], name
    assert every.reference_range == some.reference_range
    assert (every.close_samples, some.close_samples) == (count, CLOSE_FIRST + 2)
    chosen = [*range(CLOSE_FIRST), CLOSE_EVERY, 2 * CLOSE_EVERY]
    assert some.values["bias"] == pytest.approx((b[chosen].astype(np.float64) - a[chosen]).mean(), rel=1e-5)


def test_the_interval_is_around_the_figure_and_narrows_with_samples() -> None:
    draw = np.random.default_rng(9)
    a = draw.normal(size=(400, 1, 50)).astype(np.float32)
    b = a + draw.normal(0, 0.1, a.shape).astype(np.float32)
    few, many = (_sum_up([(a[:count], None), (b[:count], None)]) for count in (10, 400))
    for one in few, many:
        assert one.nrmse is not None
        assert one.values["nrmse_ci"] is not None
        assert one.values["nrmse_ci"][0] < one.nrmse < one.values["nrmse_ci"][1]
    assert many.values["nrmse_ci"][1] - many.values["nrmse_ci"][0] < 0.4 * (
        few.values["nrmse_ci"][1] - few.values["nrmse_ci"][0]
    )
    assert _sum_up([(a[:1], None), (b[:1], None)]).values["nrmse_ci"] is None


def test_sums_taken_from_a_state_go_on_bit_for_bit() -> None:
    draw = np.random.default_rng(10)
    a = draw.normal(size=(40, 1, 6, 5, 8)).astype(np.float32)
    b = quantize(a + draw.normal(0, 0.02, a.shape), INT8, "int8")
    whole, first, second = (LayerSums(sparing=True) for _ in range(3))
    for number in range(40):
        whole.add(a[number], b[number], None, INT8)
        (first if number < 17 else second).add(a[number], b[number], None, INT8)
        if number == 16:
            second.restore({name: np.array(one) for name, one in first.state().items()})
    assert second.figures() == whole.figures()
    with pytest.raises(ValueError, match="not the sums of a layer"):
        LayerSums().restore({"numbers": np.zeros(3)})


@pytest.mark.parametrize("side", ["reference", "candidate"])
@pytest.mark.parametrize("bad", [None, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("stored", ["float32", "int8"])
def test_ends_that_cannot_be_exceeded_change_no_figure(bad: float | None, stored: str, side: str) -> None:
    draw = np.random.default_rng(11)
    a = np.clip(draw.normal(3.0, 2.0, size=(7, 1, 40, 24)), 0.0, 6.0).astype(np.float32)
    # Reached in the third sample only: until then both ends are looked for.
    a[:2] = a[:2] / 2 + 1
    b = a + draw.normal(0, 0.02, a.shape).astype(np.float32)
    scale = Quantization((6 / 255,), (-128,)) if stored == "int8" else None
    values = b if scale is None else quantize(b, scale, "int8")
    if bad is not None:
        (a if side == "reference" or scale is not None else b)[5, 0, 3, 3] = bad
    plain, bounded = (_sum_up([(a, None), (values, scale)], bounds=bounds) for bounds in (UNBOUNDED, (0.0, 6.0)))
    assert bounded == plain
    assert (bounded.problem == "non_finite") == (bad is not None)
    if bad is None:
        assert bounded.reference_range == (0.0, 6.0)
        assert bounded.candidate_range == pytest.approx((b.min() if scale is None else 0.0, b.max()), abs=0.1)


@pytest.mark.parametrize("factor", [1.0, 1e-18, 1e-25, 0.0])
@pytest.mark.parametrize("stored", ["float32", "int8"])
def test_samples_looked_at_before_others_were_added_change_no_sum(stored: str, factor: float) -> None:
    """Another thread does not know the ends that the samples before reach, 0 and 6 in the first one."""
    draw = np.random.default_rng(12)
    a = np.clip(draw.normal(3.0, 2.0, size=(5, 1, 40, 24)), 0.0, 6.0).astype(np.float32)
    scale = Quantization((6 / 255,), (-128,)) if stored == "int8" else None
    b = (a * np.float32(1.01)).astype(np.float32)
    values = b if scale is None else quantize(b, scale, "int8")
    # The differences stay large: only the reference's squares can leave float32's range.
    a[3] *= np.float32(factor)
    in_turn, early = (LayerSums(bounds=(0.0, 6.0)) for _ in range(2))
    pairs = [(Tensor(one), Tensor(other, scale)) for one, other in zip(a, values, strict=True)]
    looks = [early.look(sides, number, Workspace()) for number, sides in enumerate(pairs)]
    for (one, other), look in zip(pairs, looks, strict=True):
        in_turn.add(one.array, other.array, None, other.quantization)
        early.fold(look)
    assert early.figures() == in_turn.figures()
    for name, array in in_turn.state().items():
        np.testing.assert_array_equal(early.state()[name], array)


def test_the_ends_of_earlier_samples_stay() -> None:
    """Once -128 and 127 were there, integers are not read for their ends: what comes later cannot be further out."""
    scale = Quantization((0.5,), (3,))
    sums = LayerSums()
    for low, high in ((-5, 9), (-128, 127), (-1, 1)):
        stored = np.linspace(low, high, 96).astype(np.int8).reshape(1, 4, 24)
        sums.add(stored.astype(np.float32), stored, None, scale)
    assert sums.figures().candidate_range == (-65.5, 62.0)
    assert sums.figures().reference_range == (-128.0, 127.0)


@pytest.mark.parametrize("kind", ["float32", "float64", "int16"])
@pytest.mark.parametrize("factor", [0.3, 0.05, 1e-2, 1e-3, 1e-4, 1e-5, -1e-5])
def test_the_cosine_of_a_candidate_that_is_small_beside_the_reference(kind: str, factor: float) -> None:
    a = np.random.default_rng(3).normal(0.2, 1.0, (2, 1, 40, 50, 3)).astype(np.float32)
    sums = LayerSums()
    for one in a:
        if kind == "int16":
            stored = np.clip(np.rint(one * 3000), -32768, 32767).astype(np.int16)
            scales = Quantization((1e-3,), (0,)), Quantization((1e-3 * abs(factor),), (0,))
            sums.add(stored, np.sign(factor).astype(np.int16) * stored, *scales)
        else:
            sums.add(one.astype(kind), (one * factor).astype(kind))
    assert sums.figures().values["cosine"] == pytest.approx(np.sign(factor), abs=1e-5)


def test_the_cosine_of_small_noise_and_of_nothing() -> None:
    draw = np.random.default_rng(4)
    a = draw.normal(0.0, 1.0, (1, 200, 300)).astype(np.float32)
    b = (1e-6 * draw.normal(0.0, 1.0, a.shape)).astype(np.float32)
    sums, dead = LayerSums(), LayerSums()
    sums.add(a, b)
    dead.add(a, np.zeros_like(a))
    assert sums.figures().values["cosine"] == pytest.approx(
        _plain(a.astype(float), b.astype(float))["cosine"], abs=1e-6
    )
    assert dead.figures().values["cosine"] == 0.0


def test_small_samples_count_in_the_sums_that_are_taken_from_a_state() -> None:
    draw = np.random.default_rng(5)
    a = draw.normal(0.0, 1.0, (4, 1, 30, 40)).astype(np.float32)
    b = a * np.array([1.0, 1e-4, 0.5, 1e-6], dtype=np.float32)[:, None, None, None]
    whole, first, second = LayerSums(), LayerSums(), LayerSums()
    for number, (one, other) in enumerate(zip(a, b, strict=True)):
        whole.add(one, other)
        (first if number < 2 else second).add(one, other)
        if number == 1:
            second.restore({name: np.array(array) for name, array in first.state().items()})
    assert second.figures() == whole.figures()
    assert whole.figures().values["cosine"] == pytest.approx(
        _plain(a.astype(float), b.astype(float))["cosine"], abs=1e-6
    )
