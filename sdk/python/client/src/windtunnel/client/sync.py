"""The blocking client: the asyncio client on its own loop in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Generator
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from windtunnel.client.artifacts import Artifact
from windtunnel.client.async_run import AsyncRun, AsyncVariant, Progress
from windtunnel.client.client import AsyncClient
from windtunnel.client.comparison import Comparison
from windtunnel.client.endpoints import Endpoints
from windtunnel.client.history import History
from windtunnel.client.listing import RunFilter, RunSummary
from windtunnel.client.report import Report

T = TypeVar("T")


class Client:
    """A connection to a running Windtunnel."""

    def __init__(self, endpoints: Endpoints | None = None) -> None:
        """Connects at the first call.

        Args:
            endpoints: addresses of the services; default: `find_endpoints`.

        Raises:
            Unavailable: Windtunnel is not running, and no variable names one.
        """
        self._client = AsyncClient(endpoints)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="windtunnel-client", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        if self._loop.is_closed():
            return
        try:
            self.block(self._client.close())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def submit(self, model: Any, **options: Any) -> Run:
        """Starts a run; see `AsyncClient.submit`, also for what it raises.

        Args:
            model: a local file, folder or checkpoint prefix, or a URI that the services can read.
            **options: keyword arguments of `AsyncClient.submit`.

        Returns:
            A handle on the run.
        """
        return Run(self, self.block(self._client.submit(model, **options)))

    def run(self, run_id: str) -> Run:
        """A handle on a run. Does not check that the run exists.

        Args:
            run_id: its id.

        Returns:
            The handle.
        """
        return Run(self, self._client.run(run_id))

    def runs(self, wanted: RunFilter = RunFilter(), *, limit: int = 50) -> list[RunSummary]:  # noqa: B008
        """Lists runs, newest first; see `AsyncClient.runs`, also for what it raises.

        Args:
            wanted: a filter; default: all runs.
            limit: at most this many.

        Returns:
            The runs.
        """
        return self.block(self._client.runs(wanted, limit=limit))

    def compare(self, *targets: str) -> Comparison:
        """Compares runs; see `AsyncClient.compare`, also for what it raises.

        Args:
            *targets: two or more run ids, or MODEL@VERSION for its newest completed run.

        Returns:
            The comparison, with the first run as the reference.
        """
        return self.block(self._client.compare(*targets))

    def history(self, model: str, figure: str, *, limit: int = 50) -> History:
        """A figure over the runs of a model; see `AsyncClient.history`, also for what it raises.

        Args:
            model: its name.
            figure: path of the figure in a report, such as `variants[int8].accuracy`.
            limit: at most this many runs.

        Returns:
            The figure of each run, oldest first.
        """
        return self.block(self._client.history(model, figure, limit=limit))

    def block(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the client's loop and waits for it.

        Args:
            work: the coroutine.

        Returns:
            Its result.
        """
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise


class Run:
    """A run that was submitted."""

    def __init__(self, client: Client, run: AsyncRun) -> None:
        """Does not check that the run exists.

        Args:
            client: a connection to the services.
            run: the handle for asyncio.
        """
        self._client = client
        self._run = run

    @property
    def run_id(self) -> str:
        """Id of the run."""
        return self._run.run_id

    def watch(self) -> Generator[Progress, None, None]:
        """Progress until the run has its verdict; see `AsyncRun.watch`, also for what it raises.

        Yields:
            The progress after each step.
        """
        steps = self._run.watch()

        async def step() -> Progress | None:
            return await anext(steps, None)

        try:
            while (progress := self._client.block(step())) is not None:
                yield progress
        finally:
            # If the caller stops early, the call to the store must be closed.
            self._client.block(steps.aclose())

    def wait(self) -> Report:
        """The report, once the run has its verdict."""
        return self._client.block(self._run.wait())

    def report(self) -> Report:
        """The report, as complete as it is now."""
        return self._client.block(self._run.report())

    def cancel(self, reason: str = "") -> bool:
        """Ends the run; see `AsyncRun.cancel`, also for what it raises.

        Args:
            reason: shown in the report.

        Returns:
            False if it had already ended.
        """
        return self._client.block(self._run.cancel(reason))

    def artifacts(self, *, variant: str = "", kind: str = "") -> list[Artifact]:
        """The artifacts of the run so far; see `AsyncRun.artifacts`, also for what it raises.

        Args:
            variant: only artifacts of this variant; empty: all.
            kind: only artifacts of this kind; empty: all.

        Returns:
            The artifacts, in the order of the steps.
        """
        return self._client.block(self._run.artifacts(variant=variant, kind=kind))

    def variant(self, name: str) -> Variant:
        """A handle on a variant of the run.

        Args:
            name: of the variant, for example int8.

        Returns:
            The handle.
        """
        return Variant(self._client, self._run.variant(name))


class Variant:
    """A variant of a run."""

    def __init__(self, client: Client, variant: AsyncVariant) -> None:
        """Does not check that the variant exists.

        Args:
            client: a connection to the services.
            variant: the handle for asyncio.
        """
        self._client = client
        self._variant = variant

    @property
    def name(self) -> str:
        """Name of the variant."""
        return self._variant.name

    def download(self, path: str | Path, *, force: bool = False) -> Path:
        """Writes the variant's verified .tflite to `path`; see `AsyncVariant.download`, also for what it raises.

        Args:
            path: the file to write.
            force: replace a file that exists.

        Returns:
            `path`.
        """
        return self._client.block(self._variant.download(path, force=force))
