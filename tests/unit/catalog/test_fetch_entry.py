"""Bringing an entry of the catalog into the store: once, verified, or not at all."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from support.https import Handler, https_server
from windtunnel.artifacts import ArtifactRef, LocalStore, MemoryStore, SourceReader
from windtunnel.catalog import CatalogEntry, EntryKind, fetch, parse_catalog_text
from windtunnel.errors import InvalidInput, NotFound

BINARY = b"\x7fELF binary" * 1000
SHA256 = hashlib.sha256(BINARY).hexdigest()
STORED = ArtifactRef(SHA256, len(BINARY))


def entry(uri: str, sha256: str = SHA256, size: int | None = None) -> CatalogEntry:
    return CatalogEntry("benchmark_model", EntryKind.BINARY, sha256, uri, "x86_64", size_bytes=size)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "artifacts")


def reader(store: LocalStore, *hosts: str) -> SourceReader:
    return SourceReader(store, (), 1 << 20, https_hosts=hosts)


def nothing_stored(tmp_path: Path) -> bool:
    return not [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]


async def test_a_local_file_next_to_the_catalog(store: LocalStore, tmp_path: Path) -> None:
    folder = tmp_path / "my catalog #1"
    folder.mkdir()
    (folder / "b%41.bin").write_bytes(BINARY)
    text = (
        f"apiVersion: windtunnel/v1\nentries: [{{name: b, kind: binary, abi: x86, path: b%41.bin, sha256: {SHA256}}}]"
    )
    found = parse_catalog_text(text, folder / "catalog.yaml").binary("b", "x86")
    assert await fetch(found, store, reader(store)) == STORED
    # What is stored is not read again.
    (folder / "b%41.bin").unlink()
    assert await fetch(found, store, reader(store)) == STORED


async def test_another_content_is_refused_and_not_stored(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "b.bin").write_bytes(BINARY[:-1] + b"!")
    with pytest.raises(InvalidInput, match=r"binary benchmark_model \(x86_64\) of the catalog: .*b\.bin") as caught:
        await fetch(entry((tmp_path / "b.bin").as_uri()), store, reader(store))
    assert SHA256 in caught.value.message and "pin its new sha256" in caught.value.hint
    assert nothing_stored(tmp_path)


async def test_another_size_is_refused_and_not_stored(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "b.bin").write_bytes(BINARY)
    with pytest.raises(InvalidInput, match=f"has {len(BINARY)} bytes, not size_bytes 7"):
        await fetch(entry((tmp_path / "b.bin").as_uri(), size=7), store, reader(store))
    assert nothing_stored(tmp_path)


async def test_what_is_not_there(store: LocalStore, tmp_path: Path) -> None:
    for uri in ((tmp_path / "gone").as_uri(), f"sha256:{SHA256}"):
        with pytest.raises(NotFound, match="benchmark_model"):
            await fetch(entry(uri), store, reader(store))


async def test_a_folder_is_refused(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/b.bin").write_bytes(BINARY)
    with pytest.raises(InvalidInput, match="is a folder"):
        await fetch(entry((tmp_path / "folder").as_uri()), store, reader(store))


async def test_an_artifact(tmp_path: Path) -> None:
    memory = MemoryStore()
    await memory.put_bytes(BINARY)
    assert await fetch(entry(f"sha256:{SHA256}"), memory, SourceReader(memory)) == STORED


async def test_a_download_happens_once_and_only_from_allowed_hosts(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(request: Handler) -> None:
        request.answer(200, BINARY)

    with https_server(tmp_path / "tls", answer) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.authority.cert))
        one = entry(f"https://{server.host}/b.bin", size=len(BINARY))
        with pytest.raises(InvalidInput, match="may not be read from host"):
            await fetch(one, store, reader(store))
        sources = reader(store, server.host)
        assert await asyncio.gather(*(fetch(one, store, sources) for _ in range(4))) == [STORED] * 4
        assert server.script.asked == [""]
