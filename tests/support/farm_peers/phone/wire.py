"""The transport of adb as adbd speaks it: packets, streams with flow control, a connection.

Format: packages/modules/adb/protocol.txt of Android. Every WRTE waits for the OKAY of the one before.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import socket
import struct
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass

_HEADER = struct.Struct("<6I")
_CNXN, _AUTH, _OPEN, _OKAY, _CLSE, _WRTE = (
    int.from_bytes(name, "little") for name in (b"CNXN", b"AUTH", b"OPEN", b"OKAY", b"CLSE", b"WRTE")
)
# From this version on, checksums are not looked at.
_VERSION = 0x01000001
_MAX_PAYLOAD = 256 << 10
_TOKEN = 1
WAIT_S = 60.0


class StreamClosed(Exception):
    """The other side has closed the stream, or the cable was pulled."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One message."""

    command: int
    first: int
    second: int
    data: bytes = b""

    def encode(self) -> bytes:
        """Header and data."""
        head = (self.command, self.first, self.second, len(self.data), sum(self.data) & 0xFFFFFFFF)
        return _HEADER.pack(*head, self.command ^ 0xFFFFFFFF) + self.data


class Stream:
    """One stream of a connection: what a service reads and writes."""

    def __init__(self, connection: Connection, local: int, remote: int) -> None:
        self._connection = connection
        self.local, self.remote = local, remote
        self._received: queue.Queue[bytes] = queue.Queue()
        self._rest = b""
        self._may_write = threading.Semaphore(0)
        self._closed = threading.Event()

    @property
    def closed(self) -> bool:
        """Whether nothing more can be written."""
        return self._closed.is_set()

    def read(self) -> bytes:
        """The next bytes; b"" at the end."""
        data, self._rest = self._rest, b""
        if data:
            return data
        data = self._received.get()
        if data:
            self._connection.send(Packet(_OKAY, self.local, self.remote))
        else:
            self._received.put(b"")
        return data

    def read_exactly(self, count: int) -> bytes:
        """`count` bytes. Raises StreamClosed if there are fewer."""
        found = bytearray()
        while len(found) < count:
            data = self.read()
            if not data:
                raise StreamClosed
            found += data
        self._rest = bytes(found[count:]) + self._rest
        return bytes(found[:count])

    def write(self, data: bytes) -> None:
        """Writes all of it. Raises StreamClosed."""
        size = self._connection.max_payload
        for start in range(0, len(data), size):
            if not self._may_write.acquire(timeout=WAIT_S) or self.closed:
                raise StreamClosed
            self._connection.send(Packet(_WRTE, self.local, self.remote, data[start : start + size]))

    def close(self) -> None:
        """Closes it on this side."""
        if not self._closed.is_set():
            self._connection.send(Packet(_CLSE, self.local, self.remote))
        self.ended()

    def received(self, data: bytes) -> None:
        """Data came in."""
        self._received.put(data)

    def acknowledged(self) -> None:
        """The other side has taken what was written."""
        self._may_write.release()

    def ended(self) -> None:
        """The other side is gone."""
        self._closed.set()
        self._received.put(b"")
        self._may_write.release()


class Connection:
    """One adb server that is connected. `open_service` runs a service in a thread; None: there is no such service."""

    def __init__(
        self,
        sock: socket.socket,
        banner: Callable[[], str],
        open_service: Callable[[str], Callable[[Stream], None] | None],
        mode: Callable[[], str],
        pace: Callable[[], float],
    ) -> None:
        self._sock = sock
        self._banner = banner
        self._open_service = open_service
        self._mode = mode
        self._pace = pace
        self._streams: dict[int, Stream] = {}
        self._ids = itertools.count(1)
        self._sending = threading.Lock()
        self._stopped = threading.Event()
        self.max_payload = 4096

    def serve(self) -> None:
        """Serves until the cable is pulled."""
        with contextlib.suppress(OSError):
            while (packet := self._receive()) is not None:
                self._handle(packet)
        self.drop()

    def drop(self) -> None:
        """Pulls the cable: a plain end of stream."""
        self._stopped.set()
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        for stream in list(self._streams.values()):
            stream.ended()

    def send(self, packet: Packet) -> None:
        """Sends a packet; to nobody where the cable was pulled."""
        if pace := self._pace():
            self._stopped.wait(pace)
        with self._sending:
            try:
                self._sock.sendall(packet.encode())
            except OSError:
                self._stopped.set()

    def _receive(self) -> Packet | None:
        head = self._exactly(_HEADER.size)
        if head is None:
            return None
        command, first, second, length, _, _ = _HEADER.unpack(head)
        data = self._exactly(length) if length else b""
        return None if data is None else Packet(command, first, second, data)

    def _exactly(self, count: int) -> bytes | None:
        found = bytearray()
        while len(found) < count:
            data = self._sock.recv(count - len(found))
            if not data:
                return None
            found += data
        return bytes(found)

    def _handle(self, packet: Packet) -> None:
        if packet.command in (_CNXN, _AUTH):
            self._connect(packet)
        elif packet.command == _OPEN:
            self._open(packet.first, packet.data.rstrip(b"\0").decode())
        elif packet.command in (_OKAY, _WRTE, _CLSE):
            self._pass_on(packet)

    def _connect(self, packet: Packet) -> None:
        mode = self._mode()
        if packet.command == _CNXN:
            self.max_payload = min(packet.second, _MAX_PAYLOAD)
        if mode == "unauthorized":
            token = zlib.crc32(packet.data).to_bytes(4, "big") * 5
            # After the host's public key the person at the phone would have to say yes.
            if packet.first != 3:
                self.send(Packet(_AUTH, _TOKEN, 0, token))
        elif mode == "device":
            self.send(Packet(_CNXN, _VERSION, _MAX_PAYLOAD, self._banner().encode()))

    def _open(self, remote: int, name: str) -> None:
        service = self._open_service(name)
        if service is None:
            self.send(Packet(_CLSE, 0, remote))
            return
        stream = Stream(self, next(self._ids), remote)
        self._streams[stream.local] = stream
        self.send(Packet(_OKAY, stream.local, remote))
        stream.acknowledged()
        threading.Thread(target=self._run, args=(service, stream), daemon=True, name=f"adbd {name[:40]}").start()

    def _run(self, service: Callable[[Stream], None], stream: Stream) -> None:
        with contextlib.suppress(StreamClosed):
            service(stream)
        stream.close()
        self._streams.pop(stream.local, None)

    def _pass_on(self, packet: Packet) -> None:
        stream = self._streams.get(packet.second)
        if stream is None:
            if packet.command == _WRTE:
                self.send(Packet(_CLSE, 0, packet.first))
        elif packet.command == _OKAY:
            stream.acknowledged()
        elif packet.command == _WRTE:
            stream.received(packet.data)
        else:
            stream.ended()
