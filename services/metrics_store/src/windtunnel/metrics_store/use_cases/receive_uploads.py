"""Artifacts that arrive in pieces: a broken upload is resumed, a wrong one is refused, none fills the disk for ever."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from windtunnel.artifacts import ArtifactRef, ArtifactStore
from windtunnel.artifacts.stores.port import check_sha256, sha256_of
from windtunnel.errors import InvalidInput, Unavailable
from windtunnel.v1 import artifacts_pb2 as pb

_STALE_S: Final = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Uploads:
    """What has arrived, one file each in `folder`, named by the hash that it is to have."""

    folder: Path
    artifacts: ArtifactStore
    limit_bytes: int

    async def received(self, sha256: str) -> int:
        """How much has arrived of an upload that is not complete.

        Args:
            sha256: of the artifact.

        Returns:
            Bytes.
        """
        try:
            return (await asyncio.to_thread(self._part(sha256).stat)).st_size
        except FileNotFoundError:
            return 0

    async def take(self, requests: AsyncIterator[pb.UploadRequest]) -> ArtifactRef:
        """Takes the pieces of one upload and stores the whole. What has arrived is kept for a day if the call breaks.

        Args:
            requests: the pieces.

        Returns:
            The artifact.

        Raises:
            InvalidInput: the size is above the limit or not that of the stored artifact, an offset is beyond what has
                arrived, there are too few or too many bytes, or the hash is wrong.
            Unavailable: there is no room.
        """
        first = await anext(aiter(requests), None)
        if first is None:
            raise InvalidInput("an upload without a message", hint="the first one names sha256 and size_bytes")
        wanted = self._wanted(first)
        if await self._is_stored(wanted):
            return wanted
        await asyncio.to_thread(self._sweep)
        try:
            await self._write(first, requests, wanted)
            return await self._keep(wanted)
        except OSError as error:
            if await self._is_stored(wanted):
                # Another call sent the same upload, was done first, and removed what both wrote.
                return wanted
            raise Unavailable(
                f"an upload cannot be stored in {self.folder}: {error.strerror or error}",
                hint="is there room on its disk?",
            ) from error

    async def _is_stored(self, wanted: ArtifactRef) -> bool:
        """Whether the store has it.

        Raises:
            InvalidInput: it has it in another size.
        """
        stored = await self.artifacts.stat(wanted.sha256)
        if stored is not None and stored.size_bytes != wanted.size_bytes:
            raise InvalidInput(
                f"artifact {wanted.sha256} has {stored.size_bytes} bytes, not {wanted.size_bytes}",
                hint="size_bytes is the size of the whole file",
            )
        return stored is not None

    def _wanted(self, first: pb.UploadRequest) -> ArtifactRef:
        wanted = ArtifactRef(check_sha256(first.sha256), first.size_bytes)
        if wanted.size_bytes > self.limit_bytes:
            raise InvalidInput(
                f"an artifact of {wanted.size_bytes} bytes; at most {self.limit_bytes} are taken",
                hint="put it into the services' own store, or raise WINDTUNNEL_MAX_SOURCE_BYTES there",
            )
        return wanted

    async def _write(self, first: pb.UploadRequest, rest: AsyncIterator[pb.UploadRequest], wanted: ArtifactRef) -> None:
        arrived = await self.received(wanted.sha256)
        if arrived > wanted.size_bytes:
            # What an upload left that announced another size; no rest makes it right.
            self._part(wanted.sha256).unlink(missing_ok=True)
            arrived = 0
        if first.offset > arrived:
            if await self._is_stored(wanted):
                # Another call sent the same upload, and was done first.
                return
            raise InvalidInput(f"an upload continues at byte {first.offset}, but {arrived} have arrived")
        # Two calls may send the same upload, where the first one's connection broke and nobody noticed yet: both
        # write the same bytes in the same places.
        target = await asyncio.to_thread(os.open, self._part(wanted.sha256), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            position = first.offset
            data = first.data
            while True:
                if position + len(data) > wanted.size_bytes:
                    raise InvalidInput(f"more than the {wanted.size_bytes} bytes that were announced have arrived")
                position += await asyncio.to_thread(_write_at, target, data, position)
                request = await anext(rest, None)
                if request is None:
                    break
                data = request.data
        finally:
            os.close(target)
        if position < wanted.size_bytes:
            raise InvalidInput(f"{position} of {wanted.size_bytes} bytes have arrived", hint="send the rest")

    async def _keep(self, wanted: ArtifactRef) -> ArtifactRef:
        part = self._part(wanted.sha256)
        if await self._is_stored(wanted):
            part.unlink(missing_ok=True)
            return wanted
        actual = await asyncio.to_thread(sha256_of, part)
        if actual != wanted.sha256:
            part.unlink(missing_ok=True)
            raise InvalidInput(
                f"the uploaded bytes hash to {actual}, not to {wanted.sha256}",
                hint="did the file change? upload it again",
            )
        await self.artifacts.put_file(part)
        part.unlink(missing_ok=True)
        return wanted

    def _part(self, sha256: str) -> Path:
        return self.folder / f"{sha256}.part"

    def _sweep(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.iterdir():
            with suppress(FileNotFoundError):
                if time.time() - leftover.stat().st_mtime > _STALE_S:
                    leftover.unlink()


def _write_at(target: int, data: bytes, position: int) -> int:
    written = 0
    while written < len(data):
        written += os.pwrite(target, data[written:], position + written)
    return written
