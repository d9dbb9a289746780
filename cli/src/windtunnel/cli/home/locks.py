"""Which process supervises a home. File locks say it: the kernel frees them with the process, however it ends.

up.lock         held by whoever supervises the home
embedded.lock   held beside it by a supervisor that lives for one command
up.next         held by an `up` that starts, until it has up.lock: an embedded supervisor then makes room
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

from windtunnel.errors import Conflict, InvalidInput

_RUNNING: Final = "up.lock"
_EMBEDDED: Final = "embedded.lock"
_NEXT: Final = "up.next"
# Longer than anybody who only looks holds a lock.
_LOOK_S: Final = 0.5
# An embedded supervisor makes room within its own limit of 5 s; a loaded machine takes longer.
_ROOM_S: Final = 60.0


class HomeLock:
    """The right to supervise a home."""

    def __init__(self, running: IO[str], embedded: IO[str] | None = None) -> None:
        self._running = running
        self._embedded = embedded

    def release(self) -> None:
        """Gives the right back."""
        # In this order: while up.lock is held, embedded.lock says of which kind its holder is.
        self._running.close()
        if self._embedded is not None:
            self._embedded.close()


async def take_for_up(home: Path, say: Callable[[str], None]) -> HomeLock:
    """The right to supervise `home` for good; an embedded supervisor there is asked to make room.

    Raises Conflict where another `up` runs or starts there, InvalidInput where the folder cannot be written.
    """
    waiting = await _take(home / _NEXT)
    if waiting is None:
        raise _runs_already(home)
    with contextlib.closing(waiting):
        deadline = time.monotonic() + _ROOM_S
        told = False
        while (running := await _take(home / _RUNNING)) is None:
            if not is_embedded(home) or time.monotonic() > deadline:
                raise _runs_already(home)
            if not told:
                say(f"taking over from the embedded Windtunnel of another command in {home}; its runs go on")
                told = True
        return HomeLock(running)


async def take_embedded(home: Path) -> HomeLock:
    """The right to supervise `home` for one command. Raises Conflict where anybody else has it, InvalidInput."""
    embedded = await _take(home / _EMBEDDED)
    if embedded is None:
        raise _runs_already(home)
    running = await _take(home / _RUNNING)
    if running is None:
        embedded.close()
        raise _runs_already(home)
    return HomeLock(running, embedded)


def is_taken(home: Path) -> bool:
    """Whether some process supervises `home` now or is about to, ready or not."""
    return _is_held(home / _RUNNING) or _is_held(home / _NEXT)


def is_embedded(home: Path) -> bool:
    """Whether what supervises `home` now lives for one command only."""
    return _is_held(home / _EMBEDDED)


def is_wanted(home: Path) -> bool:
    """Whether an `up` waits for the embedded supervisor of `home` to make room."""
    return _is_held(home / _NEXT)


def _runs_already(home: Path) -> Conflict:
    return Conflict(f"Windtunnel already runs in {home}", hint="stop it, or choose another --home")


async def _take(path: Path) -> IO[str] | None:
    """The lock at `path`; None where another process holds it, not only looks at it."""
    try:
        lock = path.open("a+")
    except OSError as error:
        raise InvalidInput(f"{path.parent} cannot be written: {error}", hint="choose another --home") from error
    deadline = time.monotonic() + _LOOK_S
    try:
        while not _try_lock(lock, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                lock.close()
                return None
            await asyncio.sleep(0.02)
    except BaseException:
        lock.close()
        raise
    return lock


def _is_held(path: Path) -> bool:
    try:
        with path.open("r") as lock:
            return not _try_lock(lock, fcntl.LOCK_SH)
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _try_lock(lock: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
