"""Runs that were canceled: one key each in a bucket. Every service asks it before it works, and while it does."""

from __future__ import annotations

from typing import Any

from windtunnel.announcement import derived_run_id, wanted_run_id
from windtunnel.bus import Bucket, Event, Malformed, subjects


class Cancellations:
    """Which runs were canceled. A cancellation is never taken back. Every method raises Unavailable."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def add(self, run_id: str) -> None:
        """Cancels a run. Repeating it changes nothing."""
        await self._bucket.create(run_id, b"canceled")

    async def has(self, run_id: str) -> bool:
        """Whether the run was canceled."""
        return await self._bucket.get(run_id) is not None

    async def covers(self, event: Event) -> bool:
        """Whether `event` belongs to a canceled run. An event that names no run belongs to none."""
        run_id = run_id_of(event)
        return bool(run_id) and await self.has(run_id)


def run_id_of(event: Event) -> str:
    """The run that an event belongs to; empty where it does not say."""
    try:
        if event.subject == subjects.MODEL_TRAINED:
            return wanted_run_id(event)
        message: Any = event.message()
        return str(message.run.run_id)
    except Malformed:
        return derived_run_id(event) if event.subject == subjects.MODEL_TRAINED else ""
