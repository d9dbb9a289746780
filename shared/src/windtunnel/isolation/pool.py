"""A pool of warm child processes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import Any, Protocol, Self, TypeVar

from windtunnel.errors import InternalError, Unavailable
from windtunnel.isolation.process import Call, Child, Limits, NeverStarted
from windtunnel.isolation.reporting import Progress
from windtunnel.isolation.wire import pack_arguments, reference_of

T = TypeVar("T")

_NO_ENV: Mapping[str, str] = MappingProxyType({})
# How long a lazy pool waits for its first job before it warms up anyway.
_LAZY_S = 4.0
_ATTEMPTS_TO_START = 3


class Pool(Protocol):
    """What runs a job away from the event loop; `ChildPool` and the fake `InlinePool` do."""

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
        """Runs a function in a child, and kills the child if the call is canceled.

        Args:
            function: defined at the top of an importable module; arguments and result are pickled.
            *args: of the function.
            timeout_s: this job's limit, in seconds; None: the pool's.
            memory_mb: this job's limit, in MB; None: the pool's.
            on_progress: called in the event loop with what the job reports through `isolation.progress`.
            **kwargs: of the function.

        Returns:
            What the function returns.

        Raises:
            WindtunnelError: the one that the job raised, as itself.
            JobFailed: how="exit": the job raised anything else, or left the process (`stderr` has the last lines of the
                traceback or of what it printed). how="signal": native code crashed. how="timeout". how="memory": more
                than the limit, or MemoryError.
            Unavailable: somebody else killed the child, or none can be started; worth another try.
            InternalError: function, arguments or result cannot be sent.
        """
        ...


class _Slot:
    """A place for one child. `warm` is the task that starts it, so a replacement comes up in the background.

    Args:
        start: starts a child.
    """

    def __init__(self, start: Callable[[], asyncio.Task[Child]]) -> None:
        self._start = start
        self.warm = start()

    @property
    def ready(self) -> bool:
        """Whether a live child waits here."""
        done = self.warm.done() and not self.warm.cancelled() and self.warm.exception() is None
        return done and self.warm.result().alive

    async def child(self) -> Child:
        """The child of this slot, started again if the earlier one is gone.

        Raises:
            Unavailable: the pool is closed.
        """
        if self.warm.done() and not self.ready:
            await self.replace()
        await asyncio.wait({self.warm})
        if self.warm.cancelled():
            raise Unavailable("the worker pool was closed before a worker was ready")
        return self.warm.result()

    async def replace(self) -> None:
        """Ends what is here and starts the next child in the background."""
        await self.end()
        self.warm = self._start()

    async def end(self) -> None:
        """Ends the child, also one that is still starting."""
        if not self.warm.done():
            self.warm.cancel()
            await asyncio.wait({self.warm})
        if not self.warm.cancelled() and self.warm.exception() is None:
            await self.warm.result().kill()


class ChildPool:
    """Runs module-level functions in warm child processes, at most `size` at once.

    Args:
        preload: modules that a child imports before its first job.
        size: children kept, and jobs run at once; further ones wait.
        timeout_s: default time limit of a job in seconds, from the moment a warm child has it.
        memory_mb: default limit of the child's resident memory in MB (10^6 bytes), what it has preloaded included;
            looked at every 50 ms.
        max_jobs: a child is replaced after so many jobs.
        env: environment variables set on top of this process's own.
        lazy: `start` returns at once, and the children begin to warm up a few seconds later or with the first job:
            a service that starts together with others does not take the processor from them.

    A job runs in a private working directory that is removed when it ends: give absolute paths. What it prints
    is kept for its error, never parsed. Children die with this process, however it ends.
    """

    def __init__(
        self,
        *,
        preload: Sequence[str] = (),
        size: int = 1,
        timeout_s: float,
        memory_mb: int,
        max_jobs: int = 50,
        env: Mapping[str, str] = _NO_ENV,
        lazy: bool = False,
    ) -> None:
        if size < 1 or max_jobs < 1:
            raise InternalError(f"a pool of size {size} with {max_jobs} jobs per child cannot run anything")
        self._preload = tuple(preload)
        self._size = size
        self._limits = Limits(timeout_s, memory_mb)
        self._max_jobs = max_jobs
        self._env = dict(env)
        self._lazy = lazy
        self._wanted = asyncio.Event()
        self._slots: list[_Slot] = []
        self._free: list[_Slot] = []
        self._vacancy = asyncio.Semaphore(size)
        self._closed = False

    async def start(self) -> None:
        """Starts the children and waits until all are warm, unless lazy. Raises InternalError or Unavailable."""
        self._slots = [_Slot(self._start_child) for _ in range(self._size)]
        self._free = list(self._slots)
        if self._lazy:
            return
        self._wanted.set()
        try:
            await asyncio.gather(*(slot.child() for slot in self._slots))
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Kills all children and waits for their end; a job that still runs fails as Unavailable."""
        self._closed = True
        for slot in self._slots:
            await slot.end()

    async def __aenter__(self) -> Self:
        await self.start()
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
        """Implements `Pool.run`."""
        call = Call(reference_of(function), pack_arguments(args, kwargs))
        limits = Limits(
            self._limits.timeout_s if timeout_s is None else timeout_s,
            self._limits.memory_mb if memory_mb is None else memory_mb,
        )
        self._wanted.set()
        async with self._vacancy:
            slot = self._take_slot()
            try:
                result: T = await self._run_in(slot, call, limits, on_progress)
                return result
            finally:
                self._free.append(slot)

    def _take_slot(self) -> _Slot:
        if self._closed:
            raise Unavailable("the worker pool is closed")
        if not self._slots:
            raise InternalError("the pool is not running", hint="use it as `async with ChildPool(...) as pool`")
        best = next((slot for slot in self._free if slot.ready), self._free[0])
        self._free.remove(best)
        return best

    async def _run_in(
        self, slot: _Slot, call: Call, limits: Limits, on_progress: Callable[[Progress], None] | None
    ) -> Any:
        for _ in range(_ATTEMPTS_TO_START):
            child = await slot.child()
            try:
                return await child.run(call, limits, on_progress)
            except NeverStarted:
                continue
            finally:
                if not self._closed and (not child.alive or child.jobs_done >= self._max_jobs):
                    await asyncio.shield(slot.replace())
        raise Unavailable(f"worker processes end before they can begin {call.function}")

    def _start_child(self) -> asyncio.Task[Child]:
        task = asyncio.create_task(self._warm_child())
        # Nobody may ask for this child: that it did not come up is then nothing to complain of.
        task.add_done_callback(_looked_at)
        return task

    async def _warm_child(self) -> Child:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wanted.wait(), _LAZY_S)
        if self._closed:
            # A job that waited for its turn asks for a child after all others were ended.
            raise Unavailable("the worker pool is closed")
        return await Child.start(self._preload, self._env)


def _looked_at(task: asyncio.Task[Child]) -> None:
    if not task.cancelled():
        task.exception()
