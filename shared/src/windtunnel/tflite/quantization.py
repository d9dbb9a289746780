"""Between real numbers and what quantized tensors store: real = scale * (stored - zero_point)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.tflite.facts import Quantization


def quantize(array: NDArray[Any], quantization: Quantization, dtype: str) -> NDArray[Any]:
    """Converts real values to stored ones: q = saturate(rint(x / scale) + zero_point).

    Ties go to the even number (np.rint). TensorFlow Lite's kernels round ties away from zero, which differs only on
    exact halves.

    Args:
        array: real numbers, of any shape that the scales fit.
        quantization: scales and zero points, for the tensor or along an axis.
        dtype: the stored integer type.

    Returns:
        An array of the same shape, in `dtype`.

    Raises:
        InvalidInput: NaN or infinity, which no integer can store; or the scales do not fit the shape.
        Unsupported: the scales are blockwise.
    """
    if not np.isfinite(array).all():
        raise InvalidInput("NaN or infinity cannot be quantized")
    scales, zeros = _parameters(array, quantization)
    limits = np.iinfo(np.dtype(dtype))
    return np.clip(np.rint(array.astype(np.float64) / scales) + zeros, limits.min, limits.max).astype(dtype)


def dequantize(array: NDArray[Any], quantization: Quantization | None) -> NDArray[np.float64]:
    """Converts stored values to real ones: x = scale * (q - zero_point).

    Args:
        array: as stored.
        quantization: None: the values are only widened.

    Returns:
        float64, of the same shape. A complex number becomes two real ones: the last dimension doubles.

    Raises:
        InvalidInput: the scales do not fit the shape.
        Unsupported: the scales are blockwise, or the values are not numbers.
    """
    if array.dtype.kind not in "biufc":
        raise Unsupported(f"values of type {array.dtype} are not numbers")
    if array.dtype.kind == "c":
        array = np.ascontiguousarray(array).view(array.real.dtype)
    if quantization is None or array.dtype.kind not in "iu":
        return array.astype(np.float64)
    scales, zeros = _parameters(array, quantization)
    return (array.astype(np.float64) - zeros) * scales


def _parameters(array: NDArray[Any], quantization: Quantization) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scales and zero points, shaped to broadcast against `array`.

    Raises:
        InvalidInput: their number does not fit the shape.
        Unsupported: they are blockwise.
    """
    if quantization.block_size is not None:
        raise Unsupported(f"blockwise scales (blocks of {quantization.block_size}) are in another tensor")
    scales = np.asarray(quantization.scales, dtype=np.float64)
    zeros = np.asarray(quantization.zero_points, dtype=np.float64)
    if scales.size == 1:
        return scales.reshape(()), zeros.reshape(())
    axis = quantization.axis
    if not 0 <= axis < array.ndim or array.shape[axis] != scales.size:
        raise InvalidInput(f"{scales.size} scales along axis {axis} do not fit the shape {list(array.shape)}")
    shape = [1] * array.ndim
    shape[axis] = scales.size
    return scales.reshape(shape), zeros.reshape(shape)
