"""A whole Windtunnel for a test: `windtunnel up` as a process, and what a stranger needs to talk to it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
from nats.js import JetStreamContext

STREAM = "WINDTUNNEL"


class System:
    """A running `windtunnel up`."""

    def __init__(self, home: Path, environment: Mapping[str, str] | None = None) -> None:
        self.home = home
        self._environment = {**os.environ, **(environment or {}), "WINDTUNNEL_HOME": str(home)}
        self._process: subprocess.Popen[str] | None = None
        self.endpoints: dict[str, Any] = {}
        self.ready_s = 0.0
        self._log_path = home.parent / f"{home.name}-up.log"

    def start(self) -> System:
        started = time.monotonic()
        with self._log_path.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "windtunnel.cli", "up", "--home", str(self.home), "--json"],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self._environment,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"up did not start: {self.log()}"
        self.ready_s = time.monotonic() - started
        self.endpoints = json.loads(line)
        return self

    def log(self) -> str:
        return self._log_path.read_text()

    def stop(self) -> int:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(60)
        if self._process.stdout is not None:
            self._process.stdout.close()
        return code

    def pid_of(self, service: str) -> int:
        """The pid now: a restarted service has another one than at the start."""
        return int(json.loads((self.home / "endpoints.json").read_text())["pids"][service])

    def kill(self, service: str) -> None:
        os.kill(self.pid_of(service), signal.SIGKILL)

    def cli(self, *arguments: str, timeout_s: float = 240) -> subprocess.CompletedProcess[str]:
        """Runs the command line as a user would."""
        return subprocess.run(
            [sys.executable, "-m", "windtunnel.cli", *arguments],
            capture_output=True,
            text=True,
            env=self._environment,
            timeout=timeout_s,
            check=False,
        )

    def inbox(self, path: Path) -> str:
        """A copy of `path` in the inbox, as the URI that an event may give."""
        target = self.home / "inbox" / path.name
        target.write_bytes(path.read_bytes())
        return f"file://{target}"

    @asynccontextmanager
    async def jetstream(self) -> AsyncIterator[JetStreamContext]:
        """Plain nats-py: nothing of Windtunnel."""
        client = await nats.connect(self.endpoints["nats"], max_reconnect_attempts=-1, reconnect_time_wait=0.1)
        try:
            yield client.jetstream()
        finally:
            await client.close()

    async def events(self, js: JetStreamContext) -> list[tuple[str, dict[str, str]]]:
        """Subject and headers of every message in the stream."""
        last = (await js.stream_info(STREAM)).state.last_seq
        found = []
        for sequence in range(1, last + 1):
            message = await js.get_msg(STREAM, sequence)
            found.append((str(message.subject), dict(message.headers or {})))
        return found

    async def completed(self, js: JetStreamContext, run_id: str, timeout_s: float = 180) -> None:
        """Waits for `run.completed` of a run."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            events = await self.events(js)
            if any(s == "windtunnel.run.completed" and h.get("ce-subject") == run_id for s, h in events):
                return
            await asyncio.sleep(0.5)
        raise AssertionError(f"run {run_id} has no verdict after {timeout_s} s; logs in {self.home / 'logs'}")

    def report(self, run_id: str) -> dict[str, Any]:
        result = self.cli("report", run_id, "--json")
        assert result.stdout, result.stderr
        report: dict[str, Any] = json.loads(result.stdout)
        assert result.returncode == {"passed": 0, "failed": 1, "could_not_run": 2, None: 0}[report["verdict"]]
        return report
