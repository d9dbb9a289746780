"""JAR signatures, for apps that run on Android before 7.0; read back line by line."""

from __future__ import annotations

import base64
import hashlib
import io
import subprocess
import zipfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from support.android_manifest import manifest
from support.base_apk import apk_bytes, pinned
from windtunnel.app_builder import BenchmarkConfig, BuildRequest, BuiltApp, Platform, SigningKey, build
from windtunnel.errors import InvalidInput

LONG = "assets/" + "very-long-name/" * 9 + "größe.txt"


def built(min_sdk: int | None, key: SigningKey, model: Path, config: BenchmarkConfig, tmp_path: Path) -> BuiltApp:
    stream = io.BytesIO(apk_bytes({LONG: b"long"}, manifest=manifest(min_sdk=min_sdk)))
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr("lib/", b"")
    base = pinned(tmp_path / "base.apk", stream.getvalue())
    return build(BuildRequest(Platform.ANDROID, model, config, tmp_path / "out.apk", base), key)


def sections(data: bytes) -> list[dict[str, str]]:
    """The sections of a manifest, continued lines joined."""
    assert all(len(line) <= 70 for line in data.split(b"\r\n"))
    text = data.replace(b"\r\n ", b"").decode()
    return [dict(line.split(": ", 1) for line in part.split("\r\n")) for part in text.strip().split("\r\n\r\n")]


@pytest.mark.parametrize(("min_sdk", "digest", "attribute"), [(23, "sha256", "SHA-256"), (17, "sha1", "SHA1")])
def test_every_entry_is_listed_and_signed(
    min_sdk: int, digest: str, attribute: str, model: Path, config: BenchmarkConfig, tmp_path: Path, rsa_key: SigningKey
) -> None:
    app = built(min_sdk, rsa_key, model, config, tmp_path)
    assert app.signatures == ("v1", "v2", "v3")
    with zipfile.ZipFile(app.path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    listed, signed = files.pop("META-INF/MANIFEST.MF"), files.pop("META-INF/CERT.SF")
    block = files.pop("META-INF/CERT.RSA")
    del files["lib/"]
    head, *entries = sections(listed)
    assert head["Manifest-Version"] == "1.0"
    assert {entry["Name"]: entry[f"{attribute}-Digest"] for entry in entries} == {
        name: base64.b64encode(hashlib.new(digest, data).digest()).decode() for name, data in files.items()
    }
    head, *signed_entries = sections(signed)
    assert head[f"{attribute}-Digest-Manifest"] == base64.b64encode(hashlib.new(digest, listed).digest()).decode()
    assert head["X-Android-APK-Signed"] == "2, 3"
    assert [entry["Name"] for entry in signed_entries] == [entry["Name"] for entry in entries]
    parts = [part + b"\r\n\r\n" for part in listed.split(b"\r\n\r\n")[1:-1]]
    for entry, part in zip(signed_entries, parts, strict=True):
        assert entry[f"{attribute}-Digest"] == base64.b64encode(hashlib.new(digest, part).digest()).decode()
    assert openssl_accepts(block, signed, rsa_key, tmp_path)
    assert not openssl_accepts(block, signed.replace(b"2, 3", b"2, 4"), rsa_key, tmp_path)


def openssl_accepts(block: bytes, content: bytes, key: SigningKey, tmp_path: Path) -> bool:
    for name, data in (("block", block), ("content", content), ("pem", key.certificate.public_bytes(Encoding.PEM))):
        (tmp_path / name).write_bytes(data)
    command = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", "block", "-content", "content",
               "-CAfile", "pem", "-purpose", "any", "-out", "verified"]  # fmt: skip
    return subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("min_sdk", [24, None])
def test_an_app_that_does_not_say_that_it_runs_before_android_7_has_none(
    min_sdk: int | None, model: Path, config: BenchmarkConfig, tmp_path: Path, rsa_key: SigningKey
) -> None:
    with zipfile.ZipFile(built(min_sdk, rsa_key, model, config, tmp_path).path) as archive:
        assert [name for name in archive.namelist() if name.startswith("META-INF/")] == ["META-INF/services/a.B"]


def test_keys_that_the_oldest_phones_do_not_know_are_refused(
    model: Path, config: BenchmarkConfig, tmp_path: Path, ec_key: SigningKey
) -> None:
    assert "v1" in built(18, ec_key, model, config, tmp_path).signatures
    with pytest.raises(InvalidInput, match="knows RSA keys only"):
        built(17, ec_key, model, config, tmp_path)
