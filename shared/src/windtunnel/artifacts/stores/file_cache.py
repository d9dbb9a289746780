"""Artifacts as local files, over any store, in a cache folder that does not grow without bound."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path
from weakref import WeakValueDictionary

from windtunnel.artifacts.stores.local_store import LocalStore
from windtunnel.artifacts.stores.port import READ_LIMIT, ArtifactRef, ArtifactStore, check_sha256, sha256_of

CACHE_BYTES = 20 * 1024**3
_IN_USE_S = 3600.0


class Artifacts:
    """An ArtifactStore that also gives artifacts as files, verified on every read.

    A local store's own files are given; those of a remote one are kept in `cache`, at most `max_bytes` of them,
    least recently used first out. Processes may share a cache. A file used within the last hour stays, above the
    bound too, since a job may be about to open it.

    Args:
        store: has the artifacts.
        cache: folder of the local copies.
        max_bytes: size of the cache; what was not used for longest goes first.
    """

    def __init__(self, store: ArtifactStore, cache: Path, *, max_bytes: int = CACHE_BYTES) -> None:
        self.store = store
        self._cache = cache
        self._max_bytes = max_bytes
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def path(self, sha256: str) -> Path:
        """A read-only local file with the verified bytes.

        Args:
            sha256: of the artifact.

        Returns:
            It may vanish when the cache needs room; open it at once.

        Raises:
            NotFound: there is no such artifact.
            Corrupt: its bytes do not hash to `sha256`.
            Unavailable: the store does not answer.
        """
        check_sha256(sha256)
        if isinstance(self.store, LocalStore):
            return await self.store.path(sha256)
        lock = self._locks.setdefault(sha256, asyncio.Lock())
        async with lock:
            target = self._cache / "sha256" / sha256[:2] / sha256
            if not await asyncio.to_thread(_holds, target, sha256):
                await self.store.fetch(sha256, target)
                await asyncio.to_thread(self._keep, target)
            return target

    async def put_file(self, path: Path) -> ArtifactRef:
        """Implements `ArtifactStore.put_file`."""
        return await self.store.put_file(path)

    async def put_bytes(self, data: bytes) -> ArtifactRef:
        """Implements `ArtifactStore.put_bytes`."""
        return await self.store.put_bytes(data)

    async def fetch(self, sha256: str, target: Path) -> Path:
        """Implements `ArtifactStore.fetch`."""
        return await self.store.fetch(sha256, target)

    async def read_bytes(self, sha256: str, *, limit: int = READ_LIMIT) -> bytes:
        """Implements `ArtifactStore.read_bytes`."""
        return await self.store.read_bytes(sha256, limit=limit)

    async def stat(self, sha256: str) -> ArtifactRef | None:
        """Implements `ArtifactStore.stat`."""
        return await self.store.stat(sha256)

    async def delete(self, sha256: str) -> None:
        """Implements `ArtifactStore.delete`."""
        await self.store.delete(sha256)

    async def ping(self) -> None:
        """Implements `ArtifactStore.ping`."""
        await self.store.ping()

    def _keep(self, target: Path) -> None:
        target.chmod(0o444)
        files = []
        for path in (self._cache / "sha256").glob("*/*"):
            with suppress(FileNotFoundError):
                status = path.stat()
                files.append((status.st_mtime, status.st_size, path))
        excess = sum(size for _, size, _ in files) - self._max_bytes
        for used, size, path in sorted(files):
            if excess <= 0 or time.time() - used < _IN_USE_S:
                return
            path.unlink(missing_ok=True)
            excess -= size


def _holds(path: Path, sha256: str) -> bool:
    """Whether `path` holds the right bytes; marks it as used now. Wrong bytes are fetched again, never used."""
    try:
        if sha256_of(path) != sha256:
            return False
        os.utime(path)
    except FileNotFoundError:
        return False
    return True
