"""The files of a session: written whole records at a time, renewed at a size, the oldest deleted at a bound."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from windtunnel.monitor.backlog import SENSOR_CHANNEL
from windtunnel.monitor.edge_schema import DESCRIPTOR_SET
from windtunnel.monitor.mcap.records import Channel, Header, Metadata, Schema
from windtunnel.monitor.mcap.writer import McapWriter, Outgoing, Pieces

FRAME_SCHEMA = Schema(1, "windtunnel.v1.EdgeFrame", "protobuf", DESCRIPTOR_SET)
FRAMES = Channel(1, 1, "/frame", "protobuf")
SENSOR_SCHEMA = Schema(2, "windtunnel.v1.SensorReading", "protobuf", DESCRIPTOR_SET)
SENSORS = Channel(2, 2, "/sensor", "protobuf")
# What a chunk adds to its messages: heads, indexes, and its part of the summary.
_MESSAGE_EXTRA, _CHUNK_EXTRA = 47, 400
_NAME = re.compile(r"\d{8}T\d{6}-\d+-[0-9a-f]{4}-\d{6}\.mcap")
_IN_USE_S = 60


@dataclass(slots=True)
class _Open:
    """The file that is written."""

    path: Path
    descriptor: int
    writer: McapWriter
    frames: int = 0


class LogFiles:
    """Used by the writing thread only."""

    def __init__(self, folder: Path, session: str, file_bytes: int, disk_bytes: int) -> None:
        """Write nothing yet.

        Args:
            folder: Where the files lie; it is made.
            session: Name of the session.
            file_bytes: A file is closed at this size.
            disk_bytes: The oldest files are deleted at this size of all.
        """
        self._folder = folder
        self._session = session
        self._file_bytes, self._disk_bytes = file_bytes, disk_bytes
        self._number = 0
        self._open: _Open | None = None

    def write(self, messages: Sequence[Outgoing], facts: Callable[[], dict[str, str]], frames: int) -> None:
        """Write messages as a chunk and hand it to the operating system.

        Args:
            messages: The messages, at least one.
            facts: Gives the metadata of a new file.
            frames: How many of the messages are frames.

        Raises:
            OSError: Nothing of the chunk is in the log.
        """
        size = sum(message.size + _MESSAGE_EXTRA for message in messages) + _CHUNK_EXTRA
        if self._open and self._open.frames and self._open.writer.size + size > self._file_bytes:
            self.close()
        if self._open is None:
            self._free(size + 2 * len(DESCRIPTOR_SET) + 4096)
            self._begin(facts())
        else:
            self._free(size)
        file = self._open
        assert file is not None
        try:
            file.writer.once(FRAME_SCHEMA, FRAMES)
            if any(message.channel_id == SENSOR_CHANNEL for message in messages):
                file.writer.once(SENSOR_SCHEMA, SENSORS)
            file.writer.chunk(messages)
        except OSError:
            self._abandon(file)
            raise
        file.frames += frames

    def vanished(self) -> int:
        """Look whether the file that is written was deleted.

        Returns:
            How many frames were lost with it.
        """
        file = self._open
        if file is None:
            return 0
        try:
            there, ours = file.path.stat(), os.fstat(file.descriptor)
            if (there.st_ino, there.st_dev) == (ours.st_ino, ours.st_dev):
                return 0
        except OSError:
            pass
        self.forget()
        return file.frames

    def close(self, end: Metadata | None = None) -> None:
        """Write the summary of the file, if one is open.

        Args:
            end: A metadata record before it.
        """
        file, self._open = self._open, None
        if file is None:
            return
        try:
            if end:
                file.writer.metadata(end)
            file.writer.close()
        finally:
            os.close(file.descriptor)

    def forget(self) -> None:
        """Close the file as it is, without a summary."""
        file, self._open = self._open, None
        if file:
            with contextlib.suppress(OSError):
                os.close(file.descriptor)

    def _begin(self, facts: dict[str, str]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._number += 1
        path = self._folder / f"{self._session}-{self._number:06}.mcap"
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_CLOEXEC", 0) | _BINARY, 0o644)
        file = _Open(path, descriptor, McapWriter(lambda pieces: _put(descriptor, pieces)))
        try:
            file.writer.begin(_HEADER, [Metadata("windtunnel.device", facts)])
        except OSError:
            self._abandon(file)
            raise
        self._open = file

    def _abandon(self, file: _Open) -> None:
        """Cut off what was written of a record, and write no more to the file; an empty file is removed."""
        self._open = None
        with contextlib.suppress(OSError):
            os.ftruncate(file.descriptor, file.writer.size)
        with contextlib.suppress(OSError):
            os.close(file.descriptor)
        if not file.writer.messages:
            with contextlib.suppress(OSError):
                file.path.unlink()

    def _free(self, size: int) -> None:
        """Delete the oldest files until there is room for `size` bytes more.

        Raises:
            OSError: There is not enough room without them.
        """
        files = []
        with contextlib.suppress(OSError):
            files = [(path, path.stat()) for path in sorted(self._folder.iterdir()) if _NAME.fullmatch(path.name)]
        total = sum(stat.st_size for _, stat in files)
        for path, stat in files:
            if total + size <= self._disk_bytes:
                return
            ours = path.name.startswith(self._session)
            if path == (self._open and self._open.path) or (not ours and stat.st_mtime > time.time() - _IN_USE_S):
                continue
            with contextlib.suppress(OSError):
                path.unlink()
                total -= stat.st_size
        if total + size > self._disk_bytes:
            raise OSError(f"the log would be larger than disk_bytes={self._disk_bytes}")


_BINARY = getattr(os, "O_BINARY", 0)
_HEADER = Header("windtunnel.edge/1", "windtunnel-monitor python 0.3.0")
_MOST_PIECES = 512


def _put(descriptor: int, pieces: Pieces) -> None:
    """Write all of the pieces, without joining large ones.

    Raises:
        OSError: They cannot be written.
    """
    if not hasattr(os, "writev"):
        pieces = [b"".join(pieces)]
    for start in range(0, len(pieces), _MOST_PIECES):
        views = [memoryview(piece) for piece in pieces[start : start + _MOST_PIECES]]
        while views:
            written = os.writev(descriptor, views) if hasattr(os, "writev") else os.write(descriptor, views[0])
            if not written and any(map(len, views)):
                raise OSError("the file takes no more bytes")
            while views and written >= len(views[0]):
                written -= len(views.pop(0))
            if written:
                views[0] = views[0][written:]
