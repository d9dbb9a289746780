"""Reading Android's binary XML, as far as a manifest needs it: elements and their attributes.

Format: frameworks/base/libs/androidfw/include/androidfw/ResourceTypes.h of the Android Open Source Project. A file is a
chunk that holds chunks: a string pool, the resource ids of attribute names, and the events of an XML reader.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_XML, _STRINGS, _RESOURCE_MAP, _START, _END = 0x0003, 0x0001, 0x0180, 0x0102, 0x0103
_CHUNK: Final = struct.Struct("<HHI")
_POOL: Final = struct.Struct("<5I")
_ELEMENT: Final = struct.Struct("<2I3H")
_ATTRIBUTE: Final = struct.Struct("<3IHBBI")
_UTF8: Final = 1 << 8
_NONE: Final = 0xFFFFFFFF
_TYPE_STRING, _TYPE_DECIMAL, _TYPE_HEX, _TYPE_BOOLEAN = 0x03, 0x10, 0x11, 0x12
_MAX_DEPTH: Final = 64

Value = str | int | bool | None


class NotBinaryXml(ValueError):
    """The bytes are not binary XML, or are damaged."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute.

    Attributes:
        name: as the file spells it; "" if the file has none.
        resource: id of the attribute in Android's resources; 0: it has none.
        value: None: a reference or another type that a manifest reader does not resolve.
    """

    name: str
    resource: int
    value: Value


@dataclass(frozen=True, slots=True)
class Element:
    """A start tag. `path` holds the names of its parents and its own, beginning at the root."""

    path: tuple[str, ...]
    attributes: tuple[Attribute, ...]

    def by_resource(self, resource: int) -> Attribute | None:
        """The attribute that Android finds under a resource id, whatever its name is.

        Args:
            resource: id, for example 0x0101020C for minSdkVersion.

        Returns:
            The attribute, or None.
        """
        return next((one for one in self.attributes if one.resource == resource), None)

    def by_name(self, name: str) -> Attribute | None:
        """The attribute without resource id of a name.

        Args:
            name: for example "package".

        Returns:
            The attribute, or None.
        """
        return next((one for one in self.attributes if not one.resource and one.name == name), None)


def elements(data: bytes) -> Iterator[Element]:
    """The start tags of a document, in their order.

    Args:
        data: the file.

    Yields:
        Each element.

    Raises:
        NotBinaryXml: it is not binary XML, or is damaged.
    """
    try:
        yield from _Reader(data).elements()
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise NotBinaryXml(f"damaged binary XML: {error}") from error


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._strings: _Strings | None = None
        self._resources: tuple[int, ...] = ()
        self._path: list[str] = []

    def elements(self) -> Iterator[Element]:
        kind, header, size = _CHUNK.unpack_from(self._data)
        if kind != _XML or not _CHUNK.size <= header <= size <= len(self._data):
            raise NotBinaryXml("not binary XML")
        position = header
        while position + _CHUNK.size <= size:
            kind, header, length = _CHUNK.unpack_from(self._data, position)
            if length < max(header, _CHUNK.size) or position + length > size:
                raise NotBinaryXml(f"damaged binary XML: a chunk of {length} bytes at {position}")
            yield from self._chunk(kind, header, self._data[position : position + length])
            position += length

    def _chunk(self, kind: int, header: int, chunk: bytes) -> Iterator[Element]:
        if kind == _STRINGS and self._strings is None:
            self._strings = _Strings(chunk)
        elif kind == _RESOURCE_MAP:
            self._resources = struct.unpack_from(f"<{(len(chunk) - header) // 4}I", chunk, header)
        elif kind == _START:
            yield self._element(header, chunk)
        elif kind == _END and self._path:
            self._path.pop()

    def _element(self, header: int, chunk: bytes) -> Element:
        _, name, start, size, count = _ELEMENT.unpack_from(chunk, header)
        if len(self._path) >= _MAX_DEPTH:
            raise NotBinaryXml(f"damaged binary XML: elements are nested more than {_MAX_DEPTH} deep")
        self._path.append(self._text(name))
        if size < _ATTRIBUTE.size:
            raise NotBinaryXml(f"damaged binary XML: attributes of {size} bytes")
        first = header + start
        found = tuple(self._attribute(chunk, first + index * size) for index in range(count))
        return Element(tuple(self._path), found)

    def _attribute(self, chunk: bytes, position: int) -> Attribute:
        _, name, raw, _, _, kind, value = _ATTRIBUTE.unpack_from(chunk, position)
        resource = self._resources[name] if name < len(self._resources) else 0
        return Attribute(self._text(name), resource, self._value(kind, value, raw))

    def _value(self, kind: int, value: int, raw: int) -> Value:
        if kind == _TYPE_STRING:
            return self._text(value)
        if kind == _TYPE_BOOLEAN:
            return value != 0
        if kind in (_TYPE_DECIMAL, _TYPE_HEX):
            return value - (1 << 32) if value >= 1 << 31 else value
        return None if raw == _NONE else self._text(raw)

    def _text(self, index: int) -> str:
        if index == _NONE:
            return ""
        if self._strings is None:
            raise NotBinaryXml("damaged binary XML: it has no strings")
        return self._strings[index]


class _Strings:
    # A string pool, in UTF-8 or UTF-16. A string is decoded when it is asked for.

    def __init__(self, chunk: bytes) -> None:
        header = _CHUNK.unpack_from(chunk)[1]
        count, _, flags, start, _ = _POOL.unpack_from(chunk, _CHUNK.size)
        if count > len(chunk) // 4:
            raise NotBinaryXml(f"damaged binary XML: {count} strings in {len(chunk)} bytes")
        self._chunk = chunk
        self._utf8 = bool(flags & _UTF8)
        self._start = start
        self._offsets = struct.unpack_from(f"<{count}I", chunk, header)

    def __getitem__(self, index: int) -> str:
        position = self._start + self._offsets[index]
        if not self._utf8:
            return self._utf16(position)
        # Its length in UTF-16, then in bytes.
        _, position = self._length8(position)
        length, position = self._length8(position)
        return self._bytes(position, length).decode("utf-8", errors="replace")

    def _utf16(self, position: int) -> str:
        (length,) = struct.unpack_from("<H", self._chunk, position)
        position += 2
        if length & 0x8000:
            (low,) = struct.unpack_from("<H", self._chunk, position)
            length, position = ((length & 0x7FFF) << 16) | low, position + 2
        return self._bytes(position, length * 2).decode("utf-16-le", errors="replace")

    def _length8(self, position: int) -> tuple[int, int]:
        length = self._chunk[position]
        if length & 0x80:
            return ((length & 0x7F) << 8) | self._chunk[position + 1], position + 2
        return length, position + 1

    def _bytes(self, position: int, length: int) -> bytes:
        found = self._chunk[position : position + length]
        if len(found) != length:
            raise NotBinaryXml("damaged binary XML: a string is cut off")
        return found
