"""Ending tasks for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

_AGAIN_S: Final = 1.0


async def end_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels tasks until they have ended.

    Once is not enough: asyncio.wait_for, which libraries use, loses a cancellation that comes together with what it
    waits for (Python before 3.12, python/cpython#86296).

    Args:
        tasks: to end. What they raise is dropped.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN_S)
