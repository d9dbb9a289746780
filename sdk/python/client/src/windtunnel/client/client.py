"""The asyncio client: submits models, and reads runs from the metrics store."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc

from windtunnel.artifacts import ArtifactStore, open_store
from windtunnel.bus import Bus
from windtunnel.bus.nats.jetstream import connect
from windtunnel.client.artifacts import KINDS, Artifact, read_artifact
from windtunnel.client.async_run import AsyncRun
from windtunnel.client.comparison import Comparison, compare_runs
from windtunnel.client.endpoints import Endpoints, find_endpoints, wait_until_reachable
from windtunnel.client.history import History, read_history
from windtunnel.client.listing import RunFilter, RunSummary, list_runs
from windtunnel.client.served_store import OnProgress, ServedStore
from windtunnel.client.stores import Writer, find_store
from windtunnel.client.submission import Submission, submit
from windtunnel.enum_words import ARTIFACT_KIND
from windtunnel.errors import InvalidInput, Unavailable
from windtunnel.plan import Plan
from windtunnel.rpc import KEEPALIVE, from_rpc_error
from windtunnel.v1 import (
    artifacts_pb2,
    artifacts_pb2_grpc,
    metrics_store_pb2_grpc,
)


class AsyncClient:
    """A connection to a running Windtunnel."""

    def __init__(self, endpoints: Endpoints | None = None) -> None:
        """Connects at the first call.

        Args:
            endpoints: addresses of the services; default: `find_endpoints`.

        Raises:
            Unavailable: Windtunnel is not running, and no variable names one.
        """
        self._endpoints = endpoints or find_endpoints()
        self._bus: Bus | None = None
        self._channel: grpc.aio.Channel | None = None
        self._reached: set[str] = set()

    @property
    def endpoints(self) -> Endpoints:
        """The addresses of the services."""
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
        """The bus, connected.

        Returns:
            The bus; the same one for every call.

        Raises:
            Unavailable: its address is not known, or it does not answer.
        """
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
        """The services' artifact store: directly if this machine can reach it, otherwise through their API.

        Args:
            on_upload: called with bytes sent and bytes in all, if files go through the services' API.

        Returns:
            The store, for uploads.

        Raises:
            Unavailable: neither is possible.
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
            plan_name: a stored plan instead. Without both, the default plan.
            name: of the model; default: the file's name.
            version: of the model; default: from its content.
            sha256: hash of the content of the URI; required for https://.
            format: of the model; default: from its content.
            inputs: names of input tensors, if the file does not name them.
            outputs: names of output tensors, in the same way.
            labels: of the run.
            metrics: figures of the training. Samples and preprocessing must reproduce its `accuracy`, 0 to 1.
            run_id: default: a new one.
            event_id: submitting again with the same one is the same run; default: a new one.
            on_upload: called with bytes sent and bytes in all, if files go through the services' API.

        Returns:
            A handle on the run.

        Raises:
            InvalidInput, InvalidPlan: the arguments or the plan are not valid.
            NotFound: the model or the stored plan does not exist.
            Conflict: the run id is taken.
            Unavailable: a service does not answer.
        """
        given = Submission(
            model=str(model),
            plan=plan,
            plan_name=plan_name or "",
            name=name or "",
            version=version or "",
            sha256=sha256 or "",
            format=format or "",
            inputs=inputs,
            outputs=outputs,
            labels=labels or {},
            metrics=metrics or {},
            run_id=run_id or "",
            event_id=event_id or uuid.uuid4().hex,
        )
        return AsyncRun(self, await submit(self, given, on_upload))

    def run(self, run_id: str) -> AsyncRun:
        """A handle on a run. Does not check that the run exists.

        Args:
            run_id: its id.

        Returns:
            The handle.
        """
        return AsyncRun(self, run_id)

    async def runs(self, wanted: RunFilter = RunFilter(), *, limit: int = 50) -> list[RunSummary]:  # noqa: B008
        """Lists runs, newest first.

        Args:
            wanted: a filter; default: all runs.
            limit: at most this many.

        Returns:
            The runs.

        Raises:
            InvalidInput: the filter has an unknown state or verdict.
            Unavailable: the metrics store does not answer.
        """
        return await list_runs(self, wanted, limit)

    async def compare(self, *targets: str) -> Comparison:
        """Compares runs: figures, and their differences from the first run's.

        Args:
            *targets: two or more run ids, or MODEL@VERSION for its newest completed run.

        Returns:
            The comparison, with the first run as the reference.

        Raises:
            InvalidInput: fewer than two targets, or a run without figures.
            NotFound: a run does not exist.
            Unavailable: the metrics store does not answer.
        """
        return await compare_runs(self, targets)

    async def history(self, model: str, figure: str, *, limit: int = 50) -> History:
        """A figure in the newest completed runs of a model, oldest first.

        Args:
            model: its name.
            figure: path of the figure in a report, such as `variants[int8].accuracy`.
            limit: at most this many runs.

        Returns:
            The figure of each run.

        Raises:
            InvalidInput: no report has the path.
            NotFound: the model has no completed run.
            Unavailable: the metrics store does not answer.
        """
        return await read_history(self, RunFilter(model=model, state="completed"), figure, limit)

    async def artifacts_of(self, run_id: str, variant: str = "", kind: str = "") -> list[Artifact]:
        """The artifacts of a run; see `AsyncRun.artifacts`.

        Args:
            run_id: id of the run.
            variant: only artifacts of this variant; empty: all.
            kind: only artifacts of this kind; empty: all.

        Returns:
            The artifacts, in the order of the steps.

        Raises:
            InvalidInput: the kind is unknown.
        """
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
        """Calls a method of a stub.

        Args:
            method: the method.
            request: its message.
            timeout_s: limit of the call, in seconds.
            elsewhere: service and channel of a stub that is not the metrics store's.

        Returns:
            The response.

        Raises:
            WindtunnelError: the error of the call, as one of `windtunnel.errors`.
        """
        service, channel = elsewhere or ("metrics_store", self._metrics_store())
        if service not in self._reached:
            await wait_until_reachable(self._endpoints, service, channel)
            self._reached.add(service)
        try:
            return await method(request, timeout=timeout_s, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
