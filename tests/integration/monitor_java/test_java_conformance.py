"""The Java reader finds what MCAP's conformance suite says in each of its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.java_monitor import JavaMonitor
from support.mcap_conformance import make, variants
from windtunnel.monitor.mcap import records as r

pytestmark = pytest.mark.heavy


def text(mapping: dict[str, str]) -> str:
    """As Java prints a map."""
    return "{" + ", ".join(f"{key}={value}" for key, value in mapping.items()) + "}"


def line(record: r.Record) -> list[str] | None:
    """A record as a line of the reader; None: the reader leaves such records out."""
    match record:
        case r.Header(profile, library):
            return ["Header", profile, library]
        case r.Schema(number, name, encoding, data):
            return ["Schema", str(number), name, encoding, data.hex()]
        case r.Channel(number, schema, topic, encoding, metadata):
            return ["Channel", str(number), str(schema), topic, encoding, text(dict(metadata))]
        case r.Message():
            words = (record.channel_id, record.sequence, record.log_time, record.publish_time)
            return ["Message", *map(str, words), bytes(record.data).hex()]
        case r.Metadata(name, metadata):
            return ["Metadata", name, text(dict(metadata))]
    return None


def test_conformance_suite(java: JavaMonitor, tmp_path: Path) -> None:
    paths, expected = [], []
    for name, _ in variants():
        data, records = make(name)
        paths.append(tmp_path / f"{name}.mcap")
        paths[-1].write_bytes(data)
        end = next(place for place, record in enumerate(records) if isinstance(record, r.DataEnd))
        expected.append([said for record in records[:end] if (said := line(record))])
    assert len(paths) == 416
    for path, lines, wanted in zip(paths, java.dump("container", paths), expected, strict=True):
        assert lines == wanted, path.name
