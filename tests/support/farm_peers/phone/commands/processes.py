"""ps, pidof and pgrep over the phone's own processes, and what apps there are."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from support.farm_peers.phone.calls import Call, Command


class Processes:
    """The processes whose root folder is the phone's."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        # Apps are called by their package, whatever runs them.
        self.apps: dict[int, str] = {}

    def table(self) -> Mapping[str, Command]:
        """The commands by name."""
        return {"ps": self._ps, "pidof": self._pidof, "pgrep": self._pgrep}

    def running(self) -> Iterator[tuple[int, int, str]]:
        """Pid, user and name of each."""
        for process in psutil.process_iter(["pid"]):
            with contextlib.suppress(OSError, psutil.Error):
                if Path(f"/proc/{process.pid}/root").readlink() == self._root and process.status() != "zombie":
                    yield process.pid, process.uids().real, self.apps.get(process.pid, process.name())

    def kill_all(self) -> None:
        """What a reboot does."""
        for pid, _, _ in list(self.running()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _ps(self, call: Call) -> int:
        call.out("USER           PID  PPID     VSZ    RSS WCHAN            ADDR S NAME                       \n")
        for pid, user, name in self.running():
            who = "shell" if user == 2000 else f"u0_a{user - 10000}" if user >= 10000 else "root"
            call.out(f"{who:<12} {pid:>5}     1 1234567  54321 0                   0 S {name}\n")
        return 0

    def _pidof(self, call: Call) -> int:
        found = [str(pid) for pid, _, name in self.running() if name in call.arguments[1:] and pid != call.pid]
        if found:
            call.out(" ".join(found) + "\n")
        return 0 if found else 1

    def _pgrep(self, call: Call) -> int:
        wanted = call.arguments[-1]
        found = [str(pid) for pid, _, name in self.running() if wanted in name and pid != call.pid]
        call.out("".join(f"{pid}\n" for pid in found))
        return 0 if found else 1
