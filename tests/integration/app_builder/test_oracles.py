"""Android's own tools on what we build: apksigner, zipalign and aapt, on a base app made with smali."""

from __future__ import annotations

import random
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from support.android_manifest import manifest
from support.base_apk import LIBRARY, pinned
from windtunnel.app_builder import BenchmarkConfig, BuildRequest, Platform, SigningKey, build

TOOLS = ("aapt", "apksigner", "openssl", "smali", "zipalign")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]

# ./test installs the tools where it may; elsewhere the reason says which are missing.
pytestmark = pytest.mark.skipif(
    bool(MISSING),
    reason=f"not installed: {', '.join(MISSING)} (apt-get install {' '.join(TOOLS)})",
)


def run(*command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=cwd, check=False)


def verified(apk: Path) -> subprocess.CompletedProcess[str]:
    return run("apksigner", "verify", "--verbose", "--min-sdk-version", "24", apk)


@pytest.fixture(scope="module")
def base_apk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An app with code, a stored library and a stored resource, signed by another key with apksigner."""
    folder = tmp_path_factory.mktemp("base")
    (folder / "AndroidManifest.xml").write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n<manifest package="dev.windtunnel.base"><application/></manifest>\n'
    )
    (folder / "Main.smali").write_text(".class public LMain;\n.super Ljava/lang/Object;\n")
    apk = folder / "base.apk"
    for command in (
        ("aapt", "package", "-f", "-M", "AndroidManifest.xml", "-F", apk),
        ("smali", "assemble", "-o", "classes.dex", "Main.smali"),
        ("aapt", "add", apk, "classes.dex"),
    ):
        done = run(*command, cwd=folder)
        assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(apk, "a") as archive:
        archive.writestr("lib/arm64-v8a/libbench.so", LIBRARY)
        archive.writestr("res/raw/odd.bin", b"odd")
    key, certificate = SigningKey.generate("Somebody").to_pem()
    (folder / "key.pem").write_bytes(key)
    (folder / "cert.pem").write_bytes(certificate)
    der = run(
        "openssl", "pkcs8", "-topk8", "-nocrypt", "-in", "key.pem", "-outform", "DER", "-out", "key.der", cwd=folder
    )
    assert der.returncode == 0, der.stderr
    signed = run(
        "apksigner", "sign", "--min-sdk-version", "21", "--key", "key.der", "--cert", "cert.pem", apk, cwd=folder
    )
    assert signed.returncode == 0, signed.stderr
    assert "META-INF/MANIFEST.MF" in zipfile.ZipFile(apk).namelist()
    return apk


@pytest.fixture(scope="module")
def built(base_apk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    model = folder / "m.tflite"
    # Over two chunks of 1 MiB, and not a multiple of one.
    model.write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(range(251)) * 9001)
    config = BenchmarkConfig(run_id="run-1", variant="int8")
    request = BuildRequest(Platform.ANDROID, model, config, folder / "app.apk", pinned(base_apk))
    return build(request, SigningKey.generate()).path


def test_apksigner_verifies_both_schemes(built: Path) -> None:
    done = verified(built)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Verified using v1 scheme (JAR signing): false" in done.stdout
    assert "Verified using v2 scheme (APK Signature Scheme v2): true" in done.stdout
    assert "Verified using v3 scheme (APK Signature Scheme v3): true" in done.stdout
    assert "Number of signers: 1" in done.stdout
    assert "WARNING" not in done.stdout + done.stderr


def test_each_scheme_verifies_alone(built: Path) -> None:
    for versions in (("--min-sdk-version", "24", "--max-sdk-version", "27"), ("--min-sdk-version", "28")):
        done = run("apksigner", "verify", *versions, built)
        assert done.returncode == 0, done.stdout + done.stderr


def test_apksigner_verifies_an_elliptic_curve_key(base_apk: Path, built: Path, tmp_path: Path) -> None:
    made = run(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9000",
        "-subj", "/CN=EC", "-keyout", "k.pem", "-out", "c.pem", cwd=tmp_path,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    key = SigningKey.load_pem((tmp_path / "k.pem").read_bytes(), (tmp_path / "c.pem").read_bytes())
    config = BenchmarkConfig(run_id="run-1", variant="int8")
    request = BuildRequest(Platform.ANDROID, built.parent / "m.tflite", config, tmp_path / "a.apk", pinned(base_apk))
    done = verified(build(request, key).path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("place", ["model", "manifest", "directory", "signed data", "end"])
def test_apksigner_rejects_a_flipped_byte(built: Path, tmp_path: Path, place: str) -> None:
    data = bytearray(built.read_bytes())
    magic = data.index(b"APK Sig Block 42")
    position = {
        "model": data.index(b"TFL3") + 1_500_000,
        "manifest": data.index(b"AndroidManifest.xml") + 40,
        "directory": magic + 16 + 20,
        "signed data": magic - 1500,
        "end": len(data) - 10,
    }[place]
    data[position] ^= 1
    broken = tmp_path / "broken.apk"
    broken.write_bytes(data)
    assert verified(broken).returncode != 0


@pytest.fixture(scope="module", params=[21, 24, 28])
def of_level(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path]:
    """An app whose base says on which Android it runs at least."""
    folder, level = tmp_path_factory.mktemp("level"), int(request.param)
    target = "org.tensorflow.lite.benchmark"
    (folder / "m.tflite").write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(range(251)) * 99)
    stated = manifest(target, min_sdk=level, game_loop=True, metadata={"com.google.test.loops": 10})
    entries = {"lib/arm64-v8a/libbench.so": LIBRARY, "AndroidManifest.xml": stated}
    with zipfile.ZipFile(folder / "base.apk", "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    config = BenchmarkConfig(run_id=None, variant="int8")
    base = pinned(folder / "base.apk")
    request_ = BuildRequest(Platform.ANDROID, folder / "m.tflite", config, folder / "app.apk", base)
    return level, build(request_, SigningKey.generate()).path


def test_apksigner_verifies_apps_of_all_levels(of_level: tuple[int, Path]) -> None:
    level, apk = of_level
    for arguments in ((), ("--min-sdk-version", "24"), ("--min-sdk-version", "28")):
        done = run("apksigner", "verify", "--verbose", *arguments, apk)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "WARNING" not in done.stdout + done.stderr
    done = run("apksigner", "verify", "--verbose", apk)
    for scheme, expected in (("v1", level < 24), ("v2", level < 28), ("v3", True)):
        assert f"Verified using {scheme} scheme" in done.stdout
        line = next(row for row in done.stdout.splitlines() if f"using {scheme} scheme" in row)
        assert line.endswith(str(expected).lower()), line


def test_aapt_reads_our_manifests_as_we_do(of_level: tuple[int, Path]) -> None:
    level, apk = of_level
    badging = run("aapt", "dump", "badging", apk).stdout
    assert "package: name='org.tensorflow.lite.benchmark'" in badging
    assert f"sdkVersion:'{level}'" in badging and "targetSdkVersion:'30'" in badging
    assert "native-code: 'arm64-v8a'" in badging
    tree = run("aapt", "dump", "xmltree", apk, "AndroidManifest.xml").stdout
    assert "com.google.intent.action.TEST_LOOP" in tree and "com.google.test.loops" in tree


@pytest.mark.heavy
def test_apksigner_rejects_any_flipped_byte(of_level: tuple[int, Path], tmp_path: Path) -> None:
    _, apk = of_level
    data = apk.read_bytes()
    for position in random.Random(7).sample(range(len(data)), 8):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        (tmp_path / "broken.apk").write_bytes(changed)
        assert run("apksigner", "verify", tmp_path / "broken.apk").returncode != 0, position


def test_a_stripped_v3_signature_is_noticed(built: Path, tmp_path: Path) -> None:
    data = bytearray(built.read_bytes())
    block = data.index((0xF05368C0).to_bytes(4, "little"))
    data[block : block + 4] = b"\x01\x02\x03\x04"
    broken = tmp_path / "broken.apk"
    broken.write_bytes(data)
    assert verified(broken).returncode != 0


def test_zipalign_finds_everything_aligned(built: Path) -> None:
    done = run("zipalign", "-c", "-p", "-v", "4", built)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Verification successful" in done.stdout


def test_aapt_reads_the_package(built: Path) -> None:
    badging = run("aapt", "dump", "badging", built)
    assert "package: name='dev.windtunnel.base'" in badging.stdout
    listed = run("aapt", "list", built).stdout.split()
    assert {"assets/windtunnel/model.tflite", "assets/windtunnel/config.json", "classes.dex"} <= set(listed)
    assert not [name for name in listed if name.startswith("META-INF/")]
