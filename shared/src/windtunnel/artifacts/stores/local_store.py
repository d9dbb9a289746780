"""Artifacts in a folder: `<root>/sha256/ab/<hex>`, read-only files, written whole or not at all."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from windtunnel.artifacts.stores.port import ArtifactRef, BlockingStore, check_sha256, read_chunks, verified
from windtunnel.errors import NotFound, Unavailable

_STALE_S = 24 * 3600.0


class LocalStore(BlockingStore):
    """A folder on a local or shared POSIX file system.

    Args:
        root: folder of the store; it is made when something is stored.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._temporary = root / "tmp"

    async def path(self, sha256: str) -> Path:
        """The verified blob's own read-only file.

        Args:
            sha256: of the artifact.

        Returns:
            The path in the store's folder.

        Raises:
            NotFound: there is no such artifact.
            Corrupt: its bytes do not hash to `sha256`.
        """
        return await asyncio.to_thread(self._verified_path, check_sha256(sha256))

    def _verified_path(self, sha256: str) -> Path:
        with self._open(sha256) as chunks:
            for _ in verified(sha256, chunks):
                pass
        return self._path(sha256)

    def _path(self, sha256: str) -> Path:
        return self.root / "sha256" / sha256[:2] / sha256

    def _put(self, source: BinaryIO) -> ArtifactRef:
        with _storing(self.root):
            fd, name = self._temporary_file()
            try:
                with os.fdopen(fd, "wb") as out:
                    ref = _copy(source, out)
                    out.flush()
                    os.fchmod(fd, 0o444)
                    os.fsync(fd)
                target = self._path(ref.sha256)
                _make_folder(target.parent)
                # Replacing equal bytes is harmless, and repairs a blob that was damaged on disk.
                Path(name).replace(target)
            except BaseException:
                with suppress(FileNotFoundError):
                    Path(name).unlink()
                raise
            _sync_folder(target.parent)
        return ref

    def _temporary_file(self) -> tuple[int, str]:
        if not self._temporary.is_dir():
            self._temporary.mkdir(parents=True, exist_ok=True)
        self._sweep()
        return tempfile.mkstemp(dir=self._temporary)

    def _sweep(self) -> None:
        # A process that is killed while it writes cannot remove its own temporary file.
        for leftover in self._temporary.iterdir():
            with suppress(FileNotFoundError):
                if time.time() - leftover.stat().st_mtime > _STALE_S:
                    leftover.unlink()

    @contextmanager
    def _open(self, sha256: str) -> Iterator[Iterator[bytes]]:
        with _storing(self.root):
            try:
                source = self._path(sha256).open("rb", buffering=0)
            except FileNotFoundError:
                raise NotFound(f"no artifact {sha256} in {self.root}") from None
        with source:
            yield _read(self.root, source)

    def _stat(self, sha256: str) -> ArtifactRef | None:
        with _storing(self.root):
            try:
                return ArtifactRef(sha256, self._path(sha256).stat().st_size)
            except FileNotFoundError:
                return None

    def _delete(self, sha256: str) -> None:
        with _storing(self.root):
            self._path(sha256).unlink(missing_ok=True)

    def _ping(self) -> None:
        with _storing(self.root):
            fd, name = self._temporary_file()
            os.close(fd)
            Path(name).unlink()


@contextmanager
def _storing(root: Path) -> Iterator[None]:
    """Distinguishes a fault of the file system (full, gone, wrong owner) from a missing blob.

    Raises:
        Unavailable: the file system fails.
    """
    try:
        yield
    except OSError as error:
        raise Unavailable(f"artifact folder {root} fails: {error.strerror or error}") from error


def _read(root: Path, source: BinaryIO) -> Iterator[bytes]:
    with _storing(root):
        yield from read_chunks(source)


def _copy(source: BinaryIO, out: BinaryIO) -> ArtifactRef:
    digest = hashlib.sha256()
    size = 0
    for chunk in read_chunks(source):
        digest.update(chunk)
        out.write(chunk)
        size += len(chunk)
    return ArtifactRef(digest.hexdigest(), size)


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    # A rename is durable only when its folder is on disk too.
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
