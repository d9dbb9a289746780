"""The fake of `ChildPool`: the same interface, in a thread of this process."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from windtunnel.errors import JobFailed, WindtunnelError
from windtunnel.isolation.reporting import Progress, reporting_to
from windtunnel.isolation.wire import reference_of

T = TypeVar("T")


class InlinePool:
    """Runs jobs in a thread: no isolation and no memory limit. For tests, and for work known to be safe.

    A job that runs into its time limit is abandoned, not killed: a thread cannot be.

    Args:
        timeout_s: the limit of a job that gives none, in seconds.
    """

    def __init__(self, *, timeout_s: float = 60.0) -> None:
        self._timeout_s = timeout_s

    async def start(self) -> None:
        """Nothing to start."""

    async def close(self) -> None:
        """Nothing to end."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def run(
        self,
        function: Callable[..., T],
        /,
        *args: Any,
        timeout_s: float | None = None,
        memory_mb: int | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        **kwargs: Any,
    ) -> T:
        """Implements `Pool.run`, without the memory limit."""
        reference = reference_of(function)
        loop = asyncio.get_running_loop()

        def listen(progress: Progress) -> None:
            if on_progress is not None:
                loop.call_soon_threadsafe(on_progress, progress)

        def job() -> T:
            with reporting_to(listen):
                return function(*args, **kwargs)

        limit = self._timeout_s if timeout_s is None else timeout_s
        work = asyncio.ensure_future(asyncio.to_thread(job))
        done, _ = await asyncio.wait({work}, timeout=limit)
        if not done:
            work.cancel()
            raise JobFailed(f"{reference} ran past its limit of {limit:g} s", how="timeout")
        error = work.exception()
        if error is None:
            return work.result()
        if isinstance(error, WindtunnelError):
            raise error
        trace = "".join(traceback.format_exception(error))
        raise JobFailed(f"{reference} raised {type(error).__name__}: {error}", how="exit", stderr=trace) from error
