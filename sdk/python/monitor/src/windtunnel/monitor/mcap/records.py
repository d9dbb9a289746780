"""The records of an MCAP file (https://mcap.dev/spec) as values, and their bytes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

MAGIC = b"\x89MCAP0\r\n"
HEADER_SIZE = 9  # of a record: opcode and length

HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, MESSAGE_INDEX, CHUNK_INDEX = range(1, 9)
ATTACHMENT, ATTACHMENT_INDEX, STATISTICS, METADATA, METADATA_INDEX, SUMMARY_OFFSET, DATA_END = range(9, 16)


@dataclass(frozen=True, slots=True)
class Header:
    """The first record."""

    profile: str
    library: str


@dataclass(frozen=True, slots=True)
class Footer:
    """The last record; 0: there is no such section, or no CRC."""

    summary_start: int
    summary_offset_start: int
    summary_crc: int


@dataclass(frozen=True, slots=True)
class Schema:
    """Of what form messages are."""

    id: int
    name: str
    encoding: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Channel:
    """A topic with its schema; schema 0: none."""

    id: int
    schema_id: int
    topic: str
    message_encoding: str
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a channel; times in nanoseconds since 1970."""

    channel_id: int
    sequence: int
    log_time: int
    publish_time: int
    data: bytes


@dataclass(frozen=True, slots=True)
class MessageIndex:
    """Where in a chunk the messages of a channel are: (log time, offset in the chunk's records)."""

    channel_id: int
    records: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class ChunkIndex:
    """Where a chunk lies."""

    message_start_time: int
    message_end_time: int
    chunk_start_offset: int
    chunk_length: int
    message_index_offsets: dict[int, int]
    message_index_length: int
    compression: str
    compressed_size: int
    uncompressed_size: int


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file within the file."""

    log_time: int
    create_time: int
    name: str
    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class AttachmentIndex:
    """Where an attachment lies."""

    offset: int
    length: int
    log_time: int
    create_time: int
    data_size: int
    name: str
    media_type: str


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the file holds."""

    message_count: int
    schema_count: int
    channel_count: int
    attachment_count: int
    metadata_count: int
    chunk_count: int
    message_start_time: int
    message_end_time: int
    channel_message_counts: dict[int, int]


@dataclass(frozen=True, slots=True)
class Metadata:
    """Words by name."""

    name: str
    metadata: dict[str, str]


@dataclass(frozen=True, slots=True)
class MetadataIndex:
    """Where a metadata record lies."""

    offset: int
    length: int
    name: str


@dataclass(frozen=True, slots=True)
class SummaryOffset:
    """Where the records of one kind are in the summary."""

    group_opcode: int
    group_start: int
    group_length: int


@dataclass(frozen=True, slots=True)
class DataEnd:
    """The end of the data; CRC 0: none."""

    data_section_crc: int


Record = (
    Header
    | Footer
    | Schema
    | Channel
    | Message
    | MessageIndex
    | ChunkIndex
    | Attachment
    | AttachmentIndex
    | Statistics
    | Metadata
    | MetadataIndex
    | SummaryOffset
    | DataEnd
)


class Fields:
    """Reads the fields of a record one after another."""

    def __init__(self, data: memoryview) -> None:
        """Begin at the first field.

        Args:
            data: The content of the record.
        """
        self._data = data
        self.position = 0

    @property
    def left(self) -> int:
        """Bytes that were not read."""
        return len(self._data) - self.position

    def number(self, size: int) -> int:
        """Read an unsigned number.

        Args:
            size: Its size in bytes.

        Returns:
            The number.
        """
        return int.from_bytes(self.part(size), "little")

    def part(self, size: int) -> memoryview:
        """Take bytes.

        Args:
            size: How many.

        Returns:
            A view of them.

        Raises:
            ValueError: There are fewer.
        """
        if size > self.left:
            raise ValueError(f"a field of {size} bytes goes beyond its record, of which {self.left} bytes are left")
        self.position += size
        return self._data[self.position - size : self.position]

    def rest(self) -> memoryview:
        """Take what is left.

        Returns:
            A view of it.
        """
        return self.part(self.left)

    def text(self) -> str:
        """Read a text with its length.

        Returns:
            The text.
        """
        return bytes(self.part(self.number(4))).decode()

    def array(self) -> Fields:
        """Read an array or a map with its length.

        Returns:
            The fields within.
        """
        return Fields(self.part(self.number(4)))

    def texts(self) -> dict[str, str]:
        """Read a map of texts.

        Returns:
            The map.
        """
        array, words = self.array(), {}
        while array.left:
            key = array.text()
            words[key] = array.text()
        return words

    def numbers(self, key_size: int, value_size: int) -> tuple[tuple[int, int], ...]:
        """Read an array of pairs, or a map, of numbers.

        Args:
            key_size: Size of the first numbers, in bytes.
            value_size: Size of the second.

        Returns:
            The pairs.
        """
        array, pairs = self.array(), []
        while array.left:
            key = array.number(key_size)
            pairs.append((key, array.number(value_size)))
        return tuple(pairs)


def parse(opcode: int, content: memoryview) -> tuple[Record, int]:
    """Read a record, but a chunk.

    Args:
        opcode: Its kind.
        content: Its content.

    Returns:
        The record, and how many bytes lie after its last field.

    Raises:
        ValueError: Its fields go beyond it, or a text is not UTF-8, or a CRC is wrong.
        KeyError: Its kind is not known.
    """
    fields = Fields(content)
    record = _PARSERS[opcode](fields, content)
    return record, fields.left


def _attachment(f: Fields, content: memoryview) -> Attachment:
    log_time, create_time, name, media_type = f.number(8), f.number(8), f.text(), f.text()
    data = bytes(f.part(f.number(8)))
    end = f.position
    crc = f.number(4)
    if crc and crc != zlib.crc32(content[:end]):
        raise ValueError("the CRC of an attachment is wrong")
    return Attachment(log_time, create_time, name, media_type, data)


_PARSERS: dict[int, Callable[[Fields, memoryview], Record]] = {
    HEADER: lambda f, _: Header(f.text(), f.text()),
    FOOTER: lambda f, _: Footer(f.number(8), f.number(8), f.number(4)),
    SCHEMA: lambda f, _: Schema(f.number(2), f.text(), f.text(), bytes(f.part(f.number(4)))),
    CHANNEL: lambda f, _: Channel(f.number(2), f.number(2), f.text(), f.text(), f.texts()),
    MESSAGE: lambda f, _: Message(f.number(2), f.number(4), f.number(8), f.number(8), bytes(f.rest())),
    MESSAGE_INDEX: lambda f, _: MessageIndex(f.number(2), f.numbers(8, 8)),
    CHUNK_INDEX: lambda f, _: ChunkIndex(
        f.number(8), f.number(8), f.number(8), f.number(8), dict(f.numbers(2, 8)),
        f.number(8), f.text(), f.number(8), f.number(8)
    ),
    ATTACHMENT: _attachment,
    ATTACHMENT_INDEX: lambda f, _: AttachmentIndex(
        f.number(8), f.number(8), f.number(8), f.number(8), f.number(8), f.text(), f.text()
    ),
    STATISTICS: lambda f, _: Statistics(
        f.number(8), f.number(2), f.number(4), f.number(4), f.number(4), f.number(4),
        f.number(8), f.number(8), dict(f.numbers(2, 8))
    ),
    METADATA: lambda f, _: Metadata(f.text(), f.texts()),
    METADATA_INDEX: lambda f, _: MetadataIndex(f.number(8), f.number(8), f.text()),
    SUMMARY_OFFSET: lambda f, _: SummaryOffset(f.number(1), f.number(8), f.number(8)),
    DATA_END: lambda f, _: DataEnd(f.number(4)),
}  # fmt: skip


# --- bytes of the records that an edge log has


def framed(opcode: int, content: bytes) -> bytes:
    """Put a record's opcode and length before its content.

    Args:
        opcode: Its kind.
        content: Its content.

    Returns:
        The whole record.
    """
    return struct.pack("<BQ", opcode, len(content)) + content


def text(words: str) -> bytes:
    """Write a text with its length.

    Args:
        words: The text.

    Returns:
        Its bytes.
    """
    data = words.encode("utf-8", "replace")
    return struct.pack("<I", len(data)) + data


def texts(words: dict[str, str]) -> bytes:
    """Write a map of texts.

    Args:
        words: The map.

    Returns:
        Its bytes.
    """
    data = b"".join(text(key) + text(value) for key, value in words.items())
    return struct.pack("<I", len(data)) + data


def numbers(pairs: dict[int, int]) -> bytes:
    """Write a map of 16-bit numbers to 64-bit numbers.

    Args:
        pairs: The map.

    Returns:
        Its bytes.
    """
    return struct.pack("<I", 10 * len(pairs)) + b"".join(struct.pack("<HQ", *pair) for pair in pairs.items())


def written(record: Record) -> bytes:
    """Write a record of an edge log, but messages and chunks.

    Args:
        record: The record.

    Returns:
        Its bytes.

    Raises:
        TypeError: An edge log does not have such records.
    """
    match record:
        case Header():
            return framed(HEADER, text(record.profile) + text(record.library))
        case Schema():
            words = text(record.name) + text(record.encoding) + struct.pack("<I", len(record.data))
            return framed(SCHEMA, struct.pack("<H", record.id) + words + record.data)
        case Channel():
            words = text(record.topic) + text(record.message_encoding) + texts(record.metadata)
            return framed(CHANNEL, struct.pack("<HH", record.id, record.schema_id) + words)
        case Metadata():
            return framed(METADATA, text(record.name) + texts(record.metadata))
        case DataEnd():
            return framed(DATA_END, struct.pack("<I", record.data_section_crc))
        case _:
            return _written_in_summary(record)


def _written_in_summary(record: Record) -> bytes:
    match record:
        case ChunkIndex():
            r = record
            places = (r.message_start_time, r.message_end_time, r.chunk_start_offset, r.chunk_length)
            indexes = numbers(r.message_index_offsets) + struct.pack("<Q", r.message_index_length)
            sizes = text(r.compression) + struct.pack("<QQ", r.compressed_size, r.uncompressed_size)
            return framed(CHUNK_INDEX, struct.pack("<QQQQ", *places) + indexes + sizes)
        case Statistics():
            r2 = record
            counts = struct.pack("<QHIIII", r2.message_count, r2.schema_count, r2.channel_count, r2.attachment_count,
                                 r2.metadata_count, r2.chunk_count)  # fmt: skip
            times = struct.pack("<QQ", r2.message_start_time, r2.message_end_time)
            return framed(STATISTICS, counts + times + numbers(r2.channel_message_counts))
        case MetadataIndex():
            return framed(METADATA_INDEX, struct.pack("<QQ", record.offset, record.length) + text(record.name))
        case Footer():
            ends = (record.summary_start, record.summary_offset_start, record.summary_crc)
            return framed(FOOTER, struct.pack("<QQI", *ends))
        case _:
            raise TypeError(f"an edge log has no {type(record).__name__} records")
