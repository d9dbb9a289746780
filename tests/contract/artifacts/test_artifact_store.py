"""What every artifact store does, tested once for all of them."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import boto3
import pytest
from minio.error import S3Error

from support.artifact_backend import Backend
from support.servers import GcsServer, S3Server
from windtunnel.artifacts import ArtifactRef, Artifacts, Corrupt, LocalStore, open_store
from windtunnel.artifacts.stores.port import VerifyingReader
from windtunnel.artifacts.stores.s3_store import S3Store
from windtunnel.errors import InvalidInput, NotFound, Unavailable

MIB = 1024 * 1024
ABSENT = hashlib.sha256(b"never stored").hexdigest()


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class TestEveryStore:
    async def test_bytes_come_back(self, backend: Backend) -> None:
        data = b"weights" * 1000
        ref = await backend.store.put_bytes(data)
        assert ref == ArtifactRef(sha(data), 7000)
        assert ref.uri == f"sha256:{sha(data)}"
        assert await backend.store.read_bytes(ref.sha256) == data

    @pytest.mark.parametrize("size", [0, 1, 5 * MIB, 20 * MIB + 1])
    async def test_a_file_comes_back(self, backend: Backend, tmp_path: Path, size: int) -> None:
        source = tmp_path / "model.tflite"
        source.write_bytes(os.urandom(size))
        ref = await backend.store.put_file(source)
        target = await backend.store.fetch(ref.sha256, tmp_path / "deep" / "copy")
        assert target == tmp_path / "deep" / "copy"
        assert target.read_bytes() == source.read_bytes()
        assert ref.size_bytes == size
        assert [path.name for path in target.parent.iterdir()] == ["copy"]

    async def test_storing_twice_changes_nothing(self, backend: Backend) -> None:
        first = await backend.store.put_bytes(b"same")
        assert await backend.store.put_bytes(b"same") == first
        assert await backend.store.read_bytes(first.sha256) == b"same"

    async def test_writers_of_the_same_content_do_not_disturb_each_other(
        self, backend: Backend, tmp_path: Path
    ) -> None:
        source = tmp_path / "model"
        source.write_bytes(os.urandom(9 * MIB))
        refs = await asyncio.gather(*(backend.store.put_file(source) for _ in range(4)))
        assert len(set(refs)) == 1
        assert await backend.store.read_bytes(refs[0].sha256) == source.read_bytes()
        assert backend.leftovers() == []

    async def test_what_is_missing_is_not_found(self, backend: Backend, tmp_path: Path) -> None:
        await backend.store.put_bytes(b"another")
        with pytest.raises(NotFound):
            await backend.store.fetch(ABSENT, tmp_path / "copy")
        with pytest.raises(NotFound):
            await backend.store.read_bytes(ABSENT)
        assert await backend.store.stat(ABSENT) is None
        assert list(tmp_path.glob("*copy*")) == []

    async def test_stat_and_delete(self, backend: Backend) -> None:
        ref = await backend.store.put_bytes(b"short-lived")
        assert await backend.store.stat(ref.sha256) == ref
        await backend.store.delete(ref.sha256)
        await backend.store.delete(ref.sha256)
        assert await backend.store.stat(ref.sha256) is None

    @pytest.mark.parametrize("damaged", [b"wrong", b"", b"weighty"])
    async def test_corruption_is_seen_on_read_and_mended(
        self, backend: Backend, tmp_path: Path, damaged: bytes
    ) -> None:
        ref = await backend.store.put_bytes(b"weights")
        backend.damage(ref.sha256, damaged)
        with pytest.raises(Corrupt) as caught:
            await backend.store.read_bytes(ref.sha256)
        assert caught.value.retryable is False
        with pytest.raises(Corrupt):
            await backend.store.fetch(ref.sha256, tmp_path / "copy")
        assert list(tmp_path.glob("*copy*")) == []
        await backend.store.delete(ref.sha256)
        await backend.store.put_bytes(b"weights")
        assert await backend.store.read_bytes(ref.sha256) == b"weights"

    async def test_a_truncated_blob_is_mended_by_putting_it_again(self, backend: Backend) -> None:
        ref = await backend.store.put_bytes(b"weights")
        backend.damage(ref.sha256, b"wei")
        await backend.store.put_bytes(b"weights")
        assert await backend.store.read_bytes(ref.sha256) == b"weights"

    async def test_reading_stops_at_the_limit(self, backend: Backend) -> None:
        ref = await backend.store.put_bytes(bytes(1000))
        assert len(await backend.store.read_bytes(ref.sha256, limit=1000)) == 1000
        with pytest.raises(InvalidInput, match="999"):
            await backend.store.read_bytes(ref.sha256, limit=999)

    @pytest.mark.parametrize("name", ["", "abc", "A" * 64, "../" * 21 + "a", "g" * 64, "a" * 64 + "\n"])
    async def test_only_hashes_are_names(self, backend: Backend, tmp_path: Path, name: str) -> None:
        for call in (backend.store.read_bytes(name), backend.store.stat(name), backend.store.delete(name)):
            with pytest.raises(InvalidInput):
                await call
        with pytest.raises(InvalidInput):
            await backend.store.fetch(name, tmp_path / "copy")

    async def test_only_regular_files_are_stored(self, backend: Backend, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        for name in ("pipe", "absent", "."):
            with pytest.raises(InvalidInput):
                await backend.store.put_file(tmp_path / name)

    async def test_a_store_that_is_away_is_unavailable(self, backend: Backend, tmp_path: Path) -> None:
        await backend.store.ping()
        away = backend.unreachable()
        for call in (away.ping(), away.put_bytes(b"x"), away.stat(ABSENT), away.read_bytes(ABSENT)):
            with pytest.raises(Unavailable):
                await call

    async def test_the_facade_gives_verified_read_only_files(self, backend: Backend, tmp_path: Path) -> None:
        artifacts = Artifacts(backend.store, tmp_path / "cache")
        ref = await artifacts.put_bytes(b"weights")
        first, second = await asyncio.gather(artifacts.path(ref.sha256), artifacts.path(ref.sha256))
        assert first == second
        assert first.read_bytes() == b"weights"
        assert stat.S_IMODE(first.stat().st_mode) == 0o444
        with pytest.raises(NotFound):
            await artifacts.path(ABSENT)


_PUT = """
import asyncio, sys
from pathlib import Path
from windtunnel.artifacts import open_store
store = open_store(sys.argv[1])
asyncio.run(store.ping())
print("putting", flush=True)
print(asyncio.run(store.put_file(Path(sys.argv[2]))).sha256, flush=True)
"""

_MEASURE = """
import asyncio, sys, threading, time, psutil
from pathlib import Path
from windtunnel.artifacts import open_store
store = open_store(sys.argv[1])
async def main():
    small = await store.put_bytes(bytes(12 * 2**20))
    await store.fetch(small.sha256, Path(sys.argv[3]))
    process, peak, done = psutil.Process(), [0], threading.Event()
    before = process.memory_info().rss
    def watch():
        while not done.wait(0.005):
            peak[0] = max(peak[0], process.memory_info().rss)
    watcher = threading.Thread(target=watch)
    watcher.start()
    ref = await store.put_file(Path(sys.argv[2]))
    await store.fetch(ref.sha256, Path(sys.argv[3]))
    done.set()
    watcher.join()
    print(peak[0] - before)
asyncio.run(main())
"""


def big_file(path: Path, mib: int) -> Path:
    with path.open("wb") as out:
        for _ in range(mib):
            out.write(os.urandom(MIB))
    return path


@pytest.mark.parametrize(("kind", "after_s"), [("local", 0.04), ("s3", 0.5), ("gcs", 0.3)])
def test_a_writer_that_is_killed_leaves_no_blob(
    kind: str, after_s: float, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    backend = request.getfixturevalue(f"{kind}_backend")
    source = big_file(tmp_path / "model", 96)
    sha256 = sha(source.read_bytes())
    command = [sys.executable, "-c", _PUT, backend.url, str(source)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "putting\n"
        time.sleep(after_s)
        process.kill()
        assert process.stdout.read() == "", "it was done before it could be killed"
    assert asyncio.run(backend.store.stat(sha256)) is None
    with pytest.raises(NotFound):
        asyncio.run(backend.store.read_bytes(sha256))


@pytest.mark.heavy
@pytest.mark.parametrize("kind", ["local", "s3", "gcs"])
def test_large_files_stream_in_flat_memory(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    backend = request.getfixturevalue(f"{kind}_backend")
    source = big_file(tmp_path / "model", 256)
    command = [sys.executable, "-c", _MEASURE, backend.url, str(source), str(tmp_path / "copy")]
    growth = int(subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=240).stdout)
    assert growth < 64 * MIB
    assert (tmp_path / "copy").stat().st_size == 256 * MIB


class TestLocalFolder:
    async def test_layout_and_mode(self, tmp_path: Path) -> None:
        ref = await LocalStore(tmp_path).put_bytes(b"weights")
        path = tmp_path / "sha256" / ref.sha256[:2] / ref.sha256
        assert stat.S_IMODE(path.stat().st_mode) == 0o444
        assert list((tmp_path / "tmp").iterdir()) == []

    async def test_every_path_is_verified(self, tmp_path: Path) -> None:
        store = LocalStore(tmp_path)
        ref = await store.put_bytes(b"weights")
        path = await store.path(ref.sha256)
        assert path.read_bytes() == b"weights"
        path.chmod(0o644)
        path.write_bytes(b"wrights")
        with pytest.raises(Corrupt):
            await store.path(ref.sha256)

    async def test_old_leftovers_are_swept_and_fresh_ones_left(self, tmp_path: Path) -> None:
        store = LocalStore(tmp_path)
        await store.put_bytes(b"first")
        old, fresh = tmp_path / "tmp" / "old", tmp_path / "tmp" / "fresh"
        old.touch()
        fresh.touch()
        os.utime(old, (0, 0))
        await store.put_bytes(b"second")
        assert list((tmp_path / "tmp").iterdir()) == [fresh]


class TestS3:
    async def test_the_hash_is_in_the_metadata(self, s3_backend: Backend) -> None:
        for size in (10, 20 * MIB):
            ref = await s3_backend.store.put_bytes(bytes(size))
            bucket = s3_backend.url.split("/")[2]
            key = f"some/prefix/sha256/{ref.sha256[:2]}/{ref.sha256}"
            assert boto3.client("s3").head_object(Bucket=bucket, Key=key)["Metadata"] == {"sha256": ref.sha256}

    @pytest.mark.parametrize("size", [10, 20 * MIB])
    async def test_blobs_are_created_never_overwritten(self, s3_backend: Backend, size: int) -> None:
        ref = await s3_backend.store.put_bytes(bytes(size))
        store = s3_backend.store
        assert isinstance(store, S3Store)
        with pytest.raises(S3Error) as caught:
            store._send(store._create_only, ref, VerifyingReader(io.BytesIO(bytes(size)), ref))
        assert caught.value.code == "PreconditionFailed"

    async def test_a_missing_bucket_is_not_made_unasked(self, s3_environment: S3Server) -> None:
        store = open_store(f"s3://not-made?endpoint={s3_environment.endpoint}")
        for call in (store.ping(), store.put_bytes(b"x")):
            with pytest.raises(Unavailable, match="not-made"):
                await call

    async def test_wrong_credentials_are_not_retried(
        self, s3_backend: Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        with pytest.raises(Unavailable) as caught:
            await open_store(s3_backend.url).put_bytes(b"x")
        assert caught.value.retryable is False
        assert "wrong" not in str(caught.value)

    async def test_missing_credentials_say_so(
        self, s3_backend: Backend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        with pytest.raises(Unavailable, match="AWS_ACCESS_KEY_ID"):
            await open_store(s3_backend.url).put_bytes(b"x")


class TestGcs:
    async def test_a_missing_bucket_is_not_made_unasked(self, gcs_environment: GcsServer) -> None:
        store = open_store("gs://not-made")
        for call in (store.ping(), store.put_bytes(b"x")):
            with pytest.raises(Unavailable, match="not-made"):
                await call
