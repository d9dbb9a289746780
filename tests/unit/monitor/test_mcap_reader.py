"""The reader of MCAP files: the conformance suite, and every kind of damage."""

from __future__ import annotations

import hashlib
import io
import random
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from mcap.writer import CompressionType, Writer

from support.mcap_conformance import make, variants
from windtunnel.monitor.mcap.reader import Damage, Skipped, read
from windtunnel.monitor.mcap.records import (
    Attachment,
    Channel,
    Footer,
    Header,
    Message,
    Metadata,
    Record,
    Schema,
    framed,
    written,
)
from windtunnel.monitor.mcap.writer import McapWriter, Outgoing, Pieces


@pytest.mark.heavy
def test_conformance_suite() -> None:
    count = 0
    for name, sha256 in variants():
        data, records = make(name)
        assert hashlib.sha256(data).hexdigest() == sha256, name
        assert list(read(data)) == records, name
        count += 1
    assert count == 416


class _Log:
    """A log in memory: ten chunks of three messages, and where its parts lie."""

    def __init__(self, close: bool = True) -> None:
        self.data = b""
        self.chunks: list[tuple[int, int]] = []
        writer = McapWriter(self._put)
        writer.begin(Header("p", "l"), [Metadata("m", {"a": "b"})])
        writer.once(Schema(1, "s", "protobuf", b"123"), Channel(1, 1, "/frame", "protobuf"))
        for chunk in range(10):
            start = len(self.data)
            writer.chunk([Outgoing(1, 3 * chunk + k, chunk, (b"\x06" * 20, bytes([chunk, k])), 22) for k in range(3)])
            self.chunks.append((start, len(self.data)))
        if close:
            writer.close()

    def _put(self, pieces: Pieces) -> None:
        self.data += b"".join(pieces)


def _messages(data: bytes) -> list[int]:
    return [item.sequence for item in read(data) if isinstance(item, Message)]


def _skipped(data: bytes) -> list[Skipped]:
    return [item for item in read(data) if isinstance(item, Skipped)]


def test_whole_log() -> None:
    items = list(read(_Log().data))
    assert [item.sequence for item in items if isinstance(item, Message)] == list(range(30))
    assert not [item for item in items if isinstance(item, Skipped)]
    assert isinstance(items[-1], Footer)


@pytest.mark.heavy
def test_cut_at_every_byte() -> None:
    log = _Log()
    for size in range(len(log.data)):
        data = log.data[:size]
        whole = sum(end <= size or start + 49 + 3 * 53 <= size for start, end in log.chunks)
        assert _messages(data) == list(range(3 * whole)), size
        assert all(item.damage is Damage.CUT for item in _skipped(data)), size
        # Nothing is lost without a word; a log that was never closed ends between records.
        lengths = sum(item.length for item in _skipped(data))
        assert lengths <= size
    assert not _skipped(_Log(close=False).data)


@pytest.mark.heavy
def test_every_flipped_bit_costs_one_chunk_at_most() -> None:
    log = _Log()
    for place in range(len(log.data)):
        for bit in range(8):
            data = bytearray(log.data)
            data[place] ^= 1 << bit
            inside = [index for index, (start, end) in enumerate(log.chunks) if start <= place < end]
            kept = set(_messages(bytes(data)))
            lost = set(range(30)) - kept
            assert lost <= {3 * chunk + k for chunk in inside for k in range(3)}, (place, bit, lost)
            if lost:
                assert _skipped(bytes(data)), (place, bit)


@pytest.mark.parametrize("seed", range(20))
def test_any_damage_is_survived(seed: int) -> None:
    chance = random.Random(seed)
    data = bytearray(_Log().data)
    for _ in range(chance.randrange(1, 40)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    if seed % 3 == 0:
        at = chance.randrange(len(data))
        data[at:at] = chance.randbytes(chance.randrange(300))
    if seed % 3 == 1:
        at = chance.randrange(len(data))
        del data[at : at + chance.randrange(300)]
    messages = _messages(bytes(data))
    assert all(0 <= number < 2**32 for number in messages)


@pytest.mark.parametrize("inserted", [b"\x06", b"\x00" * 100, b"\x06" + b"\xff" * 50, framed(0x05, b"abc")])
def test_bytes_between_chunks(inserted: bytes) -> None:
    log = _Log()
    at = log.chunks[4][0]
    data = log.data[:at] + inserted + log.data[at:]
    assert _messages(data) == list(range(30))
    assert _skipped(data)


def test_what_was_skipped_is_told() -> None:
    log = _Log()
    start, end = log.chunks[2]
    data = bytearray(log.data)
    data[start + 60] ^= 1
    assert _skipped(bytes(data)) == [Skipped(start, 9 + 40 + 3 * 53, Damage.CRC)]
    data = bytearray(log.data)
    data[start + 2] ^= 0x40  # the chunk's length
    (skipped,) = _skipped(bytes(data))
    assert (skipped.offset, skipped.length, skipped.damage) == (start, end - start, Damage.LENGTH)
    data = bytearray(log.data)
    data[end - 60] = 0xFF
    assert _messages(bytes(data)) == list(range(30)), "the length of a message index"


def test_unknown_records_are_no_damage() -> None:
    log = _Log()
    at = log.chunks[3][0]
    for opcode in (0x10, 0x7F, 0x80, 0xFF):
        data = log.data[:at] + framed(opcode, b"of a later version") + log.data[at:]
        assert _messages(data) == list(range(30))
        assert not _skipped(data)


def test_a_chunk_without_a_crc_is_taken() -> None:
    log = _Log()
    start, _ = log.chunks[0]
    data = bytearray(log.data)
    data[start + 9 + 24 : start + 9 + 28] = bytes(4)
    assert _messages(bytes(data)) == list(range(30))


def test_a_chunk_whose_records_do_not_fit() -> None:
    inner = framed(5, struct.pack("<HIQQ", 1, 7, 0, 0)) + struct.pack("<BQ", 5, 999) + b"x"
    head = struct.pack("<QQQIIQ", 0, 0, len(inner), zlib.crc32(inner), 0, len(inner))
    items = list(read(b"\x89MCAP0\r\n" + written(Header("", "")) + framed(6, head + inner)))
    assert [type(item) for item in items] == [Header, Message, Skipped]


@pytest.mark.parametrize("compression", [CompressionType.LZ4, CompressionType.ZSTD, CompressionType.NONE])
def test_files_of_the_stock_library(compression: CompressionType) -> None:
    file = io.BytesIO()
    writer = Writer(file, chunk_size=200, compression=compression)
    writer.start("profile", "stock")
    channel = writer.register_channel("/frame", "protobuf", writer.register_schema("s", "protobuf", b"d"))
    for number in range(50):
        writer.add_message(channel, number, b"a" * 10, number, number)
    writer.add_attachment(1, 2, "n", "text/plain", b"attached")
    writer.add_metadata("m", {"k": "v"})
    writer.finish()  # type: ignore[no-untyped-call]
    items: list[Record | Skipped] = list(read(file.getvalue()))
    skipped = [item for item in items if isinstance(item, Skipped)]
    if compression is CompressionType.NONE:
        assert not skipped
        assert len([item for item in items if isinstance(item, Message)]) == 50
    else:
        assert {item.damage for item in skipped} == {Damage.COMPRESSION}
    assert Attachment(2, 1, "n", "text/plain", b"attached") in items
    assert Metadata("m", {"k": "v"}) in items


@pytest.mark.parametrize("data", [b"", b"\x89MC", b"PK\x03\x04" * 50, b"\x89PNG" + bytes(500)])
def test_what_is_not_an_mcap_file(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "log.mcap"
    file.write_bytes(data)
    for items in (list(read(data)), list(read(file)), list(read(str(file)))):
        assert _types(items) == [Skipped] or (not items and not data)


def test_a_damaged_magic_costs_nothing_else() -> None:
    data = _Log().data
    assert _messages(b"X" + data[1:]) == list(range(30))
    assert [item.damage for item in _skipped(b"X" + data[1:])] == [Damage.MAGIC]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(read(tmp_path / "none.mcap"))


def test_reading_may_stop_early(tmp_path: Path) -> None:
    file = tmp_path / "log.mcap"
    file.write_bytes(_Log().data)
    for _ in read(file):
        break


def _types(items: Sequence[object]) -> list[type]:
    return [type(item) for item in items]
