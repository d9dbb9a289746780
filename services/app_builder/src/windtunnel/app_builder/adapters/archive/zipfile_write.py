"""Writes zip files whose stored entries are aligned, the same bytes for the same input.

Entries of another zip are copied without being recompressed. Padding is done as apksigner does it: in an extra field of
the local header with id 0xD935 that holds the alignment and zeros.
"""

from __future__ import annotations

import os
import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO, Final

from windtunnel.app_builder.adapters.archive.zipfile_read import FLAG_DESCRIPTOR, FLAG_UTF8, STORED, Entry
from windtunnel.app_builder.domain.file_digests import blocks
from windtunnel.errors import InvalidInput

_EOCD = struct.Struct("<4s4H2IH")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_ALIGNMENT_ID = 0xD935
_LIMIT = 0xFFFFFFFF
_MAX_ENTRIES = 0xFFFF
# 1 January 1980, midnight: the first moment that a zip can state.
_DATE, _TIME = 0x0021, 0
_VERSION = 20
# The system whose permissions an entry carries.
UNIX: Final = 3


@dataclass(frozen=True, slots=True)
class _Written:
    entry: Entry
    offset: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the parts of a finished zip lie: the directory begins after the entries, the end record after it."""

    directory: int
    end: int


class ZipWriter:
    """Writes entries one after another into an empty, seekable file.

    Args:
        file: empty, open for reading and writing.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._written: list[_Written] = []

    def copy(self, source: BinaryIO, entry: Entry, alignment: int) -> None:
        """Copies an entry's compressed bytes as they are; a data descriptor becomes a plain header.

        Args:
            source: the other zip.
            entry: of it.
            alignment: of the data, in bytes.

        Raises:
            InvalidInput: the entry is damaged.
        """
        offset = self._file.tell()
        plain = replace(entry, flags=entry.flags & ~FLAG_DESCRIPTOR)
        self._file.write(_local(plain, offset, alignment))
        source.seek(entry.data_offset)
        left = entry.compressed
        for block in blocks(source, entry.compressed):
            self._file.write(block)
            left -= len(block)
        if left:
            raise InvalidInput(
                f"entry {entry.text!r} of the base app is cut off", hint="the file changed while it was read"
            )
        self._finish(plain, offset)

    def store(self, name: str | bytes, data: Iterator[bytes], alignment: int, mode: int = 0o644) -> None:
        """Stores data uncompressed, under a fixed time.

        Args:
            name: of the entry; bytes: as another zip has it.
            data: blocks.
            alignment: of the data, in bytes.
            mode: permissions of the file.
        """
        encoded = name.encode() if isinstance(name, str) else name
        flags = 0 if encoded.isascii() else FLAG_UTF8
        offset = self._file.tell()
        external = (stat.S_IFREG | mode) << 16
        blank = Entry(
            encoded, UNIX << 8 | _VERSION, _VERSION, flags, STORED, _TIME, _DATE, 0, 0, 0, 0, external, b"", b"", 0
        )
        self._file.write(_local(blank, offset, alignment))
        crc, size = 0, 0
        for block in data:
            self._file.write(block)
            crc = zlib.crc32(block, crc)
            size += len(block)
            self._check_size(offset + size)
        entry = replace(blank, crc32=crc, compressed=size, size=size)
        # Sizes are known only now; the header keeps its length.
        self._file.seek(offset)
        self._file.write(_local(entry, offset, alignment))
        self._file.seek(0, os.SEEK_END)
        self._finish(entry, offset)

    def close(self) -> Layout:
        """Writes the directory; the file stays open."""
        directory = self._file.tell()
        for written in self._written:
            self._file.write(_central(written))
        end = self._file.tell()
        self._check_size(end)
        self._file.write(end_record(len(self._written), end - directory, directory))
        self._file.flush()
        return Layout(directory, end)

    def _finish(self, entry: Entry, offset: int) -> None:
        self._check_size(self._file.tell())
        self._written.append(_Written(entry, offset))
        if len(self._written) >= _MAX_ENTRIES:
            raise InvalidInput("the package has more than 65534 entries", hint="use a smaller base app")

    @staticmethod
    def _check_size(size: int) -> None:
        if size >= _LIMIT:
            raise InvalidInput(
                "the package would exceed 4 GiB, the most that an app may have", hint="use a smaller model"
            )


def end_record(entries: int, size: int, directory: int) -> bytes:
    """The end of central directory record of a zip without comment.

    Args:
        entries: how many.
        size: of the directory, in bytes.
        directory: its position.

    Returns:
        The bytes.
    """
    return _EOCD.pack(b"PK\x05\x06", 0, 0, entries, entries, size, directory, 0)


def _local(entry: Entry, offset: int, alignment: int) -> bytes:
    extra = _padding(offset + _LOCAL.size + len(entry.name), alignment) if entry.method == STORED else b""
    header = _LOCAL.pack(
        b"PK\x03\x04", entry.needs, entry.flags, entry.method, entry.time, entry.date, entry.crc32, entry.compressed,
        entry.size, len(entry.name), len(extra),
    )  # fmt: skip
    return header + entry.name + extra


def _padding(position: int, alignment: int) -> bytes:
    """The extra field that moves data from `position` to a multiple of `alignment`; empty if it is one already."""
    if position % alignment == 0:
        return b""
    zeros = -(position + 6) % alignment
    return struct.pack("<HHH", _ALIGNMENT_ID, 2 + zeros, alignment) + bytes(zeros)


def _central(written: _Written) -> bytes:
    entry = written.entry
    header = _CENTRAL.pack(
        b"PK\x01\x02", entry.made_by, entry.needs, entry.flags, entry.method, entry.time, entry.date, entry.crc32,
        entry.compressed, entry.size, len(entry.name), len(entry.extra), len(entry.comment), 0, entry.internal,
        entry.external, written.offset,
    )  # fmt: skip
    return header + entry.name + entry.extra + entry.comment
