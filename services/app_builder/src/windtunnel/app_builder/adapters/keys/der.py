"""Writing DER (ITU-T X.690): the few types that signatures and entitlements need."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Final

SEQUENCE: Final = 0x30
SET: Final = 0x31
NULL: Final = b"\x05\x00"


def tlv(tag: int, content: bytes) -> bytes:
    """One element.

    Args:
        tag: its first byte.
        content: its content.

    Returns:
        Tag, length and content.
    """
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def sequence(*items: bytes) -> bytes:
    """A SEQUENCE.

    Args:
        *items: encoded elements.

    Returns:
        The element.
    """
    return tlv(SEQUENCE, b"".join(items))


def set_of(items: Iterable[bytes]) -> bytes:
    """A SET OF, its items in the order that DER asks for.

    Args:
        items: encoded elements.

    Returns:
        The element.
    """
    return tlv(SET, b"".join(sorted(items)))


def integer(value: int) -> bytes:
    """An INTEGER.

    Args:
        value: any whole number.

    Returns:
        The element.
    """
    return tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1 if value >= 0 else (value + 1).bit_length() // 8 + 1,
                                    "big", signed=True))  # fmt: skip


def boolean(value: bool) -> bytes:
    """A BOOLEAN.

    Args:
        value: true or false.

    Returns:
        The element.
    """
    return tlv(0x01, b"\xff" if value else b"\x00")


def octets(value: bytes) -> bytes:
    """An OCTET STRING.

    Args:
        value: its bytes.

    Returns:
        The element.
    """
    return tlv(0x04, value)


def utf8(value: str) -> bytes:
    """A UTF8String.

    Args:
        value: text.

    Returns:
        The element.
    """
    return tlv(0x0C, value.encode())


def utc_time(value: datetime.datetime) -> bytes:
    """A UTCTime, or a GeneralizedTime outside of 1950 to 2049, as RFC 5652 asks for.

    Args:
        value: in UTC.

    Returns:
        The element.
    """
    if 1950 <= value.year < 2050:
        return tlv(0x17, value.strftime("%y%m%d%H%M%SZ").encode())
    return tlv(0x18, value.strftime("%Y%m%d%H%M%SZ").encode())


def oid(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER.

    Args:
        dotted: for example "1.2.840.113549.1.7.2".

    Returns:
        The element.
    """
    first, second, *rest = map(int, dotted.split("."))
    return tlv(0x06, b"".join(map(_base128, (first * 40 + second, *rest))))


def _base128(value: int) -> bytes:
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(0x80 | (value & 0x7F))
    return bytes(reversed(groups))
