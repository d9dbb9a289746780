"""The files of MCAP's conformance suite (github.com/foxglove/mcap, tests/conformance/data), made from what they hold.

`tests/data/mcap_conformance.txt` has the SHA-256 of each file as the suite publishes it, so a file made here is that
file byte for byte. The names of the features are those in the names of the files.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from windtunnel.monitor.mcap import records as r

TABLE = Path(__file__).parents[1] / "data" / "mcap_conformance.txt"
_SCHEMA = r.Schema(1, "Example", "c", b"\x04\x05\x06")
_CHANNEL = r.Channel(1, 1, "example", "a", {"foo": "bar"})
_TIMES = (0, 2, 1, 3, 3, 5, 4, 7, 8, 9)
CASES: dict[str, tuple[r.Record, ...]] = {
    "NoData": (),
    "OneAttachment": (r.Attachment(2, 1, "myFile", "application/octet-stream", b"\x01\x02\x03"),),
    "OneMetadata": (r.Metadata("myMetadata", {"foo": "bar"}),),
    "OneMessage": (_SCHEMA, _CHANNEL, r.Message(1, 10, 2, 1, b"\x01\x02\x03")),
    "OneSchemalessMessage": (r.Channel(1, 0, "example", "text", {}), r.Message(1, 10, 2, 1, b"\x01\x02\x03")),
    "TenMessages": (
        _SCHEMA,
        _CHANNEL,
        *(r.Message(1, number, time, time, b"\x01\x02\x03") for number, time in enumerate(_TIMES)),
    ),
}
_PAD = b"\x01\xff\xff"


def variants() -> Iterator[tuple[str, str]]:
    """Names of the suite's files, without extension, and their SHA-256."""
    for line in TABLE.read_text().splitlines():
        if not line.startswith("#"):
            name, sha256 = line.split()
            yield name, sha256


def make(name: str) -> tuple[bytes, list[r.Record]]:
    """Make a file of the suite.

    Args:
        name: Its name without extension, for example "OneMessage-ch-st".

    Returns:
        Its bytes, and the records that a reader finds in it (no MessageIndex).
    """
    case, *features = name.split("-")
    maker = _Maker(frozenset(features))
    maker.data(CASES[case])
    maker.summary(CASES[case])
    return bytes(maker.out), maker.records


class _Maker:
    def __init__(self, features: frozenset[str]) -> None:
        self._features = features
        self._pad = _PAD if "pad" in features else b""
        self.out = bytearray(r.MAGIC)
        self.records: list[r.Record] = []
        self._indexes: list[r.ChunkIndex | r.MetadataIndex | r.AttachmentIndex] = []
        self._chunks = 0

    def _add(self, record: r.Record) -> int:
        """Write a record; its length."""
        self.records.append(record)
        data = _bytes_of(record, self._pad)
        self.out += data
        return len(data)

    def data(self, records: tuple[r.Record, ...]) -> None:
        self._add(r.Header("", ""))
        in_chunk: list[r.Record] = []
        for record in records:
            offset = len(self.out)
            if "ch" in self._features and isinstance(record, r.Schema | r.Channel | r.Message):
                in_chunk.append(record)
                self.records.append(record)
                continue
            length = self._add(record)
            if isinstance(record, r.Metadata) and "mdx" in self._features:
                self._indexes.append(r.MetadataIndex(offset, length, record.name))
            if isinstance(record, r.Attachment) and "ax" in self._features:
                a = record
                self._indexes.append(
                    r.AttachmentIndex(offset, length, a.log_time, a.create_time, len(a.data), a.name, a.media_type)
                )
        if "ch" in self._features:
            self._chunk(in_chunk)
        self._add(r.DataEnd(zlib.crc32(self.out)))

    def _chunk(self, records: list[r.Record]) -> None:
        content, index = b"", []
        for record in records:
            if isinstance(record, r.Message):
                index.append(struct.pack("<QQ", record.log_time, len(content)))
            content += _bytes_of(record, b"")
        times = [record.log_time for record in records if isinstance(record, r.Message)]
        start, size = len(self.out), len(content)
        head = struct.pack("<QQQIIQ", min(times), max(times), size, zlib.crc32(content), 0, size)
        self.out += r.framed(r.CHUNK, head + content)
        end = len(self.out)
        if "mx" in self._features:
            entries = b"".join(index)
            self.out += r.framed(r.MESSAGE_INDEX, struct.pack("<HI", 1, len(entries)) + entries + self._pad)
        self._chunks = 1
        if "chx" in self._features:
            places = {1: end} if "mx" in self._features else {}
            self._indexes.append(
                r.ChunkIndex(min(times), max(times), start, end - start, places, len(self.out) - end, "", size, size)
            )

    def summary(self, records: tuple[r.Record, ...]) -> None:
        start, before = len(self.out), len(self.records)
        groups: list[tuple[int, int, int]] = []
        schemas = [record for record in records if isinstance(record, r.Schema) and "rsh" in self._features]
        channels = [record for record in records if isinstance(record, r.Channel) and "rch" in self._features]
        statistics = [self._statistics(records)] if "st" in self._features else []
        opcodes = {
            r.Schema: 3,
            r.Channel: 4,
            r.Statistics: 11,
            r.MetadataIndex: 13,
            r.AttachmentIndex: 10,
            r.ChunkIndex: 8,
        }
        for kind, group in groupby([*schemas, *channels, *statistics, *self._indexes], type):
            at = len(self.out)
            for record in group:
                self._add(record)
            groups.append((opcodes[kind], at, len(self.out) - at))
        has_summary = len(self.records) > before
        offsets = len(self.out)
        if "sum" in self._features:
            for group_of in groups:
                self._add(r.SummaryOffset(*group_of))
        has_offsets = len(self.out) > offsets
        footer = r.Footer(start if has_summary else 0, offsets if has_offsets else 0, 0)
        crc = zlib.crc32(bytes(self.out[start:]) + _bytes_of(footer, b"")[:-4])
        self._add(r.Footer(footer.summary_start, footer.summary_offset_start, crc))
        self.out += r.MAGIC

    def _statistics(self, records: tuple[r.Record, ...]) -> r.Statistics:
        kinds = [type(record) for record in records]
        times = [record.log_time for record in records if isinstance(record, r.Message)] or [0]
        counts = {1: kinds.count(r.Message)} if r.Message in kinds else {}
        return r.Statistics(
            kinds.count(r.Message), kinds.count(r.Schema), kinds.count(r.Channel), kinds.count(r.Attachment),
            kinds.count(r.Metadata), self._chunks, min(times), max(times), counts,
        )  # fmt: skip


def _bytes_of(record: r.Record, pad: bytes) -> bytes:
    """A record with bytes after its last field, where the suite has them."""
    if isinstance(record, r.Message):
        head = struct.pack("<HIQQ", record.channel_id, record.sequence, record.log_time, record.publish_time)
        return r.framed(r.MESSAGE, head + record.data)
    if isinstance(record, r.Attachment):
        words = (
            struct.pack("<QQ", record.log_time, record.create_time) + r.text(record.name) + r.text(record.media_type)
        )
        content = words + struct.pack("<Q", len(record.data)) + record.data
        return r.framed(r.ATTACHMENT, content + struct.pack("<I", zlib.crc32(content)) + pad)
    if isinstance(record, r.AttachmentIndex):
        numbers = (record.offset, record.length, record.log_time, record.create_time, record.data_size)
        words = struct.pack("<QQQQQ", *numbers) + r.text(record.name) + r.text(record.media_type)
        return r.framed(r.ATTACHMENT_INDEX, words + pad)
    if isinstance(record, r.SummaryOffset):
        content = struct.pack("<BQQ", record.group_opcode, record.group_start, record.group_length)
        return r.framed(r.SUMMARY_OFFSET, content + pad)
    if isinstance(record, r.DataEnd | r.Footer):
        return r.written(record)
    data = r.written(record)
    return r.framed(data[0], data[r.HEADER_SIZE :] + pad)
