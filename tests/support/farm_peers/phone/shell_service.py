"""The shell and exec services: Android's shell in the phone's file system, with and without the shell protocol."""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from support.farm_peers.phone.programs import chroot
from support.farm_peers.phone.system_root import SHELL_USER
from support.farm_peers.phone.wire import Stream, StreamClosed

_STDIN, _STDOUT, _STDERR, _EXIT, _CLOSE_STDIN = range(5)
_PIECE = 32 << 10
ENVIRONMENT: Mapping[str, str] = {
    "PATH": "/product/bin:/system/bin:/system/xbin:/vendor/bin",
    "HOME": "/",
    "SHELL": "/bin/sh",
    "TMPDIR": "/data/local/tmp",
    "ANDROID_DATA": "/data",
    "ANDROID_ROOT": "/system",
    "EXTERNAL_STORAGE": "/sdcard",
    "USER": "shell",
    "LOGNAME": "shell",
}


def start(
    root: Path, command: Sequence[str], *, user: int = SHELL_USER, merged: bool = False
) -> subprocess.Popen[bytes]:
    """Starts a program of the phone in a session of its own, as a user of the phone."""
    enter = chroot()
    assert enter is not None
    return subprocess.Popen(
        [*(part.format(user=user) for part in enter), str(root), *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if merged else subprocess.PIPE,
        env=dict(ENVIRONMENT),
        start_new_session=True,
    )


def hang_up(session: int) -> None:
    """What the end of the connection does to everything that a shell started, also after its end; nohup survives."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(session, signal.SIGHUP)


def run_raw(root: Path, command: str, stream: Stream, sessions: set[int]) -> None:
    """`shell:` and `exec:`: one stream for input, output and errors, and no exit code."""
    process = start(root, ("/system/bin/sh", "-c", command), merged=True)
    sessions.add(process.pid)
    _feed(process, stream, lambda data: (data, False))
    assert process.stdout is not None
    _ended(process, [_pump(process.stdout, stream.write)])


def run_protocol(root: Path, command: str, stream: Stream, sessions: set[int]) -> None:
    """`shell,v2:`: three streams and the exit code."""
    process = start(root, ("/system/bin/sh", "-c", command) if command else ("/system/bin/sh",))
    sessions.add(process.pid)
    sending = threading.Lock()

    def write(kind: int, data: bytes) -> None:
        with sending:
            stream.write(struct.pack("<BI", kind, len(data)) + data)

    _feed(process, stream, _Unpacker())
    assert process.stdout is not None and process.stderr is not None
    pumps = [
        _pump(process.stdout, lambda data: write(_STDOUT, data)),
        _pump(process.stderr, lambda data: write(_STDERR, data)),
    ]
    code = _ended(process, pumps)
    with contextlib.suppress(StreamClosed):
        # The status that a shell gives for a signal.
        write(_EXIT, bytes([code if code >= 0 else 128 - code]))


class _Unpacker:
    """The input among the packets of the shell protocol, and whether it ends there."""

    def __init__(self) -> None:
        self._left = b""

    def __call__(self, data: bytes) -> tuple[bytes, bool]:
        self._left += data
        found = b""
        while len(self._left) >= 5:
            kind, length = struct.unpack("<BI", self._left[:5])
            if len(self._left) < 5 + length:
                break
            body, self._left = self._left[5 : 5 + length], self._left[5 + length :]
            if kind == _STDIN:
                found += body
            elif kind == _CLOSE_STDIN:
                return found, True
        return found, False


def _feed(process: subprocess.Popen[bytes], stream: Stream, unpack: Callable[[bytes], tuple[bytes, bool]]) -> None:
    """Gives the input to the process in a thread, and hangs up when the connection ends."""

    def run() -> None:
        assert process.stdin is not None
        while data := stream.read():
            found, ends = unpack(data)
            with contextlib.suppress(OSError, ValueError):
                process.stdin.write(found)
                process.stdin.flush()
                if ends:
                    process.stdin.close()
        if process.poll() is None:
            hang_up(process.pid)

    threading.Thread(target=run, daemon=True).start()


def _pump(source: IO[bytes], write: Callable[[bytes], None]) -> threading.Thread:
    def run() -> None:
        # Read on after the connection is gone: a process that prints must not stop for that.
        open_still = True
        while data := os.read(source.fileno(), _PIECE):
            if open_still:
                try:
                    write(data)
                except StreamClosed:
                    open_still = False

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def _ended(process: subprocess.Popen[bytes], pumps: Sequence[threading.Thread]) -> int:
    for pump in pumps:
        pump.join()
    code = process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    return code
