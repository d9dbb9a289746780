"""Which process supervises a home. File locks record it: the kernel frees them when the process ends, in any way.

up.lock         locked by the supervisor of the home.
embedded.lock   locked too if that supervisor lives for one command.
up.next         locked by an `up` that starts, until it has up.lock. An embedded supervisor then ends.
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
# Longer than a process that only checks a lock keeps it.
_LOOK_S: Final = 0.5
# An embedded supervisor ends within its own limit of 5 s; a loaded machine takes longer.
_ROOM_S: Final = 60.0


class HomeLock:
    """The right to supervise a home.

    Args:
        running: the locked up.lock.
        embedded: the locked embedded.lock; None for `up`.
    """

    def __init__(self, running: IO[str], embedded: IO[str] | None = None) -> None:
        self._running = running
        self._embedded = embedded

    def release(self) -> None:
        """Releases the right."""
        # In this order: while up.lock is locked, embedded.lock shows which kind of supervisor has it.
        self._running.close()
        if self._embedded is not None:
            self._embedded.close()


async def take_for_up(home: Path, say: Callable[[str], None]) -> HomeLock:
    """Takes the right to supervise a home for `up`. An embedded supervisor there is asked to end.

    Args:
        home: the folder; it exists.
        say: prints that an embedded supervisor is replaced.

    Returns:
        The right, until it is released or the process ends.

    Raises:
        Conflict: another `up` runs or starts there.
        InvalidInput: the folder cannot be written.
    """
    waiting = await _take(home / _NEXT)
    if waiting is None:
        raise _runs_already(home)
    with contextlib.closing(waiting):
        deadline = time.monotonic() + _ROOM_S
        logged = False
        while (running := await _take(home / _RUNNING)) is None:
            if not is_embedded(home) or time.monotonic() > deadline:
                raise _runs_already(home)
            if not logged:
                say(f"taking over from the embedded Windtunnel of another command in {home}; its runs continue")
                logged = True
        return HomeLock(running)


async def take_embedded(home: Path) -> HomeLock:
    """Takes the right to supervise a home for one command.

    Args:
        home: the folder; it exists.

    Returns:
        The right, until it is released or the process ends.

    Raises:
        Conflict: another process has it.
        InvalidInput: the folder cannot be written.
    """
    embedded = await _take(home / _EMBEDDED)
    if embedded is None:
        raise _runs_already(home)
    running = await _take(home / _RUNNING)
    if running is None:
        embedded.close()
        raise _runs_already(home)
    return HomeLock(running, embedded)


def is_taken(home: Path) -> bool:
    """Whether a process supervises the home or is about to, even if it is not ready yet.

    Args:
        home: the folder; it need not exist.
    """
    return _is_held(home / _RUNNING) or _is_held(home / _NEXT)


def is_embedded(home: Path) -> bool:
    """Whether the supervisor of the home lives for one command only.

    Args:
        home: the folder; it need not exist.
    """
    return _is_held(home / _EMBEDDED)


def is_wanted(home: Path) -> bool:
    """Whether an `up` waits for the embedded supervisor of the home to end.

    Args:
        home: the folder; it need not exist.
    """
    return _is_held(home / _NEXT)


def _runs_already(home: Path) -> Conflict:
    return Conflict(f"Windtunnel already runs in {home}", hint="stop it, or choose another --home")


async def _take(path: Path) -> IO[str] | None:
    """The lock at `path`; None if another process has it, and does not only check it.

    Raises:
        InvalidInput: the file cannot be opened for writing.
    """
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
