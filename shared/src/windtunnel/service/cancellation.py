"""Runs that were canceled: one key each in a bucket. Every service asks it before it works, and while it does."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from windtunnel.bus import Bucket, Event, Malformed, subjects
from windtunnel.service.announcement import derived_run_id, wanted_run_id

# So old may be what is known of the bucket, however many events and handlers ask.
_FRESH_S: Final = 0.5
# In a cluster the list of keys may come from a server that is a moment behind the revision: it is read again.
_LIST_S: Final = 15.0


class Cancellations:
    """Which runs were canceled. A cancellation is never taken back. Every method raises Unavailable.

    The canceled runs are held in memory. While somebody asks, the bucket's revision is read at most every `fresh_s`
    seconds, and its keys only where the revision is another one.

    Args:
        bucket: has one key for each canceled run.
        fresh_s: how long an answer of the bucket counts, in seconds.
    """

    def __init__(self, bucket: Bucket, *, fresh_s: float = _FRESH_S) -> None:
        self._bucket = bucket
        self._fresh_s = fresh_s
        self._canceled: set[str] = set()
        self._revision = ""
        self._asked_at = self._listed_at = float("-inf")
        self._asking: asyncio.Task[None] | None = None

    async def add(self, run_id: str) -> None:
        """Cancels a run. Repeating it changes nothing.

        Args:
            run_id: of the run.
        """
        await self._bucket.create(run_id, b"canceled")
        self._canceled.add(run_id)

    async def has(self, run_id: str) -> bool:
        """Whether a run was canceled, as of `fresh_s` seconds ago or later.

        Args:
            run_id: of the run.
        """
        if run_id not in self._canceled and time.monotonic() - self._asked_at >= self._fresh_s:
            await self._ask_once()
        return run_id in self._canceled

    async def _ask_once(self) -> None:
        """Asks the bucket, together with whoever asks at this moment."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        # One who gives up waiting takes the answer from nobody else.
        await asyncio.shield(self._asking)

    async def _ask(self) -> None:
        at = time.monotonic()
        # In this order: a key that comes in between changes the next revision.
        revision = await self._bucket.revision()
        if revision != self._revision or at - self._listed_at >= _LIST_S:
            self._canceled.update(await self._bucket.keys())
            self._revision, self._listed_at = revision, at
        self._asked_at = at

    async def covers(self, event: Event) -> bool:
        """Whether an event belongs to a canceled run.

        Args:
            event: as received.

        Returns:
            False for an event that does not name a run.
        """
        run_id = run_id_of(event)
        return bool(run_id) and await self.has(run_id)


def run_id_of(event: Event) -> str:
    """The run that an event belongs to.

    Args:
        event: as received.

    Returns:
        Empty if the event does not say it.
    """
    try:
        if event.subject == subjects.MODEL_TRAINED:
            return wanted_run_id(event)
        message: Any = event.message()
        return str(message.run.run_id)
    except Malformed:
        return derived_run_id(event) if event.subject == subjects.MODEL_TRAINED else ""
