"""From the bytes of a constant to an array."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.errors import InvalidInput, Unsupported

if TYPE_CHECKING:
    from windtunnel.tflite.facts import TensorFacts

# Bits per value and signedness of the types that numpy lacks; values are packed from the low bits up.
_PACKED = {"int4": (4, True), "uint4": (4, False), "int2": (2, True)}
_PLAIN = frozenset(
    f"{kind}{bits}"
    for kind, sizes in {
        "int": (8, 16, 32, 64),
        "uint": (8, 16, 32, 64),
        "float": (16, 32, 64),
        "complex": (64, 128),
    }.items()
    for bits in sizes
) | {"bool"}


def decode(data: bytes, tensor: TensorFacts) -> NDArray[Any]:
    """The array of `tensor.shape` that `data` holds. Raises InvalidInput or Unsupported."""
    if tensor.is_sparse:
        raise Unsupported(f"constant {tensor.name!r} is stored sparse")
    count = math.prod(tensor.shape)
    if count < 0:
        raise InvalidInput(f"constant {tensor.name!r} has the dynamic shape {list(tensor.shape)}")
    if tensor.dtype in _PACKED:
        return _unpack(data, count, tensor).reshape(tensor.shape)
    if tensor.dtype == "bfloat16":
        _check_size(len(data), count * 2, tensor)
        wide = np.frombuffer(data, dtype="<u2").astype(np.uint32) << np.uint32(16)
        return wide.view(np.float32).reshape(tensor.shape)
    if tensor.dtype not in _PLAIN:
        raise Unsupported(f"constant {tensor.name!r} of type {tensor.dtype} cannot be read as an array")
    dtype = np.dtype(tensor.dtype).newbyteorder("<")
    _check_size(len(data), count * dtype.itemsize, tensor)
    return np.frombuffer(data, dtype=dtype).reshape(tensor.shape)


def _unpack(data: bytes, count: int, tensor: TensorFacts) -> NDArray[Any]:
    bits, signed = _PACKED[tensor.dtype]
    per_byte = 8 // bits
    _check_size(len(data), -(-count // per_byte), tensor)
    shifts = np.arange(per_byte, dtype=np.uint8) * np.uint8(bits)
    values = ((np.frombuffer(data, dtype=np.uint8)[:, None] >> shifts) & np.uint8((1 << bits) - 1)).ravel()[:count]
    if not signed:
        return values
    top = np.uint8(1 << (bits - 1))
    return (values ^ top).astype(np.int8) - np.int8(top)


def _check_size(got: int, expected: int, tensor: TensorFacts) -> None:
    if got != expected:
        raise InvalidInput(
            f"constant {tensor.name!r} holds {got} bytes, but {tensor.dtype}{list(tensor.shape)} takes {expected}"
        )
