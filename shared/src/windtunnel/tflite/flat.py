"""A FlatBuffers reader that checks every offset before it follows it.

The generated accessors trust the file: on a damaged one they read out of place, slice short or loop over
billions of entries. Here each table, vector and string is checked against the file's end, and all that is read
is charged to a budget, so that entries that share bytes cannot make a small file expensive.
Layout: https://flatbuffers.dev/internals/
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

_U16, _U32, _I32 = struct.Struct("<H"), struct.Struct("<I"), struct.Struct("<i")


class Malformed(ValueError):
    """The bytes are not valid FlatBuffers data."""


class Source:
    """The bytes of a file, and how many of them may still be read.

    Args:
        data: the whole file.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        # Identical vectors and strings may rightly be shared; four readings of every byte is ample.
        self._budget = 4 * len(data) + (1 << 20)

    def charge(self, size: int) -> None:
        """Counts bytes against the reading budget.

        Args:
            size: how many bytes are read.

        Raises:
            Malformed: the budget is spent.
        """
        self._budget -= size
        if self._budget < 0:
            raise Malformed("its entries share bytes far beyond what any writer does")

    def check(self, start: int, size: int) -> None:
        """Makes sure that the file has some bytes.

        Args:
            start: position of the first one.
            size: how many.

        Raises:
            Malformed: some are outside the file.
        """
        if start < 0 or size < 0 or start + size > len(self.data):
            raise Malformed(f"it refers to bytes {start} to {start + size}, but has {len(self.data)}")

    def u32(self, position: int) -> int:
        """An unsigned 32-bit number.

        Args:
            position: of its first byte; it is checked.

        Returns:
            The number.
        """
        self.check(position, 4)
        return int(_U32.unpack_from(self.data, position)[0])


class Table:
    """A table at a position. Fields are named by their slot (their offset in the vtable: 4, 6, 8 ...).

    Args:
        source: the file.
        position: of the table.
    """

    __slots__ = ("_size", "_source", "_vtable", "_vtable_size", "position")

    def __init__(self, source: Source, position: int) -> None:
        source.check(position, 4)
        source.charge(4)
        self._source = source
        self.position = position
        self._vtable = position - int(_I32.unpack_from(source.data, position)[0])
        source.check(self._vtable, 4)
        self._vtable_size = int(_U16.unpack_from(source.data, self._vtable)[0])
        self._size = int(_U16.unpack_from(source.data, self._vtable + 2)[0])
        source.check(self._vtable, max(self._vtable_size, 4))
        source.check(position, self._size)

    @classmethod
    def root(cls, source: Source) -> Table:
        """The file's first table.

        Args:
            source: the file.

        Returns:
            The root table.
        """
        return cls(source, source.u32(0))

    def _field(self, slot: int, size: int) -> int:
        """Position of a field of `size` bytes, 0 when absent.

        Raises:
            Malformed: the field is outside its table.
        """
        if slot + 2 > self._vtable_size:
            return 0
        offset = int(_U16.unpack_from(self._source.data, self._vtable + slot)[0])
        if offset == 0:
            return 0
        if offset + size > self._size:
            raise Malformed(f"a field lies outside its table at byte {self.position}")
        return self.position + offset

    def number(self, slot: int, kind: str, default: int = 0) -> int:
        """An integer field.

        Args:
            slot: offset of the field in the vtable.
            kind: a struct letter (b B h i I q Q).
            default: the schema's value for an absent field.

        Returns:
            The number.
        """
        layout = struct.Struct("<" + kind)
        at = self._field(slot, layout.size)
        return int(layout.unpack_from(self._source.data, at)[0]) if at else default

    def flag(self, slot: int) -> bool:
        """A boolean field, false when absent.

        Args:
            slot: offset of the field in the vtable.

        Returns:
            Its value.
        """
        return self.number(slot, "B") != 0

    def has(self, slot: int) -> bool:
        """Whether an offset field is present.

        Args:
            slot: offset of the field in the vtable.

        Returns:
            False: the writer left it out.
        """
        return self._field(slot, 4) != 0

    def table(self, slot: int) -> Table | None:
        """The table that an offset field refers to.

        Args:
            slot: offset of the field in the vtable.

        Returns:
            None: the field is absent.
        """
        at = self._field(slot, 4)
        return Table(self._source, at + self._source.u32(at)) if at else None

    def span(self, slot: int, width: int) -> tuple[int, int] | None:
        """Position and size of a vector, checked but not charged to the budget.

        Args:
            slot: offset of the field in the vtable.
            width: bytes of an element.

        Returns:
            Position of the first element, and their number; None: the field is absent.
        """
        at = self._field(slot, 4)
        if not at:
            return None
        start = at + self._source.u32(at)
        count = self._source.u32(start)
        self._source.check(start + 4, count * width)
        return start + 4, count

    def numbers(self, slot: int, dtype: str) -> list[Any]:
        """A vector of numbers.

        Args:
            slot: offset of the field in the vtable.
            dtype: numpy's name of the element type.

        Returns:
            Python numbers; empty if the field is absent.
        """
        layout = np.dtype(dtype).newbyteorder("<")
        span = self.span(slot, layout.itemsize)
        if span is None:
            return []
        start, count = span
        self._source.charge(count * layout.itemsize)
        values: list[Any] = np.frombuffer(self._source.data, dtype=layout, count=count, offset=start).tolist()
        return values

    def text(self, slot: int) -> str:
        """A string field.

        Args:
            slot: offset of the field in the vtable.

        Returns:
            Empty if the field is absent; bytes that are not UTF-8 become replacement characters.
        """
        span = self.span(slot, 1)
        if span is None:
            return ""
        start, count = span
        self._source.charge(count)
        return self._source.data[start : start + count].decode("utf-8", errors="replace")

    def tables(self, slot: int) -> Iterator[Table]:
        """A vector of tables.

        Args:
            slot: offset of the field in the vtable.

        Yields:
            Each table; none if the field is absent.
        """
        start, count = self.span(slot, 4) or (0, 0)
        for at in range(start, start + 4 * count, 4):
            yield Table(self._source, at + self._source.u32(at))
