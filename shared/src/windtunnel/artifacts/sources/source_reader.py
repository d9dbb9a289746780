"""What other people's events point to, brought in: s3://, gs://, https://, file:// in allowed folders, sha256:."""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from windtunnel.artifacts.sources.source_file import Bucket, SourceFile
from windtunnel.artifacts.stores.cloud_sdk import needs_sdk
from windtunnel.artifacts.stores.port import ArtifactStore, check_sha256, open_regular, read_chunks
from windtunnel.errors import Conflict, InvalidInput, NotFound, UserError

MAX_BYTES = 20 * 1024**3
MAX_FILES = 100_000
_FORMS = (
    "use s3://bucket/key, gs://bucket/key, https://host/path with a sha256, sha256:<hex>, or file:///path below an "
    "allowed folder"
)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")


class SourceReader:
    """Copies what a URI names. Sizes are counted while they stream, never believed.

    `file_roots` are the folders below which `file://` is allowed, after symbolic links are resolved; `https_hosts` the
    hosts that `https://` may name.

    Args:
        artifacts: the store, for `sha256:` URIs.
        file_roots: folders that file:// may read.
        max_bytes: the most bytes of one source.
        https_hosts: hosts that https:// may ask.
    """

    def __init__(
        self,
        artifacts: ArtifactStore,
        file_roots: tuple[Path, ...] = (),
        max_bytes: int = MAX_BYTES,
        *,
        https_hosts: tuple[str, ...] = (),
    ) -> None:
        self._artifacts = artifacts
        self._https_hosts = https_hosts
        self._roots = tuple(root.resolve() for root in file_roots)
        self._max_bytes = max_bytes

    async def open(self, uri: str, *, sha256: str | None = None, into: Path) -> Path:
        """Copies the file or folder at a URI into a folder, under its own name. It appears whole or not at all.

        Args:
            uri: s3://, gs://, https://, file:// or sha256:.
            sha256: what the content must hash to; None: not checked.
            into: an existing folder.

        Returns:
            The path of the copy.

        Raises:
            InvalidInput: the URI is not allowed, the content is too large, or it does not have the given `sha256`.
            NotFound: it does not exist.
            Conflict: `into` has that name already.
            Unavailable: the source does not answer.
        """
        if sha256 is not None:
            check_sha256(sha256)
        refuse_secrets(uri)
        if uri.startswith("sha256:"):
            return await self._open_artifact(uri.removeprefix("sha256:"), sha256, into)
        return await asyncio.to_thread(self._open_blocking, uri, sha256, into)

    async def _open_artifact(self, name: str, sha256: str | None, into: Path) -> Path:
        check_sha256(name)
        if sha256 not in {None, name}:
            raise _wrong_hash(f"sha256:{name}", str(sha256), name)
        ref = await self._artifacts.stat(name)
        if ref is None:
            raise NotFound(f"no artifact sha256:{name}", hint="store it first")
        if ref.size_bytes > self._max_bytes:
            raise self._too_large(f"sha256:{name}")
        return await self._artifacts.fetch(name, into / name)

    def _open_blocking(self, uri: str, sha256: str | None, into: Path) -> Path:
        name, files = self._locate(uri, sha256)
        target = into / name
        if target.exists():
            raise Conflict(f"{into} already holds {name!r}", hint="open each source into its own folder")
        into.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=into, prefix=".incoming."))
        try:
            self._copy(redact(uri), files, staging / "content", sha256)
            (staging / "content").replace(target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return target

    def _locate(self, uri: str, sha256: str | None) -> tuple[str, Iterable[SourceFile]]:
        scheme, _, rest = uri.partition("://")
        if scheme == "file":
            path = allowed_path(uri, self._roots)
            return path.name, local_files(uri, path)
        if scheme in {"s3", "gs"}:
            bucket, _, key = rest.partition("/")
            key = key.rstrip("/")
            name = PurePosixPath(key).name
            if not bucket or not name or name == ".." or "\0" in key:
                raise InvalidInput(f"{redact(uri)} names no object", hint=_FORMS)
            return name, _bucket(scheme).files(bucket, key)
        if scheme == "https":
            return self._https(uri, sha256)
        raise InvalidInput(f"cannot read {redact(uri)[:200]!r}", hint=_FORMS)

    def _https(self, uri: str, sha256: str | None) -> tuple[str, Iterable[SourceFile]]:
        if sha256 is None:
            raise InvalidInput(
                f"{uri[:200]} has no sha256",
                hint="what comes over https:// needs the sha256 of its content next to it",
                code="sha256_missing",
            )
        name = unquote(PurePosixPath(urlsplit(uri).path).name)
        if not name or name in {".", ".."} or "/" in name or "\0" in name:
            raise InvalidInput(f"{uri[:200]} names no file", hint=_FORMS)
        with needs_sdk("https"):
            from windtunnel.artifacts.sources.https_file import HttpsFile
        return name, [HttpsFile(uri, self._https_hosts, self._max_bytes).file()]

    def _copy(self, uri: str, files: Iterable[SourceFile], target: Path, sha256: str | None) -> None:
        total = count = 0
        for file in files:
            if sha256 is not None and file.relative:
                raise InvalidInput(f"{uri} is a folder, which has no sha256", hint="pack it, or leave sha256 out")
            path = _below(uri, target, file.relative)
            digest = hashlib.sha256()
            with file.open() as chunks, path.open("xb") as out:
                for chunk in chunks:
                    total += len(chunk)
                    if total > self._max_bytes:
                        raise self._too_large(uri)
                    digest.update(chunk)
                    out.write(chunk)
            count += 1
            if count > MAX_FILES:
                raise InvalidInput(f"{uri} holds more than {MAX_FILES} files")
            if sha256 is not None and digest.hexdigest() != sha256:
                raise _wrong_hash(uri, sha256, digest.hexdigest())
        if not count:
            raise NotFound(f"{uri} does not exist, or is an empty folder")

    def _too_large(self, uri: str) -> UserError:
        return InvalidInput(f"{uri} is larger than {self._max_bytes} bytes", hint="make it smaller, or raise the limit")


def redact(uri: str) -> str:
    """A URI without what may be a secret: user information, query and fragment.

    Args:
        uri: any text.

    Returns:
        For messages and logs.
    """
    bare = re.split(r"[?#]", uri, maxsplit=1)[0]
    return re.sub(r"://[^/]*@", "://", bare)


def refuse_secrets(uri: str) -> None:
    """Refuses a URI that may carry a secret. The message does not repeat it.

    Args:
        uri: any text.

    Raises:
        InvalidInput: it has user information, a query or a fragment.
    """
    start = _URL.match(uri)
    if (start and "@" in start.group()) or "?" in uri or "#" in uri:
        raise InvalidInput(
            f"{redact(uri)[:200]} carries user information, a query or a fragment",
            hint="give credentials in the environment of the service, never in a URI",
        )


def allowed_path(uri: str, roots: tuple[Path, ...]) -> Path:
    """The resolved path of a `file://` URI.

    Args:
        uri: the URI.
        roots: resolved folders; the path must be below one of them.

    Returns:
        The path; it exists.

    Raises:
        InvalidInput: it is elsewhere. The message is the same whether it exists or not.
    """
    parts = urlsplit(uri)
    path = Path(unquote(parts.path))
    refusal = InvalidInput(
        f"{path} is not below a folder that file:// may read",
        hint="put it under <home>/inbox, or add its folder to WINDTUNNEL_FILE_ROOTS",
    )
    if parts.netloc not in {"", "localhost"} or not path.is_absolute():
        raise refusal
    try:
        resolved = path.resolve()
    except (OSError, RuntimeError, ValueError):
        raise refusal from None
    if not any(root in resolved.parents for root in roots):
        raise refusal
    return resolved


def local_files(uri: str, path: Path) -> Iterator[SourceFile]:
    """The file at a path, or every file below it. Links inside the folder are followed.

    Args:
        uri: as given, for messages.
        path: resolved.

    Yields:
        Each file, sorted.

    Raises:
        InvalidInput: a link leads out of the folder, or there is neither a file nor a folder.
    """
    if path.is_file():
        yield _local_file("", path)
    elif path.is_dir():
        for found in sorted(path.rglob("*")):
            relative = str(found.relative_to(path))
            if found.is_symlink():
                _check_link(uri, path, found)
            if not found.is_dir():
                yield _local_file(relative, found.resolve())
    elif path.exists():
        raise InvalidInput(f"{uri} is neither a file nor a folder")


def _check_link(uri: str, folder: Path, link: Path) -> None:
    end = link.resolve()
    if folder not in end.parents or not end.is_file():
        raise InvalidInput(
            f"{uri}: the link {str(link.relative_to(folder))!r} does not lead to a file of the folder",
            hint="replace the link by what it leads to",
        )


def _local_file(relative: str, path: Path) -> SourceFile:
    return SourceFile(relative, lambda: _LocalChunks(path))


class _LocalChunks(AbstractContextManager[Iterator[bytes]]):
    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def __enter__(self) -> Iterator[bytes]:
        self._file = open_regular(self._path, follow=False)
        return read_chunks(self._file)

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            self._file.close()


def _bucket(scheme: str) -> Bucket:
    # The SDKs are slow to import, and most services never need the other one.
    if scheme == "s3":
        with needs_sdk("s3"):
            from windtunnel.artifacts.sources.s3_bucket import S3Bucket

        return S3Bucket()
    with needs_sdk("gs"):
        from windtunnel.artifacts.sources.gcs_bucket import GcsBucket

    return GcsBucket()


def _below(uri: str, target: Path, relative: str) -> Path:
    """Where a file goes, with its folders made; names that could lead elsewhere are refused.

    Raises:
        InvalidInput: the name could lead elsewhere.
    """
    if not relative:
        return target
    parts = relative.split("/")
    if any(part in {"", ".", ".."} or "\0" in part or "\\" in part for part in parts):
        raise InvalidInput(f"{uri} holds the name {relative[:200]!r}, which is not a file name")
    path = target.joinpath(*parts)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError:
        raise InvalidInput(f"{uri}: {relative[:200]!r} is both below a file and a file") from None
    return path


def _wrong_hash(uri: str, expected: str, actual: str) -> InvalidInput:
    return InvalidInput(
        f"{uri} has sha256 {actual}, not {expected}", hint="it changed since its hash was taken: announce it again"
    )
