"""URLs of stores, the cache, and what is imported when."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from windtunnel.artifacts import ArtifactRef, Artifacts, LocalStore, MemoryStore, open_store
from windtunnel.errors import InvalidInput


@pytest.mark.parametrize("form", ["{}", "file://{}"])
async def test_a_folder_is_a_store(tmp_path: Path, form: str) -> None:
    store = open_store(form.format(tmp_path / "a folder").replace(" ", "%20" if "file" in form else " "))
    assert isinstance(store, LocalStore)
    assert store.root == tmp_path / "a folder"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://host/x",
        "s3://",
        "gs:///prefix",
        "file://host/folder",
        "file:///",
        "s3://key:hunter2@bucket/x",
        "s3://bucket/x?endpoint=http://key:hunter2@127.0.0.1:1",
        "s3://bucket/x?endpoint=127.0.0.1:1",
        "s3://bucket/x?regoin=us-east-1",
        "gs://bucket?endpoint=http://127.0.0.1",
    ],
)
def test_bad_urls_are_refused(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        open_store(url)
    assert "hunter2" not in str(caught.value)


def test_a_misspelt_option_is_corrected() -> None:
    with pytest.raises(InvalidInput, match="did you mean 'region'"):
        open_store("s3://bucket/x?regoin=us-east-1")


def test_cloud_sdks_are_not_imported_for_a_folder(tmp_path: Path) -> None:
    code = (
        "import sys, windtunnel.artifacts as a; a.open_store(sys.argv[1]); "
        "assert not {'minio', 'boto3', 'google.cloud.storage', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


@pytest.mark.parametrize("sha256", ["", "a" * 63, "A" * 64, "a" * 65])
def test_references_refuse_impossible_values(sha256: str) -> None:
    with pytest.raises(InvalidInput):
        ArtifactRef(sha256, 1)
    with pytest.raises(InvalidInput):
        ArtifactRef("a" * 64, -1)


class TestCache:
    async def test_a_damaged_copy_is_fetched_again(self, tmp_path: Path) -> None:
        artifacts = Artifacts(MemoryStore(), tmp_path)
        ref = await artifacts.put_bytes(b"weights")
        path = await artifacts.path(ref.sha256)
        path.chmod(0o644)
        path.write_bytes(b"wrights")
        assert (await artifacts.path(ref.sha256)).read_bytes() == b"weights"

    async def test_the_least_recently_used_go_first(self, tmp_path: Path) -> None:
        artifacts = Artifacts(MemoryStore(), tmp_path, max_bytes=250)
        paths: list[Path] = []
        for index in range(3):
            ref = await artifacts.put_bytes(bytes([index]) * 100)
            paths.append(await artifacts.path(ref.sha256))
            os.utime(paths[-1], (1000 + index, 1000 + index))
        ref = await artifacts.put_bytes(b"z" * 100)
        paths.append(await artifacts.path(ref.sha256))
        assert [path.exists() for path in paths] == [False, False, True, True]

    async def test_files_in_use_stay_above_the_bound(self, tmp_path: Path) -> None:
        artifacts = Artifacts(MemoryStore(), tmp_path, max_bytes=10)
        refs = [await artifacts.put_bytes(bytes([index]) * 100) for index in range(3)]
        paths = [await artifacts.path(ref.sha256) for ref in refs]
        assert all(path.exists() for path in paths)

    async def test_a_local_store_gives_its_own_file(self, tmp_path: Path) -> None:
        artifacts = open_store(str(tmp_path / "store"), cache=tmp_path / "cache")
        ref = await artifacts.put_bytes(b"weights")
        assert (await artifacts.path(ref.sha256)).is_relative_to(tmp_path / "store")
        assert not (tmp_path / "cache").exists()
