"""JAR signatures ("v1"): what Android before version 7.0 (SDK 24) checks.

Format: the JAR file specification, section "Signed JAR File". Every entry is listed with its digest in MANIFEST.MF,
every section of that in CERT.SF, and CERT.RSA or CERT.EC signs CERT.SF.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa

from windtunnel.app_builder.adapters.keys.cms import DigestName, Signer, signed_data
from windtunnel.app_builder.adapters.keys.signing_key import SigningKey
from windtunnel.errors import InvalidInput

# Files that belong to a JAR signature: they are not signed, and those of the base app speak of the app as it was.
SIGNATURE_FILE: Final = re.compile(rb"META-INF/(?:[^/]*\.(?:SF|RSA|DSA|EC)|SIG-[^/]*|MANIFEST\.MF)", re.IGNORECASE)
# Before Android 4.3 there are only SHA-1, and no elliptic curves.
_SHA256_MIN_SDK: Final = 18
_LINE: Final = 70
_ATTRIBUTES: Final = {"sha1": "SHA1", "sha256": "SHA-256"}


def digest_for(min_sdk: int) -> DigestName:
    """The hash function that the oldest phones of an app know.

    Args:
        min_sdk: the first Android version that the app runs on.

    Returns:
        Its name in hashlib.
    """
    return "sha256" if min_sdk >= _SHA256_MIN_SDK else "sha1"


def signature_files(
    digests: Sequence[tuple[bytes, bytes]], digest: DigestName, key: SigningKey, schemes: Sequence[int]
) -> list[tuple[str, bytes]]:
    """The files of a JAR signature.

    Args:
        digests: name and digest of every entry that is signed.
        digest: the hash function.
        key: signs.
        schemes: other APK Signature Schemes that sign the app: they cannot be stripped then.

    Returns:
        Name and content of each file, in the order in which they belong into the archive.

    Raises:
        InvalidInput: the oldest phones of the app do not know keys of this kind.
    """
    if digest == "sha1" and not isinstance(key.private, rsa.RSAPrivateKey):
        raise InvalidInput(
            "the base app runs on Android before 4.3 (SDK 18), which knows RSA keys only; the signing key is not one",
            hint="sign with an RSA key, or give a base app with minSdkVersion 18 or more",
        )
    attribute = _ATTRIBUTES[digest]
    sections = [_section(("Name", name), (f"{attribute}-Digest", _base64(value))) for name, value in digests]
    main = _section(("Manifest-Version", b"1.0"), ("Created-By", b"Windtunnel"))
    manifest = main + b"".join(sections)
    signed = _section(
        ("Signature-Version", b"1.0"),
        ("Created-By", b"Windtunnel"),
        (f"{attribute}-Digest-Manifest", _digest(manifest, digest)),
        ("X-Android-APK-Signed", ", ".join(map(str, schemes)).encode()),
    )
    for (name, _), section in zip(digests, sections, strict=True):
        signed += _section(("Name", name), (f"{attribute}-Digest", _digest(section, digest)))
    block = signed_data(signed, Signer(key.private, (key.certificate,)), digest, None)
    suffix = "RSA" if isinstance(key.private, rsa.RSAPrivateKey) else "EC"
    return [("META-INF/CERT.SF", signed), (f"META-INF/CERT.{suffix}", block), ("META-INF/MANIFEST.MF", manifest)]


def _section(*attributes: tuple[str, bytes]) -> bytes:
    return b"".join(_folded(f"{name}: ".encode() + value) for name, value in attributes) + b"\r\n"


def _folded(line: bytes) -> bytes:
    """A line of at most 70 bytes; the rest follows on lines that begin with a space."""
    first, rest = line[:_LINE], line[_LINE:]
    more = (rest[start : start + _LINE - 1] for start in range(0, len(rest), _LINE - 1))
    return first + b"".join(b"\r\n " + part for part in more) + b"\r\n"


def _digest(data: bytes, digest: DigestName) -> bytes:
    return _base64(hashlib.new(digest, data).digest())


def _base64(value: bytes) -> bytes:
    return base64.b64encode(value)
