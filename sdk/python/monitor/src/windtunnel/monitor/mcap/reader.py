"""Reads an MCAP file in order, whatever happened to it: cut at any byte, damaged anywhere, never closed.

for item in read("20261130T153000-812-9f3c-000001.mcap"):
    match item:
        case Message(): ...
        case Skipped(): ...   # what could not be read, and why
"""

from __future__ import annotations

import mmap
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from windtunnel.monitor.mcap.records import CHUNK, HEADER_SIZE, MAGIC, MESSAGE_INDEX, Fields, Footer, Record, parse

_CHUNK_FIELDS = 40  # bytes of a chunk's fields before its records, without the name of the compression


class Damage(Enum):
    """Why bytes were skipped."""

    CUT = "the file ends within a record"
    CRC = "the CRC of a chunk is wrong"
    LENGTH = "a record or its length is damaged"
    MAGIC = "the file does not begin with the magic of MCAP"
    COMPRESSION = "chunks with this compression cannot be read; write them without"


@dataclass(frozen=True, slots=True)
class Skipped:
    """Bytes of a file that could not be read."""

    offset: int
    length: int
    damage: Damage


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A chunk's records, and its fields about them."""

    records: memoryview
    crc: int
    compression: str
    consistent: bool

    def intact(self) -> bool:
        """The lengths fit and the CRC is right; a CRC of 0 says nothing."""
        return self.consistent and self.crc in (0, zlib.crc32(self.records))


def read(source: str | os.PathLike[str] | bytes) -> Iterator[Record | Skipped]:
    """Read the records of a file in order; those of its chunks in the place of the chunks.

    Args:
        source: The path of a file, or its bytes.

    Yields:
        A record (never a MessageIndex), or what was skipped.

    Raises:
        OSError: The file cannot be opened.
    """
    if isinstance(source, bytes):
        yield from _Reader(memoryview(source)).items()
        return
    with Path(source).open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            yield Skipped(0, 0, Damage.CUT)
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            view = memoryview(data)
            try:
                yield from _Reader(view).items()
            finally:
                view.release()


class _Reader:
    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._position = 0

    def items(self) -> Iterator[Record | Skipped]:
        data = self._data
        if bytes(data[: len(MAGIC)]) == MAGIC:
            self._position = len(MAGIC)
        elif MAGIC.startswith(bytes(data[: len(MAGIC)])):
            yield Skipped(0, len(data), Damage.CUT)
            return
        else:
            yield self._resume(0, len(MAGIC) if self._looks_like_a_record(len(MAGIC)) else None, Damage.MAGIC)
        while self._position < len(data):
            for item in self._next():
                if isinstance(item, Footer) and not self._at_end():
                    yield self._resume(self._position - HEADER_SIZE, None, Damage.CUT)
                    break
                yield item
                if isinstance(item, Footer):
                    return

    def _at_end(self) -> bool:
        """Whether only the magic follows; if not, the file is cut, or what looked like a footer was none."""
        return bytes(self._data[self._position : self._position + len(MAGIC) + 1]) == MAGIC

    def _next(self) -> Iterator[Record | Skipped]:
        """The record at the position, or those of the chunk there, or what is skipped instead."""
        start, left = self._position, len(self._data) - self._position
        length = int.from_bytes(self._data[start + 1 : start + HEADER_SIZE], "little")
        if left < HEADER_SIZE or length > left - HEADER_SIZE:
            yield self._resume(start, None, Damage.CUT)
            return
        opcode, end = self._data[start], start + HEADER_SIZE + length
        content = self._data[start + HEADER_SIZE : end]
        if opcode == CHUNK:
            yield from self._chunk(start, end, content)
            return
        try:
            record, extra = parse(opcode, content)
        except (ValueError, KeyError) as error:
            yield from self._unreadable(start, end, content, unknown=isinstance(error, KeyError) and opcode != 0)
            return
        if extra and (self._intact(content) or self._found(start, end) is not None):
            yield from self._unreadable(start, end, content, unknown=False)
            return
        self._position = end
        if opcode != MESSAGE_INDEX:
            yield record

    def _unreadable(self, start: int, end: int, content: memoryview, unknown: bool) -> Iterator[Record | Skipped]:
        """A damaged record, or one of an unknown kind: not damage, if another record follows."""
        if self._intact(content):  # only the kind of a chunk was damaged
            self._position = end
            yield from self._inner(start, end, _parsed_chunk(content))
        elif unknown and self._looks_like_a_record(end) and self._found(start, end) is None:
            self._position = end
        else:
            yield self._resume(start, end if self._looks_like_a_record(end) else None, Damage.LENGTH)

    def _chunk(self, start: int, end: int, content: memoryview) -> Iterator[Record | Skipped]:
        try:
            chunk = _parsed_chunk(content)
        except ValueError:
            yield self._resume(start, None, Damage.LENGTH)
            return
        if not chunk.consistent:
            yield self._resume(start, end if self._looks_like_a_record(end) else None, Damage.LENGTH)
        elif chunk.compression:
            self._position = end
            yield Skipped(start, end - start, Damage.COMPRESSION)
        elif not chunk.intact():
            yield self._resume(start, end, Damage.CRC)
        else:
            self._position = end
            yield from self._inner(start, end, chunk)

    def _inner(self, start: int, end: int, chunk: _Chunk) -> Iterator[Record | Skipped]:
        position, records = 0, chunk.records
        while position < len(records):
            length = int.from_bytes(records[position + 1 : position + HEADER_SIZE], "little")
            content = records[position + HEADER_SIZE : position + HEADER_SIZE + length]
            try:
                if len(content) < length or len(records) < position + HEADER_SIZE:
                    raise ValueError("a record goes beyond its chunk")
                yield parse(records[position], content)[0]
            except ValueError:
                yield Skipped(start, end - start, Damage.LENGTH)
                return
            except KeyError:
                pass
            position += HEADER_SIZE + length

    def _looks_like_a_record(self, position: int) -> bool:
        """Whether a record of a known kind, or the end of the file, is there."""
        if position == len(self._data):
            return True
        length = int.from_bytes(self._data[position + 1 : position + HEADER_SIZE], "little")
        return 1 <= self._data[position] <= 15 and length <= len(self._data) - position - HEADER_SIZE

    def _resume(self, start: int, end: int | None, damage: Damage) -> Skipped:
        """Continue at the next intact chunk, or where the damaged record ends by its length, whatever comes first."""
        found = self._found(start, len(self._data) if end is None else end)
        if found is None:
            found = len(self._data) if end is None else end
        elif damage is Damage.CUT:
            damage = Damage.LENGTH
        self._position = found
        return Skipped(start, found - start, damage)

    def _found(self, start: int, end: int) -> int | None:
        """Where the next chunk with a right CRC begins, before `end`."""
        base, step = start + 1, 1 << 20
        while base < end:
            # Pieces overlap by nothing: only the first byte of a chunk is searched in them.
            piece = bytes(self._data[base : min(base + step, end)])
            at = piece.find(CHUNK)
            while at >= 0:
                if self._intact_chunk_at(base + at):
                    return base + at
                at = piece.find(CHUNK, at + 1)
            base += step
        return None

    def _intact_chunk_at(self, start: int) -> bool:
        length = int.from_bytes(self._data[start + 1 : start + HEADER_SIZE], "little")
        if not _CHUNK_FIELDS <= length <= len(self._data) - start - HEADER_SIZE:
            return False
        return self._intact(self._data[start + HEADER_SIZE : start + HEADER_SIZE + length])

    @staticmethod
    def _intact(content: memoryview) -> bool:
        """Whether it is beyond doubt the content of a chunk, undamaged and without compression."""
        try:
            chunk = _parsed_chunk(content)
        except ValueError:
            return False
        return not chunk.compression and chunk.crc != 0 and len(chunk.records) > 0 and chunk.intact()


def _parsed_chunk(content: memoryview) -> _Chunk:
    fields = Fields(content)
    fields.part(16)  # times
    size, crc, compression, stored = fields.number(8), fields.number(4), fields.text(), fields.number(8)
    records = fields.part(stored)
    return _Chunk(records, crc, compression, not fields.left and (bool(compression) or stored == size))
