"""Wakes waiting tasks of this process when something has changed."""

from __future__ import annotations

import asyncio
import contextlib


class Signal:
    """Wakes everyone who waits. Take `watch()` before looking, so that no change falls between look and wait."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def notify(self) -> None:
        """Wakes all who watch now."""
        event, self._event = self._event, asyncio.Event()
        event.set()

    def watch(self) -> asyncio.Event:
        """Set by the next `notify`."""
        return self._event


async def wait_for(event: asyncio.Event, timeout_s: float) -> None:
    """Waits for an event.

    Args:
        event: to wait for.
        timeout_s: the longest wait, in seconds.
    """
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), timeout_s)
