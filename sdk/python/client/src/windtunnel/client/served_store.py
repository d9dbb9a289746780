"""The services' artifact store through their API, for machines that cannot reach it. Transfers resume."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeVar

import grpc

from windtunnel.artifacts import ArtifactRef, Corrupt
from windtunnel.artifacts.stores.port import READ_LIMIT, check_sha256, open_regular, read_chunks, sha256_of
from windtunnel.errors import InvalidInput, Unavailable
from windtunnel.rpc import from_rpc_error
from windtunnel.v1 import artifacts_pb2

if TYPE_CHECKING:
    from windtunnel.v1.artifacts_pb2_grpc import ArtifactServiceAsyncStub

T = TypeVar("T")
# Called with the bytes sent or received so far, and the bytes in all.
OnProgress = Callable[[int, int], None]

_CHUNK: Final = 256 * 1024
_CALL_S: Final = 30.0
# How often a transfer is tried again without progress.
_TRIES: Final = 8
_PASSING: Final = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
)


class ServedStore:
    """Immutable blobs by content, like an ArtifactStore; nothing can be deleted.

    Args:
        service: the artifact service.
        on_upload: called with bytes sent and bytes in all.
    """

    def __init__(self, service: ArtifactServiceAsyncStub, on_upload: OnProgress | None = None) -> None:
        self._service = service
        self._on_upload = on_upload

    async def put_file(self, path: Path) -> ArtifactRef:
        """Stores a regular file. Bytes that the services already have are not sent again.

        Args:
            path: of the file.

        Returns:
            Its name and size.

        Raises:
            InvalidInput: the file cannot be read, is too large, or changes during the upload.
            Unavailable: the services do not answer.
        """
        ref = await asyncio.to_thread(_reference, path)
        attempts = _Attempts("the upload")
        while True:
            asked = await self._ask(self._service.GetUpload, artifacts_pb2.GetUploadRequest(sha256=ref.sha256))
            if asked.stored:
                return ref
            # An upload with another size left more bytes than the file has: start again.
            offset = asked.received_bytes if asked.received_bytes <= ref.size_bytes else 0
            attempts.reached(offset)
            try:
                await self._service.Upload(self._pieces(path, ref, offset))
                return ref
            except grpc.aio.AioRpcError as error:
                await attempts.again(error)

    async def _pieces(self, path: Path, ref: ArtifactRef, offset: int) -> AsyncIterator[artifacts_pb2.UploadRequest]:
        yield artifacts_pb2.UploadRequest(sha256=ref.sha256, size_bytes=ref.size_bytes, offset=offset)
        with open_regular(path) as file:
            file.seek(offset)
            while data := await asyncio.to_thread(file.read, _CHUNK):
                yield artifacts_pb2.UploadRequest(data=data)
                offset += len(data)
                if self._on_upload is not None:
                    self._on_upload(offset, ref.size_bytes)

    async def put_bytes(self, data: bytes) -> ArtifactRef:
        """Stores bytes.

        Args:
            data: at most what memory holds.

        Returns:
            Their name and size.
        """
        ref = ArtifactRef(hashlib.sha256(data).hexdigest(), len(data))
        asked = await self._ask(self._service.GetUpload, artifacts_pb2.GetUploadRequest(sha256=ref.sha256))
        if asked.stored:
            return ref

        async def pieces() -> AsyncIterator[artifacts_pb2.UploadRequest]:
            yield artifacts_pb2.UploadRequest(sha256=ref.sha256, size_bytes=ref.size_bytes)
            for start in range(0, len(data), _CHUNK):
                yield artifacts_pb2.UploadRequest(data=data[start : start + _CHUNK])

        try:
            await self._service.Upload(pieces())
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        return ref

    async def fetch_part(self, sha256: str, part: Path, file: BinaryIO, on_progress: OnProgress | None = None) -> None:
        """Writes the verified blob to a file, continuing after the bytes of an earlier try.

        Args:
            sha256: of the blob.
            part: path of the file.
            file: `part`, opened to append to it, at its end.
            on_progress: called with bytes received and bytes in all.

        Raises:
            NotFound: there is no such blob.
            Corrupt: its bytes do not hash to `sha256`.
            InvalidInput: the file cannot be written.
            Unavailable: the services do not answer.
        """
        check_sha256(sha256)
        attempts = _Attempts("the download")
        try:
            while True:
                try:
                    await self._receive(sha256, file, on_progress)
                    break
                except grpc.aio.AioRpcError as error:
                    attempts.reached(file.tell())
                    await attempts.again(error)
            await asyncio.to_thread(file.flush)
            actual = await asyncio.to_thread(sha256_of, part)
            if actual != sha256:
                part.unlink(missing_ok=True)
                raise Corrupt(f"artifact {sha256} is corrupt: its bytes hash to {actual}", hint="try again")
        except OSError as error:
            raise InvalidInput(f"{part} cannot be written: {error.strerror or error}") from error

    async def _receive(self, sha256: str, file: BinaryIO, on_progress: OnProgress | None) -> None:
        offset = file.tell()
        call = self._service.Download(artifacts_pb2.DownloadRequest(sha256=sha256, offset=offset))
        size = 0
        try:
            async for message in call:
                size = size or message.size_bytes
                await asyncio.to_thread(file.write, message.data)
                offset += len(message.data)
                if on_progress is not None:
                    on_progress(offset, size)
        finally:
            call.cancel()

    async def read_bytes(self, sha256: str, *, limit: int = READ_LIMIT) -> bytes:
        """Reads the verified blob into memory.

        Args:
            sha256: of the blob.
            limit: the most bytes.

        Returns:
            The bytes.

        Raises:
            NotFound: there is no such blob.
            Corrupt: its bytes do not hash to `sha256`.
            InvalidInput: it is larger than `limit`.
        """
        found = bytearray()
        try:
            async for message in self._service.Download(artifacts_pb2.DownloadRequest(sha256=check_sha256(sha256))):
                found += message.data
                if len(found) > limit:
                    raise InvalidInput(f"artifact {sha256} is larger than {limit} bytes", hint="download it to a file")
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        if hashlib.sha256(found).hexdigest() != sha256:
            raise Corrupt(f"artifact {sha256} is corrupt", hint="try again")
        return bytes(found)

    async def _ask(self, method: Callable[..., Awaitable[T]], request: Any) -> T:
        try:
            return await method(request, timeout=_CALL_S, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error


class _Attempts:
    """Tries of a transfer: as long as it makes progress, and a few times without.

    Args:
        what: of the transfer, for messages.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._furthest = -1
        self._failed = 0

    def reached(self, position: int) -> None:
        """Notes progress: failures before it no longer count.

        Args:
            position: in bytes.
        """
        if position > self._furthest:
            self._furthest, self._failed = position, 0

    async def again(self, error: grpc.aio.AioRpcError) -> None:
        """Waits before the next try.

        Args:
            error: of the last one.

        Raises:
            Unavailable: the tries are used up.
        """
        if error.code() not in _PASSING:
            raise from_rpc_error(error) from error
        self._failed += 1
        if self._failed > _TRIES:
            raise Unavailable(
                f"{self._what} broke {self._failed} times at byte {max(0, self._furthest)}: {error.details()}",
                hint="try again: it continues from there",
            ) from error
        await asyncio.sleep(min(5.0, 0.2 * 2**self._failed))


def _reference(path: Path) -> ArtifactRef:
    digest = hashlib.sha256()
    with open_regular(path) as file:
        for chunk in read_chunks(file):
            digest.update(chunk)
        return ArtifactRef(digest.hexdigest(), file.tell())
