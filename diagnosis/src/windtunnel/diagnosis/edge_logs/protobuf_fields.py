"""Fields of protobuf messages as bytes (https://protobuf.dev/programming-guides/encoding)."""

from __future__ import annotations

import struct
from typing import Final

_VARINT: Final = 0
_FIXED_64: Final = 1
_LENGTH: Final = 2


def number_field(field: int, value: int) -> bytes:
    """A whole number.

    Args:
        field: its number in the message.
        value: 0 or more, below 2^64.

    Returns:
        The bytes.
    """
    return _varint(field << 3 | _VARINT) + _varint(value)


def double_field(field: int, value: float) -> bytes:
    """A number of 64 bits.

    Args:
        field: its number in the message.
        value: the number.

    Returns:
        The bytes.
    """
    return _varint(field << 3 | _FIXED_64) + struct.pack("<d", value)


def bytes_field(field: int, value: bytes) -> bytes:
    """Bytes, or a message.

    Args:
        field: its number in the message.
        value: the bytes.

    Returns:
        The bytes with their length.
    """
    return _varint(field << 3 | _LENGTH) + _varint(len(value)) + value


def text_field(field: int, value: str) -> bytes:
    """A text.

    Args:
        field: its number in the message.
        value: the text.

    Returns:
        Its UTF-8 with its length.
    """
    return bytes_field(field, value.encode(errors="replace"))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
