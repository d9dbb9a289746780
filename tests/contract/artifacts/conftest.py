"""The stores under test: the fake, a folder, a real SeaweedFS and a GCS emulator."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from google.cloud import storage

from support.artifact_backend import Backend
from support.servers import GcsServer, S3Server, free_port, start_gcs_emulator, start_seaweedfs
from windtunnel.artifacts import ArtifactStore, LocalStore, MemoryStore, open_store
from windtunnel.artifacts.stores.gcs_store import GcsStore
from windtunnel.artifacts.stores.s3_store import S3Store


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with start_seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture(scope="session")
def gcs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsServer]:
    with start_gcs_emulator(tmp_path_factory.mktemp("gcs")) as server:
        yield server


@pytest.fixture
def s3_environment(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture
def gcs_environment(gcs_server: GcsServer, monkeypatch: pytest.MonkeyPatch) -> GcsServer:
    for name, value in gcs_server.environment.items():
        monkeypatch.setenv(name, value)
    return gcs_server


@pytest.fixture(params=["memory", "local", "s3", "gcs"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each kind of store in turn, empty."""
    made: Backend = request.getfixturevalue(f"{request.param}_backend")
    return made


@pytest.fixture
def memory_backend() -> Backend:
    store = MemoryStore()

    def unreachable() -> ArtifactStore:
        away = MemoryStore()
        away.available = False
        return away

    return Backend(store, "", store.blobs.__setitem__, unreachable, list)


@pytest.fixture
def local_backend(tmp_path: Path) -> Backend:
    root = tmp_path / "store"

    def damage(sha256: str, data: bytes) -> None:
        path = root / "sha256" / sha256[:2] / sha256
        path.chmod(0o644)
        path.write_bytes(data)

    def unreachable() -> ArtifactStore:
        blocked = tmp_path / "a-file"
        blocked.touch()
        return LocalStore(blocked / "store")

    def leftovers() -> list[str]:
        return [str(path) for path in root.rglob("*") if path.is_file() and "sha256" not in path.parts]

    return Backend(open_store(str(root)), str(root), damage, unreachable, leftovers)


@pytest.fixture
def s3_backend(s3_environment: S3Server) -> Backend:
    bucket = f"bucket-{uuid.uuid4().hex}"
    client = boto3.client("s3")
    url = f"s3://{bucket}/some/prefix?endpoint={s3_environment.endpoint}&region=us-east-1&create=1"

    def damage(sha256: str, data: bytes) -> None:
        client.put_object(Bucket=bucket, Key=f"some/prefix/sha256/{sha256[:2]}/{sha256}", Body=data)

    def unreachable() -> ArtifactStore:
        return S3Store("nothing-here", endpoint=f"http://127.0.0.1:{free_port()}")

    def leftovers() -> list[str]:
        found = client.list_objects_v2(Bucket=bucket).get("Contents", [])
        return [item["Key"] for item in found if not item["Key"].startswith("some/prefix/sha256/")]

    return Backend(open_store(url), url, damage, unreachable, leftovers)


@pytest.fixture
def gcs_backend(gcs_environment: GcsServer, monkeypatch: pytest.MonkeyPatch) -> Backend:
    bucket = f"bucket-{uuid.uuid4().hex}"
    client = storage.Client.create_anonymous_client()
    url = f"gs://{bucket}/some/prefix?create=1"

    def damage(sha256: str, data: bytes) -> None:
        client.bucket(bucket).blob(f"some/prefix/sha256/{sha256[:2]}/{sha256}").upload_from_string(data)

    def unreachable() -> ArtifactStore:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{free_port()}")
        return GcsStore("nothing-here", patience_s=1.0)

    def leftovers() -> list[str]:
        return [b.name for b in client.list_blobs(bucket) if not b.name.startswith("some/prefix/sha256/")]

    return Backend(open_store(url), url, damage, unreachable, leftovers)
