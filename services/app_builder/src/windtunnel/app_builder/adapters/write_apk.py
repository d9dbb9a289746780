"""Android: the model and its configuration go into an APK's assets; the APK is aligned and signed again.

The rest of the base app stays as it is, byte for byte. Alignment is that of `zipalign -P 16 4`.
"""

from __future__ import annotations

import hashlib
import re
from typing import BinaryIO

from windtunnel.app_builder.adapters.signing import SigningKey, sign
from windtunnel.app_builder.adapters.write_bundle import ALIGNMENT, MODEL_ALIGNMENT, hashing
from windtunnel.app_builder.adapters.zipfile_read import STORED, Entry, read_directory
from windtunnel.app_builder.adapters.zipfile_write import ZipWriter
from windtunnel.app_builder.domain.app_package import BenchmarkConfig
from windtunnel.app_builder.domain.file_digests import blocks
from windtunnel.errors import InvalidInput

MODEL = "assets/windtunnel/model.tflite"
CONFIG = "assets/windtunnel/config.json"
# What the app's AssetManager calls the model.
GRAPH = MODEL.removeprefix("assets/")
MANIFEST = "AndroidManifest.xml"
LIBRARY_ALIGNMENT = 16384

# JAR signatures and the source stamp speak of the app as it was.
_SIGNATURE = re.compile(
    rb"META-INF/(?:[^/]*\.(?:SF|RSA|DSA|EC)|SIG-[^/]*|MANIFEST\.MF)|stamp-cert-sha256", re.IGNORECASE
)
_OURS = {MODEL.encode(), CONFIG.encode()}


def write_apk(
    base: BinaryIO, label: str, model: BinaryIO, config: BenchmarkConfig, key: SigningKey, output: BinaryIO
) -> str:
    """Writes the signed APK into an empty file.

    Args:
        base: the base APK, open for reading.
        label: names the base APK in messages.
        model: the .tflite, at its beginning.
        config: is stored next to the model.
        key: signs, by APK Signature Schemes v2 and v3.
        output: empty, open for reading and writing.

    Returns:
        The model's SHA-256, hexadecimal digits.

    Raises:
        InvalidInput: `base` is not an APK that can be used.
    """
    entries = read_directory(base, label)
    if not any(entry.text == MANIFEST for entry in entries):
        raise InvalidInput(
            f"base app {label}: it has no {MANIFEST}, so it is not an APK", hint="give the benchmark app's APK"
        )
    digest = hashlib.sha256()
    writer = ZipWriter(output)
    for entry in entries:
        if not _SIGNATURE.fullmatch(entry.name) and entry.name not in _OURS:
            writer.copy(base, entry, _alignment(entry))
    writer.store(CONFIG, iter((config.to_json(GRAPH),)), ALIGNMENT)
    writer.store(MODEL, hashing(blocks(model), digest), MODEL_ALIGNMENT)
    sign(output, writer.close(), key)
    return digest.hexdigest()


def _alignment(entry: Entry) -> int:
    """Libraries are mapped by page, and pages may have 16 KiB; other stored entries are aligned to words."""
    library = entry.name.startswith(b"lib/") and entry.name.endswith(b".so")
    return LIBRARY_ALIGNMENT if library and entry.method == STORED else ALIGNMENT
