"""A service as a process of its own, as `windtunnel up` starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any


class ServiceProcess:
    """`python -m windtunnel.<name>` on the server at `nats_url`; `ready` is the line that it printed."""

    def __init__(self, name: str, home: Path, nats_url: str, **settings: str) -> None:
        environment = {
            **os.environ,
            "WINDTUNNEL_HOME": str(home),
            "WINDTUNNEL_NATS_URL": nats_url,
            **{f"WINDTUNNEL_{key.upper()}": value for key, value in settings.items()},
        }
        self._log = home / f"{name}.log"
        home.mkdir(parents=True, exist_ok=True)
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"windtunnel.{name}"], env=environment, stdout=subprocess.PIPE, stderr=log
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self._log.read_text()
        self.ready: dict[str, Any] = json.loads(line)

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._end()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self._process.send_signal(signal.SIGTERM)
        return self._end()

    def _end(self) -> int:
        assert self._process.stdout is not None
        status = self._process.wait(30)
        self._process.stdout.close()
        return status
