"""CMS signatures (RFC 5652): detached SignedData of one signer, as JAR and Apple's code signatures carry them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from windtunnel.app_builder.adapters.keys import der
from windtunnel.app_builder.adapters.keys.signing_key import PrivateKey

DigestName = Literal["sha1", "sha256"]

_DATA: Final = "1.2.840.113549.1.7.1"
_SIGNED_DATA: Final = "1.2.840.113549.1.7.2"
CONTENT_TYPE: Final = "1.2.840.113549.1.9.3"
MESSAGE_DIGEST: Final = "1.2.840.113549.1.9.4"
SIGNING_TIME: Final = "1.2.840.113549.1.9.5"
_RSA: Final = "1.2.840.113549.1.1.1"
_ECDSA: Final[Mapping[DigestName, str]] = {"sha1": "1.2.840.10045.4.1", "sha256": "1.2.840.10045.4.3.2"}
_DIGESTS: Final[Mapping[DigestName, str]] = {"sha1": "1.3.14.3.2.26", "sha256": "2.16.840.1.101.3.4.2.1"}


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs, and the certificates that go into the signature: the signer's own first."""

    key: PrivateKey
    certificates: Sequence[x509.Certificate]


def attribute(name: str, *values: bytes) -> bytes:
    """A signed attribute.

    Args:
        name: its object identifier.
        *values: encoded.

    Returns:
        The element.
    """
    return der.sequence(der.oid(name), der.set_of(values))


def signed_data(content: bytes, signer: Signer, digest: DigestName, attributes: Sequence[bytes] | None) -> bytes:
    """A detached signature over content.

    Args:
        content: what is signed; it is not part of the result.
        signer: signs.
        digest: the hash function.
        attributes: signed attributes in addition to the content's type and digest; None: the content is signed
            without attributes, as in a JAR signature.

    Returns:
        ContentInfo in DER.
    """
    algorithm = _digest_algorithm(digest)
    certificates = b"".join(one.public_bytes(serialization.Encoding.DER) for one in signer.certificates)
    signed = der.sequence(
        der.integer(1),
        der.set_of([algorithm]),
        der.sequence(der.oid(_DATA)),
        der.tlv(0xA0, certificates),
        der.set_of([_signer_info(content, signer, digest, attributes)]),
    )
    return der.sequence(der.oid(_SIGNED_DATA), der.tlv(0xA0, signed))


def _signer_info(content: bytes, signer: Signer, digest: DigestName, attributes: Sequence[bytes] | None) -> bytes:
    certificate = signer.certificates[0]
    issuer = certificate.issuer.public_bytes()
    parts = [
        der.integer(1),
        der.sequence(issuer, der.integer(certificate.serial_number)),
        _digest_algorithm(digest),
    ]
    signed = content
    if attributes is not None:
        all_attributes = [
            attribute(CONTENT_TYPE, der.oid(_DATA)),
            attribute(MESSAGE_DIGEST, der.octets(hashlib.new(digest, content).digest())),
            *attributes,
        ]
        # The signature is over the SET; inside the message it has the implicit tag [0].
        signed = der.set_of(all_attributes)
        parts.append(bytes((0xA0,)) + signed[1:])
    parts += [_signature_algorithm(signer.key, digest), der.octets(sign(signer.key, signed, digest))]
    return der.sequence(*parts)


def sign(key: PrivateKey, data: bytes, digest: DigestName) -> bytes:
    """Signs data: RSA with PKCS #1 v1.5, or ECDSA with the nonces of RFC 6979. The same every time.

    Args:
        key: signs.
        data: to sign.
        digest: the hash function.

    Returns:
        The signature.
    """
    algorithm = hashes.SHA256() if digest == "sha256" else hashes.SHA1()
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), algorithm)
    return key.sign(data, ec.ECDSA(algorithm, deterministic_signing=True))


def _digest_algorithm(digest: DigestName) -> bytes:
    return der.sequence(der.oid(_DIGESTS[digest]), der.NULL)


def _signature_algorithm(key: PrivateKey, digest: DigestName) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return der.sequence(der.oid(_RSA), der.NULL)
    return der.sequence(der.oid(_ECDSA[digest]))
