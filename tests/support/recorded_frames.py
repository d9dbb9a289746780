"""Contents of a folder of edge logs, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from windtunnel.monitor.mcap.reader import Skipped, read
from windtunnel.monitor.mcap.records import Message, Metadata
from windtunnel.v1 import edge_pb2


def items(folder: Path) -> list[Any]:
    """All records of a folder's files, in order."""
    return [item for file in sorted(folder.glob("*.mcap")) for item in read(file)]


def frames(folder: Path) -> list[edge_pb2.EdgeFrame]:
    """All frames of a folder."""
    found = items(folder)
    assert not [item for item in found if isinstance(item, Skipped)]
    data = [item.data for item in found if isinstance(item, Message) and item.channel_id == 1]
    return [edge_pb2.EdgeFrame.FromString(words) for words in data]


def metadata(folder: Path, name: str) -> dict[str, str]:
    """The last metadata record of this name."""
    return [item.metadata for item in items(folder) if isinstance(item, Metadata) and item.name == name][-1]


def tensors(frame: edge_pb2.EdgeFrame) -> list[tuple[str, str]]:
    """Role and name of each array."""
    return [(edge_pb2.EdgeRole.Name(t.role).removeprefix("EDGE_ROLE_").lower(), t.name) for t in frame.tensors]
