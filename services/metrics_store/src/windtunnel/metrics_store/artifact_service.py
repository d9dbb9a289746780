"""windtunnel.v1.ArtifactService: the artifact store for those who cannot reach it themselves."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from windtunnel.artifacts import Artifacts
from windtunnel.artifacts.stores.port import check_sha256
from windtunnel.enum_words import ARTIFACT_KIND, PLATFORM
from windtunnel.errors import InvalidInput, NotFound
from windtunnel.metrics_store.domain.run_artifacts import RunArtifact, artifacts_of_run, file_name
from windtunnel.metrics_store.use_cases.ports import RunQueries
from windtunnel.metrics_store.use_cases.receive_uploads import Uploads
from windtunnel.service.protobuf_values import artifact_to_proto
from windtunnel.v1 import artifacts_pb2 as pb
from windtunnel.v1 import artifacts_pb2_grpc, types_pb2

Context = grpc.aio.ServicerContext[Any, Any]
_CHUNK: Final = 256 * 1024
_CREDENTIALS: Final = re.compile(r"//[^/@]*@")


class ArtifactReader(artifacts_pb2_grpc.ArtifactServiceServicer):
    """What windtunnel.v1.ArtifactService reads.

    Args:
        queries: reads runs.
        artifacts: the store.
    """

    def __init__(self, queries: RunQueries, artifacts: Artifacts) -> None:
        self._queries = queries
        self._artifacts = artifacts

    async def ListArtifacts(  # noqa: N802
        self, request: pb.ListArtifactsRequest, context: Context
    ) -> pb.ListArtifactsResponse:
        """Implements `ArtifactService.ListArtifacts` of the contract."""
        kind = ARTIFACT_KIND.required(request.artifact_kind, request.kind, "kind")
        run = await self._queries.run(request.run_id)
        if run is None:
            raise NotFound(f"there is no run {request.run_id[:80]!r}", hint="`windtunnel runs` lists them")
        kept, executions = await self._queries.lineage(request.run_id)
        model = f"{run.model_name}-{run.model_version}"
        return pb.ListArtifactsResponse(
            artifacts=[
                _message(item, file_name(model, item))
                for item in artifacts_of_run(kept, executions)
                if request.variant in ("", item.variant) and kind in ("", item.kind)
            ]
        )

    async def Download(  # noqa: N802
        self, request: pb.DownloadRequest, context: Context
    ) -> AsyncIterator[pb.DownloadResponse]:
        """Implements `ArtifactService.Download` of the contract."""
        path = await self._artifacts.path(check_sha256(request.sha256))
        size = path.stat().st_size
        if request.offset > size:
            raise InvalidInput(f"offset {request.offset} of an artifact of {size} bytes")
        with path.open("rb") as file:
            file.seek(request.offset)
            yield pb.DownloadResponse(size_bytes=size)
            while data := await asyncio.to_thread(file.read, _CHUNK):
                yield pb.DownloadResponse(data=data)


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """Which artifact store this is. `home`: where the service keeps its own files."""

    url: str
    home: Path
    max_upload_bytes: int


class ArtifactServing(ArtifactReader):
    """windtunnel.v1.ArtifactService.

    Args:
        queries: reads runs.
        artifacts: the store.
        facts: of the store.
    """

    def __init__(self, queries: RunQueries, artifacts: Artifacts, facts: StoreFacts) -> None:
        super().__init__(queries, artifacts)
        self._facts = facts
        self._uploads = Uploads(facts.home / "uploads", artifacts, facts.max_upload_bytes)
        self._probe = f"windtunnel artifact store {uuid.uuid4()}\n".encode()

    async def GetStore(self, request: pb.GetStoreRequest, context: Context) -> pb.GetStoreResponse:  # noqa: N802
        """Implements `ArtifactService.GetStore` of the contract."""
        probe = await self._artifacts.put_bytes(self._probe)
        return pb.GetStoreResponse(
            url=_CREDENTIALS.sub("//", self._facts.url),
            probe_sha256=probe.sha256,
            max_upload_bytes=self._facts.max_upload_bytes,
        )

    async def GetUpload(self, request: pb.GetUploadRequest, context: Context) -> pb.GetUploadResponse:  # noqa: N802
        """Implements `ArtifactService.GetUpload` of the contract."""
        sha256 = check_sha256(request.sha256)
        if await self._artifacts.stat(sha256) is not None:
            return pb.GetUploadResponse(stored=True)
        return pb.GetUploadResponse(received_bytes=await self._uploads.received(sha256))

    async def Upload(  # noqa: N802
        self, requests: AsyncIterator[pb.UploadRequest], context: Context
    ) -> pb.UploadResponse:
        """Implements `ArtifactService.Upload` of the contract."""
        return pb.UploadResponse(artifact=artifact_to_proto(await self._uploads.take(requests), ""))


def _message(item: RunArtifact, name: str) -> pb.RunArtifact:
    made_at = None
    if item.made_at is not None:
        made_at = Timestamp()
        made_at.FromDatetime(item.made_at)
    blob = item.artifact
    return pb.RunArtifact(
        artifact=types_pb2.Artifact(sha256=blob.sha256, size_bytes=blob.size_bytes, media_type=blob.media_type),
        kind=item.kind,
        variant=item.variant,
        platform=item.platform,
        cell_id=item.cell_id,
        attempt=item.attempt,
        file_name=name,
        made_at=made_at,
        artifact_kind=ARTIFACT_KIND.number(item.kind),
        device_platform=PLATFORM.number(item.platform),
    )
