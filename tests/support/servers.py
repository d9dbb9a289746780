"""Real servers for contract tests, on loopback and on ports that are free now."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_BIN = Path(sys.executable).parent
_WEED_PORTS = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port",
    "s3.port.grpc",
    "s3.port.iceberg",
    "s3.port.lance",
)


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running S3 server; `environment` is what its clients need."""

    endpoint: str
    access_key: str = "windtunnel"
    secret_key: str = "windtunnel-secret"
    region: str = "us-east-1"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ENDPOINT_URL": self.endpoint,
        }


@dataclass(frozen=True, slots=True)
class GcsServer:
    """A running GCS emulator."""

    endpoint: str

    @property
    def environment(self) -> dict[str, str]:
        return {"STORAGE_EMULATOR_HOST": self.endpoint}


def free_port() -> int:
    """A TCP port of the loopback interface that nothing listens on now."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """`count` different free ports."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


@contextmanager
def start_seaweedfs(folder: Path) -> Iterator[S3Server]:
    """Run a real SeaweedFS with its S3 API; `folder` takes its data, settings and log. Ready in about 3 s."""
    data = folder / "data"
    data.mkdir(parents=True)
    ports = dict(zip(_WEED_PORTS, free_ports(len(_WEED_PORTS)), strict=True))
    server = S3Server(f"http://127.0.0.1:{ports['s3.port']}")
    settings = folder / "s3.json"
    credentials = [{"accessKey": server.access_key, "secretKey": server.secret_key}]
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identity = {"name": "tests", "credentials": credentials, "actions": actions}
    settings.write_text(json.dumps({"identities": [identity]}))
    command = [
        str(_BIN / "weed"),
        "-logtostderr",
        "server",
        f"-dir={data}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=256",
        "-volume.max=1000",  # every bucket takes several volumes
        "-s3",
        "-s3.ip.bind=127.0.0.1",
        f"-s3.config={settings}",
        "-s3.autoCreateBucket=false",  # as AWS does
        *(f"-{name}={port}" for name, port in ports.items()),
    ]
    with _running(command, folder / "seaweedfs.log", f"{server.endpoint}/healthz"):
        yield server


@contextmanager
def start_gcs_emulator(folder: Path) -> Iterator[GcsServer]:
    """Run gcp-storage-emulator in memory; `folder` takes its log. It ignores if_generation_match."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [
        str(_BIN / "gcp-storage-emulator"),
        "start",
        "--host=127.0.0.1",
        f"--port={port}",
        "--in-memory",
        "--quiet",
    ]
    server = GcsServer(f"http://127.0.0.1:{port}")
    with _running(command, folder / "gcs.log", f"{server.endpoint}/"):
        yield server


@contextmanager
def _running(command: list[str], log: Path, url: str, *, timeout_s: float = 60.0) -> Iterator[None]:
    with log.open("wb") as out:
        # A server here and its client here must not use the machine's proxies.
        environment = {**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment)
    try:
        _wait_until_ready(process, log, url, time.monotonic() + timeout_s)
        yield
    finally:
        # Its data is thrown away, and SeaweedFS takes 25 s for a graceful stop.
        process.kill()
        process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path, url: str, deadline: float) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with opener.open(url, timeout=1) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} did not get ready:\n{log.read_text()[-2000:]}")
