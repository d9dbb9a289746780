"""Verifies APKs by the APK Signature Schemes v2 and v3, as the package manager does.

Specification: https://source.android.com/docs/security/features/apksigning/v2#v2-verification
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

_V2, _V3 = 0x7109871A, 0xF05368C0
_V3_SINCE_SDK = 28
_MAGIC = b"APK Sig Block 42"
_CHUNK = 1 << 20
_END = b"PK\x05\x06"
_HASHES = {
    0x0103: (hashlib.sha256, hashes.SHA256()),
    0x0104: (hashlib.sha512, hashes.SHA512()),
    0x0201: (hashlib.sha256, hashes.SHA256()),
    0x0202: (hashlib.sha512, hashes.SHA512()),
}


class NotSigned(ValueError):
    """The package manager would refuse the APK; the message is what it would say."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts of a signed zip."""

    data: bytes
    block: int
    directory: int
    end: int

    @property
    def covered(self) -> tuple[bytes, bytes, bytes]:
        """Entries, directory and end record, which counts as if the directory began where the block does."""
        last = self.data[self.end :]
        patched = last[:16] + struct.pack("<I", self.block) + last[20:]
        return self.data[: self.block], self.data[self.directory : self.end], patched


def signer_of(data: bytes, sdk: int) -> str:
    """SHA-256 of the certificate of the signer in hex. Raises NotSigned."""
    try:
        parts, blocks = _signing_block(data)
        scheme = _V3 if sdk >= _V3_SINCE_SDK and _V3 in blocks else _V2
        if scheme not in blocks:
            raise NotSigned("Attempt to get length of null array")
        return _verified(blocks[scheme], parts, "v3" if scheme == _V3 else "v2", v3=scheme == _V3)
    except (struct.error, IndexError) as error:
        raise NotSigned(f"APK Signing Block is malformed: {error}") from error


def _signing_block(data: bytes) -> tuple[_Parts, dict[int, bytes]]:
    end = data.rfind(_END)
    if end < 0:
        raise NotSigned("not a zip")
    (directory,) = struct.unpack_from("<I", data, end + 16)
    if data[directory - 16 : directory] != _MAGIC:
        raise NotSigned("No APK Signing Block before ZIP Central Directory")
    (size,) = struct.unpack_from("<Q", data, directory - 24)
    start = directory - size - 8
    if start < 0 or struct.unpack_from("<Q", data, start)[0] != size:
        raise NotSigned("APK Signing Block sizes in header and footer do not match")
    pairs, at = {}, start + 8
    while at < directory - 24:
        length, identifier = struct.unpack_from("<QI", data, at)
        pairs[identifier] = data[at + 12 : at + 8 + length]
        at += 8 + length
    return _Parts(data, start, directory, end), pairs


def _verified(block: bytes, parts: _Parts, scheme: str, *, v3: bool) -> str:
    (signer,) = _sequence(_prefixed(block)[0])
    signed, rest = _prefixed(signer)
    if v3:
        rest = rest[8:]
    signatures, rest = _prefixed(rest)
    key, _ = _prefixed(rest)
    digests, after = _prefixed(signed)
    certificates, _ = _prefixed(after)
    certificate = x509.load_der_x509_certificate(_sequence(certificates)[0])
    kind = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if certificate.public_key().public_bytes(*kind) != key:
        raise NotSigned("Public key mismatch between certificate and signature record")
    for one in _sequence(signatures):
        algorithm, signature = struct.unpack_from("<I", one)[0], _prefixed(one[4:])[0]
        _check_signature(certificate, algorithm, signature, signed, scheme)
    for one in _sequence(digests):
        algorithm, digest = struct.unpack_from("<I", one)[0], _prefixed(one[4:])[0]
        if _content_digest(parts, algorithm) != digest:
            name = "SHA-256" if len(digest) == 32 else "SHA-512"
            raise NotSigned(f"using APK Signature Scheme {scheme}: {name} digest of contents did not verify")
    return certificate.fingerprint(hashes.SHA256()).hex()


def _check_signature(
    certificate: x509.Certificate, algorithm: int, signature: bytes, signed: bytes, scheme: str
) -> None:
    public = certificate.public_key()
    if algorithm not in _HASHES:
        raise NotSigned("No supported signatures found")
    _, kind = _HASHES[algorithm]
    try:
        if isinstance(public, rsa.RSAPublicKey):
            public.verify(signature, signed, padding.PKCS1v15(), kind)
        elif isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(signature, signed, ec.ECDSA(kind))
        else:
            raise NotSigned("No supported signatures found")
    except InvalidSignature as error:
        raise NotSigned(f"using APK Signature Scheme {scheme}: signature did not verify") from error


def _content_digest(parts: _Parts, algorithm: int) -> bytes:
    hasher = _HASHES[algorithm][0]
    chunks = [
        hasher(b"\xa5" + struct.pack("<I", len(piece)) + piece).digest()
        for part in parts.covered
        for piece in (part[start : start + _CHUNK] for start in range(0, len(part), _CHUNK))
    ]
    return hasher(b"\x5a" + struct.pack("<I", len(chunks)) + b"".join(chunks)).digest()


def _prefixed(data: bytes) -> tuple[bytes, bytes]:
    (length,) = struct.unpack_from("<I", data)
    if 4 + length > len(data):
        raise NotSigned("APK Signing Block is malformed")
    return data[4 : 4 + length], data[4 + length :]


def _sequence(data: bytes) -> list[bytes]:
    found = []
    while data:
        item, data = _prefixed(data)
        found.append(item)
    return found
