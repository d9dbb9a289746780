"""`windtunnel build-app`: packages, its JSON, its exit codes, and that nothing half-written stays."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest

from support.android_manifest import manifest
from support.apk_verifier import Refused, check
from support.apple_verifier import check_bundle
from support.base_apk import apk_bytes
from support.base_ipa import PASSWORD, ROOT, Apple, ipa_bytes
from windtunnel import schemas
from windtunnel.app_builder import SigningKey
from windtunnel.cli.commands.models.build_app import build_app
from windtunnel.errors import Conflict, InvalidInput, NotFound, Unsupported

MODEL = b"\x1c\x00\x00\x00TFL3" + bytes(range(251)) * 40
TARGET = "org.tensorflow.lite.benchmark"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model and base apps in the working directory, and a home without keys."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WINDTUNNEL_HOME", str(tmp_path / "home"))
    Path("m.tflite").write_bytes(MODEL)
    Path("base.apk").write_bytes(apk_bytes())
    Path("base.ipa").write_bytes(ipa_bytes())
    runner = ("androidx.test.runner.AndroidJUnitRunner", TARGET)
    Path("test.apk").write_bytes(apk_bytes(manifest=manifest(f"{TARGET}.test", instrumentation=runner)))
    return tmp_path


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return SigningKey.generate()


def run(*arguments: str) -> int:
    result = build_app.main(["m.tflite", *arguments], standalone_mode=False)
    assert isinstance(result, int)
    return result


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    jsonschema.validate(found, schemas.load("built_app"))
    return found


def left() -> set[str]:
    return {path.name for path in Path().iterdir()} - {"m.tflite", "base.apk", "base.ipa", "test.apk", "home"}


def test_an_apk(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--base", "base.apk", "--out", "app.apk", "--json") == 0
    found = document(capsys)
    data = Path("app.apk").read_bytes()
    check(data, 24)
    assert found == {
        "schema": "windtunnel.built_app/1", "path": "app.apk", "platform": "android", "kind": "activity",
        "sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data),
        "model_sha256": hashlib.sha256(MODEL).hexdigest(), "package_name": TARGET, "min_os": "24",
        "abis": ["arm64-v8a"], "runner": None, "scenarios": None, "signatures": ["v2", "v3"], "test_app": None,
    }  # fmt: skip
    with zipfile.ZipFile("app.apk") as archive:
        assert archive.read("assets/windtunnel/model.tflite") == MODEL
        assert json.loads(archive.read("assets/windtunnel/config.json"))["variant"] == "m"


def test_without_a_key_that_of_the_home_signs_every_time(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.apk", "b.apk"):
        assert run("--base", "base.apk", "--out", name) == 0
    said = capsys.readouterr()
    assert said.err.count("is made, and signs from now on") == 1
    assert "for android 24 or later, arm64-v8a: activity" in said.out and "signed (v2, v3)" in said.out
    assert Path("a.apk").read_bytes() == Path("b.apk").read_bytes()


def test_key_configuration_and_test_apk(capsys: pytest.CaptureFixture[str], key: SigningKey) -> None:
    for name, pem in zip(("k.pem", "c.pem"), key.to_pem(), strict=True):
        Path(name).write_bytes(pem)
    Path("c.json").write_text(
        json.dumps({"variant": "int8", "accelerator": "gpu", "arguments": ["--num_threads=3", "--gpu_backend=cl"]})
    )
    keys = ("--key", "k.pem", "--cert", "c.pem", "--config", "c.json")
    tests = ("--test-base", "test.apk", "--test-out", "t.apk")
    assert run("--base", "base.apk", "--out", "app.apk", "--json", *keys, *tests) == 0
    found = document(capsys)
    assert (found["test_app"]["package_name"], found["test_app"]["kind"]) == (f"{TARGET}.test", "instrumentation")
    assert found["test_app"]["model_sha256"] is None
    with zipfile.ZipFile("app.apk") as archive:
        config = json.loads(archive.read("assets/windtunnel/config.json"))
    assert (config["variant"], config["num_threads"]) == ("int8", 3)
    assert config["args"][1:] == [
        "--num_runs=50", "--warmup_runs=1", "--num_threads=3", "--use_gpu=true", "--gpu_backend=cl"
    ]  # fmt: skip
    assert all(key.certificate.tbs_certificate_bytes in Path(name).read_bytes() for name in ("app.apk", "t.apk"))
    assert not Path("home").exists()


def test_an_unsigned_ipa_says_who_can_run_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--base", "base.ipa", "--out", "app.ipa", "--json") == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    jsonschema.validate(found, schemas.load("built_app"))
    assert (found["platform"], found["signatures"], found["min_os"]) == ("ios", [], "14.0")
    assert "a phone cannot" in said.err


@pytest.mark.heavy
@pytest.mark.parametrize("how", ["file", "variable"])
def test_a_signed_ipa(how: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    apple = Apple()
    apple.write(folder)
    Path("secret").write_bytes(PASSWORD + b"\n")
    monkeypatch.setenv("SECRET", PASSWORD.decode())
    password = ("--p12-password-file", "secret") if how == "file" else ("--p12-password-env", "SECRET")
    signed = ("--p12", "dev.p12", "--profile", "dev.mobileprovision", *password)
    assert run("--base", "base.ipa", "--out", "app.ipa", "--json", *signed) == 0
    assert document(capsys)["signatures"] == ["apple"]
    with zipfile.ZipFile("app.ipa") as archive:
        files = {name.removeprefix(ROOT): archive.read(name) for name in archive.namelist()}
    check_bundle(files, "TFLiteBenchmark")
    (folder / "dev.p12").write_bytes(apple.p12(chain=False))
    assert run("--base", "base.ipa", "--out", "app.ipa", "--force", *signed) == 0
    assert "lacks the certificate of its issuer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--base", "base.apk", "--key", "k.pem"), "--key and --cert go together"),
        (("--base", "base.apk", "--test-base", "test.apk"), "--test-base and --test-out go together"),
        (("--base", "base.ipa", "--p12", "d.p12"), "--p12 and --profile go together"),
        (("--base", "base.ipa", "--p12-password-env", "X"), "a password needs --p12"),
        (("--base", "base.apk", "--p12", "d", "--profile", "p"), "--p12 is for IPAs"),
        (("--base", "base.ipa", "--key", "k", "--cert", "c"), "--key is for APKs"),
        (("--base", "out.apk"), "is an input"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], says: str) -> None:
    with pytest.raises(click.UsageError, match=says):
        run("--out", "out.apk", *arguments)
    assert left() == set()


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        (("--base", "gone.apk"), NotFound, "there is no base app gone.apk"),
        (("--base", "m.tflite"), InvalidInput, "base app m.tflite: not a zip file"),
        (("--base", "base.apk", "--config", "list.json"), InvalidInput, "must be an object"),
        (("--base", "base.apk", "--config", "field.json"), InvalidInput, "list of text|must be a list"),
        (("--base", "base.apk", "--config", "unknown.json"), InvalidInput, "unknown field 'num_thread'.*"),
        (("--base", "base.apk", "--config", "twice.json"), InvalidInput, "is given twice"),
        (("--base", "base.apk", "--config", "cut.json"), InvalidInput, "is not JSON"),
        (("--base", "base.apk", "--key", "m.tflite", "--cert", "m.tflite"), InvalidInput, "key cannot be read"),
        (("--base", "split.apk"), Unsupported, "base app split.apk is the base of split APKs"),
        (("--base", "base.apk", "--test-base", "base.apk", "--test-out", "t.apk"), InvalidInput, "no instrumentation"),
        (("--base", "base.ipa", "--p12", "m.tflite", "--profile", "m.tflite", "--p12-password-env", "NOT_SET"),
         InvalidInput, "the variable NOT_SET is not set"),
    ],
)  # fmt: skip
def test_what_cannot_be_built_leaves_nothing(arguments: tuple[str, ...], kind: type[Exception], says: str) -> None:
    inputs = {
        "list.json": b"[]", "field.json": b'{"arguments": 3}', "unknown.json": b'{"num_thread": 3}',
        "twice.json": b'{"num_threads": 3, "arguments": ["--num_threads=4"]}', "cut.json": b"{",
        "split.apk": apk_bytes(manifest=manifest(root={"isSplitRequired": True})),
    }  # fmt: skip
    for name, data in inputs.items():
        Path(name).write_bytes(data)
    with pytest.raises(kind, match=says):
        run("--out", "out.apk", *arguments)
    assert left() == set(inputs)


def test_an_output_that_exists_is_kept(folder: Path) -> None:
    (folder / "app.apk").write_bytes(b"mine")
    with pytest.raises(Conflict, match=r"app\.apk already exists"):
        run("--base", "base.apk", "--out", "app.apk")
    assert (folder / "app.apk").read_bytes() == b"mine"
    assert run("--base", "base.apk", "--out", "app.apk", "--force") == 0


def test_the_model_of_a_folder_is_refused(folder: Path) -> None:
    (folder / "saved").mkdir()
    with pytest.raises(InvalidInput, match="model saved cannot be read"):
        build_app.main(["saved", "--base", "base.apk", "--out", "o.apk"], standalone_mode=False)
    assert left() == {"saved"}


@pytest.mark.heavy
def test_a_killed_command_leaves_no_package(folder: Path) -> None:
    """Whatever the moment, the output is whole or not there."""
    (folder / "m.tflite").write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(60 << 20))
    assert run("--base", "base.apk", "--out", "warm.apk") == 0
    whole = (folder / "warm.apk").read_bytes()
    command = [sys.executable, "-m", "windtunnel.cli", "build-app", "m.tflite", "--base", "base.apk", "--out", "k.apk"]
    for delay in (0.3, 0.5, 0.7, 0.9):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=dict(os.environ))
        # The moment matters, not the time: no event shows how far the other process is.
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=delay)
        process.kill()
        process.wait()
        if Path("k.apk").exists():
            assert Path("k.apk").read_bytes() == whole
            Path("k.apk").unlink()


def test_the_check_of_the_test_itself() -> None:
    run("--base", "base.apk", "--out", "app.apk")
    data = bytearray(Path("app.apk").read_bytes())
    data[100] ^= 1
    with pytest.raises(Refused):
        check(bytes(data), 24)
