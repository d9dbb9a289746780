"""The options of a monitor, checked once when it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

from windtunnel.monitor.messages import LEVELS

Redaction = Callable[[str, str, Any], Any]
ModelName = str | PathLike[str]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds of memory and disk, and when a chunk is written."""

    memory_bytes: int
    file_bytes: int
    disk_bytes: int
    flush_frames: int
    flush_s: float

    @property
    def backlog_bytes(self) -> int:
        """What may wait to be written; the rest of the memory is for the code, buffers and tables."""
        return max(self.memory_bytes - 2_000_000, self.memory_bytes // 2)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which frames are recorded: every n-th, and then only if that many seconds passed."""

    every: int
    every_s: float | None


def level_named(level: str) -> int:
    """Find a level by its name.

    Args:
        level: "off", "statistics", "io" or "layers".

    Returns:
        Its number.

    Raises:
        ValueError: There is no such level.
    """
    if level not in LEVELS:
        raise ValueError(f"level={level!r} is unknown: use one of {', '.join(LEVELS)}")
    return LEVELS.index(level)


def checked_bounds(values: Mapping[str, float]) -> Bounds:
    """Check bounds.

    Args:
        values: By name, as `Monitor` takes them.

    Returns:
        The bounds.

    Raises:
        ValueError: One is not a positive number.
    """
    for name, value in values.items():
        _positive(name, value, whole=name != "flush_s")
    return Bounds(
        int(values["memory_bytes"]),
        # A ring needs at least two files.
        min(int(values["file_bytes"]), max(int(values["disk_bytes"]) // 2, 1)),
        int(values["disk_bytes"]),
        int(values["flush_frames"]),
        float(values["flush_s"]),
    )


def checked_selection(every: int, every_s: float | None) -> Selection:
    """Check which frames are recorded.

    Args:
        every: Every n-th frame.
        every_s: Least seconds between two of them.

    Returns:
        The selection.

    Raises:
        ValueError: One is not a positive number.
    """
    _positive("every", every, whole=True)
    if every_s is not None:
        _positive("every_s", every_s, whole=False)
    return Selection(every, every_s)


def _positive(name: str, value: float, whole: bool) -> None:
    kinds = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value < float("inf"):
        raise ValueError(f"{name}={value!r}: give a positive {'whole ' if whole else ''}number")
