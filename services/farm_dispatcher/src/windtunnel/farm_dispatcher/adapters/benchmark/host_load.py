"""What other processes do on this host, from /proc; nothing is known without it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from windtunnel.farm_dispatcher.domain.trust_measurement import Load

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")
# user, nice, system, irq, softirq, steal of a processor's line in /proc/stat; guests are part of user.
_BUSY = (1, 2, 3, 6, 7, 8)


@dataclass(frozen=True, slots=True)
class _Reading:
    """Seconds since some start; `busy` of all processors that this process may use, the others of this process."""

    at: float
    own: float
    busy: float | None
    waited: float | None
    ran: float | None
    windtunnel: float | None


class Watch:
    """Starts to watch the host; `load` says what happened since. `with_own`: also what Windtunnel's processes did.

    Args:
        with_own: measure also Windtunnel's other processes.
    """

    def __init__(self, *, with_own: bool = False) -> None:
        self._processors = _processors()
        self._with_own = with_own
        self._start = self._read()

    def load(self) -> Load:
        """The load since the start."""
        start, end = self._start, self._read()
        elapsed, own = end.at - start.at, end.own - start.own
        busy = _since(start.busy, end.busy)
        # Ticks of 10 ms are too coarse to add up exactly.
        other = None if busy is None or elapsed <= 0 else (busy - own) / elapsed
        other = None if other is None else min(max(other, 0.0), float(len(self._processors)))
        windtunnel = _since(start.windtunnel, end.windtunnel)
        return Load(
            len(self._processors),
            other,
            _since(start.waited, end.waited),
            _since(start.ran, end.ran),
            None if windtunnel is None or elapsed <= 0 else windtunnel / elapsed,
        )

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start.at

    def _read(self) -> _Reading:
        line = _line()
        throttled = _throttled_s()
        waited = None if line is None else line[1] + (throttled or 0.0)
        ran = None if line is None else line[0]
        own = _windtunnel_s() if self._with_own else None
        return _Reading(time.monotonic(), time.process_time(), _busy_s(self._processors), waited, ran, own)


def _since(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else max(0.0, end - start)


def _processors() -> frozenset[int]:
    """Those that this process may use, which in a container are fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _busy_s(processors: frozenset[int]) -> float | None:
    """Seconds that `processors` worked since the start of the system, time taken by a hypervisor included."""
    lines = _text(_PROC / "stat").splitlines()
    ticks = [
        sum(int(fields[place]) for place in _BUSY if place < len(fields))
        for line in lines
        if (fields := line.split()) and fields[0][:3] == "cpu" and fields[0][3:].isdigit()
        if int(fields[0][3:]) in processors
    ]
    return sum(ticks) / os.sysconf("SC_CLK_TCK") if ticks else None


def _windtunnel_s() -> float:
    """Processor seconds of all other processes of Windtunnel on this host: services, and the children that work."""
    found = 0.0
    for folder in _folders(_PROC):
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        if "windtunnel." not in _text(folder / "cmdline").replace("\0", " "):
            continue
        # The name of the program, in parentheses, may hold spaces; user and system time follow 11 fields later.
        fields = _text(folder / "stat").rpartition(")")[2].split()
        found += sum(int(value) for value in fields[11:13]) / os.sysconf("SC_CLK_TCK")
    return found


def _line() -> tuple[float, float] | None:
    """Seconds that the threads of this process ran, and that they waited for a processor."""
    read = [_text(path / "schedstat").split() for path in _folders(_PROC / "self" / "task")]
    found = [(int(fields[0]), int(fields[1])) for fields in read if len(fields) == 3]
    if not found:
        return None
    return sum(ran for ran, _ in found) / 1e9, sum(waited for _, waited in found) / 1e9


def _throttled_s() -> float | None:
    """Seconds that the control group of this process was held back because its quota was used up."""
    for line in _text(_PROC / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "cpu", "cpu,cpuacct"):
            continue
        text = _text(_CGROUPS / controllers / path.lstrip("/") / "cpu.stat")
        values = {name: value for name, _, value in (entry.partition(" ") for entry in text.splitlines())}
        if "throttled_usec" in values:
            return int(values["throttled_usec"]) / 1e6
        if "throttled_time" in values:
            return int(values["throttled_time"]) / 1e9
    return None


def _folders(path: Path) -> list[Path]:
    try:
        return list(path.iterdir())
    except OSError:
        return []


def _text(path: Path) -> str:
    """The content, empty where it cannot be read: a thread may have ended meanwhile."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
