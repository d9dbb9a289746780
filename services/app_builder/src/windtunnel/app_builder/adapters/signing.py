"""Signs APKs by the APK Signature Schemes v2 and v3.

Specifications: https://source.android.com/docs/security/features/apksigning/v2 and .../v3. Both hash the file in chunks
of 1 MiB and put their signatures into the APK Signing Block, between the entries and the directory.
"""

from __future__ import annotations

import datetime
import hashlib
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

from windtunnel.app_builder.adapters.zipfile_write import Layout
from windtunnel.app_builder.domain.file_digests import BLOCK, blocks
from windtunnel.errors import InvalidInput

_V2_ID, _V3_ID = 0x7109871A, 0xF05368C0
_MAGIC = b"APK Sig Block 42"
_RSA_PKCS1_SHA256, _ECDSA_SHA256 = 0x0103, 0x0201
# Says in the v2 signature that a v3 signature was there, so that it cannot be stripped.
_STRIPPING_PROTECTION_ID, _V3 = 0xBEEFF00D, 3
_V3_MIN_SDK, _V3_MAX_SDK = 28, 0x7FFFFFFF
_RSA_BITS = (2048, 4096)

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key (RSA 2048 to 4096 or EC P-256) and its certificate."""

    private: PrivateKey = field(repr=False)
    certificate: x509.Certificate

    @classmethod
    def generate(cls, common_name: str = "Windtunnel", *, years: int = 30) -> SigningKey:
        """A new RSA-2048 key with a self-signed certificate, as Android takes them.

        Args:
            common_name: in the certificate.
            years: how long the certificate is valid.

        Returns:
            The key.
        """
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=365 * years))
            .sign(private, hashes.SHA256())
        )
        return cls(private, certificate)

    @classmethod
    def load_pem(cls, key: bytes, certificate: bytes) -> SigningKey:
        """Reads a PEM private key without password and its PEM certificate.

        Args:
            key: PEM, without password.
            certificate: PEM.

        Returns:
            The key.

        Raises:
            InvalidInput: one cannot be read, they do not belong together, or the key is of another kind.
        """
        try:
            private = serialization.load_pem_private_key(key, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise InvalidInput(
                f"signing key cannot be read: {error}", hint="give a PEM private key without a password"
            ) from error
        try:
            loaded = x509.load_pem_x509_certificate(certificate)
        except ValueError as error:
            raise InvalidInput(f"signing certificate cannot be read: {error}", hint="give a PEM certificate") from error
        return cls(_supported(private), loaded)._matched()

    def to_pem(self) -> tuple[bytes, bytes]:
        """The private key (PKCS#8, not encrypted) and the certificate, as `load_pem` takes them."""
        key = self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return key, self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def certificate_sha256(self) -> str:
        """SHA-256 of the certificate in DER, in hex: how Android names a signer."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    @property
    def algorithm(self) -> int:
        """The schemes' id of the signature algorithm."""
        return _RSA_PKCS1_SHA256 if isinstance(self.private, rsa.RSAPrivateKey) else _ECDSA_SHA256

    def public_bytes(self) -> bytes:
        """SubjectPublicKeyInfo in DER."""
        return self.private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, data: bytes) -> bytes:
        """Signs data; the same every time (ECDSA with the nonces of RFC 6979).

        Args:
            data: to sign.

        Returns:
            The signature.
        """
        if isinstance(self.private, rsa.RSAPrivateKey):
            return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())
        return self.private.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))

    def _matched(self) -> SigningKey:
        certified = self.certificate.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        if certified != self.public_bytes():
            raise InvalidInput("signing key and certificate do not belong together", hint="give the key's certificate")
        return self


def _supported(private: object) -> PrivateKey:
    if isinstance(private, rsa.RSAPrivateKey) and _RSA_BITS[0] <= private.key_size <= _RSA_BITS[1]:
        return private
    if isinstance(private, ec.EllipticCurvePrivateKey) and isinstance(private.curve, ec.SECP256R1):
        return private
    raise InvalidInput(
        f"signing key of kind {type(private).__name__} is not supported",
        hint="use RSA with 2048 to 4096 bits or EC P-256",
    )


def sign(file: BinaryIO, layout: Layout, key: SigningKey) -> None:
    """Signs a finished zip in place: writes the APK Signing Block before the directory.

    Args:
        file: open for reading and writing.
        layout: where its parts are.
        key: signs.
    """
    file.seek(layout.directory)
    directory = file.read(layout.end - layout.directory)
    end = file.read()
    digest = content_digest(file, layout, directory, end)
    block = _signing_block([(_V2_ID, _v2(key, digest)), (_V3_ID, _v3(key, digest))])
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


def _prefixed(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


def _sequence(items: Iterable[bytes]) -> bytes:
    """A length-prefixed sequence of length-prefixed items."""
    return _prefixed(b"".join(map(_prefixed, items)))


def _digests_and_certificates(key: SigningKey, digest: bytes) -> bytes:
    certificate = key.certificate.public_bytes(serialization.Encoding.DER)
    return _sequence([struct.pack("<I", key.algorithm) + _prefixed(digest)]) + _sequence([certificate])


def _signatures_and_key(key: SigningKey, signed: bytes) -> bytes:
    signature = struct.pack("<I", key.algorithm) + _prefixed(key.sign(signed))
    return _sequence([signature]) + _prefixed(key.public_bytes())


def _v2(key: SigningKey, digest: bytes) -> bytes:
    attribute = struct.pack("<II", _STRIPPING_PROTECTION_ID, _V3)
    signed = _digests_and_certificates(key, digest) + _sequence([attribute])
    return _sequence([_prefixed(signed) + _signatures_and_key(key, signed)])


def _v3(key: SigningKey, digest: bytes) -> bytes:
    versions = struct.pack("<II", _V3_MIN_SDK, _V3_MAX_SDK)
    signed = _digests_and_certificates(key, digest) + versions + _sequence([])
    return _sequence([_prefixed(signed) + versions + _signatures_and_key(key, signed)])


def _signing_block(pairs: Iterable[tuple[int, bytes]]) -> bytes:
    body = b"".join(_pairs(pairs))
    size = struct.pack("<Q", len(body) + 8 + len(_MAGIC))
    return size + body + size + _MAGIC


def _pairs(pairs: Iterable[tuple[int, bytes]]) -> Iterator[bytes]:
    for identifier, value in pairs:
        yield struct.pack("<QI", len(value) + 4, identifier) + value
