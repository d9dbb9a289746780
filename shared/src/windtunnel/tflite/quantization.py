"""Between real numbers and what quantised tensors store: real = scale * (stored - zero_point)."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.tflite.facts import Quantization

# The types in which a quantized model stores weights and activations; int32 and int64 hold biases and indices.
INTEGER_DTYPES: Final = frozenset({"int2", "int4", "uint4", "int8", "uint8", "int16"})


def quantize(array: NDArray[Any], quantization: Quantization, dtype: str) -> NDArray[Any]:
    """Real values as stored ones of an integer dtype: q = saturate(rint(x / scale) + zero_point).

    Ties go to the even number (np.rint); TensorFlow Lite's kernels round ties away from zero, which differs
    only on exact halves. Raises InvalidInput on NaN and infinity, which no integer can store.
    """
    if not np.isfinite(array).all():
        raise InvalidInput("NaN or infinity cannot be quantised")
    scales, zeros = _parameters(array, quantization)
    limits = np.iinfo(np.dtype(dtype))
    return np.clip(np.rint(array.astype(np.float64) / scales) + zeros, limits.min, limits.max).astype(dtype)


def dequantize(array: NDArray[Any], quantization: Quantization | None) -> NDArray[np.float64]:
    """Stored values as real ones in float64; an unquantised tensor is only widened.

    A complex number becomes two real ones: the last dimension doubles. Raises InvalidInput when the scales do not
    fit the shape, Unsupported for blockwise scales and for what is no number.
    """
    if array.dtype.kind not in "biufc":
        raise Unsupported(f"values of type {array.dtype} are no numbers")
    if array.dtype.kind == "c":
        array = np.ascontiguousarray(array).view(array.real.dtype)
    if quantization is None or array.dtype.kind not in "iu":
        return array.astype(np.float64)
    scales, zeros = _parameters(array, quantization)
    return (array.astype(np.float64) - zeros) * scales


def _parameters(array: NDArray[Any], quantization: Quantization) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scales and zero points, shaped to broadcast against `array`."""
    if quantization.block_size is not None:
        raise Unsupported(f"blockwise scales (blocks of {quantization.block_size}) lie in another tensor")
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
