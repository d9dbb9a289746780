"""Artifacts in memory: the fake for unit tests, with the behavior of the others."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from windtunnel.artifacts.stores.port import ArtifactRef, BlockingStore, read_chunks
from windtunnel.errors import NotFound, Unavailable


class MemoryStore(BlockingStore):
    """A dictionary. `available = False` makes every call raise Unavailable, as a stopped server does."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.available = True

    def _put(self, source: BinaryIO) -> ArtifactRef:
        self._ping()
        data = source.read()
        ref = ArtifactRef(hashlib.sha256(data).hexdigest(), len(data))
        self.blobs[ref.sha256] = data
        return ref

    @contextmanager
    def _open(self, sha256: str) -> Iterator[Iterator[bytes]]:
        self._ping()
        if sha256 not in self.blobs:
            raise NotFound(f"no artifact {sha256} in memory")
        yield read_chunks(io.BytesIO(self.blobs[sha256]))

    def _stat(self, sha256: str) -> ArtifactRef | None:
        self._ping()
        data = self.blobs.get(sha256)
        return None if data is None else ArtifactRef(sha256, len(data))

    def _delete(self, sha256: str) -> None:
        self._ping()
        self.blobs.pop(sha256, None)

    def _ping(self) -> None:
        if not self.available:
            raise Unavailable("the memory store is switched off")
