"""Writes AndroidManifest.xml as binary XML, as aapt does, for base apps that tests make without it."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

ANDROID = "http://schemas.android.com/apk/res/android"
# Ids of android.R.attr.
RESOURCES: Mapping[str, int] = {
    "name": 0x01010003, "value": 0x01010024, "targetPackage": 0x01010021, "minSdkVersion": 0x0101020C,
    "targetSdkVersion": 0x01010270, "testOnly": 0x01010272, "extractNativeLibs": 0x010104EA, "exported": 0x01010010,
    "isSplitRequired": 0x01010591, "requiredSplitTypes": 0x0101064E, "versionCode": 0x0101021B, "label": 0x01010001,
}  # fmt: skip
TEST_LOOP = "com.google.intent.action.TEST_LOOP"


@dataclass
class Node:
    """An element. `android` holds attributes of the android namespace, `plain` those of none."""

    name: str
    android: Mapping[str, str | int | bool] = field(default_factory=dict)
    plain: Mapping[str, str] = field(default_factory=dict)
    children: Sequence[Node] = ()


def manifest(
    package: str = "org.tensorflow.lite.benchmark",
    *,
    min_sdk: int | str | None = 24,
    target_sdk: int | None = 30,
    root: Mapping[str, str | int | bool] | None = None,
    plain: Mapping[str, str] | None = None,
    application: Mapping[str, str | int | bool] | None = None,
    metadata: Mapping[str, str | int | bool] | None = None,
    game_loop: bool = False,
    instrumentation: tuple[str, str] | None = None,
    utf8: bool = True,
) -> bytes:
    """The manifest of a benchmark app. `instrumentation` is its runner and the package that it tests."""
    sdk = {"minSdkVersion": min_sdk, "targetSdkVersion": target_sdk}
    intent = (Node("intent-filter", children=(Node("action", {"name": TEST_LOOP}),)),) if game_loop else ()
    activity = Node("activity", {"name": f"{package}.BenchmarkModelActivity", "exported": True}, children=intent)
    extra = tuple(Node("meta-data", {"name": name, "value": value}) for name, value in (metadata or {}).items())
    children = [
        Node("uses-sdk", {name: value for name, value in sdk.items() if value is not None}),
        Node("application", application or {}, children=(activity, *extra)),
    ]
    if instrumentation is not None:
        runner, target = instrumentation
        children.append(Node("instrumentation", {"name": runner, "targetPackage": target}))
    named = {"package": package, **(plain or {})} if package else dict(plain or {})
    return binary_xml(Node("manifest", {"versionCode": 1, **(root or {})}, named, children), utf8=utf8)


def binary_xml(node: Node, *, utf8: bool = True) -> bytes:
    """A document with one root."""
    writer = _Writer(node)
    namespace = struct.pack("<2I", writer.index("android"), writer.index(ANDROID))
    body = [
        _pool(writer.strings, utf8),
        _chunk(0x0180, 8, b"".join(struct.pack("<I", RESOURCES[name]) for name in writer.attributes)),
        _chunk(0x0100, 16, struct.pack("<2I", 1, 0xFFFFFFFF) + namespace),
        *writer.element(node),
        _chunk(0x0101, 16, struct.pack("<2I", 1, 0xFFFFFFFF) + namespace),
    ]
    return _chunk(0x0003, 8, b"".join(body))


class _Writer:
    """Collects the strings: names of android's attributes first, in the order of their ids."""

    def __init__(self, node: Node) -> None:
        found = list(_walk(node))
        self.attributes = list(dict.fromkeys(name for one in found for name in one.android))
        others = ["android", ANDROID]
        for one in found:
            others += [one.name, *one.plain, *one.plain.values(), *(v for v in one.android.values() if type(v) is str)]
        self.strings = [*self.attributes, *dict.fromkeys(others)]

    def index(self, text: str, attribute: bool = False) -> int:
        return self.strings.index(text, 0 if attribute else len(self.attributes))

    def element(self, node: Node) -> list[bytes]:
        name = struct.pack("<4I", 1, 0xFFFFFFFF, 0xFFFFFFFF, self.index(node.name))
        attributes = [
            struct.pack("<2I", self.index(ANDROID), self.index(key, True)) + self._value(value)
            for key, value in sorted(node.android.items(), key=lambda item: RESOURCES[item[0]])
        ]
        attributes += [
            struct.pack("<2I", 0xFFFFFFFF, self.index(key)) + self._value(value) for key, value in node.plain.items()
        ]
        head = name + struct.pack("<6H", 20, 20, len(attributes), 0, 0, 0)
        inner = [part for child in node.children for part in self.element(child)]
        return [_chunk(0x0102, 16, head + b"".join(attributes)), *inner, _chunk(0x0103, 16, name)]

    def _value(self, value: str | int | bool) -> bytes:
        if isinstance(value, str):
            return struct.pack("<IHBBI", self.index(value), 8, 0, 0x03, self.index(value))
        kind, number = (0x12, 0xFFFFFFFF if value else 0) if isinstance(value, bool) else (0x10, value & 0xFFFFFFFF)
        return struct.pack("<IHBBI", 0xFFFFFFFF, 8, 0, kind, number)


def _walk(node: Node) -> list[Node]:
    return [node, *(found for child in node.children for found in _walk(child))]


def _chunk(kind: int, header: int, content: bytes) -> bytes:
    return struct.pack("<HHI", kind, header, len(content) + 8) + content


def _pool(strings: Sequence[str], utf8: bool) -> bytes:
    encoded = [_utf8(text) if utf8 else _utf16(text) for text in strings]
    offsets = [sum(map(len, encoded[:index])) for index in range(len(encoded))]
    data = b"".join(encoded)
    data += bytes(-len(data) % 4)
    start = 28 + 4 * len(strings)
    head = struct.pack("<5I", len(strings), 0, 1 << 8 if utf8 else 0, start, 0)
    return _chunk(0x0001, 28, head + b"".join(struct.pack("<I", offset) for offset in offsets) + data)


def _utf8(text: str) -> bytes:
    data = text.encode()
    return _length(len(text)) + _length(len(data)) + data + b"\0"


def _length(value: int) -> bytes:
    return bytes((value,)) if value < 0x80 else bytes((0x80 | value >> 8, value & 0xFF))


def _utf16(text: str) -> bytes:
    return struct.pack("<H", len(text)) + text.encode("utf-16-le") + b"\0\0"
