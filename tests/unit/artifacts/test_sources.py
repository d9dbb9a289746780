"""Sources on this machine, and URIs that are refused."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from windtunnel.artifacts import MemoryStore, SourceReader
from windtunnel.errors import Conflict, InvalidInput, NotFound


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def reader(inbox: Path) -> SourceReader:
    return SourceReader(MemoryStore(), (inbox,), 10_000)


async def test_a_file_below_a_root_is_copied(reader: SourceReader, inbox: Path, tmp_path: Path) -> None:
    (inbox / "my model.tflite").write_bytes(b"weights")
    sha256 = hashlib.sha256(b"weights").hexdigest()
    uri = (inbox / "my model.tflite").as_uri()
    path = await reader.open(uri, sha256=sha256, into=tmp_path / "work")
    assert path == tmp_path / "work" / "my model.tflite"
    assert path.read_bytes() == b"weights"
    with pytest.raises(Conflict):
        await reader.open(uri, into=tmp_path / "work")


async def test_a_folder_is_copied_with_its_inner_links_as_files(
    reader: SourceReader, inbox: Path, tmp_path: Path
) -> None:
    saved = inbox / "saved"
    (saved / "variables").mkdir(parents=True)
    (saved / "variables" / "data").write_bytes(b"data")
    (saved / "alias").symlink_to("variables/data")
    path = await reader.open(f"file://{saved}", into=tmp_path / "work")
    assert (path / "variables" / "data").read_bytes() == b"data"
    assert (path / "alias").read_bytes() == b"data"
    assert not (path / "alias").is_symlink()


@pytest.mark.parametrize("end", ["/etc/hostname", "/etc", "../secret", "nowhere"])
async def test_links_out_of_a_folder_are_refused(reader: SourceReader, inbox: Path, tmp_path: Path, end: str) -> None:
    (inbox / "secret").write_bytes(b"secret")
    saved = inbox / "saved"
    saved.mkdir()
    (saved / "link").symlink_to(end)
    with pytest.raises(InvalidInput, match="link"):
        await reader.open(f"file://{saved}", into=tmp_path / "work")
    assert not any((tmp_path / "work").iterdir())


async def test_outside_the_roots_existence_is_not_revealed(reader: SourceReader, inbox: Path, tmp_path: Path) -> None:
    (tmp_path / "present").write_bytes(b"x")
    (inbox / "link").symlink_to(tmp_path / "present")
    (inbox / "dangling").symlink_to(tmp_path / "absent")
    messages = []
    for uri in (
        f"file://{tmp_path}/present",
        f"file://{tmp_path}/absent",
        f"file://{inbox}/../present",
        f"file://{inbox}/%2e%2e/present",
        f"file://{inbox}/link",
        f"file://{inbox}/dangling",
        f"file://{inbox}",
        "file:///",
        f"file://elsewhere{inbox}/x",
    ):
        with pytest.raises(InvalidInput, match="WINDTUNNEL_FILE_ROOTS") as caught:
            await reader.open(uri, into=tmp_path / "work")
        messages.append(str(caught.value))
    assert messages[0].replace("present", "absent") == messages[1]


async def test_below_a_root_the_missing_is_not_found(reader: SourceReader, inbox: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        await reader.open(f"file://{inbox}/absent", into=tmp_path / "work")
    assert not any((tmp_path / "work").iterdir())


async def test_a_pipe_does_not_hang(reader: SourceReader, inbox: Path, tmp_path: Path) -> None:
    os.mkfifo(inbox / "pipe")
    (inbox / "folder").mkdir()
    os.mkfifo(inbox / "folder" / "pipe")
    for name in ("pipe", "folder"):
        with pytest.raises(InvalidInput):
            await reader.open(f"file://{inbox}/{name}", into=tmp_path / "work")


async def test_too_large_is_refused_and_leaves_nothing(reader: SourceReader, inbox: Path, tmp_path: Path) -> None:
    (inbox / "big").write_bytes(bytes(10_001))
    with pytest.raises(InvalidInput, match="10000 bytes"):
        await reader.open(f"file://{inbox}/big", into=tmp_path / "work")
    assert not any((tmp_path / "work").iterdir())


async def test_an_artifact_is_fetched(tmp_path: Path) -> None:
    store = MemoryStore()
    ref = await store.put_bytes(b"weights")
    reader = SourceReader(store, (), 7)
    path = await reader.open(ref.uri, sha256=ref.sha256, into=tmp_path / "work")
    assert path.read_bytes() == b"weights"
    with pytest.raises(InvalidInput):
        await reader.open(ref.uri, sha256="0" * 64, into=tmp_path / "work")
    with pytest.raises(NotFound):
        await reader.open("sha256:" + "0" * 64, into=tmp_path / "work")
    with pytest.raises(InvalidInput):
        await SourceReader(store, (), 6).open(ref.uri, into=tmp_path / "work")


@pytest.mark.parametrize(
    "uri",
    [
        "s3://key:hunter2@bucket/model",
        "s3://bucket/model?X-Amz-Signature=hunter2",
        "gs://bucket/model?X-Goog-Signature=hunter2",
        "https://user:hunter2@host/model",
        "file://user:hunter2@/inbox/model",
        "s3://bucket/model#hunter2",
        "s3://a@b:hunter2@bucket/model",
    ],
)
async def test_secrets_are_refused_and_never_repeated(reader: SourceReader, tmp_path: Path, uri: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await reader.open(uri, into=tmp_path)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "uri",
    ["", "model.zip", "/etc/passwd", "http://host/x", "s3://", "s3://bucket", "s3://bucket/", "s3:///x", "s3://b/.."],
)
async def test_other_uris_are_refused(reader: SourceReader, tmp_path: Path, uri: str) -> None:
    with pytest.raises(InvalidInput):
        await reader.open(uri, into=tmp_path)


@pytest.mark.parametrize("uri", ["sha256:", "sha256:xyz", "sha256:../../etc/passwd"])
async def test_bad_artifact_names_are_refused(reader: SourceReader, tmp_path: Path, uri: str) -> None:
    with pytest.raises(InvalidInput):
        await reader.open(uri, into=tmp_path)
