"""The signing key that is made once and kept."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from windtunnel.app_builder.adapters.keyfile import kept_key, load_key
from windtunnel.errors import InvalidInput


def fingerprint(path: Path) -> str:
    return kept_key(path).certificate_sha256


def test_processes_that_come_at_once_agree(tmp_path: Path) -> None:
    path = tmp_path / "home/android-signing.pem"
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert len(set(pool.map(fingerprint, [path] * 4, chunksize=1))) == 1
    assert fingerprint(path) == fingerprint(path)
    assert [file.name for file in path.parent.iterdir()] == ["android-signing.pem"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_damaged_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "android-signing.pem"
    kept_key(path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InvalidInput, match=r"android-signing\.pem: signing key cannot be read") as caught:
        kept_key(path)
    assert "remove it" in caught.value.hint


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"nowhere\.pem cannot be read"):
        load_key(tmp_path / "nowhere.pem", tmp_path / "nowhere.pem")
