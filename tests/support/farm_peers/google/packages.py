"""What Test Lab checks of packages before it runs them, by really opening them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from support.farm_peers.google.bucket import Buckets


def package_at(reference: Mapping[str, Any], buckets: Buckets) -> bytes | None:
    """The bytes of a FileReference, whose path is URL-encoded; None: there is no such object."""
    return buckets.read(unquote(str(reference.get("gcsPath", ""))))


def what_is_wrong(package: bytes | None, *, test: bool = False) -> str:
    """One of invalidMatrixDetails; empty: nothing."""
    if package is None:
        return "INVALID_INPUT_APK"
    try:
        with zipfile.ZipFile(io.BytesIO(package)) as archive:
            names = set(archive.namelist())
            if archive.testzip() is not None:
                return "MALFORMED_TEST_APK" if test else "MALFORMED_APK"
    except (zipfile.BadZipFile, ValueError, OSError):
        return "MALFORMED_TEST_APK" if test else "MALFORMED_APK"
    if "AndroidManifest.xml" not in names:
        return "NO_MANIFEST"
    if "classes.dex" not in names:
        return "NO_CODE_APK"
    signed = b"APK Sig Block 42" in package or any(name.endswith((".RSA", ".EC", ".DSA")) for name in names)
    return "" if signed else "NO_SIGNATURE"


def runs_on(package: bytes, abis: list[str]) -> bool:
    """Whether a phone's processor can run the package's libraries; without libraries any can."""
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        built = {name.split("/")[1] for name in archive.namelist() if name.startswith("lib/") and name.count("/") > 1}
    return not built or bool(built & set(abis))
