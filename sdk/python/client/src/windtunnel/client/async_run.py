"""A run and its variants, for asyncio: progress, report, artifacts."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import grpc

from windtunnel.client.artifacts import Artifact, download, one_of
from windtunnel.client.endpoints import Endpoints
from windtunnel.client.listing import verdict_name
from windtunnel.client.report import Report
from windtunnel.enum_words import RUN_STATE
from windtunnel.errors import NotFound, Unavailable
from windtunnel.rpc import from_rpc_error
from windtunnel.v1 import metrics_store_pb2

if TYPE_CHECKING:
    from windtunnel.client.client import AsyncClient

_PATIENCE_S = 15.0
_UNKNOWN_S = 2.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a run. `verdict` is None until it has one; `event_type` as in CloudEvents."""

    run_id: str
    state: str
    verdict: str | None
    steps_done: int
    steps_known: int
    text: str
    event_type: str = ""


class AsyncRun:
    """A run that was submitted."""

    def __init__(self, client: AsyncClient, run_id: str) -> None:
        """Does not check that the run exists.

        Args:
            client: a connection to the services.
            run_id: id of the run.
        """
        self._client = client
        self.run_id = run_id

    @property
    def client(self) -> AsyncClient:
        """The connection to the services."""
        return self._client

    async def watch(self) -> AsyncGenerator[Progress, None]:
        """Progress until the run has its verdict; survives restarts of the metrics store.

        Yields:
            The progress after each step.

        Raises:
            NotFound: the run is unknown for 15 seconds.
            Unavailable: the metrics store does not answer for 15 seconds.
        """
        deadline = asyncio.get_running_loop().time() + _PATIENCE_S
        while True:
            try:
                async with contextlib.aclosing(self._try_to_watch()) as steps:
                    async for progress in steps:
                        deadline = asyncio.get_running_loop().time() + _PATIENCE_S
                        yield progress
                        if progress.verdict is not None:
                            return
            except grpc.aio.AioRpcError as error:
                # The event may not have arrived yet, or the store may be restarting.
                mapped = from_rpc_error(error)
                passing = isinstance(mapped, (NotFound, Unavailable)) or error.code() is grpc.StatusCode.CANCELLED
                if not passing or asyncio.get_running_loop().time() > deadline:
                    raise mapped from error
            await asyncio.sleep(0.2)

    async def _try_to_watch(self) -> AsyncGenerator[Progress, None]:
        request = metrics_store_pb2.WatchRunRequest(run_id=self.run_id)
        call = self._client.store.WatchRun(request, wait_for_ready=True)
        messages = aiter(call)
        try:
            # The store sends the state of the run at once; later messages may be hours apart.
            message = await _within(_PATIENCE_S, anext(messages, None), self._client.endpoints)
            while message is not None:
                yield _progress(message)
                message = await anext(messages, None)
        finally:
            call.cancel()

    async def wait(self) -> Report:
        """The report, once the run has its verdict."""
        async for _ in self.watch():
            pass
        return await self.report()

    async def cancel(self, reason: str = "") -> bool:
        """Ends the run: its verdict becomes could_not_run, and services stop working for it.

        Args:
            reason: shown in the report.

        Returns:
            False if it had already ended.

        Raises:
            NotFound: the run is unknown for 2 seconds.
            Unavailable: the metrics store does not answer.
        """
        request = metrics_store_pb2.CancelRunRequest(run_id=self.run_id, reason=reason)
        deadline = asyncio.get_running_loop().time() + _UNKNOWN_S
        while True:
            try:
                return bool((await self._client.call(self._client.store.CancelRun, request)).canceled)
            except NotFound:
                # It may have been announced a moment ago.
                if asyncio.get_running_loop().time() > deadline:
                    raise
            await asyncio.sleep(0.2)

    async def artifacts(self, *, variant: str = "", kind: str = "") -> list[Artifact]:
        """The artifacts of the run so far, in the order of the steps.

        Args:
            variant: only artifacts of this variant; empty: all.
            kind: only artifacts of this kind (see `Artifact.kind`); empty: all.

        Returns:
            The artifacts.

        Raises:
            NotFound: the run does not exist.
        """
        return await self._client.artifacts_of(self.run_id, variant, kind)

    def variant(self, name: str) -> AsyncVariant:
        """A handle on a variant of the run.

        Args:
            name: of the variant, for example int8.

        Returns:
            The handle.
        """
        return AsyncVariant(self._client, self.run_id, name)

    async def report(self) -> Report:
        """The report, as complete as it is now.

        Returns:
            The report.

        Raises:
            NotFound: the run does not exist.
        """
        request = metrics_store_pb2.GetReportRequest(run_id=self.run_id)
        response = await self._client.call(self._client.store.GetReport, request)
        return Report(json.loads(response.report_json))


class AsyncVariant:
    """A variant of a run."""

    def __init__(self, client: AsyncClient, run_id: str, name: str) -> None:
        """Does not check that the variant exists.

        Args:
            client: a connection to the services.
            run_id: id of the run.
            name: of the variant.
        """
        self._client = client
        self._run_id = run_id
        self.name = name

    async def download(self, path: str | Path, *, force: bool = False) -> Path:
        """Writes the variant's verified .tflite to `path`. An interrupted download continues.

        Args:
            path: the file to write.
            force: replace a file that exists.

        Returns:
            `path`.

        Raises:
            Conflict: `path` exists and `force` is not set.
            NotFound: the run has no such variant, or the folder does not exist.
            InvalidInput: the file cannot be written.
            Unavailable: the services do not answer.
        """
        found = await self._client.artifacts_of(self._run_id, self.name, "variant")
        artifact = one_of(found, f"variant {self.name!r} of run {self._run_id}")
        return await download(self._client.served, artifact, Path(path), force=force)


async def _within(seconds: float, answer: Awaitable[T], endpoints: Endpoints) -> T:
    try:
        return await asyncio.wait_for(answer, seconds)
    except TimeoutError:
        raise Unavailable(
            f"the metrics store at {endpoints.address_of('metrics_store')} does not answer",
            hint="`windtunnel status` shows what runs",
        ) from None


def _progress(message: metrics_store_pb2.WatchRunResponse) -> Progress:
    run = message.run
    state = RUN_STATE.read(run.run_state, run.state)
    verdict = verdict_name(run.verdict)
    return Progress(run.run_id, state, verdict, run.steps_done, run.steps_known, message.text, message.event_type)
