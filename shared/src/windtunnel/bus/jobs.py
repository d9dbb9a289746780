"""Doing a job once: the result bucket.

A job's key is what its result depends on. The result is stored under it, create-only, before anything is published.
A redelivered message, or a second worker on the same one, finds the first result and publishes the same events with
the same ids.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar

from google.protobuf.message import Message

from windtunnel.bus.port import Bucket

M = TypeVar("M", bound=Message)
T = TypeVar("T")


def job_key(kind: str, inputs: Mapping[str, Any], tool_versions: Mapping[str, str]) -> str:
    """The key of a job: what its result depends on.

    Args:
        kind: of the job, such as "convert".
        inputs: hashes of inputs and parameters, as JSON values.
        tool_versions: of the tools that make the result, by name.

    Returns:
        A key for the result bucket.
    """
    text = json.dumps([kind, inputs, tool_versions], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"{kind}.{hashlib.sha256(text.encode()).hexdigest()}"


async def each(parts: Iterable[T], do: Callable[[T], Awaitable[None]], *, at_once: int = 1) -> None:
    """Does every part of a message, then raises the first error, if there was one.

    A part that fails must not keep later ones from running, whatever the number of attempts is.

    Args:
        parts: of the message, in order.
        do: handles one part.
        at_once: how many run at the same time.
    """
    free = asyncio.Semaphore(at_once)

    async def do_one(part: T) -> None:
        async with free:
            await do(part)

    for outcome in await asyncio.gather(*(do_one(part) for part in parts), return_exceptions=True):
        if outcome is not None:
            raise outcome


class Jobs:
    """Runs jobs at most once per key, as far as anyone can see from outside.

    Args:
        results: the bucket of results.
    """

    def __init__(self, results: Bucket) -> None:
        self._results = results

    async def once(self, key: str, kind: type[M], compute: Callable[[], Awaitable[M]]) -> M:
        """The stored result of a job, computed and stored if there is none.

        Args:
            key: of the job.
            kind: message type of the result.
            compute: does the job; its errors store nothing.

        Returns:
            The result that is stored: of this computation, or of the first one.
        """
        stored = await self._results.get(key)
        if stored is None:
            result = await compute()
            stored = await self._results.create(key, result.SerializeToString(deterministic=True))
        return kind.FromString(stored)

    async def stored(self, key: str, kind: type[M]) -> M | None:
        """The stored result of a job.

        Args:
            key: of the job.
            kind: message type of the result.

        Returns:
            None: the job is not done.
        """
        found = await self._results.get(key)
        return None if found is None else kind.FromString(found)
