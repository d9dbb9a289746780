"""Commands that the phone itself answers: the other end of phonecall.c."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_STREAMS = 3


class Killed(Exception):
    """The process of the command is gone."""


@dataclass
class Call:
    """One run of a command."""

    pid: int
    user: int
    folder: str
    arguments: list[str]
    environment: Mapping[str, str]
    streams: tuple[int, int, int]
    gone: threading.Event = field(default_factory=threading.Event)

    @property
    def name(self) -> str:
        """The command without its folder."""
        return self.arguments[0].rpartition("/")[2]

    def out(self, text: str) -> None:
        """Prints."""
        self._write(self.streams[1], text)

    def err(self, text: str) -> None:
        """Prints to the errors."""
        self._write(self.streams[2], text)

    def read(self, count: int) -> bytes:
        """At most `count` bytes of the input."""
        found = bytearray()
        while len(found) < count and (data := os.read(self.streams[0], min(65536, count - len(found)))):
            found += data
        return bytes(found)

    def path(self, text: str) -> str:
        """A path of the phone, absolute."""
        return os.path.normpath(os.path.join(self.folder, text))  # noqa: PTH118 (of the phone)

    def _write(self, stream: int, text: str) -> None:
        data = text.encode(errors="surrogateescape")
        try:
            while data:
                data = data[os.write(stream, data) :]
        except OSError as error:
            raise Killed from error


# Returns the exit status; negative: the signal that ends the process.
Command = Callable[[Call], int]


class CallServer:
    """Answers the calls of one phone. `commands` by name; `otherwise` takes what has none."""

    def __init__(self, root: Path, commands: Mapping[str, Command], otherwise: Command) -> None:
        self._commands = commands
        self._otherwise = otherwise
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        folder = os.open(root / "dev" / "socket", os.O_RDONLY)
        try:
            # By way of the descriptor: paths of sockets must be short.
            self._listening.bind(f"/proc/self/fd/{folder}/phone")
        finally:
            os.close(folder)
        (root / "dev" / "socket" / "phone").chmod(0o666)
        self._listening.listen(64)
        threading.Thread(target=self._accept, daemon=True, name="phone calls").start()

    def close(self) -> None:
        """Answers no more."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(caller,), daemon=True, name="phone call").start()

    def _answer(self, caller: socket.socket) -> None:
        with caller:
            call = _received(caller)
            if call is None:
                return
            threading.Thread(target=_watch, args=(caller, call.gone), daemon=True).start()
            try:
                status = self._commands.get(call.name, self._otherwise)(call)
            except Killed:
                status = 1
            finally:
                for stream in call.streams:
                    os.close(stream)
            with contextlib.suppress(OSError):
                caller.sendall(b"e" + bytes([status & 0xFF]) if status >= 0 else b"s" + bytes([-status]))
                caller.shutdown(socket.SHUT_RDWR)


def _watch(caller: socket.socket, gone: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while caller.recv(1):
            pass
    gone.set()


def _received(caller: socket.socket) -> Call | None:
    head, streams, _, _ = socket.recv_fds(caller, 4, _STREAMS)
    if len(head) < 4 or len(streams) != _STREAMS:
        return None
    length, data = struct.unpack("<I", head)[0], bytearray()
    while len(data) < length and (piece := caller.recv(length - len(data))):
        data += piece
    folder, count, *rest = [part.decode(errors="surrogateescape") for part in bytes(data).split(b"\0")[:-1]]
    arguments, environment = rest[: int(count)], rest[int(count) :]
    pid, user, _ = struct.unpack("3i", caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    named = dict(one.split("=", 1) for one in environment if "=" in one)
    return Call(pid, user, folder, arguments, named, (streams[0], streams[1], streams[2]))
