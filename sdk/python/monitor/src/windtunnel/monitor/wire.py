"""Protocol buffers, written by hand: the few forms of fields that the messages of an edge log have."""

from __future__ import annotations

_VARINT, _FIXED64, _BYTES = 0, 1, 2
_SMALL = [bytes([value]) for value in range(128)]


def varint(value: int) -> bytes:
    """Write a whole number.

    Args:
        value: The number; a negative one as 64 bits.

    Returns:
        Its bytes.
    """
    if 0 <= value < 128:
        return _SMALL[value]
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    """Write a field of a whole number.

    Args:
        field: Its number.
        value: What it holds; 0 is left out.

    Returns:
        Its bytes.
    """
    return varint(field << 3 | _VARINT) + varint(value) if value else b""


def head(field: int, size: int) -> bytes:
    """Write what precedes the content of a field with a length.

    Args:
        field: Its number.
        size: Size of the content in bytes.

    Returns:
        The key and the length.
    """
    return varint(field << 3 | _BYTES) + varint(size)


def data(field: int, content: bytes) -> bytes:
    """Write a field of bytes, of a message or of packed numbers.

    Args:
        field: Its number.
        content: What it holds, empty or not.

    Returns:
        Its bytes.
    """
    return head(field, len(content)) + content


def text(field: int, words: str) -> bytes:
    """Write a field of text.

    Args:
        field: Its number.
        words: The text; an empty one is left out, what is not Unicode becomes a question mark.

    Returns:
        Its bytes.
    """
    return data(field, words.encode("utf-8", "replace")) if words else b""


def fixed64(field: int, content: bytes) -> bytes:
    """Write a field of 8 bytes.

    Args:
        field: Its number.
        content: The 8 bytes.

    Returns:
        Its bytes.
    """
    return varint(field << 3 | _FIXED64) + content
