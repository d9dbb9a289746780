"""Connections to an adb server and, through it, to a phone. adbutils alone leaves them open after a refusal."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from adbutils import AdbClient, AdbError
from adbutils import AdbConnection as Connection

# The most that a message of the sync service may carry.
_CHUNK: Final = 64 << 10
_EXECUTABLE: Final = 0o100755
_STDOUT, _STDERR, _EXIT = 1, 2, 3
_MARK: Final = "windtunnel-exit:"


@contextlib.contextmanager
def connected(client: AdbClient, timeout_s: float) -> Iterator[Connection]:
    """A connection to the server.

    Args:
        client: of the server.
        timeout_s: the longest silence, in seconds.

    Yields:
        The connection.

    Raises:
        OSError: nothing listens there. adbutils alone would start a server, on another port.
    """
    with socket.create_connection((client.host, client.port), timeout=3.0):
        pass
    connection = client.make_connection(timeout=timeout_s)
    try:
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def to_phone(client: AdbClient, serial: str, service: str, timeout_s: float) -> Iterator[Connection]:
    """A connection to a service of a phone.

    Args:
        client: of the server.
        serial: of the phone.
        service: for example "sync:".
        timeout_s: the longest silence, in seconds.

    Yields:
        The connection.

    Raises:
        AdbError: the server or the phone refuses; the words are its own.
    """
    with connected(client, timeout_s) as connection:
        for command in (f"host:transport:{serial}", service):
            connection.send_command(command)
            connection.check_okay()
        yield connection


def features(client: AdbClient, serial: str, timeout_s: float) -> frozenset[str]:
    """What the adbd of a phone can do.

    Args:
        client: of the server.
        serial: of the phone.
        timeout_s: the longest silence, in seconds.

    Returns:
        Names, for example "shell_v2".
    """
    with connected(client, timeout_s) as connection:
        connection.send_command(f"host-serial:{serial}:features")
        connection.check_okay()
        return frozenset(connection.read_string_block().split(","))


def shell_v2(client: AdbClient, serial: str, command: str, timeout_s: float) -> tuple[int, bytes]:
    """Runs a command; the shell protocol gives its exit status.

    Args:
        client: of the server.
        serial: of the phone.
        command: for the shell.
        timeout_s: the longest silence, in seconds.

    Returns:
        The status and what was printed.

    Raises:
        EOFError: the connection ended before the command.
    """
    printed = bytearray()
    with to_phone(client, serial, f"shell,v2,raw:{command}", timeout_s) as connection:
        while True:
            kind, length = struct.unpack("<BI", connection.read_exact(5))
            data = connection.read_exact(length)
            if kind in (_STDOUT, _STDERR):
                printed += data
            elif kind == _EXIT:
                return data[0], bytes(printed)


def shell_v1(client: AdbClient, serial: str, command: str, timeout_s: float) -> tuple[int, bytes]:
    """Runs a command on a phone before Android 7, whose shell service gives no exit status: it is printed behind.

    Args:
        client: of the server.
        serial: of the phone.
        command: for the shell.
        timeout_s: the longest silence, in seconds.

    Returns:
        The status and what was printed.

    Raises:
        EOFError: the connection ended before the command.
    """
    with to_phone(client, serial, f"shell:{command}\necho {_MARK}$?", timeout_s) as connection:
        printed = connection.read_until_close(encoding=None)
    text, mark, status = bytes(printed).rpartition(_MARK.encode())
    if not mark or not status.strip().isdigit():
        raise EOFError("the connection was closed")
    return int(status), text


def send(client: AdbClient, serial: str, source: Path, target: str, timeout_s: float) -> None:
    """Copies a file to a phone, executable.

    Args:
        client: of the server.
        serial: of the phone.
        source: of this host.
        target: absolute path on the phone.
        timeout_s: the longest silence, in seconds.

    Raises:
        AdbError: the phone refuses; the words are its reason.
    """
    with to_phone(client, serial, "sync:", timeout_s) as connection, source.open("rb") as file:
        name = f"{target},{_EXECUTABLE}".encode()
        connection.conn.sendall(b"SEND" + struct.pack("<I", len(name)) + name)
        while data := file.read(_CHUNK):
            connection.conn.sendall(b"DATA" + struct.pack("<I", len(data)) + data)
        connection.conn.sendall(b"DONE" + struct.pack("<I", int(time.time())))
        answer, length = struct.unpack("<4sI", connection.read_exact(8))
        if answer != b"OKAY":
            raise AdbError(connection.read_exact(length).decode(errors="replace"))


def receive(client: AdbClient, serial: str, source: str, target: Path, timeout_s: float) -> None:
    """Copies a file from a phone, whole or not at all.

    Args:
        client: of the server.
        serial: of the phone.
        source: absolute path on the phone.
        target: of this host.
        timeout_s: the longest silence, in seconds.

    Raises:
        AdbError: the phone refuses; the words are its reason.
    """
    part = target.with_name(f"{target.name}.part")
    with to_phone(client, serial, "sync:", timeout_s) as connection, part.open("wb") as file:
        name = source.encode(errors="surrogateescape")
        connection.conn.sendall(b"RECV" + struct.pack("<I", len(name)) + name)
        while True:
            answer, length = struct.unpack("<4sI", connection.read_exact(8))
            if answer == b"DONE":
                break
            data = connection.read_exact(length)
            if answer != b"DATA":
                raise AdbError(f"{source}: {data.decode(errors='replace')}")
            file.write(data)
    part.replace(target)
