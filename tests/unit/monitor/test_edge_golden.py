"""The golden recording, as the monitors of all languages wrote it, is read by our reader and by the stock library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from mcap.reader import NonSeekingReader, SeekingReader

from support import edge_golden

FILES = sorted((Path(__file__).parents[2] / "data" / "edge_golden").glob("*.mcap"))


def test_there_are_files() -> None:
    assert "python.mcap" in [file.name for file in FILES]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_golden_file(file: Path) -> None:
    assert edge_golden.differences(file) == []


def test_recorded_now(tmp_path: Path) -> None:
    assert edge_golden.differences(edge_golden.record(tmp_path / "log")) == []


@pytest.mark.parametrize("reader", [NonSeekingReader, SeekingReader])
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_stock_library(file: Path, reader: Any) -> None:
    with file.open("rb") as stream:
        source = reader(stream, validate_crcs=True)
        found = list(source.iter_messages(log_time_order=False))
    names = {"/frame": "windtunnel.v1.EdgeFrame", "/sensor": "windtunnel.v1.SensorReading"}
    frames = []
    for schema, channel, message in found:
        assert schema.name == names[channel.topic]
        assert (schema.encoding, channel.message_encoding) == ("protobuf", "protobuf")
        pool = DescriptorPool()
        for proto in FileDescriptorSet.FromString(schema.data).file:
            pool.Add(proto)
        decoded: Any = GetMessageClass(pool.FindMessageTypeByName(schema.name)).FromString(message.data)
        assert message.log_time == message.publish_time == decoded.time.ToNanoseconds()
        if channel.topic == "/frame":
            assert message.sequence == decoded.number
            frames.append(decoded)
    assert [frame.number for frame in frames] == [0, 1, 3]
    assert len(found) == 3 + len(edge_golden.SENSORS)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_summary(file: Path) -> None:
    with file.open("rb") as stream:
        source = SeekingReader(stream)
        assert source.get_header().profile == "windtunnel.edge/1"
        summary = source.get_summary()
    assert summary is not None and summary.statistics is not None
    assert summary.statistics.channel_message_counts == {1: 3, 2: len(edge_golden.SENSORS)}
    assert summary.statistics.chunk_count == len(summary.chunk_indexes)
    assert "windtunnel.device" in [index.name for index in summary.metadata_indexes]


def test_differences_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = edge_golden.record(tmp_path / "log")
    monkeypatch.setitem(edge_golden.FACTS, "app", "other")
    monkeypatch.setattr(edge_golden, "SENSORS", edge_golden.SENSORS[1:])
    monkeypatch.setattr(edge_golden, "_h", lambda j: j)
    words = " ".join(edge_golden.differences(file))
    assert "fact app" in words
    assert "sensors" in words
    assert "projection" in words
