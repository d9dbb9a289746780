"""The asyncio client: publishes `model.trained`, follows runs through the metrics store."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from windtunnel.artifacts import ArtifactStore, open_store
from windtunnel.bus import Bus, Event, decode, encode, subjects
from windtunnel.bus.nats.jetstream import connect
from windtunnel.client.artifacts import KINDS, Artifact, download, one_of, read_artifact
from windtunnel.client.comparison import Comparison, compare_runs
from windtunnel.client.endpoints import Endpoints, find_endpoints, reach
from windtunnel.client.history import History, read_history
from windtunnel.client.listing import RunFilter, RunSummary, list_runs, verdict_name
from windtunnel.client.report import Report
from windtunnel.client.served_store import OnProgress, ServedStore
from windtunnel.client.stores import Writer, find_store
from windtunnel.client.uploads import find_model, is_uri, names_local_files, read_plan, upload, upload_plan_files
from windtunnel.enum_words import ARTIFACT_KIND, RUN_STATE
from windtunnel.errors import Conflict, InvalidInput, NotFound, Unavailable
from windtunnel.formats import FORMATS
from windtunnel.plan import Plan, plan_to_proto
from windtunnel.rpc import KEEPALIVE, from_rpc_error
from windtunnel.service.announcement import RunIdTaken, claim_run, derived_run_id_of, wanted_run_id
from windtunnel.telemetry import child_of
from windtunnel.v1 import (
    artifacts_pb2,
    artifacts_pb2_grpc,
    events_pb2,
    metrics_store_pb2,
    metrics_store_pb2_grpc,
    types_pb2,
)

SOURCE = "/windtunnel/client"
_PATIENCE_S = 15.0
_UNHEARD_S = 2.0
_PLAN_LOOK_S = 5.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is. `verdict` is None until it has one."""

    run_id: str
    state: str
    verdict: str | None
    steps_done: int
    steps_known: int
    text: str


class AsyncClient:
    """A connection to a running Windtunnel. Raises Unavailable where there is none."""

    def __init__(self, endpoints: Endpoints | None = None) -> None:
        self._endpoints = endpoints or find_endpoints()
        self._bus: Bus | None = None
        self._channel: grpc.aio.Channel | None = None
        self._reached: set[str] = set()

    @property
    def endpoints(self) -> Endpoints:
        return self._endpoints

    @property
    def artifacts(self) -> ArtifactStore:
        """The artifact store that the endpoints name, whether or not the services use it; see `services_store`."""
        return open_store(self._endpoints.artifacts)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections."""
        if self._bus is not None:
            await self._bus.close()
        if self._channel is not None:
            await self._channel.close(None)

    async def bus(self) -> Bus:
        """The bus, connected."""
        if self._bus is None:
            if not self._endpoints.nats:
                raise Unavailable(
                    "the address of the NATS server is not known", hint="set WINDTUNNEL_NATS_URL=nats://host:4222"
                )
            self._bus = await connect(self._endpoints.nats, name="windtunnel-client", wait_s=10)
        return self._bus

    @property
    def store(self) -> metrics_store_pb2_grpc.MetricsStoreServiceAsyncStub:
        """The metrics store's API."""
        return metrics_store_pb2_grpc.MetricsStoreServiceStub(self._metrics_store())

    @property
    def served(self) -> ServedStore:
        """The services' artifact store through their API."""
        return ServedStore(self._artifact_service())

    def _artifact_service(self) -> artifacts_pb2_grpc.ArtifactServiceAsyncStub:
        return artifacts_pb2_grpc.ArtifactServiceStub(self._metrics_store())

    def _metrics_store(self) -> grpc.aio.Channel:
        if self._channel is None:
            address = self._endpoints.address_of("metrics_store")
            self._channel = grpc.aio.insecure_channel(address, options=KEEPALIVE)
        return self._channel

    async def services_store(self, on_upload: OnProgress | None = None) -> Writer:
        """The services' artifact store: straight where this machine reaches it too, else through their API.

        Raises Unavailable where neither is possible.
        """
        return await find_store(self._endpoints, self._artifact_service, on_upload)

    async def submit(
        self,
        model: str | Path,
        *,
        plan: str | Path | Plan | None = None,
        plan_name: str | None = None,
        name: str | None = None,
        version: str | None = None,
        sha256: str | None = None,
        format: str | None = None,
        inputs: Sequence[str] = (),
        outputs: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        run_id: str | None = None,
        event_id: str | None = None,
        on_upload: OnProgress | None = None,
    ) -> AsyncRun:
        """Starts a run.

        Args:
            model: a local file, folder or checkpoint prefix, or a URI that the services can read.
            plan: a plan, or the path of a plan.yaml; its local paths are relative to that file.
            plan_name: instead, a stored plan, which must exist. Neither: the default plan.
            metrics: figures of the training itself; samples and preprocessing must reproduce its `accuracy`, 0 to 1.
            name, version: else the file's name, and a version from the content.
            sha256: hash of what the URI must hold; https:// needs it.
            event_id: submitting again under the same one is the same run; else a new one.
            on_upload: called with bytes sent and bytes in all, where files go through the services' API.

        Raises InvalidInput, InvalidPlan, NotFound, Unavailable.
        """
        if plan is not None and plan_name is not None:
            raise InvalidInput("plan and plan_name are given", hint="give one of them")
        find_model(str(model), sha256)
        declared = format or _format_by_name(str(model))
        if declared is not None and declared not in FORMATS:
            raise InvalidInput(f"unknown format {declared!r}", hint=f"known are {', '.join(FORMATS)}")
        if plan_name:
            await self._require_plan(plan_name)
        uri = str(model)
        if not is_uri(uri):
            uri = await upload(await self.services_store(on_upload), Path(model))
        message = events_pb2.ModelTrained(
            model=types_pb2.Model(
                name=name or Path(str(model).rstrip("/")).stem,
                version=version or _version_of(uri),
                uri=uri,
                sha256=sha256 or "",
                format=declared or "",
                inputs=inputs,
                outputs=outputs,
                metrics=metrics,
            ),
            plan_name=plan_name or "",
            labels=labels,
            run_id=run_id or "",
        )
        if plan is not None:
            message.plan.CopyFrom(plan_to_proto(await self._plan(plan, on_upload)))
        return await self._publish(message, event_id or uuid.uuid4().hex)

    async def _require_plan(self, name: str) -> None:
        """Raises NotFound for a stored plan that does not exist; a store that does not answer is not waited for."""
        with contextlib.suppress(Unavailable):
            request = metrics_store_pb2.GetPlanRequest(name=name)
            await self.call(self.store.GetPlan, request, timeout_s=_PLAN_LOOK_S)

    async def _plan(self, plan: str | Path | Plan, on_upload: OnProgress | None) -> Plan:
        folder = Path.cwd()
        if not isinstance(plan, Plan):
            folder = Path(plan).parent
            plan = read_plan(Path(plan))
        if not names_local_files(plan):
            # Nothing is stored: the way to the store need not be known.
            return await upload_plan_files(self.artifacts, plan, folder)
        return await upload_plan_files(await self.services_store(on_upload), plan, folder)

    async def _publish(self, message: events_pb2.ModelTrained, id: str) -> AsyncRun:
        run_id = message.run_id or derived_run_id_of(SOURCE, id)
        subject, headers, data = encode(message, id=id, source=SOURCE, run_id=run_id, traceparent=child_of(""))
        bus = await self.bus()
        if message.run_id:
            await _claim(bus, decode(subject, headers, data))
        await bus.publish(subject, headers, data)
        return AsyncRun(self, run_id)

    def run(self, run_id: str) -> AsyncRun:
        """A handle on a run."""
        return AsyncRun(self, run_id)

    async def runs(self, wanted: RunFilter = RunFilter(), *, limit: int = 50) -> list[RunSummary]:  # noqa: B008
        """At most `limit` runs, newest first. Raises InvalidInput, Unavailable."""
        return await list_runs(self, wanted, limit)

    async def compare(self, *targets: str) -> Comparison:
        """Runs side by side: figures, and their differences from the first run's.

        Args:
            targets: two or more run ids, or MODEL@VERSION for the newest completed run of that.

        Raises InvalidInput, NotFound, Unavailable.
        """
        return await compare_runs(self, targets)

    async def history(self, model: str, figure: str, *, limit: int = 50) -> History:
        """A figure, such as `variants[int8].accuracy`, in the newest `limit` completed runs of a model, oldest first.

        Raises InvalidInput for a path that no report has, NotFound, Unavailable.
        """
        return await read_history(self, RunFilter(model=model, state="completed"), figure, limit)

    async def artifacts_of(self, run_id: str, variant: str = "", kind: str = "") -> list[Artifact]:
        """What a run used and made; see AsyncRun.artifacts."""
        if kind and kind not in KINDS:
            raise InvalidInput(f"unknown kind {kind!r}", hint=f"known are {', '.join(KINDS)}")
        request = artifacts_pb2.ListArtifactsRequest(
            run_id=run_id, variant=variant, kind=kind, artifact_kind=ARTIFACT_KIND.number(kind)
        )
        response = await self.call(self._artifact_service().ListArtifacts, request)
        return [read_artifact(message) for message in response.artifacts]

    async def call(
        self,
        method: Any,
        request: Any,
        *,
        timeout_s: float = 30.0,
        elsewhere: tuple[str, grpc.aio.Channel] | None = None,
    ) -> Any:
        """Calls a stub's method; raises our errors. `elsewhere`: of a stub that is not the metrics store's."""
        service, channel = elsewhere or ("metrics_store", self._metrics_store())
        if service not in self._reached:
            await reach(self._endpoints, service, channel)
            self._reached.add(service)
        try:
            return await method(request, timeout=timeout_s, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error


class AsyncRun:
    """A run that was submitted."""

    def __init__(self, client: AsyncClient, run_id: str) -> None:
        self._client = client
        self.run_id = run_id

    async def watch(self) -> AsyncGenerator[Progress, None]:
        """Progress until the run has its verdict; survives restarts of the metrics store.

        Raises NotFound when no service has heard of the run within 15 seconds, Unavailable when the metrics store
        says nothing for as long.
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
                # The event may still be on its way, and the store may be starting again.
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
            # The store tells at once where the run is; later messages may be hours apart.
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
        """Ends the run: its verdict becomes could_not_run, and no service works for it any more.

        Returns False where it had ended before. Raises NotFound where no service has heard of it within 2 seconds,
        Unavailable.
        """
        request = metrics_store_pb2.CancelRunRequest(run_id=self.run_id, reason=reason)
        deadline = asyncio.get_running_loop().time() + _UNHEARD_S
        while True:
            try:
                return bool((await self._client.call(self._client.store.CancelRun, request)).canceled)
            except NotFound:
                # It may just have been announced.
                if asyncio.get_running_loop().time() > deadline:
                    raise
            await asyncio.sleep(0.2)

    async def artifacts(self, *, variant: str = "", kind: str = "") -> list[Artifact]:
        """What the run used and made so far, in the order of the steps. Raises NotFound.

        Args:
            variant, kind: only those of this variant, of this kind (see `Artifact.kind`).
        """
        return await self._client.artifacts_of(self.run_id, variant, kind)

    def variant(self, name: str) -> AsyncVariant:
        """A handle on a variant of the run."""
        return AsyncVariant(self._client, self.run_id, name)

    async def report(self) -> Report:
        """The report as far as it is known. Raises NotFound."""
        request = metrics_store_pb2.GetReportRequest(run_id=self.run_id)
        response = await self._client.call(self._client.store.GetReport, request)
        return Report(json.loads(response.report_json))


class AsyncVariant:
    """A variant of a run."""

    def __init__(self, client: AsyncClient, run_id: str, name: str) -> None:
        self._client = client
        self._run_id = run_id
        self.name = name

    async def download(self, path: str | Path, *, force: bool = False) -> Path:
        """Writes the variant's .tflite to `path`, verified; a broken download goes on where it stopped.

        Raises Conflict where `path` exists and not `force`, NotFound, InvalidInput, Unavailable.
        """
        found = await self._client.artifacts_of(self._run_id, self.name, "variant")
        artifact = one_of(found, f"variant {self.name!r} of run {self._run_id}")
        return await download(self._client.served, artifact, Path(path), force=force)


async def _claim(bus: Bus, event: Event) -> None:
    """Takes the run id that the user wants, before anybody hears of the run."""
    run_id = wanted_run_id(event)
    try:
        await claim_run(await bus.bucket(subjects.RUNS_BUCKET), event)
    except RunIdTaken:
        raise Conflict(f"run {run_id!r} already exists", hint="leave the run id out, or choose another") from None


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
    return Progress(run.run_id, state, verdict_name(run.verdict), run.steps_done, run.steps_known, message.text)


def _version_of(uri: str) -> str:
    """The first digits of an artifact's hash; else the time of day, since a URI does not say what it holds."""
    if uri.startswith("sha256:"):
        return uri.removeprefix("sha256:")[:12]
    return datetime.now(UTC).strftime("%Y-%m-%d.%H%M%S")


def _format_by_name(model: str) -> str | None:
    # A GraphDef says nothing of itself, and an artifact has no name: only here is it still known.
    path = Path(model)
    return "frozen_graph" if path.suffix == ".pb" and path.name != "saved_model.pb" else None
