"""Android packages: what is in them, what stays of the base app, and that they are the same every time."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.base_apk import DEFLATED, SIGNATURES, STORED, apk_bytes, pinned
from windtunnel.app_builder import (
    AppFacts,
    AppKind,
    BaseApp,
    BenchmarkConfig,
    BuildRequest,
    BuiltApp,
    Platform,
    SigningKey,
    build,
)
from windtunnel.errors import InvalidInput

MODEL, CONFIG = "assets/windtunnel/model.tflite", "assets/windtunnel/config.json"


@pytest.fixture
def base(tmp_path: Path) -> BaseApp:
    return pinned(tmp_path / "base.apk", apk_bytes())


@pytest.fixture
def request_(base: BaseApp, model: Path, config: BenchmarkConfig, tmp_path: Path) -> BuildRequest:
    return BuildRequest(Platform.ANDROID, model, config, tmp_path / "out.apk", base)


def data_offset(path: Path, info: zipfile.ZipInfo) -> int:
    header = path.read_bytes()[info.header_offset : info.header_offset + 30]
    name, extra = struct.unpack("<HH", header[26:30])
    return info.header_offset + 30 + int(name) + int(extra)


def raw(path: Path, info: zipfile.ZipInfo) -> bytes:
    start = data_offset(path, info)
    return path.read_bytes()[start : start + info.compress_size]


def test_the_model_and_its_configuration_are_inside(request_: BuildRequest, rsa_key: SigningKey) -> None:
    built = build(request_, rsa_key)
    with zipfile.ZipFile(built.path) as archive:
        assert archive.testzip() is None
        assert archive.read(MODEL) == request_.model.read_bytes()
        config = json.loads(archive.read(CONFIG))
        assert {archive.getinfo(name).compress_type for name in (MODEL, CONFIG)} == {zipfile.ZIP_STORED}
    assert config["graph"] == "windtunnel/model.tflite"
    assert config["args"] == [
        "--graph=windtunnel/model.tflite", "--num_runs=50", "--warmup_runs=1", "--num_threads=2", "--use_xnnpack=true",
    ]  # fmt: skip
    assert (config["schema"], config["run_id"], config["cell_id"]) == ("windtunnel.benchmark/1", "run-1", None)
    data = built.path.read_bytes()
    assert built == BuiltApp(
        Platform.ANDROID, request_.output, hashlib.sha256(data).hexdigest(), len(data),
        hashlib.sha256(request_.model.read_bytes()).hexdigest(),
        AppFacts(AppKind.ACTIVITY, "org.tensorflow.lite.benchmark", "24", ("arm64-v8a",)), ("v2", "v3"),
    )  # fmt: skip


@pytest.mark.parametrize("descriptors", [False, True])
def test_the_rest_of_the_base_app_keeps_its_compressed_bytes(
    descriptors: bool, request_: BuildRequest, rsa_key: SigningKey, tmp_path: Path
) -> None:
    base = pinned(tmp_path / "other.apk", apk_bytes(descriptors=descriptors))
    built = build(replace(request_, base=base), rsa_key)
    with zipfile.ZipFile(base.path) as before, zipfile.ZipFile(built.path) as after:
        assert set(after.namelist()) == {*STORED, *DEFLATED, MODEL, CONFIG}
        for name in (*STORED, *DEFLATED):
            old, new = before.getinfo(name), after.getinfo(name)
            assert raw(built.path, new) == raw(base.path, old)
            assert (new.CRC, new.date_time, new.compress_type) == (old.CRC, old.date_time, old.compress_type)
            assert not new.flag_bits & 0x08
            assert after.read(name) == before.read(name)


def test_old_signatures_are_gone(request_: BuildRequest, rsa_key: SigningKey, tmp_path: Path) -> None:
    once = build(request_, rsa_key)
    twice = build(replace(request_, base=pinned(once.path), output=tmp_path / "twice.apk"), SigningKey.generate())
    assert not set(SIGNATURES) & set(zipfile.ZipFile(twice.path).namelist())
    assert twice.path.read_bytes().count(b"APK Sig Block 42") == 1


def test_a_model_that_was_there_is_replaced(request_: BuildRequest, rsa_key: SigningKey, tmp_path: Path) -> None:
    base = pinned(tmp_path / "other.apk", apk_bytes({MODEL: b"old", CONFIG: b"old"}))
    with zipfile.ZipFile(build(replace(request_, base=base), rsa_key).path) as archive:
        assert archive.namelist().count(MODEL) == archive.namelist().count(CONFIG) == 1
        assert archive.read(MODEL) == request_.model.read_bytes()


def test_stored_entries_are_aligned(request_: BuildRequest, rsa_key: SigningKey) -> None:
    built = build(request_, rsa_key)
    with zipfile.ZipFile(built.path) as archive:
        offsets = {
            info.filename: data_offset(built.path, info) for info in archive.infolist() if not info.compress_type
        }
    assert set(offsets) == {*STORED, MODEL, CONFIG}
    for name, offset in offsets.items():
        assert offset % (16384 if name == MODEL or name.endswith(".so") else 4) == 0, name


@pytest.mark.parametrize("kind", ["rsa_key", "ec_key"])
def test_the_same_request_gives_the_same_bytes(
    kind: str, request_: BuildRequest, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    key = request.getfixturevalue(kind)
    again = build(replace(request_, output=tmp_path / "again.apk"), SigningKey.load_pem(*key.to_pem()))
    assert build(request_, key).sha256 == again.sha256


def test_another_configuration_is_another_package(request_: BuildRequest, rsa_key: SigningKey, tmp_path: Path) -> None:
    other = replace(request_, config=replace(request_.config, num_threads=4), output=tmp_path / "other.apk")
    assert build(request_, rsa_key).sha256 != build(other, rsa_key).sha256


def test_an_empty_library_folder_entry_survives(request_: BuildRequest, rsa_key: SigningKey, tmp_path: Path) -> None:
    stream = io.BytesIO(apk_bytes())
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr("lib/", b"")
    built = build(replace(request_, base=pinned(tmp_path / "d.apk", stream.getvalue())), rsa_key)
    assert "lib/" in zipfile.ZipFile(built.path).namelist()


def test_another_base_app_than_the_pinned_one_is_refused(request_: BuildRequest, rsa_key: SigningKey) -> None:
    assert request_.base is not None
    wrong = replace(request_, base=BaseApp(request_.base.path, "0" * 64))
    with pytest.raises(InvalidInput, match=f"not the pinned {'0' * 64}"):
        build(wrong, rsa_key)
    assert not request_.output.exists()


def test_what_is_missing_is_named(request_: BuildRequest, rsa_key: SigningKey, tmp_path: Path) -> None:
    for wrong, key, says in (
        (replace(request_, base=None), rsa_key, "no base app"),
        (request_, None, "no signing key"),
        (replace(request_, model=tmp_path / "nowhere"), rsa_key, "nowhere cannot be read"),
        (replace(request_, output=tmp_path / "no" / "where"), rsa_key, "cannot write"),
        (replace(request_, base=BaseApp(tmp_path / "gone.apk", "0" * 64)), rsa_key, r"gone\.apk cannot be read"),
    ):
        with pytest.raises(InvalidInput, match=says):
            build(wrong, key)


def test_an_empty_model_is_refused(request_: BuildRequest, rsa_key: SigningKey) -> None:
    request_.model.write_bytes(b"")
    with pytest.raises(InvalidInput, match=r"variant\.tflite is empty"):
        build(request_, rsa_key)


def test_a_failed_build_leaves_what_was_there(request_: BuildRequest, rsa_key: SigningKey) -> None:
    request_.output.write_bytes(b"the last good one")
    assert request_.base is not None
    broken = pinned(request_.base.path, apk_bytes()[:-30])
    with pytest.raises(InvalidInput):
        build(replace(request_, base=broken), rsa_key)
    assert request_.output.read_bytes() == b"the last good one"
    assert not list(request_.output.parent.glob(".out.apk*"))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"run_id": "../x"}, "run_id '../x'"),
        ({"variant": ""}, "variant ''"),
        ({"cell_id": "a\nb"}, "cell_id"),
        ({"accelerator": "abacus"}, "accelerator 'abacus'"),
        ({"num_threads": 0}, "num_threads is 0"),
        ({"num_runs": 0}, "num_runs is 0"),
        ({"warmup_runs": -1}, "warmup_runs is -1"),
        ({"arguments": ("use_gpu=true",)}, "argument 'use_gpu=true' is not --name=value"),
        ({"arguments": ("--a=b\nc",)}, "is not --name=value"),
        ({"arguments": ("--graph=x",)}, "is given twice: it is the app's own model"),
        ({"arguments": ("--num_threads=3",)}, "is given twice: it is a field"),
        ({"arguments": ("--a=1", "--a=2")}, "is given twice: it is another argument"),
    ],
)
def test_bad_configurations_are_refused(config: BenchmarkConfig, fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        replace(config, **fields)


def test_a_pin_must_be_a_sha256(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is not a SHA-256"):
        BaseApp(tmp_path, "latest")
