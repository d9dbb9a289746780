"""Writes an edge log's file: a chunk per flush, which a killed app leaves readable; the summary on close."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from windtunnel.monitor.mcap.records import (
    CHUNK,
    MAGIC,
    MESSAGE,
    MESSAGE_INDEX,
    Channel,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    Metadata,
    MetadataIndex,
    Record,
    Schema,
    Statistics,
    framed,
    written,
)

_MESSAGE_HEAD = struct.Struct("<BQHIQQ")
_CHUNK_HEAD = struct.Struct("<BQQQQIIQ")

Buffer = bytes | memoryview
Pieces = Sequence[Buffer]


class Outgoing(NamedTuple):
    """A message to write: its data in pieces, so that large arrays are not copied again."""

    channel_id: int
    sequence: int
    time_ns: int
    pieces: Pieces
    size: int


@dataclass(slots=True)
class _Written:
    """What a file holds, for its summary."""

    size: int = 0
    once: list[Schema | Channel] = field(default_factory=list)
    chunks: list[ChunkIndex] = field(default_factory=list)
    metadata: list[MetadataIndex] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)


class McapWriter:
    """One file. Each call hands whole records to `put`; if that fails, nothing is remembered of them."""

    def __init__(self, put: Callable[[Pieces], None]) -> None:
        """Write nothing yet.

        Args:
            put: Writes bytes to the file, all or an OSError.
        """
        self._put = put
        self._has = _Written()

    @property
    def size(self) -> int:
        """Bytes that were written."""
        return self._has.size

    @property
    def messages(self) -> int:
        """Messages that were written."""
        return sum(self._has.counts.values())

    def begin(self, header: Header, metadata: Sequence[Metadata]) -> None:
        """Write what precedes the chunks.

        Args:
            header: The first record.
            metadata: Metadata records, outside chunks.
        """
        pieces: list[Buffer] = [MAGIC, written(header)]
        places = []
        for record in metadata:
            data = written(record)
            places.append(MetadataIndex(sum(map(len, pieces)), len(data), record.name))
            pieces.append(data)
        self._out(pieces)
        self._has.metadata += places

    def metadata(self, record: Metadata) -> None:
        """Write a metadata record.

        Args:
            record: The record.
        """
        data, start = written(record), self.size
        self._out([data])
        self._has.metadata.append(MetadataIndex(start, len(data), record.name))

    def once(self, *records: Schema | Channel) -> None:
        """Write a schema with its channel, if the file does not have them.

        Args:
            *records: The records.
        """
        if records[0] not in self._has.once:
            self._out([written(record) for record in records])
            self._has.once += records

    def chunk(self, messages: Sequence[Outgoing]) -> None:
        """Write messages as a chunk with its indexes.

        Args:
            messages: The messages, at least one.
        """
        pieces, indexes, crc, size = _chunk_records(messages)
        start = min(message.time_ns for message in messages)
        end = max(message.time_ns for message in messages)
        head = _CHUNK_HEAD.pack(CHUNK, 40 + size, start, end, size, crc, 0, size)
        offset, length = self.size, len(head) + size
        places, tail = {}, b""
        for channel, entries in indexes.items():
            places[channel] = offset + length + len(tail)
            content = struct.pack("<HI", channel, 16 * len(entries)) + b"".join(entries)
            tail += framed(MESSAGE_INDEX, content)
        self._out([head, *pieces, tail])
        self._has.chunks.append(ChunkIndex(start, end, offset, length, places, len(tail), "", size, size))
        for message in messages:
            self._has.counts[message.channel_id] = self._has.counts.get(message.channel_id, 0) + 1

    def close(self) -> None:
        """Write the end of the data, the summary and the footer."""
        has = self._has
        end = written(DataEnd(0))
        start = self.size + len(end)
        kinds = [type(record) for record in has.once]
        statistics = Statistics(
            self.messages,
            kinds.count(Schema),
            kinds.count(Channel),
            0,
            len(has.metadata),
            len(has.chunks),
            min((chunk.message_start_time for chunk in has.chunks), default=0),
            max((chunk.message_end_time for chunk in has.chunks), default=0),
            has.counts,
        )
        records: list[Record] = [*has.once, statistics, *has.chunks, *has.metadata]
        summary = b"".join(map(written, records))
        footer = written(Footer(start, 0, 0))[:-4]
        footer += struct.pack("<I", zlib.crc32(summary + footer))
        self._out([end, summary, footer, MAGIC])

    def _out(self, pieces: Pieces) -> None:
        self._put(pieces)
        self._has.size += sum(map(len, pieces))


def _chunk_records(messages: Sequence[Outgoing]) -> tuple[list[Buffer], dict[int, list[bytes]], int, int]:
    """The records of a chunk in pieces, its index entries by channel, its CRC, its size."""
    pieces: list[Buffer] = []
    indexes: dict[int, list[bytes]] = {}
    size = 0
    for m in messages:
        indexes.setdefault(m.channel_id, []).append(struct.pack("<QQ", m.time_ns, size))
        length = 22 + m.size
        sequence = m.sequence & 0xFFFFFFFF
        pieces.append(_MESSAGE_HEAD.pack(MESSAGE, length, m.channel_id, sequence, m.time_ns, m.time_ns))
        pieces.extend(m.pieces)
        size += 9 + length
    crc = 0
    for piece in pieces:
        crc = zlib.crc32(piece, crc)
    return pieces, indexes, crc, size
