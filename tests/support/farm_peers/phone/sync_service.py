"""The sync service: files to and from the phone, in both versions of its requests."""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path

from support.farm_peers.phone.state import PhoneState
from support.farm_peers.phone.system_root import SHELL_USER, WRITABLE, inside
from support.farm_peers.phone.wire import Stream

_CHUNK = 64 << 10
_LONGEST_PATH = 1024


class SyncService:
    """Answers requests until QUIT. `pull_cable` is called for a fault."""

    def __init__(self, root: Path, state: PhoneState, pull_cable: Callable[[], None]) -> None:
        self._root = root
        self._state = state
        self._pull_cable = pull_cable

    def run(self, stream: Stream) -> None:
        """Serves one stream."""
        while True:
            name, length = struct.unpack("<4sI", stream.read_exactly(8))
            if name == b"QUIT":
                return
            if length > _LONGEST_PATH:
                return _fail(stream, "path too long")
            path = stream.read_exactly(length).decode(errors="surrogateescape")
            handler = self._handlers().get(name)
            if handler is None:
                return _fail(stream, f"unknown command {name!r}")
            handler(stream, path)

    def _handlers(self) -> dict[bytes, Callable[[Stream, str], None]]:
        return {
            b"STAT": self._stat,
            b"STA2": lambda stream, path: self._stat2(stream, path, b"STA2", follow=True),
            b"LST2": lambda stream, path: self._stat2(stream, path, b"LST2", follow=False),
            b"LIST": lambda stream, path: self._list(stream, path, second=False),
            b"LIS2": lambda stream, path: self._list(stream, path, second=True),
            b"RECV": self._receive,
            b"RCV2": self._receive2,
            b"SEND": self._send,
            b"SND2": self._send2,
        }

    def _stat(self, stream: Stream, path: str) -> None:
        try:
            found = inside(self._root, path).lstat()
            fields = (found.st_mode, found.st_size & 0xFFFFFFFF, int(found.st_mtime))
        except OSError:
            fields = (0, 0, 0)
        stream.write(b"STAT" + struct.pack("<3I", *fields))

    def _stat2(self, stream: Stream, path: str, name: bytes, *, follow: bool) -> None:
        stream.write(name + _stat2_fields(inside(self._root, path), follow=follow))

    def _list(self, stream: Stream, path: str, *, second: bool) -> None:
        folder = inside(self._root, path)
        for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
            name, found = entry.name.encode(errors="surrogateescape"), entry.lstat()
            if second:
                stream.write(b"DNT2" + _stat2_fields(entry, follow=False) + struct.pack("<I", len(name)) + name)
            else:
                fields = (found.st_mode, found.st_size & 0xFFFFFFFF, int(found.st_mtime), len(name))
                stream.write(b"DENT" + struct.pack("<4I", *fields) + name)
        stream.write(b"DONE" + bytes(72 if second else 16))

    def _receive2(self, stream: Stream, path: str) -> None:
        stream.read_exactly(8)
        self._receive(stream, path)

    def _receive(self, stream: Stream, path: str) -> None:
        try:
            with inside(self._root, path).open("rb") as file:
                while data := file.read(_CHUNK):
                    stream.write(b"DATA" + struct.pack("<I", len(data)) + data)
        except OSError as error:
            return _fail(stream, f"open failed: {os.strerror(error.errno or errno.EIO)}")
        stream.write(b"DONE" + bytes(4))

    def _send2(self, stream: Stream, path: str) -> None:
        _, mode, _ = struct.unpack("<4sII", stream.read_exactly(12))
        self._store(stream, path, mode)

    def _send(self, stream: Stream, path: str) -> None:
        name, _, mode = path.rpartition(",")
        self._store(stream, name, int(mode))

    def _store(self, stream: Stream, path: str, mode: int) -> None:
        """Takes the data; after a refusal too, since the sender looks for an answer only at its end."""
        refused = self._refusal(path)
        target, data = inside(self._root, path), bytearray()
        while True:
            name, number = struct.unpack("<4sI", stream.read_exactly(8))
            if name == b"DONE":
                break
            if name != b"DATA" or number > _CHUNK:
                return _fail(stream, "invalid data message")
            data += stream.read_exactly(number)
            limit = self._state.faults.send_stops_after
            if limit is not None and len(data) > limit:
                return self._pull_cable()
            if not refused and len(data) > self._state.free_bytes:
                refused = "write failed: No space left on device"
        if refused:
            return _fail(stream, refused)
        self._write(target, bytes(data), mode, number)
        self._state.pushes.append(path)
        self._state.on_push()
        stream.write(b"OKAY" + bytes(4))

    def _refusal(self, path: str) -> str:
        if not os.path.normpath(path).startswith(tuple(f"{folder}/" for folder in WRITABLE)):
            return "couldn't create file: Permission denied"
        if self._state.free_bytes <= 0:
            return "couldn't create file: No space left on device"
        if inside(self._root, path).is_dir():
            return "couldn't create file: Is a directory"
        return ""

    def _write(self, target: Path, data: bytes, mode: int, modified: int) -> None:
        if self._state.faults.damaged_push and data:
            data = data[:-1] + bytes([data[-1] ^ 0x40])
        for folder in reversed([one for one in target.parents if not one.exists()]):
            folder.mkdir()
            _own(folder, 0o771)
        target.unlink(missing_ok=True)
        target.write_bytes(data)
        self._state.free_bytes -= len(data)
        mode |= (mode >> 3) & 0o070
        mode |= (mode >> 3) & 0o007
        _own(target, 0o644 if self._state.faults.mode_lost else stat.S_IMODE(mode) & 0o777)
        os.utime(target, (modified, modified))


def _own(path: Path, mode: int) -> None:
    if os.geteuid() == 0:
        os.chown(path, SHELL_USER, SHELL_USER)
    path.chmod(mode)


def _stat2_fields(path: Path, *, follow: bool) -> bytes:
    try:
        found = path.stat() if follow else path.lstat()
    except OSError as error:
        return struct.pack("<I2Q4IQ3q", error.errno or errno.EIO, *([0] * 10))
    times = (int(found.st_atime), int(found.st_mtime), int(found.st_ctime))
    owner = (found.st_uid, found.st_gid)
    return struct.pack(
        "<I2Q4IQ3q", 0, found.st_dev, found.st_ino, found.st_mode, found.st_nlink, *owner, found.st_size, *times
    )


def _fail(stream: Stream, message: str) -> None:
    data = message.encode()
    stream.write(b"FAIL" + struct.pack("<I", len(data)) + data)
