"""Doing a job once: the result bucket.

A job's key is what its result depends on. The result is stored under it, create-only, before anything is published.
A redelivered message, or a second worker on the same one, finds the first result and publishes the same events with
the same ids.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from google.protobuf.message import Message

from windtunnel.bus.port import Bucket

M = TypeVar("M", bound=Message)


def job_key(kind: str, inputs: Mapping[str, Any], tool_versions: Mapping[str, str]) -> str:
    """The key of a job: kind, input hashes and parameters (JSON values), tool versions."""
    text = json.dumps([kind, inputs, tool_versions], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"{kind}.{hashlib.sha256(text.encode()).hexdigest()}"


class Jobs:
    """Runs jobs at most once per key, as far as anyone can see from outside."""

    def __init__(self, results: Bucket) -> None:
        self._results = results

    async def once(self, key: str, kind: type[M], compute: Callable[[], Awaitable[M]]) -> M:
        """The stored result of `key`, or what `compute` gives, stored first. Errors of `compute` store nothing."""
        stored = await self._results.get(key)
        if stored is None:
            result = await compute()
            stored = await self._results.create(key, result.SerializeToString(deterministic=True))
        return kind.FromString(stored)
