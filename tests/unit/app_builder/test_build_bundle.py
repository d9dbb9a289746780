"""The host's package."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from support.base_apk import apk_bytes, pinned
from windtunnel.app_builder import BenchmarkConfig, BuildRequest, Platform, build
from windtunnel.errors import InvalidInput


@pytest.fixture
def request_(model: Path, config: BenchmarkConfig, tmp_path: Path) -> BuildRequest:
    return BuildRequest(Platform.HOST, model, config, tmp_path / "app.zip")


def test_a_bundle_is_a_plain_stored_zip(request_: BuildRequest) -> None:
    built = build(request_)
    with zipfile.ZipFile(built.path) as archive:
        assert sorted(archive.namelist()) == ["config.json", "model.tflite"]
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.read("model.tflite") == request_.model.read_bytes()
        assert json.loads(archive.read("config.json"))["args"][0] == "--graph=model.tflite"
    assert built.model_sha256 == hashlib.sha256(request_.model.read_bytes()).hexdigest()
    assert built.size_bytes == built.path.stat().st_size


def test_the_same_request_gives_the_same_bytes(request_: BuildRequest, tmp_path: Path) -> None:
    assert build(request_).sha256 == build(replace(request_, output=tmp_path / "again.zip")).sha256


def test_the_model_is_page_aligned(request_: BuildRequest) -> None:
    data = build(request_).path.read_bytes()
    assert data.index(request_.model.read_bytes()) % 16384 == 0


def test_a_base_app_is_refused(request_: BuildRequest, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"base app .* given for host"):
        build(replace(request_, base=pinned(tmp_path / "b.apk", apk_bytes())))
