"""Debian's adb: a server of its own on a free port, and its command line."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.farm_peers.phone.programs import phone_programs
from support.servers import free_port

_PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class AdbServer:
    """A running server. `home` holds its keys."""

    port: int
    home: Path

    @property
    def address(self) -> str:
        """As farms.yaml names it."""
        return f"127.0.0.1:{self.port}"

    def adb(self, *words: str, input: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        """Runs a command of the command line."""
        command = ["adb", "-P", str(self.port), *words]
        return subprocess.run(
            command, input=input, capture_output=True, env=_environment(self.home), timeout=120, check=False
        )

    def connect(self, serial: str) -> str:
        """Attaches a phone; says what adb says."""
        return self.adb("connect", serial).stdout.decode().strip()

    def states(self) -> dict[str, str]:
        """The phones and their states."""
        lines = self.adb("devices").stdout.decode().splitlines()[1:]
        return {serial: state for serial, _, state in (line.partition("\t") for line in lines if line)}

    def wait_for(self, serial: str, state: str | None) -> None:
        """Until a phone is in a state; None: until it is not listed."""
        deadline = time.monotonic() + _PATIENCE_S
        while (found := self.states().get(serial)) != state:
            assert time.monotonic() < deadline, f"{serial} is {found}, not {state}"


@contextmanager
def adb_server(home: Path, port: int = 0) -> Iterator[AdbServer]:
    """A server for the time of a block; `home` is an empty folder. Port 0: any."""
    phone_programs()
    home.mkdir(parents=True, exist_ok=True)
    server = AdbServer(port or free_port(), home)
    command = ["adb", "-L", f"tcp:{server.port}", "nodaemon", "server"]
    with (home / "adb.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=_environment(home))
        try:
            _wait(server, process)
            yield server
        finally:
            process.terminate()
            process.wait(10)


def _wait(server: AdbServer, process: subprocess.Popen[bytes]) -> None:
    """Until it listens. Not by adb, which would start a server of its own that nobody ends."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port), timeout=1.0):
            return
    raise AssertionError(f"adb does not start: {(server.home / 'adb.log').read_text(errors='replace')}")


def _environment(home: Path) -> dict[str, str]:
    # Without mDNS and USB nothing of this host's real phones is touched.
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return {**kept, "HOME": str(home), "ADB_MDNS": "0", "ADB_USB": "0", "TMPDIR": str(home)}
