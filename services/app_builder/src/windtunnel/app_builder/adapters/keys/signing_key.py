"""The key that signs apps, and its certificate."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

from windtunnel.errors import InvalidInput

_RSA_BITS: Final = (2048, 4096)

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
        return cls(supported(private), loaded)._matched()

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


def supported(private: object) -> PrivateKey:
    """A private key that apps can be signed with.

    Args:
        private: of any kind.

    Returns:
        The key.

    Raises:
        InvalidInput: it is neither RSA with 2048 to 4096 bits nor EC P-256.
    """
    if isinstance(private, rsa.RSAPrivateKey) and _RSA_BITS[0] <= private.key_size <= _RSA_BITS[1]:
        return private
    if isinstance(private, ec.EllipticCurvePrivateKey) and isinstance(private.curve, ec.SECP256R1):
        return private
    raise InvalidInput(
        f"signing key of kind {type(private).__name__} is not supported",
        hint="use RSA with 2048 to 4096 bits or EC P-256",
    )
