"""Between stored and real values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.tflite import Quantization, dequantize, quantize


@given(
    scale=st.floats(1e-4, 1e3),
    zero=st.integers(-128, 127),
    stored=st.lists(st.integers(-128, 127), min_size=1, max_size=20),
)
def test_stored_values_survive_the_way_there_and_back(scale: float, zero: int, stored: list[int]) -> None:
    parameters = Quantization((scale,), (zero,))
    real = dequantize(np.array(stored, np.int8), parameters)
    assert real.dtype == np.float64
    assert quantize(real, parameters, "int8").tolist() == stored


def test_one_scale_per_channel() -> None:
    stored = np.array([[1, 2], [3, 4]], np.int8)
    assert dequantize(stored, Quantization((0.5, 2.0), (0, 1), 0)).tolist() == [[0.5, 1.0], [4.0, 6.0]]
    assert dequantize(stored, Quantization((0.5, 2.0), (0, 1), 1)).tolist() == [[0.5, 2.0], [1.5, 6.0]]


def test_saturates_and_rounds_ties_to_even() -> None:
    real = np.array([0.5, 1.5, 2.5, -1e9, 1e9])
    assert quantize(real, Quantization((1.0,), (0,)), "uint8").tolist() == [0, 2, 2, 0, 255]


def test_refusals() -> None:
    with pytest.raises(InvalidInput, match="NaN"):
        quantize(np.array([np.nan]), Quantization((1.0,), (0,)), "int8")
    with pytest.raises(InvalidInput, match="do not fit"):
        dequantize(np.zeros((2, 3), np.int8), Quantization((1.0, 1.0), (0, 0), 1))
    with pytest.raises(Unsupported, match="blockwise"):
        dequantize(np.zeros(4, np.int8), Quantization((), (), 0, 32))


def test_floats_are_only_widened() -> None:
    assert dequantize(np.array([1.5], np.float16), None).tolist() == [1.5]


def test_a_complex_number_becomes_two() -> None:
    assert dequantize(np.array([[1 + 2j, 3]], np.complex64), None).tolist() == [[1.0, 2.0, 3.0, 0.0]]
    with pytest.raises(Unsupported, match="not numbers"):
        dequantize(np.array([b"text"]), None)
