"""The phone's log."""

from __future__ import annotations

import datetime
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass

LEVELS = "VDIWEF"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log."""

    at: datetime.datetime
    pid: int
    tid: int
    level: str
    tag: str
    text: str
    buffer: str = "main"

    def threadtime(self) -> str:
        """As `logcat -v threadtime`, the format by default."""
        return f"{self._clock()} {self.pid:5d} {self.tid:5d} {self.level} {self.tag:<8}: {self.text}"

    def brief(self) -> str:
        """As `logcat -v brief`."""
        return f"{self.level}/{self.tag:<8}({self.pid:5d}): {self.text}"

    def time(self) -> str:
        """As `logcat -v time`."""
        return f"{self._clock()} {self.level}/{self.tag:<8}({self.pid:5d}): {self.text}"

    def raw(self) -> str:
        """As `logcat -v raw`."""
        return self.text

    def _clock(self) -> str:
        return f"{self.at:%m-%d %H:%M:%S}.{self.at.microsecond // 1000:03d}"


class Log:
    """Entries in the order of their times. Waiting readers are woken by new ones."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        # How far its clock is ahead.
        self.ahead = datetime.timedelta()
        self.changed = threading.Condition()

    def write(self, pid: int, level: str, tag: str, text: str, *, buffer: str = "main") -> None:
        """Adds a line for each line of the text."""
        now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None) + self.ahead
        with self.changed:
            self._entries += [Entry(now, pid, pid, level, tag, line, buffer) for line in text.splitlines() or [""]]
            self.changed.notify_all()

    def clear(self) -> None:
        """Forgets everything."""
        with self.changed:
            self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)

    def wait_past(self, count: int, patience_s: float) -> None:
        """Waits until there are not `count` entries any more, or for so long."""
        with self.changed:
            self.changed.wait_for(lambda: len(self._entries) != count, timeout=patience_s)

    def entries(self, start: int = 0) -> Iterator[Entry]:
        """All from the one of this number on."""
        with self.changed:
            yield from self._entries[start:]


@dataclass(frozen=True, slots=True)
class Selection:
    """What a reader of the log asks for."""

    buffers: tuple[str, ...] = ("main", "crash")
    since: str = ""
    pid: int | None = None
    tags: tuple[tuple[str, str], ...] = ()
    pattern: str = ""

    def takes(self, entry: Entry) -> bool:
        """Whether the entry is wanted."""
        if "all" not in self.buffers and entry.buffer not in self.buffers:
            return False
        if self.since and f"{entry.at:%m-%d %H:%M:%S.%f}"[: len(self.since)] < self.since:
            return False
        if self.pid is not None and entry.pid != self.pid:
            return False
        if self.pattern and not re.search(self.pattern, entry.text):
            return False
        return self._level_taken(entry)

    def _level_taken(self, entry: Entry) -> bool:
        least = dict(self.tags).get(entry.tag, dict(self.tags).get("*", "V"))
        return least != "S" and LEVELS.index(entry.level) >= LEVELS.index(least)
