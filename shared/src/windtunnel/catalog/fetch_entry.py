"""An entry's bytes, as an artifact: fetched once, verified before they are stored."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit
from weakref import WeakValueDictionary

from windtunnel.artifacts import ArtifactRef, ArtifactStore, SourceReader
from windtunnel.catalog.catalog_entries import CatalogEntry
from windtunnel.errors import InvalidInput, NotFound

# Those who want one entry at the same time fetch it once. A lock belongs to one event loop.
_fetching: Final[WeakValueDictionary[tuple[int, str], asyncio.Lock]] = WeakValueDictionary()


async def fetch(entry: CatalogEntry, artifacts: ArtifactStore, sources: SourceReader) -> ArtifactRef:
    """The artifact with an entry's bytes. They are fetched only if the store does not have them.

    Args:
        entry: of the catalog.
        artifacts: the store.
        sources: reads https://, s3:// and gs:// URIs. It need not allow file://: who writes the catalog may name any
            file.

    Returns:
        SHA-256 and size of the stored bytes.

    Raises:
        InvalidInput: the bytes do not have the entry's SHA-256 or size, or the URI may not be read. Nothing is stored.
        NotFound: there is nothing at the URI.
        Unavailable: the source or the store does not answer.
    """
    key = (id(asyncio.get_running_loop()), entry.sha256)
    lock = _fetching.setdefault(key, asyncio.Lock())
    async with lock:
        stored = await artifacts.stat(entry.sha256)
        if stored is None:
            stored = await _fetched(entry, artifacts, sources)
    _check_size(entry, stored.size_bytes)
    return stored


async def _fetched(entry: CatalogEntry, artifacts: ArtifactStore, sources: SourceReader) -> ArtifactRef:
    reader = _file_reader(entry.uri, artifacts)
    with tempfile.TemporaryDirectory(prefix="windtunnel-catalog-") as folder:
        try:
            path = await (reader or sources).open(entry.uri, sha256=entry.sha256, into=Path(folder))
        except (InvalidInput, NotFound) as error:
            raise type(error)(f"{entry.label} of the catalog: {error.message}", hint=_hint(error)) from error
        _check_size(entry, path.stat().st_size)
        return await artifacts.put_file(path)


def _file_reader(uri: str, artifacts: ArtifactStore) -> SourceReader | None:
    """A reader for the one file that a file:// URI names; None: it is another URI."""
    parts = urlsplit(uri)
    if parts.scheme != "file":
        return None
    return SourceReader(artifacts, (Path(unquote(parts.path)).resolve().parent,))


def _hint(error: InvalidInput | NotFound) -> str:
    if " has sha256 " in error.message:
        return "restore the file, or pin its new sha256 in the catalog after checking where it came from"
    return error.hint


def _check_size(entry: CatalogEntry, size: int) -> None:
    if entry.size_bytes is not None and size != entry.size_bytes:
        raise InvalidInput(
            f"{entry.label} of the catalog has {size} bytes, not size_bytes {entry.size_bytes}",
            hint="correct size_bytes in the catalog, or remove it",
        )
