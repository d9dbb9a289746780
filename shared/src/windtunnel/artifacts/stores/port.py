"""The port of the artifact store, and the one behavior that every adapter shares.

An adapter implements the few blocking methods of `BlockingStore`; hashing, verification, limits and the async
surface are written once, here.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import re
import stat as stat_module
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from windtunnel.errors import InvalidInput, OutsideError, Unavailable

# Below malloc's mmap threshold: larger buffers are mapped and faulted in again for every read, four times slower.
CHUNK = 64 * 1024
READ_LIMIT = 64 * 1024 * 1024
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Corrupt(OutsideError):
    """A stored blob's bytes are not those that its name promises; trying again does not help.

    Args:
        message: what happened.
        hint: what to do.
    """

    code = "corrupt"

    def __init__(self, message: str, *, hint: str = "delete the blob and put it again") -> None:
        super().__init__(message, retryable=False, hint=hint)


class AccessDenied(Unavailable):
    """The store knows the key and does not allow it this action; it may allow it others.

    Args:
        message: what happened.
        hint: what to do.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, retryable=False, hint=hint)


def check_sha256(sha256: str) -> str:
    """Makes sure that a text is a SHA-256.

    Args:
        sha256: any text.

    Returns:
        The same text.

    Raises:
        InvalidInput: it is not 64 lower-case hexadecimal digits.
    """
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise InvalidInput(f"not a sha256: {str(sha256)[:80]!r}", hint="64 lower-case hexadecimal digits")
    return sha256


@dataclass(frozen=True, slots=True)
class ArtifactRef:
    """The name of an immutable blob: the SHA-256 (FIPS 180-4) of its bytes, and how many there are."""

    sha256: str
    size_bytes: int

    def __post_init__(self) -> None:
        check_sha256(self.sha256)
        if self.size_bytes < 0:
            raise InvalidInput(f"size_bytes of {self.sha256} is {self.size_bytes}, must be 0 or more")

    @property
    def uri(self) -> str:
        """`sha256:<hex>`, as events and plans write it."""
        return f"sha256:{self.sha256}"


class ArtifactStore(Protocol):
    """Immutable blobs by content. Every method raises Unavailable if the store does not answer."""

    async def put_file(self, path: Path) -> ArtifactRef:
        """Stores a regular file, in constant memory. Storing the same bytes again changes nothing.

        Args:
            path: of the file.

        Returns:
            Its name and size.
        """

    async def put_bytes(self, data: bytes) -> ArtifactRef:
        """Stores bytes.

        Args:
            data: at most what memory holds.

        Returns:
            Their name and size.
        """

    async def fetch(self, sha256: str, target: Path) -> Path:
        """Writes the verified blob to a file, whole or not at all.

        Args:
            sha256: of the blob.
            target: the file; its folder is made.

        Returns:
            `target`.

        Raises:
            NotFound: there is no such blob.
            Corrupt: its bytes do not hash to `sha256`.
        """

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

    async def stat(self, sha256: str) -> ArtifactRef | None:
        """The blob's reference. Does not read its bytes.

        Args:
            sha256: of the blob.

        Returns:
            None: there is no such blob.
        """

    async def delete(self, sha256: str) -> None:
        """Removes the blob, if there is one.

        Args:
            sha256: of the blob.
        """

    async def ping(self) -> None:
        """Makes sure that the store answers."""


class BlockingStore(ABC):
    """An ArtifactStore over blocking calls, which run in threads."""

    async def put_file(self, path: Path) -> ArtifactRef:
        """Implements `ArtifactStore.put_file`."""
        return await asyncio.to_thread(self._put_file, path)

    async def put_bytes(self, data: bytes) -> ArtifactRef:
        """Implements `ArtifactStore.put_bytes`."""
        return await asyncio.to_thread(self._put, io.BytesIO(data))

    async def fetch(self, sha256: str, target: Path) -> Path:
        """Implements `ArtifactStore.fetch`."""
        return await asyncio.to_thread(self._fetch, check_sha256(sha256), target)

    async def read_bytes(self, sha256: str, *, limit: int = READ_LIMIT) -> bytes:
        """Implements `ArtifactStore.read_bytes`."""
        return await asyncio.to_thread(self._read_bytes, check_sha256(sha256), limit)

    async def stat(self, sha256: str) -> ArtifactRef | None:
        """Implements `ArtifactStore.stat`."""
        return await asyncio.to_thread(self._stat, check_sha256(sha256))

    async def delete(self, sha256: str) -> None:
        """Implements `ArtifactStore.delete`."""
        await asyncio.to_thread(self._delete, check_sha256(sha256))

    async def ping(self) -> None:
        """Implements `ArtifactStore.ping`."""
        await asyncio.to_thread(self._ping)

    @abstractmethod
    def _put(self, source: BinaryIO) -> ArtifactRef:
        """Store what the seekable `source` yields from its start."""

    @abstractmethod
    def _open(self, sha256: str) -> AbstractContextManager[Iterator[bytes]]:
        """Give the blob's unverified bytes in chunks, or raise NotFound."""

    @abstractmethod
    def _stat(self, sha256: str) -> ArtifactRef | None: ...

    @abstractmethod
    def _delete(self, sha256: str) -> None: ...

    @abstractmethod
    def _ping(self) -> None: ...

    def _put_file(self, path: Path) -> ArtifactRef:
        with open_regular(path) as source:
            return self._put(source)

    def _fetch(self, sha256: str, target: Path) -> Path:
        try:
            with whole_file(target) as out, self._open(sha256) as chunks:
                for chunk in verified(sha256, chunks):
                    out.write(chunk)
        except OSError as error:
            raise Unavailable(f"cannot write {target}: {error.strerror or error}") from error
        return target

    def _read_bytes(self, sha256: str, limit: int) -> bytes:
        data = bytearray()
        with self._open(sha256) as chunks:
            for chunk in verified(sha256, chunks):
                data += chunk
                if len(data) > limit:
                    raise InvalidInput(
                        f"artifact {sha256} is larger than {limit} bytes", hint="fetch it to a file instead"
                    )
        return bytes(data)


class RemoteStore(BlockingStore):
    """A store that must know a blob's name before it sends the first byte: it reads the source twice.

    Args:
        prefix: of all keys; slashes around it are dropped.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    def _key(self, sha256: str) -> str:
        return f"{self._prefix}sha256/{sha256[:2]}/{sha256}"

    @abstractmethod
    def _upload(self, ref: ArtifactRef, source: VerifyingReader) -> None:
        """Send `source`, which fails on its last byte if it no longer hashes to `ref`."""

    def _put(self, source: BinaryIO) -> ArtifactRef:
        digest = hashlib.sha256()
        for chunk in read_chunks(source):
            digest.update(chunk)
        ref = ArtifactRef(digest.hexdigest(), source.tell())
        if self._stat(ref.sha256) != ref:
            source.seek(0)
            self._upload(ref, VerifyingReader(source, ref))
        return ref


class VerifyingReader(io.RawIOBase):
    """Reads a source and refuses its last bytes if the whole is not what was hashed before.

    An upload ends with the last byte, so a file that changes while it is sent is never stored under a wrong name.

    Args:
        source: seekable, at its start.
        ref: what it was hashed to before.
    """

    def __init__(self, source: BinaryIO, ref: ArtifactRef) -> None:
        super().__init__()
        self._source = source
        self._ref = ref
        self._hash = hashlib.sha256()
        self._position = 0
        self._hashed = 0

    def readable(self) -> bool:
        """Implements `RawIOBase.readable`."""
        return True

    def seekable(self) -> bool:
        """Implements `RawIOBase.seekable`."""
        return True

    def tell(self) -> int:
        """Implements `RawIOBase.tell`."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Implements `RawIOBase.seek`."""
        # Clients seek to learn the size, and to send a chunk again; bytes already hashed are not hashed twice.
        self._position = self._source.seek(offset, whence)
        if self._position == 0:
            self._hash = hashlib.sha256()
            self._hashed = 0
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Implements `RawIOBase.read`; raises InvalidInput instead of the last bytes if the file has changed."""
        data = self._source.read(-1 if size is None else size)
        end = self._position + len(data)
        if self._position <= self._hashed < end:
            self._hash.update(data[self._hashed - self._position :])
            self._hashed = end
        self._position = end
        wanted = size is None or size < 0 or size > 0
        complete = self._hashed == self._ref.size_bytes and self._hash.hexdigest() == self._ref.sha256
        if wanted and (end >= self._ref.size_bytes or not data) and not complete:
            raise InvalidInput(
                f"the file changed while it was stored as {self._ref.sha256}", hint="store it when it is complete"
            )
        return data


def verified(sha256: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Passes chunks on and checks their hash after the last one.

    Args:
        sha256: what they must hash to.
        chunks: of a blob.

    Yields:
        Each chunk.

    Raises:
        Corrupt: they hash to something else.
    """
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
        yield chunk
    if digest.hexdigest() != sha256:
        raise Corrupt(f"artifact {sha256} is corrupt: its bytes hash to {digest.hexdigest()}")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content.

    Args:
        path: of the file.

    Returns:
        Hexadecimal digits.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_chunks(source: BinaryIO) -> Iterator[bytes]:
    """Reads the rest of a stream.

    Args:
        source: at any position.

    Yields:
        Chunks of at most CHUNK bytes.
    """
    while chunk := source.read(CHUNK):
        yield chunk


def open_regular(path: Path, *, follow: bool = True) -> BinaryIO:
    """Opens a regular file for reading. A FIFO would block a thread for ever.

    With `follow` false no component of the absolute `path` may be a symbolic link: the caller has resolved them, and
    one that appeared since then is an attempt to lead elsewhere.

    Args:
        path: of the file.
        follow: whether symbolic links may lead to it.

    Returns:
        At its start.

    Raises:
        InvalidInput: it cannot be opened, or is not a regular file.
    """
    try:
        fd = os.open(path, _READ) if follow else _open_without_links(path)
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from error
    if not stat_module.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise InvalidInput(f"cannot store {path}: not a regular file")
    return os.fdopen(fd, "rb")


def _open_without_links(path: Path) -> int:
    folder = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in path.parts[1:-1]:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        return os.open(path.name, _READ | os.O_NOFOLLOW, dir_fd=folder)
    finally:
        os.close(folder)


@contextmanager
def whole_file(target: Path, *, folder: Path | None = None) -> Iterator[BinaryIO]:
    """A temporary file that becomes `target` if the block ends without an error, and is removed if not.

    Args:
        target: the file; its folder is made.
        folder: of the temporary file, on the same file system; None: that of `target`.

    Yields:
        The temporary file, open for writing.
    """
    place = folder or target.parent
    place.mkdir(parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(dir=place, prefix=f".{target.name[:32]}.")
    try:
        with os.fdopen(fd, "wb") as out:
            yield out
        Path(name).replace(target)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise
