"""Android's binary XML, as far as manifests need it: reads what aapt writes, and writes small ones for tests."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_XML, _POOL, _MAP, _START, _END = 0x0003, 0x0001, 0x0180, 0x0102, 0x0103
_UTF8 = 1 << 8
_STRING, _INT, _BOOLEAN = 0x03, 0x10, 0x12
_NONE = 0xFFFFFFFF
_SPACE = "http://schemas.android.com/apk/res/android"
# Ids of attributes, by which the system looks for them.
_IDS = {
    "name": 0x01010003,
    "debuggable": 0x0101000F,
    "hasCode": 0x0101000C,
    "versionCode": 0x0101021B,
    "minSdkVersion": 0x0101020C,
    "testOnly": 0x01010272,
    "targetPackage": 0x01010021,
    "exported": 0x01010010,
}
Value = str | int | bool


@dataclass
class Element:
    """One element; attributes without their namespace."""

    name: str
    attributes: dict[str, Value] = field(default_factory=dict)
    children: list[Element] = field(default_factory=list)

    def all(self, name: str) -> list[Element]:
        """The children of this name."""
        return [child for child in self.children if child.name == name]


def parse(data: bytes) -> Element:
    """The root element. Raises ValueError where this is not binary XML."""
    try:
        return _parse(data)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"not binary XML: {error}") from error


def _parse(data: bytes) -> Element:
    kind, head, size = struct.unpack_from("<HHI", data, 0)
    if kind != _XML or size > len(data):
        raise ValueError("not binary XML")
    strings: list[str] = []
    top = Element("")
    stack, at = [top], head
    while at < size:
        kind, _, length = struct.unpack_from("<HHI", data, at)
        if length < 8:
            raise ValueError("not binary XML")
        if kind == _POOL:
            strings = _strings(data[at : at + length])
        elif kind == _START:
            element = _element(data[at : at + length], strings)
            stack[-1].children.append(element)
            stack.append(element)
        elif kind == _END:
            stack.pop()
        at += length
    if not top.children:
        raise ValueError("no element")
    return top.children[0]


def _strings(chunk: bytes) -> list[str]:
    _, head, _, count, _, flags, start, _ = struct.unpack_from("<HHIIIIII", chunk, 0)
    found = []
    for (offset,) in struct.iter_unpack("<I", chunk[head : head + 4 * count]):
        at = start + offset
        if flags & _UTF8:
            at += 2 if chunk[at] & 0x80 else 1
            size = chunk[at]
            at += 1
            if size & 0x80:
                size = (size & 0x7F) << 8 | chunk[at]
                at += 1
            found.append(chunk[at : at + size].decode())
        else:
            (size,) = struct.unpack_from("<H", chunk, at)
            found.append(chunk[at + 2 : at + 2 + 2 * size].decode("utf-16-le"))
    return found


def _element(chunk: bytes, strings: Sequence[str]) -> Element:
    (name,) = struct.unpack_from("<I", chunk, 20)
    start, _, count = struct.unpack_from("<HHH", chunk, 24)
    element = Element(strings[name])
    for index in range(count):
        at = 16 + start + 20 * index
        _, key, raw, _, _, kind, value = struct.unpack_from("<IIIHBBI", chunk, at)
        text = strings[raw] if raw != _NONE else strings[value] if kind == _STRING else None
        found: Value = text if text is not None else bool(value) if kind == _BOOLEAN else value
        element.attributes[strings[key]] = found
    return element


def write(root: Element) -> bytes:
    """The document, as aapt would write it."""
    keys = sorted({key for key in _all_keys(root) if key in _IDS}, key=_IDS.__getitem__)
    pool = [*keys, *sorted(_all_texts(root) - set(keys)), _SPACE]
    body = _pool(pool) + _chunk(_MAP, 8, b"".join(struct.pack("<I", _IDS[key]) for key in keys))
    body += _written(root, {text: index for index, text in enumerate(pool)})
    return _chunk(_XML, 8, body)


def _all_keys(element: Element) -> set[str]:
    return set(element.attributes).union(*map(_all_keys, element.children))


def _all_texts(element: Element) -> set[str]:
    own = {element.name, *element.attributes, *(v for v in element.attributes.values() if isinstance(v, str))}
    return own.union(*map(_all_texts, element.children))


def _pool(strings: Sequence[str]) -> bytes:
    data, offsets = b"", []
    for text in strings:
        offsets.append(len(data))
        data += struct.pack("<H", len(text)) + text.encode("utf-16-le") + b"\0\0"
    data += bytes(-len(data) % 4)
    head = struct.pack("<IIIII", len(strings), 0, 0, 28 + 4 * len(strings), 0)
    return _chunk(_POOL, 28, head + b"".join(struct.pack("<I", one) for one in offsets) + data)


def _written(element: Element, index: Mapping[str, int]) -> bytes:
    node = struct.pack("<II", 1, _NONE)
    attributes = b"".join(_attribute(key, value, index) for key, value in element.attributes.items())
    start = struct.pack("<IIHHHHHH", _NONE, index[element.name], 20, 20, len(element.attributes), 0, 0, 0)
    end = _chunk(_END, 16, node + struct.pack("<II", _NONE, index[element.name]))
    inner = b"".join(_written(child, index) for child in element.children)
    return _chunk(_START, 16, node + start + attributes) + inner + end


def _attribute(key: str, value: Value, index: Mapping[str, int]) -> bytes:
    space = index[_SPACE] if key in _IDS else _NONE
    if isinstance(value, str):
        typed = (index[value], 8, 0, _STRING, index[value])
    elif isinstance(value, bool):
        typed = (_NONE, 8, 0, _BOOLEAN, _NONE if value else 0)
    else:
        typed = (_NONE, 8, 0, _INT, value)
    return struct.pack("<IIIHBBI", space, index[key], *typed)


def _chunk(kind: int, head: int, body: bytes) -> bytes:
    return struct.pack("<HHI", kind, head, 8 + len(body)) + body
