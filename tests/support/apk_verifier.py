"""Checks APK signatures as a phone does, written from the specifications and not from the signer."""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

V2, V3 = 0x7109871A, 0xF05368C0
_ALGORITHMS = (0x0103, 0x0201)


class Refused(Exception):
    """A phone would not install the app."""


def items(data: bytes) -> list[bytes]:
    """Splits a sequence of length-prefixed items."""
    found = []
    while data:
        if len(data) < 4:
            raise Refused("a length is cut off")
        (length,) = struct.unpack_from("<I", data)
        if 4 + length > len(data):
            raise Refused("an item is cut off")
        found.append(data[4 : 4 + length])
        data = data[4 + length :]
    return found


def signing_block(data: bytes) -> tuple[int, int, dict[int, bytes]]:
    """Where the block begins, where the directory begins, and the block's values."""
    if data[-22:-18] != b"PK\x05\x06":
        raise Refused("no end record")
    (directory,) = struct.unpack("<I", data[-6:-2])
    if data[directory - 16 : directory] != b"APK Sig Block 42":
        raise Refused("no signing block")
    (size,) = struct.unpack("<Q", data[directory - 24 : directory - 16])
    start = directory - size - 8
    if start < 0 or struct.unpack("<Q", data[start : start + 8]) != (size,):
        raise Refused("sizes of the signing block differ")
    pairs, position = {}, start + 8
    while position < directory - 24:
        length, key = struct.unpack_from("<QI", data, position)
        if length < 4 or position + 8 + length > directory - 24:
            raise Refused("a pair is cut off")
        pairs[key] = data[position + 12 : position + 8 + length]
        position += 8 + length
    return start, directory, pairs


def content_digest(data: bytes, start: int, directory: int) -> bytes:
    """The digest of all but the signing block, the specification read naively."""
    end = data[-22:-6] + struct.pack("<I", start) + data[-2:]
    chunks = []
    for part in (data[:start], data[directory:-22], end):
        chunks += [part[at : at + 2**20] for at in range(0, len(part), 2**20)]
    tree = [hashlib.sha256(b"\xa5" + struct.pack("<I", len(chunk)) + chunk).digest() for chunk in chunks]
    return hashlib.sha256(b"\x5a" + struct.pack("<I", len(tree)) + b"".join(tree)).digest()


def verify_signature(public: bytes, signature: bytes, data: bytes) -> None:
    """Checks one signature with the key in its DER form."""
    key = serialization.load_der_public_key(public)
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
    else:
        assert isinstance(key, ec.EllipticCurvePublicKey)
        key.verify(signature, data, ec.ECDSA(hashes.SHA256()))


def check(data: bytes, min_sdk: int) -> None:
    """Checks an APK for all phones from an SDK level on, beginning at 24.

    Raises:
        Refused: one of them would not install it.
    """
    try:
        start, directory, pairs = signing_block(data)
        digest = content_digest(data, start, directory)
        for scheme in (V3, V2) if min_sdk < 28 else (V3,):
            if scheme not in pairs:
                raise Refused(f"scheme {scheme:#x} is missing")
            _check_signer(pairs[scheme], scheme, digest)
    except (struct.error, ValueError, InvalidSignature, UnsupportedAlgorithm, TypeError, AssertionError) as error:
        raise Refused(str(error)) from error


def _check_signer(value: bytes, scheme: int, digest: bytes) -> None:
    (signers,) = items(value)
    (signer,) = items(signers)
    (length,) = struct.unpack_from("<I", signer)
    signed, rest = signer[4 : 4 + length], signer[4 + length :]
    inner = signed
    (digests_size,) = struct.unpack_from("<I", inner)
    (one_digest,) = items(inner[4 : 4 + digests_size])
    inner = inner[4 + digests_size :]
    (certificates_size,) = struct.unpack_from("<I", inner)
    (certificate,) = items(inner[4 : 4 + certificates_size])
    inner = inner[4 + certificates_size :]
    if scheme == V3:
        if rest[:8] != inner[:8] or struct.unpack_from("<II", rest) != (28, 0x7FFFFFFF):
            raise Refused("SDK levels differ")
        rest = rest[8:]
    signatures, public = items(rest)
    (signature,) = items(signatures)
    (algorithm,) = struct.unpack_from("<I", signature)
    if algorithm not in _ALGORITHMS or one_digest[:4] != signature[:4]:
        raise Refused("algorithms differ")
    verify_signature(public, items(signature[4:])[0], signed)
    if public not in certificate:
        raise Refused("the key is not that of the certificate")
    if items(one_digest[4:]) != [digest]:
        raise Refused("the content has another digest")


def aligned(data: bytes) -> dict[str, int]:
    """The offset of the data of each stored entry, by name."""
    found = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            if info.compress_type == zipfile.ZIP_STORED:
                name, extra = struct.unpack_from("<HH", data, info.header_offset + 26)
                found[info.filename] = info.header_offset + 30 + name + extra
    return found
