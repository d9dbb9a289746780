"""Sources in other people's buckets: a real SeaweedFS and a GCS emulator."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest
from google.cloud import storage

from support.servers import S3Server
from windtunnel.artifacts import MemoryStore, SourceReader
from windtunnel.errors import InvalidInput, NotFound, Unavailable

MIB = 1024 * 1024
Upload = Callable[[str, bytes], None]


@pytest.fixture(params=["s3", "gs"])
def bucket(request: pytest.FixtureRequest) -> tuple[str, Upload]:
    """A bucket's URI and how to put an object into it."""
    name = f"theirs-{uuid.uuid4().hex}"
    if request.param == "s3":
        request.getfixturevalue("s3_environment")
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket=name)
        return f"s3://{name}", lambda key, data: s3.put_object(Bucket=name, Key=key, Body=data) and None
    request.getfixturevalue("gcs_environment")
    gcs = storage.Client.create_anonymous_client().create_bucket(name, project="tests")
    return f"gs://{name}", lambda key, data: gcs.blob(key).upload_from_string(data)


@pytest.fixture
def reader() -> SourceReader:
    return SourceReader(MemoryStore(), (), 30 * MIB)


async def test_an_object_is_copied_and_verified(
    bucket: tuple[str, Upload], reader: SourceReader, tmp_path: Path
) -> None:
    uri, upload = bucket
    data = bytes(range(256)) * 40_000
    upload("models/ssd v1.zip", data)
    sha256 = hashlib.sha256(data).hexdigest()
    path = await reader.open(f"{uri}/models/ssd v1.zip", sha256=sha256, into=tmp_path / "in")
    assert path == tmp_path / "in" / "ssd v1.zip"
    assert path.read_bytes() == data


async def test_a_folder_is_copied_whole(bucket: tuple[str, Upload], reader: SourceReader, tmp_path: Path) -> None:
    uri, upload = bucket
    upload("saved/saved_model.pb", b"graph")
    upload("saved/variables/variables.index", b"index")
    upload("saved-other/no.txt", b"a neighbour with the same prefix")
    for spelling in ("saved", "saved/"):
        path = await reader.open(f"{uri}/{spelling}", into=tmp_path / f"in{len(spelling)}")
        files = {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}
        assert files == {"saved_model.pb": b"graph", "variables/variables.index": b"index"}


async def test_a_wrong_hash_leaves_nothing(bucket: tuple[str, Upload], reader: SourceReader, tmp_path: Path) -> None:
    uri, upload = bucket
    upload("model", b"weights")
    with pytest.raises(InvalidInput, match="has sha256"):
        await reader.open(f"{uri}/model", sha256="0" * 64, into=tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_a_folder_has_no_hash(bucket: tuple[str, Upload], reader: SourceReader, tmp_path: Path) -> None:
    uri, upload = bucket
    upload("saved/a", b"a")
    with pytest.raises(InvalidInput, match="folder"):
        await reader.open(f"{uri}/saved", sha256="0" * 64, into=tmp_path)


async def test_what_is_too_large_is_refused(bucket: tuple[str, Upload], tmp_path: Path) -> None:
    uri, upload = bucket
    upload("saved/a", bytes(600))
    upload("saved/b", bytes(600))
    reader = SourceReader(MemoryStore(), (), 1000)
    with pytest.raises(InvalidInput, match="1000 bytes"):
        await reader.open(f"{uri}/saved", into=tmp_path)
    assert (await reader.open(f"{uri}/saved/a", into=tmp_path)).stat().st_size == 600


async def test_what_is_missing_is_not_found(bucket: tuple[str, Upload], reader: SourceReader, tmp_path: Path) -> None:
    uri, _ = bucket
    for missing in (f"{uri}/absent", f"{uri[:5]}no-such-bucket-anywhere/x"):
        with pytest.raises(NotFound):
            await reader.open(missing, into=tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_wrong_credentials_are_named_but_not_shown(
    s3_environment: S3Server, reader: SourceReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boto3.client("s3").create_bucket(Bucket="private-bucket")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    with pytest.raises(Unavailable) as caught:
        await reader.open("s3://private-bucket/x", into=tmp_path)
    assert caught.value.retryable is False
    assert "hunter2" not in str(caught.value)
