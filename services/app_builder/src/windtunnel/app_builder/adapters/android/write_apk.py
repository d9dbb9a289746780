"""Android: files go into an APK's assets; the APK is aligned and signed again.

The rest of the base app stays as it is, byte for byte, except what phones refuse in compressed form. Alignment is that
of `zipalign -P 16 4`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final

from windtunnel.app_builder.adapters.android import apk_signature
from windtunnel.app_builder.adapters.android.base_apk import inspect
from windtunnel.app_builder.adapters.android.jar_signature import SIGNATURE_FILE, digest_for, signature_files
from windtunnel.app_builder.adapters.android.manifest import Manifest
from windtunnel.app_builder.adapters.archive.zipfile_read import STORED, Entry, contents, read_directory
from windtunnel.app_builder.adapters.archive.zipfile_write import ZipWriter
from windtunnel.app_builder.adapters.keys.cms import DigestName
from windtunnel.app_builder.adapters.keys.signing_key import SigningKey
from windtunnel.app_builder.domain.base_apps import AppFacts

WORD: Final = 4
# Libraries and models are mapped by page, and pages may have 16 KiB.
PAGE: Final = 16384
_STAMP: Final = b"stamp-cert-sha256"
# Apps for Android 11 and later are refused if their resources are compressed or not aligned.
_RESOURCES: Final = b"resources.arsc"


@dataclass(frozen=True, slots=True)
class AddedFile:
    """A file that goes into the app: its name there, its bytes in pieces, and the alignment of its data."""

    name: str
    data: Iterator[bytes]
    alignment: int = WORD


@dataclass(frozen=True, slots=True)
class SignedApk:
    """What the APK is now: the facts of its base, and the schemes that sign it ("v1", "v2", "v3")."""

    facts: AppFacts
    schemes: tuple[str, ...]


def write_apk(base: BinaryIO, label: str, added: Iterable[AddedFile], key: SigningKey, output: BinaryIO) -> SignedApk:
    """Writes the signed APK into an empty file.

    Args:
        base: the base APK, open for reading.
        label: names the base APK in messages.
        added: files that go into it; they replace files of the same names.
        key: signs. An app for Android before 7.0 gets a JAR signature in addition to the schemes v2 and v3.
        output: empty, open for reading and writing.

    Returns:
        What it is.

    Raises:
        InvalidInput: `base` is not an APK that can be used.
        Unsupported: it is an app bundle or one of several split APKs.
    """
    entries = read_directory(base, label)
    manifest, facts = inspect(base, entries, label)
    files = list(added)
    replaced = {file.name.encode() for file in files}
    # Android takes an app that does not say for one of its first version. No benchmark app runs there.
    min_sdk = manifest.min_sdk or apk_signature.V2_MIN_SDK
    needs_v1 = min_sdk < apk_signature.V2_MIN_SDK
    archive = _SignedArchive(ZipWriter(output), digest_for(min_sdk) if needs_v1 else None)
    for entry in entries:
        if not SIGNATURE_FILE.fullmatch(entry.name) and entry.name != _STAMP and entry.name not in replaced:
            archive.copy(base, entry, label, must_be_stored(entry, manifest))
    for file in files:
        archive.store(file)
    schemes = apk_signature.schemes_for(min_sdk)
    if needs_v1:
        archive.add_signature(key, [int(scheme[1:]) for scheme in schemes])
    apk_signature.sign(output, archive.writer.close(), key, schemes)
    return SignedApk(facts, ("v1", *schemes) if needs_v1 else schemes)


def must_be_stored(entry: Entry, manifest: Manifest) -> bool:
    """Whether phones refuse the app if an entry is compressed.

    Args:
        entry: of the base app.
        manifest: of the base app.

    Returns:
        True for resources, and for libraries that are mapped from inside the APK.
    """
    return entry.name == _RESOURCES or (_is_library(entry) and manifest.extracts_libraries is False)


def _is_library(entry: Entry) -> bool:
    return entry.name.startswith(b"lib/") and entry.name.endswith(b".so")


class _SignedArchive:
    # Writes entries, and keeps the digest of each for a JAR signature.

    def __init__(self, writer: ZipWriter, digest: DigestName | None) -> None:
        self.writer = writer
        self._digest = digest
        self._digests: list[tuple[bytes, bytes]] = []

    def copy(self, base: BinaryIO, entry: Entry, label: str, stored: bool) -> None:
        alignment = PAGE if _is_library(entry) else WORD
        if stored and entry.method != STORED:
            self.writer.store(entry.name, self._noted(entry.name, contents(base, entry, label)), alignment)
            return
        # Reads it a second time: damage shows here, and not on a phone.
        for _ in self._noted(entry.name, contents(base, entry, label)):
            pass
        self.writer.copy(base, entry, alignment)

    def store(self, file: AddedFile) -> None:
        self.writer.store(file.name, self._noted(file.name.encode(), file.data), file.alignment)

    def add_signature(self, key: SigningKey, schemes: Sequence[int]) -> None:
        if self._digest is None:
            raise ValueError("no digests were kept")
        for name, data in signature_files(self._digests, self._digest, key, schemes):
            self.writer.store(name, iter((data,)), WORD)

    def _noted(self, name: bytes, data: Iterator[bytes]) -> Iterator[bytes]:
        """Passes pieces on; after the last one their digest is kept. Folders have none."""
        if self._digest is None or name.endswith(b"/"):
            yield from data
            return
        digest = hashlib.new(self._digest)
        for piece in data:
            digest.update(piece)
            yield piece
        self._digests.append((name, digest.digest()))
