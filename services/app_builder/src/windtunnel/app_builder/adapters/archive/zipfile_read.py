"""Reads the directory of a zip file and refuses what an installer may read differently than we do.

The standard library's reader gives no access to compressed bytes and tolerates much: overlapping entries, junk between
them, two entries of one name. Format: PKWARE APPNOTE 6.3.10.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO, Final, NoReturn

from windtunnel.app_builder.domain.file_digests import BLOCK, blocks
from windtunnel.errors import InvalidInput

_EOCD = struct.Struct("<4s4H2IH")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_MAX_COMMENT = 0xFFFF
_MAX_DIRECTORY = 64 << 20

STORED, DEFLATED = 0, 8
FLAG_ENCRYPTED, FLAG_DESCRIPTOR, FLAG_STRONG, FLAG_MASKED, FLAG_UTF8 = 1, 1 << 3, 1 << 6, 1 << 13, 1 << 11
# Deflate cannot do better than 1032 to 1 (zlib's documentation); a little more for its headers.
_MAX_RATIO, _RATIO_SLACK = 1032, 1 << 12
# What all entries together may claim: more than any app has, and what is harmless whatever the ratio is.
_MAX_TOTAL: Final = 4 << 30
_MAX_TOTAL_RATIO, _HARMLESS_TOTAL = 100, 256 << 20
_DRIVE = re.compile(rb"[A-Za-z]:")
_CONTROL = re.compile(rb"[\0-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as the central directory has it, and the position of its compressed bytes in the file."""

    name: bytes
    made_by: int
    needs: int
    flags: int
    method: int
    time: int
    date: int
    crc32: int
    compressed: int
    size: int
    internal: int
    external: int
    extra: bytes
    comment: bytes
    data_offset: int

    @property
    def text(self) -> str:
        """The name for comparison and messages."""
        return self.name.decode("utf-8", errors="replace")


def read_directory(file: BinaryIO, label: str) -> list[Entry]:
    """The entries of a zip file in the order of their data.

    Data descriptors are handled (sizes are those of the central directory).

    Args:
        file: open for reading, at any position.
        label: names the file in messages.

    Returns:
        In the order of their data.

    Raises:
        InvalidInput: it is not a zip file, is cut or damaged, uses ZIP64, encryption or an unknown method, or has names
            or sizes that no app has.
    """
    return _Reader(file, label).entries()


def contents(file: BinaryIO, entry: Entry, label: str) -> Iterator[bytes]:
    """The bytes of an entry, uncompressed and checked. No more is inflated than the directory states.

    Args:
        file: open for reading.
        entry: of it.
        label: names the file in messages.

    Yields:
        Pieces of at most 1 MiB.

    Raises:
        InvalidInput: the data are not what the directory states; the pieces before must not be used.
    """
    crc = size = 0
    for piece in _pieces(file, entry, label):
        size += len(piece)
        if size > entry.size:
            break
        crc = zlib.crc32(piece, crc)
        yield piece
    if (size, crc) != (entry.size, entry.crc32):
        raise _damaged(entry, label)


def _pieces(file: BinaryIO, entry: Entry, label: str) -> Iterator[bytes]:
    file.seek(entry.data_offset)
    if entry.method == STORED:
        yield from blocks(file, entry.compressed)
        return
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for block in blocks(file, entry.compressed):
            while block:
                yield inflater.decompress(block, BLOCK)
                block = inflater.unconsumed_tail
        yield inflater.flush()
    except zlib.error as error:
        raise _damaged(entry, label) from error
    if not inflater.eof or inflater.unused_data:
        raise _damaged(entry, label)


def read_entry(file: BinaryIO, entry: Entry, label: str, limit: int) -> bytes:
    """The bytes of an entry that fits into memory.

    Args:
        file: open for reading.
        entry: of it.
        label: names the file in messages.
        limit: the most bytes that it may have.

    Returns:
        The bytes, uncompressed and checked.

    Raises:
        InvalidInput: it is larger, or damaged.
    """
    if entry.size > limit:
        raise InvalidInput(
            f"base app {label}: entry {entry.text!r} has {entry.size} bytes, at most {limit} are read",
            hint="give the benchmark app as it was built",
        )
    return b"".join(contents(file, entry, label))


def _damaged(entry: Entry, label: str) -> InvalidInput:
    return InvalidInput(
        f"base app {label}: the data of entry {entry.text!r} are damaged", hint="give the benchmark app as it was built"
    )


class _Reader:
    def __init__(self, file: BinaryIO, label: str) -> None:
        self._file = file
        self._label = label
        self._size = file.seek(0, os.SEEK_END)

    def _refuse(self, why: str, hint: str = "give the benchmark app as it was built") -> NoReturn:
        raise InvalidInput(f"base app {self._label}: {why}", hint=hint)

    def entries(self) -> list[Entry]:
        count, start, size = self._end_record()
        if size > _MAX_DIRECTORY:
            self._refuse(f"its directory of {size} bytes is absurdly large")
        directory = self._read_at(start, size, "its directory")
        entries = self._central(directory, count)
        self._check_names(entries)
        total = sum(entry.size for entry, _ in entries)
        if total > _MAX_TOTAL or total > max(_HARMLESS_TOTAL, _MAX_TOTAL_RATIO * self._size):
            self._refuse(f"its {self._size} bytes claim to hold {total}: absurd sizes, as of a zip bomb")
        located = sorted((self._locate(entry, offset, start) for entry, offset in entries), key=lambda e: e.data_offset)
        self._check_overlaps(located)
        return located

    def _read_at(self, offset: int, size: int, what: str) -> bytes:
        self._file.seek(offset)
        data = self._file.read(size)
        if len(data) != size:
            self._refuse(f"{what} is cut off")
        return data

    def _end_record(self) -> tuple[int, int, int]:
        """Number of entries, offset and size of the central directory."""
        if self._size == 0:
            self._refuse("the file is empty")
        length = min(self._size, _EOCD.size + _MAX_COMMENT)
        tail = self._read_at(self._size - length, length, "its end")
        position = tail.rfind(b"PK\x05\x06")
        while position >= 0 and not self._ends_here(tail, position):
            position = tail.rfind(b"PK\x05\x06", 0, position)
        if position < 0:
            self._refuse("not a zip file, or cut off: it has no end record")
        _, disk, first_disk, here, count, size, start, _ = _EOCD.unpack_from(tail, position)
        end = self._size - length + position
        locator = tail[position - 20 : position - 16] if position >= 20 else b""
        if locator == b"PK\x06\x07" or 0xFFFF in (count, here) or 0xFFFFFFFF in (size, start):
            self._refuse("it uses ZIP64, which phones do not install")
        if disk or first_disk or here != count:
            self._refuse("it is one part of a split archive")
        if start + size != end:
            self._refuse("its directory is not where its end record says: bytes are missing or added")
        return count, start, size

    @staticmethod
    def _ends_here(tail: bytes, position: int) -> bool:
        if len(tail) - position < _EOCD.size:
            return False
        comment = int.from_bytes(tail[position + 20 : position + 22], "little")
        return position + _EOCD.size + comment == len(tail)

    def _central(self, directory: bytes, count: int) -> list[tuple[Entry, int]]:
        """Entries without their data offsets, each with the offset of its local header."""
        found: list[tuple[Entry, int]] = []
        position = 0
        for index in range(count):
            if len(directory) - position < _CENTRAL.size or directory[position : position + 4] != b"PK\x01\x02":
                self._refuse(f"its directory is damaged at entry {index}")
            fields = _CENTRAL.unpack_from(directory, position)
            (_, made_by, needs, flags, method, time, date, crc, compressed, size, n, m, k, disk, internal, external,
             offset) = fields  # fmt: skip
            position += _CENTRAL.size
            if len(directory) - position < n + m + k:
                self._refuse(f"its directory is damaged at entry {index}")
            name = directory[position : position + n]
            extra = directory[position + n : position + n + m]
            comment = directory[position + n + m : position + n + m + k]
            position += n + m + k
            entry = Entry(name, made_by, needs, flags, method, time, date, crc, compressed, size, internal, external,
                          extra, comment, 0)  # fmt: skip
            self._check_entry(entry, disk, offset)
            found.append((entry, offset))
        if position != len(directory):
            self._refuse(f"its directory has {len(directory) - position} bytes after its last entry")
        return found

    def _check_entry(self, entry: Entry, disk: int, offset: int) -> None:
        name = entry.text
        if entry.flags & (FLAG_ENCRYPTED | FLAG_STRONG | FLAG_MASKED):
            self._refuse(f"entry {name!r} is encrypted")
        if 0xFFFFFFFF in (entry.compressed, entry.size, offset) or disk == 0xFFFF:
            self._refuse(f"entry {name!r} uses ZIP64, which phones do not install")
        if entry.method not in (STORED, DEFLATED):
            self._refuse(f"entry {name!r} is compressed by method {entry.method}; phones know 0 and 8")
        absurd = entry.size > entry.compressed * _MAX_RATIO + _RATIO_SLACK or entry.compressed > self._size
        if absurd or (entry.method == STORED and entry.compressed != entry.size):
            self._refuse(f"entry {name!r} claims {entry.size} bytes from {entry.compressed}: absurd sizes")

    def _check_names(self, entries: list[tuple[Entry, int]]) -> None:
        seen: set[bytes] = set()
        for entry, _ in entries:
            name = entry.name
            parts = name.removesuffix(b"/").split(b"/")
            if b"\\" in name or _CONTROL.search(name) or _DRIVE.match(name) or {b"", b".", b".."} & set(parts):
                self._refuse(f"entry {entry.text!r} has an unsafe name")
            if name in seen:
                self._refuse(f"entry {entry.text!r} is there twice")
            seen.add(name)

    def _locate(self, entry: Entry, offset: int, limit: int) -> Entry:
        """Fills in where the entry's data begins, from its local header."""
        if offset + _LOCAL.size > limit:
            self._refuse(f"entry {entry.text!r} is outside the file")
        header = self._read_at(offset, _LOCAL.size, f"entry {entry.text!r}")
        signature, _, flags, method, _, _, crc, compressed, size, n, m = _LOCAL.unpack(header)
        name = self._read_at(offset + _LOCAL.size, n, f"entry {entry.text!r}")
        if signature != b"PK\x03\x04" or name != entry.name or method != entry.method:
            self._refuse(f"entry {entry.text!r} is not where the directory says")
        if flags & FLAG_ENCRYPTED:
            self._refuse(f"entry {entry.text!r} is encrypted")
        stated = (crc, compressed, size)
        if not flags & FLAG_DESCRIPTOR and stated != (entry.crc32, entry.compressed, entry.size):
            self._refuse(f"entry {entry.text!r} and the directory differ on its size or checksum")
        data = offset + _LOCAL.size + n + m
        if data + entry.compressed > limit:
            self._refuse(f"the data of entry {entry.text!r} is cut off")
        return replace(entry, data_offset=data)

    def _check_overlaps(self, entries: list[Entry]) -> None:
        end, before = 0, ""
        for entry in entries:
            begins = entry.data_offset - _LOCAL.size - len(entry.name)
            if begins < end:
                self._refuse(f"entries {before!r} and {entry.text!r} overlap")
            end, before = entry.data_offset + entry.compressed, entry.text
