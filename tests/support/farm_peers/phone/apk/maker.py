"""A small benchmark app, so far as the package manager and the activity manager look at it."""

from __future__ import annotations

import hashlib
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path

from support.farm_peers.phone.apk.binary_xml import Element, write
from windtunnel.app_builder import BaseApp, SigningKey
from windtunnel.app_builder.adapters.android.apk_signature import sign
from windtunnel.app_builder.adapters.archive.zipfile_write import Layout

PACKAGE = "org.tensorflow.lite.benchmark"
ACTIVITY = f"{PACKAGE}/.BenchmarkModelActivity"
TEST_PACKAGE = f"{PACKAGE}.test"
RUNNER = "androidx.test.runner.AndroidJUnitRunner"


def manifest(
    package: str = PACKAGE, *, version: int = 1, min_sdk: int = 24, test_only: bool = False, tests: str = ""
) -> bytes:
    """AndroidManifest.xml; `tests`: the package that its instrumentation tests."""
    activity = Element("activity", {"name": ".BenchmarkModelActivity", "exported": True})
    application = Element("application", {"testOnly": test_only, "debuggable": True}, [activity])
    children = [Element("uses-sdk", {"minSdkVersion": min_sdk}), application]
    if tests:
        children.append(Element("instrumentation", {"name": RUNNER, "targetPackage": tests}))
    return write(Element("manifest", {"package": package, "versionCode": version}, children))


def base_app(path: Path, document: bytes | None = None, abis: Sequence[str] = ("arm64-v8a",)) -> BaseApp:
    """Writes an unsigned app and pins it."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("AndroidManifest.xml", document or manifest(), zipfile.ZIP_DEFLATED)
        archive.writestr("classes.dex", b"dex\n035\0" + bytes(2000), zipfile.ZIP_DEFLATED)
        for abi in abis:
            archive.writestr(f"lib/{abi}/libtensorflowlite_benchmark.so", b"\x7fELF" + bytes(5000), zipfile.ZIP_STORED)
    return BaseApp(path, hashlib.sha256(path.read_bytes()).hexdigest())


def signed_app(
    path: Path, key: SigningKey, document: bytes | None = None, abis: Sequence[str] = ("arm64-v8a",)
) -> Path:
    """Writes an app without a model and signs it."""
    base_app(path, document, abis)
    data = path.read_bytes()
    end = data.rfind(b"PK\x05\x06")
    with path.open("r+b") as file:
        sign(file, Layout(struct.unpack_from("<I", data, end + 16)[0], end), key, ("v2", "v3"))
    return path
