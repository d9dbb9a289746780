"""The way of artifacts to the services: directly to their store if reachable, otherwise through their API."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import grpc

from windtunnel.artifacts import ArtifactRef, ArtifactStore, open_store
from windtunnel.client.endpoints import Endpoints
from windtunnel.client.served_store import OnProgress, ServedStore
from windtunnel.errors import Unavailable, WindtunnelError
from windtunnel.v1 import artifacts_pb2

if TYPE_CHECKING:
    # Exists only for type checkers: at run time both kinds of channel have one class.
    from windtunnel.v1.artifacts_pb2_grpc import ArtifactServiceAsyncStub

_ANSWER_S = 10.0


class Writer(Protocol):
    """Where a submission stores its files."""

    async def put_file(self, path: Path) -> ArtifactRef:
        """Stores a regular file.

        Args:
            path: of the file.

        Returns:
            Its name and size.
        """
        ...

    async def put_bytes(self, data: bytes) -> ArtifactRef:
        """Stores bytes.

        Args:
            data: at most what memory holds.

        Returns:
            Their name and size.
        """
        ...

    async def read_bytes(self, sha256: str) -> bytes:
        """Reads a verified blob into memory.

        Args:
            sha256: of the blob.

        Returns:
            The bytes.
        """
        ...


async def find_store(
    endpoints: Endpoints, service: Callable[[], ArtifactServiceAsyncStub], on_upload: OnProgress | None = None
) -> Writer:
    """The way to the services' store.

    The services name an artifact that only their store has. If the store named here has it too, both are the same. If
    the services do not answer, the store named by WINDTUNNEL_ARTIFACTS_URL or endpoints.json is used.

    Args:
        endpoints: of the services.
        service: connects to the artifact service.
        on_upload: called with bytes sent and bytes in all.

    Returns:
        The store itself, or the services' API to it.

    Raises:
        Unavailable: no store is named.
    """
    probe = await _probe(endpoints, service)
    if probe is None:
        if endpoints.artifacts_assumed:
            raise _unknown(endpoints.grpc.get("metrics_store"))
        return open_store(endpoints.artifacts)
    found = await _holding(endpoints.artifacts, probe)
    return ServedStore(service(), on_upload) if found is None else found


def _unknown(address: str | None) -> Unavailable:
    ask = f"the metrics store at {address} does not answer" if address else "no address of the metrics store is set"
    check = "check WINDTUNNEL_METRICS_STORE_ADDRESS" if address else "set WINDTUNNEL_METRICS_STORE_ADDRESS=host:port"
    return Unavailable(
        f"which artifact store the services use is not known: {ask}",
        hint=f"{check} to upload through the services, or set WINDTUNNEL_ARTIFACTS_URL to the store that they use",
    )


async def _probe(endpoints: Endpoints, service: Callable[[], ArtifactServiceAsyncStub]) -> str | None:
    """SHA-256 of an artifact that only the services' store has; None if they do not answer.

    Raises:
        Unavailable: the services cannot reach their store.
    """
    if "metrics_store" not in endpoints.grpc:
        return None
    try:
        answer = await service().GetStore(artifacts_pb2.GetStoreRequest(), timeout=_ANSWER_S)
    except grpc.aio.AioRpcError as error:
        passing = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.DEADLINE_EXCEEDED)
        if error.code() in passing:
            return None
        raise Unavailable(f"the services do not say which artifact store they use: {error.details()}") from error
    return answer.probe_sha256


async def _holding(url: str, sha256: str) -> ArtifactStore | None:
    """The store at `url`, if it is reachable and has this artifact."""
    try:
        store = open_store(url)
        return store if await asyncio.wait_for(store.stat(sha256), _ANSWER_S) is not None else None
    except (WindtunnelError, TimeoutError):
        return None
