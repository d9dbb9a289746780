"""From the bytes of a constant to an array."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.tflite.dtypes import PACKED

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


def decode(data: bytes, name: str, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Reads a constant from its bytes.

    Args:
        data: the bytes as in the file, little-endian.
        name: of the tensor, for messages.
        dtype: TFLite's name of the type, for example "int4".
        shape: of the tensor; every dimension must be known.

    Returns:
        The array of `shape`. int4 and int2 are unpacked to int8, bfloat16 is widened to float32.

    Raises:
        InvalidInput: the shape is dynamic, or the number of bytes does not fit it.
        Unsupported: the type has no arrays (strings, handles).
    """
    count = math.prod(shape)
    if count < 0:
        raise InvalidInput(f"constant {name!r} has the dynamic shape {list(shape)}")
    size = _size(dtype, count)
    if size is None:
        raise Unsupported(f"constant {name!r} of type {dtype} cannot be read as an array")
    if len(data) != size:
        raise InvalidInput(f"constant {name!r} holds {len(data)} bytes, but {dtype}{list(shape)} takes {size}")
    return _values(data, dtype, count).reshape(shape)


def _size(dtype: str, count: int) -> int | None:
    """The bytes that `count` values take; None for a type that has no arrays."""
    if dtype in PACKED:
        return -(-count * PACKED[dtype][0] // 8)
    if dtype == "bfloat16":
        return count * 2
    return count * np.dtype(dtype).itemsize if dtype in _PLAIN else None


def _values(data: bytes, dtype: str, count: int) -> NDArray[Any]:
    if dtype in PACKED:
        return _unpack(data, count, *PACKED[dtype])
    if dtype == "bfloat16":
        wide = np.frombuffer(data, dtype="<u2").astype(np.uint32) << np.uint32(16)
        return wide.view(np.float32)
    return np.frombuffer(data, dtype=np.dtype(dtype).newbyteorder("<"))


def _unpack(data: bytes, count: int, bits: int, signed: bool) -> NDArray[Any]:
    shifts = np.arange(8 // bits, dtype=np.uint8) * np.uint8(bits)
    values = ((np.frombuffer(data, dtype=np.uint8)[:, None] >> shifts) & np.uint8((1 << bits) - 1)).ravel()[:count]
    if not signed:
        return values
    top = np.uint8(1 << (bits - 1))
    return (values ^ top).astype(np.int8) - np.int8(top)


def encode(array: NDArray[Any], name: str, dtype: str) -> bytes:
    """Writes an array as the bytes of a constant; the inverse of `decode`.

    Args:
        array: integers and floats are converted to `dtype`.
        name: of the tensor, for messages.
        dtype: TFLite's name of the type.

    Returns:
        The bytes, little-endian.

    Raises:
        InvalidInput: an integer does not fit the type.
        Unsupported: the type has no arrays.
    """
    if dtype in PACKED:
        return _pack(_fitting(array, name, dtype, *_limits(*PACKED[dtype])), *PACKED[dtype][:1])
    if dtype == "bfloat16":
        wide = np.ascontiguousarray(array, dtype="<f4").view("<u4")
        # Round to nearest, ties to even.
        rounded = wide + np.uint32(0x7FFF) + ((wide >> np.uint32(16)) & np.uint32(1))
        return bytes((rounded >> np.uint32(16)).astype("<u2").tobytes())
    if dtype not in _PLAIN:
        raise Unsupported(f"constant {name!r} of type {dtype} cannot be written from an array")
    kind = np.dtype(dtype)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        array = _fitting(array, name, dtype, limits.min, limits.max)
    # What float16 cannot hold becomes infinity, as IEEE 754 has it.
    with np.errstate(over="ignore"):
        return bytes(np.ascontiguousarray(array, dtype=kind.newbyteorder("<")).tobytes())


def _limits(bits: int, signed: bool) -> tuple[int, int]:
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)


def _fitting(array: NDArray[Any], name: str, dtype: str, low: int, high: int) -> NDArray[Any]:
    if array.size and not (low <= array.min() and array.max() <= high):
        raise InvalidInput(
            f"constant {name!r} of type {dtype} holds {low} to {high}, not {array.min()} to {array.max()}"
        )
    return array


def _pack(array: NDArray[Any], bits: int) -> bytes:
    """Values of `bits` bits, packed from the low bits up."""
    per_byte = 8 // bits
    values = array.ravel().astype(np.int64).astype(np.uint8) & np.uint8((1 << bits) - 1)
    values = np.concatenate([values, np.zeros(-len(values) % per_byte, np.uint8)]).reshape(-1, per_byte)
    shifts = np.arange(per_byte, dtype=np.uint8) * np.uint8(bits)
    return bytes(np.bitwise_or.reduce(values << shifts, axis=1).astype(np.uint8).tobytes())
