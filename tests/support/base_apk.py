"""A small APK-shaped zip, with what real ones hold: libraries, resources, old signatures, data descriptors."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

from support.android_manifest import manifest as binary_manifest
from windtunnel.app_builder import BaseApp

MANIFEST = binary_manifest()
DEX = bytes(range(256)) * 40
LIBRARY = b"\x7fELF" + bytes(range(256)) * 100

STORED: Mapping[str, bytes] = {
    "resources.arsc": b"resources " * 333,
    "lib/arm64-v8a/libbench.so": LIBRARY,
    "res/raw/odd.bin": b"odd",
}
DEFLATED: Mapping[str, bytes] = {
    "AndroidManifest.xml": MANIFEST,
    "classes.dex": DEX,
    "META-INF/services/a.B": b"a.C\n",
    "assets/gr\u00fc\u00dfe.txt": b"hello " * 50,
}
SIGNATURES: Mapping[str, bytes] = {
    "META-INF/MANIFEST.MF": b"Manifest-Version: 1.0\n",
    "META-INF/CERT.SF": b"Signature-Version: 1.0\n",
    "META-INF/CERT.RSA": b"rsa",
    "META-INF/other.ec": b"ec",
    "stamp-cert-sha256": b"stamp",
}


class Unseekable(io.RawIOBase):
    """Makes zipfile write data descriptors."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self.data += piece
        return len(piece)


def apk_bytes(
    extra: Mapping[str, bytes] | None = None, *, descriptors: bool = False, manifest: bytes | bool = True
) -> bytes:
    """The archive; `extra` entries are deflated. `manifest`: its bytes, or whether there is one."""
    deflated = {**DEFLATED, "AndroidManifest.xml": manifest} if isinstance(manifest, bytes) else DEFLATED
    stream: io.BytesIO | Unseekable = Unseekable() if descriptors else io.BytesIO()
    with zipfile.ZipFile(cast("IO[bytes]", stream), "w") as archive:
        for names, method in ((STORED, zipfile.ZIP_STORED), (deflated, zipfile.ZIP_DEFLATED),
                              (SIGNATURES, zipfile.ZIP_DEFLATED), (extra or {}, zipfile.ZIP_DEFLATED)):  # fmt: skip
            for name, data in names.items():
                if manifest is not False or name != "AndroidManifest.xml":
                    archive.writestr(zipfile.ZipInfo(name, (2024, 5, 6, 7, 8, 10)), data, method)
    return bytes(stream.data) if isinstance(stream, Unseekable) else stream.getvalue()


def pinned(path: Path, data: bytes | None = None) -> BaseApp:
    """Writes `data` to `path` where given, and pins the file."""
    if data is not None:
        path.write_bytes(data)
    return BaseApp(path, hashlib.sha256(path.read_bytes()).hexdigest())
