"""Signs APKs by the APK Signature Schemes v2 and v3.

Specifications: https://source.android.com/docs/security/features/apksigning/v2 and .../v3. Both hash the file in chunks
of 1 MiB and put their signatures into the APK Signing Block, between the entries and the directory.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from windtunnel.app_builder.adapters.archive.zipfile_write import Layout
from windtunnel.app_builder.adapters.keys.signing_key import SigningKey
from windtunnel.app_builder.domain.file_digests import BLOCK, blocks

_V2_ID, _V3_ID = 0x7109871A, 0xF05368C0
_MAGIC = b"APK Sig Block 42"
_RSA_PKCS1_SHA256, _ECDSA_SHA256 = 0x0103, 0x0201
# Says in the v2 signature that a v3 signature was there, so that it cannot be stripped.
_STRIPPING_PROTECTION_ID, _V3 = 0xBEEFF00D, 3
# The first Android version that knows the scheme.
V2_MIN_SDK: Final = 24
V3_MIN_SDK: Final = 28
_MAX_SDK: Final = 0x7FFFFFFF


def schemes_for(min_sdk: int) -> tuple[str, ...]:
    """The schemes that sign an app.

    Args:
        min_sdk: the first Android version that the app runs on.

    Returns:
        "v2" and "v3"; from 28 on "v3" alone, because nothing reads a v2 signature there.
    """
    return ("v2", "v3") if min_sdk < V3_MIN_SDK else ("v3",)


def sign(file: BinaryIO, layout: Layout, key: SigningKey, schemes: Sequence[str]) -> None:
    """Signs a finished zip in place: writes the APK Signing Block before the directory.

    Args:
        file: open for reading and writing.
        layout: where its parts are.
        key: signs.
        schemes: those that sign it.
    """
    file.seek(layout.directory)
    directory = file.read(layout.end - layout.directory)
    end = file.read()
    digest = content_digest(file, layout, directory, end)
    writers = {"v2": (_V2_ID, _v2), "v3": (_V3_ID, _v3)}
    block = _signing_block((number, write(key, digest)) for number, write in map(writers.__getitem__, schemes))
    moved = end[:16] + struct.pack("<I", layout.directory + len(block)) + end[20:]
    file.seek(layout.directory)
    file.write(block + directory + moved)
    file.flush()


def content_digest(file: BinaryIO, layout: Layout, directory: bytes, end: bytes) -> bytes:
    """SHA-256 of entries, directory and end record, in chunks of 1 MiB that do not cross these parts.

    The end record counts as if the directory began where the signing block does; unsigned, it does.

    Args:
        file: open for reading.
        layout: where its parts are.
        directory: its bytes.
        end: the end record.

    Returns:
        32 bytes.
    """
    file.seek(0)
    chunks = [_chunk_digest(chunk) for chunk in blocks(file, layout.directory)]
    for part in (directory, end):
        chunks += [_chunk_digest(part[start : start + BLOCK]) for start in range(0, len(part), BLOCK)]
    return hashlib.sha256(b"\x5a" + struct.pack("<I", len(chunks)) + b"".join(chunks)).digest()


def _chunk_digest(chunk: bytes) -> bytes:
    return hashlib.sha256(b"\xa5" + struct.pack("<I", len(chunk)) + chunk).digest()


def _algorithm(key: SigningKey) -> int:
    """The schemes' id of the signature algorithm."""
    return _RSA_PKCS1_SHA256 if isinstance(key.private, rsa.RSAPrivateKey) else _ECDSA_SHA256


def _prefixed(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


def _sequence(items: Iterable[bytes]) -> bytes:
    """A length-prefixed sequence of length-prefixed items."""
    return _prefixed(b"".join(map(_prefixed, items)))


def _digests_and_certificates(key: SigningKey, digest: bytes) -> bytes:
    certificate = key.certificate.public_bytes(serialization.Encoding.DER)
    return _sequence([struct.pack("<I", _algorithm(key)) + _prefixed(digest)]) + _sequence([certificate])


def _signatures_and_key(key: SigningKey, signed: bytes) -> bytes:
    signature = struct.pack("<I", _algorithm(key)) + _prefixed(key.sign(signed))
    return _sequence([signature]) + _prefixed(key.public_bytes())


def _v2(key: SigningKey, digest: bytes) -> bytes:
    attribute = struct.pack("<II", _STRIPPING_PROTECTION_ID, _V3)
    signed = _digests_and_certificates(key, digest) + _sequence([attribute])
    return _sequence([_prefixed(signed) + _signatures_and_key(key, signed)])


def _v3(key: SigningKey, digest: bytes) -> bytes:
    versions = struct.pack("<II", V3_MIN_SDK, _MAX_SDK)
    signed = _digests_and_certificates(key, digest) + versions + _sequence([])
    return _sequence([_prefixed(signed) + versions + _signatures_and_key(key, signed)])


def _signing_block(pairs: Iterable[tuple[int, bytes]]) -> bytes:
    body = b"".join(_pairs(pairs))
    size = struct.pack("<Q", len(body) + 8 + len(_MAGIC))
    return size + body + size + _MAGIC


def _pairs(pairs: Iterable[tuple[int, bytes]]) -> Iterator[bytes]:
    for identifier, value in pairs:
        yield struct.pack("<QI", len(value) + 4, identifier) + value
