"""A farms.yaml whose farms are peers that run as real servers: AWS, Test Lab, an attached phone."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from support.adb_farm import Lab as PhoneLab
from support.android_manifest import manifest
from support.base_apk import apk_bytes
from support.farm_peers.aws.benchmark import measuring_benchmark
from support.farm_peers.aws.server import AwsPeer, start_aws_peer
from support.farm_peers.google.lab import Lab
from support.farm_peers.google.server import GooglePeer, google_peer
from support.farm_peers.google.virtual_clock import VirtualClock
from support.farm_peers.phone.adb_server import adb_server
from support.farm_peers.phone.benchmark import benchmark_binary
from support.farm_peers.phone.phone import Phone

BUCKET = "my-bucket"
_PATIENCE_S = 120.0
_LOOPS = manifest(
    "org.tensorflow.lite.benchmark.firebase", min_sdk=26, game_loop=True, metadata={"com.google.test.loops": 10}
)


@dataclass
class Installation:
    """Peers, the farms.yaml that names them, and commands of a user."""

    folder: Path
    aws: AwsPeer
    google: GooglePeer
    phone: Phone
    farms: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def catalog(self, program: bytes) -> Path:
        """A catalog with this benchmark program and a game loop."""
        folder = self.folder / f"catalog-{hashlib.sha256(program).hexdigest()[:8]}"
        folder.mkdir(exist_ok=True)
        contents = {"benchmark_model": program, "loop.apk": apk_bytes(manifest=_LOOPS)}
        for name, content in contents.items():
            (folder / name).write_bytes(content)
        sha256 = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        program_entry = {"name": "benchmark_model", "kind": "binary", "abi": "arm64-v8a", "path": "benchmark_model"}
        app_entry = {"name": "loop", "kind": "game_loop_app", "path": "loop.apk"}
        entries = [
            {**program_entry, "sha256": sha256["benchmark_model"]},
            {**app_entry, "sha256": sha256["loop.apk"]},
        ]
        path = folder / "catalog.yaml"
        path.write_text(yaml.safe_dump({"apiVersion": "windtunnel/v1", "entries": entries}))
        return path

    def phone_catalog(self) -> Path:
        """A catalog whose program the fake phone runs."""
        return self.catalog(benchmark_binary())

    def aws_catalog(self) -> Path:
        """A catalog whose program the phones of the AWS peer run: it runs the model."""
        return self.catalog(measuring_benchmark(self.folder / "measuring").read_bytes())

    def cli(self, *arguments: str | Path, timeout_s: float = 240.0) -> subprocess.CompletedProcess[str]:
        """Runs the command line as a user would."""
        with self.started(*arguments) as process:
            output, errors = process.communicate(timeout=timeout_s)
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    def json(self, *arguments: str | Path, code: int = 0) -> Any:
        """What a command prints with --json."""
        done = self.cli(*arguments, "--json")
        assert done.returncode == code, (done.returncode, done.stderr)
        return json.loads(done.stdout)

    @contextlib.contextmanager
    def started(self, *arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
        """A command that runs."""
        process = subprocess.Popen(
            [sys.executable, "-m", "windtunnel.cli", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.environment},
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.communicate()


@contextlib.contextmanager
def installation(folder: Path, *, aws_speed: float = 60.0) -> Iterator[Installation]:
    """Starts the peers. `aws_speed`: virtual seconds of the AWS peer in a real one."""
    with contextlib.ExitStack() as stack:
        aws = stack.enter_context(start_aws_peer(folder / "aws", speed=aws_speed))
        google = stack.enter_context(google_peer(BUCKET, lab=Lab(VirtualClock(1000.0))))
        server = stack.enter_context(adb_server(folder / "adb"))
        phone = stack.enter_context(PhoneLab(server, folder).phone("phone"))
        farms = folder / "farms.yaml"
        farms.write_text(yaml.safe_dump(_document(aws, google, server.address, phone)))
        environment = {**aws.environment, "WINDTUNNEL_HOME": str(folder / "home")}
        yield Installation(folder, aws, google, phone, farms, environment)


def _document(aws: AwsPeer, google: GooglePeer, adb: str, phone: Phone) -> dict[str, Any]:
    endpoints = dict.fromkeys(("testing", "toolresults", "storage"), google.url)
    return {
        "apiVersion": "windtunnel/v1",
        "farms": [
            {"name": "local", "kind": "local"},
            {"name": "bench", "kind": "adb", "server": adb, "serials": [phone.serial]},
            {
                "name": "ftl", "kind": "firebase", "project": "my-project", "results": f"gs://{BUCKET}/windtunnel",
                "endpoints": endpoints, "price_per_minute_usd": {"physical": 0.0834, "virtual": 0.0167},
            },
            {
                "name": "aws", "kind": "aws", "project": aws.project, "price_per_minute_usd": {"physical": 0.17},
                "budget_usd": {"run": 1}, "pack_seconds": 1,
            },
        ],
        "defaults": {"poll_seconds": {"min": 0.05, "max": 0.2}},
    }  # fmt: skip


def until(condition: Any, what: str) -> None:
    """Waits for a condition, with a deadline."""
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} does not happen"
        time.sleep(0.02)
