"""Farm runs that are tasks of this process: what farms without a service of their own are made of."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from windtunnel.artifacts import ArtifactRef
from windtunnel.errors import FarmError, UserError
from windtunnel.farm_dispatcher.domain.device_runs import Collected, JobFailure, JobResult, Phase, Polled, Submitted
from windtunnel.farm_dispatcher.domain.farm import Files
from windtunnel.farm_dispatcher.domain.job_failures import failure_of
from windtunnel.farm_dispatcher.domain.jobs import Entry, FarmRunRequest
from windtunnel.farms.failure_kinds import FailureKind

# Farm runs that have ended are kept for those who collect again; the logs of more of them would only fill memory.
_KEPT: Final = 64
# Runs one entry; the paths are those of the artifacts that its job names.
RunEntry = Callable[[Entry, Mapping[ArtifactRef, Path]], Awaitable[JobResult]]


@dataclass
class _Held:
    """A farm run at work. `words`: what it does now."""

    results: list[JobResult] = field(default_factory=list)
    words: str = "waiting"
    task: asyncio.Task[None] | None = None


class HeldRuns:
    """Farm runs of this process, by their keys. They end with it.

    Args:
        run: runs one entry. A UserError or FarmError of it is the failure of this entry alone.
    """

    def __init__(self, run: RunEntry) -> None:
        self._run = run
        self._held: dict[str, _Held] = {}
        # Keys of those that were collected, in order.
        self._collected: dict[str, None] = {}

    def find(self, key: str) -> Submitted | None:
        """Implements `Farm.find`."""
        held = self._held.get(key)
        return None if held is None else Submitted(key, words=held.words)

    async def submit(self, request: FarmRunRequest, files: Files) -> Submitted:
        """Implements `Farm.submit`."""
        if request.key not in self._held:
            paths = {blob: await files.path(blob) for entry in request.entries for blob in blobs_of(entry)}
            held = _Held()
            held.task = asyncio.create_task(self._work(held, request, paths))
            self._held[request.key] = held
        return Submitted(request.key, words=self._held[request.key].words)

    def poll(self, submitted: Submitted) -> Polled:
        """Implements `Farm.poll`."""
        held = self._held.get(submitted.id)
        if held is None:
            return Polled(Phase.LOST, "the process that ran it has ended")
        ended = held.task is not None and held.task.done()
        return Polled(Phase.ENDED if ended else Phase.RUNNING, "ended" if ended else held.words)

    def collect(self, submitted: Submitted, request: FarmRunRequest) -> Collected:
        """Implements `Farm.collect`. Entries that did not run were canceled."""
        held = self._held.get(submitted.id)
        if held is None:
            raise FarmError(f"farm run {submitted.id} is not of this process", retryable=False, kind="infrastructure")
        failed = held.task is not None and not held.task.cancelled() and held.task.done() and held.task.exception()
        if failed:
            raise failed
        self._keep_last(submitted.id)
        missing = len(request.entries) - len(held.results)
        canceled = JobResult(failure=JobFailure(FailureKind.CANCELLED, "it was canceled"))
        return Collected((*held.results, *([canceled] * missing)), billed_minutes=None)

    async def cancel(self, submitted: Submitted) -> None:
        """Implements `Farm.cancel`."""
        held = self._held.get(submitted.id)
        if held is not None and held.task is not None and not held.task.done():
            held.task.cancel()
            await asyncio.wait((held.task,))

    async def close(self) -> None:
        """Cancels all farm runs."""
        tasks = [held.task for held in self._held.values() if held.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _keep_last(self, key: str) -> None:
        self._collected[key] = None
        while len(self._collected) > _KEPT:
            oldest = next(iter(self._collected))
            del self._collected[oldest]
            self._held.pop(oldest, None)

    async def _work(self, held: _Held, request: FarmRunRequest, paths: Mapping[ArtifactRef, Path]) -> None:
        for number, entry in enumerate(request.entries, 1):
            held.words = f"running {number} of {len(request.entries)}"
            try:
                held.results.append(await self._run(entry, paths))
            except (UserError, FarmError) as error:
                held.results.append(JobResult(failure=failure_of(error)))


class HeldFarm(ABC):
    """A farm whose runs are tasks of this process: a subclass runs one entry."""

    def __init__(self) -> None:
        self._held = HeldRuns(self._run_entry)

    async def find(self, key: str) -> Submitted | None:
        """Implements `Farm.find`."""
        return self._held.find(key)

    async def submit(self, request: FarmRunRequest, files: Files) -> Submitted:
        """Implements `Farm.submit`."""
        return await self._held.submit(request, files)

    async def poll(self, submitted: Submitted) -> Polled:
        """Implements `Farm.poll`."""
        return self._held.poll(submitted)

    async def collect(self, submitted: Submitted, request: FarmRunRequest, into: Path) -> Collected:
        """Implements `Farm.collect`."""
        return self._held.collect(submitted, request)

    async def cancel(self, submitted: Submitted) -> None:
        """Implements `Farm.cancel`."""
        await self._held.cancel(submitted)

    async def close(self) -> None:
        """Ends everything that runs."""
        await self._held.close()

    @abstractmethod
    async def _run_entry(self, entry: Entry, paths: Mapping[ArtifactRef, Path]) -> JobResult: ...


def blobs_of(entry: Entry) -> tuple[ArtifactRef, ...]:
    """The artifacts that an entry needs.

    Args:
        entry: of a farm run.

    Returns:
        Each once.
    """
    return tuple(dict.fromkeys(entry.job.blobs))
