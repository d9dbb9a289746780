"""Who signs apps for iOS: a PKCS #12 file with key and certificates, and a provisioning profile."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from windtunnel.app_builder.adapters.ios.property_lists import read_dictionary
from windtunnel.app_builder.adapters.keys.cms import Signer
from windtunnel.app_builder.adapters.keys.signing_key import supported
from windtunnel.errors import InvalidInput

_MAX_BYTES: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class Profile:
    """A provisioning profile.

    Attributes:
        data: the file, which goes into the app.
        name: as its owner named it.
        team: identifier of the team.
        application: identifier of apps that it allows, with the team; may end in "*".
        entitlements: what it allows.
        certificates: of those who may sign, in DER.
        expires: in UTC.
    """

    data: bytes
    name: str
    team: str
    application: str
    entitlements: Mapping[str, Any]
    certificates: tuple[bytes, ...]
    expires: datetime.datetime


@dataclass(frozen=True, slots=True)
class IosSigner:
    """Signs apps for iOS.

    Attributes:
        signer: key and certificates.
        profile: goes into the app.
    """

    signer: Signer
    profile: Profile

    @classmethod
    def load(cls, p12: Path, password: bytes, profile: Path) -> IosSigner:
        """Reads key, certificates and profile.

        Args:
            p12: PKCS #12 file, as Keychain Access exports it.
            password: of the PKCS #12 file; empty: none.
            profile: .mobileprovision file.

        Returns:
            The signer.

        Raises:
            InvalidInput: a file cannot be read, the password is wrong, the profile has expired or does not name the
                certificate.
        """
        signer = _load_p12(_read(p12), password, p12)
        loaded = _load_profile(_read(profile), profile)
        certificate = signer.certificates[0].public_bytes(serialization.Encoding.DER)
        if certificate not in loaded.certificates:
            raise InvalidInput(
                f"profile {profile} does not allow the certificate of {p12} to sign "
                f"({signer.certificates[0].subject.rfc4514_string()})",
                hint="download a profile that includes this certificate from Apple's developer site",
            )
        return cls(signer, loaded)

    @property
    def sha256(self) -> str:
        """SHA-256 of certificate and profile together, in hex: signatures of another one differ."""
        digest = hashlib.sha256(self.signer.certificates[0].public_bytes(serialization.Encoding.DER))
        digest.update(self.profile.data)
        return digest.hexdigest()

    @property
    def lacks_issuer(self) -> bool:
        """Whether the certificate's issuer is missing: phones may not find it by themselves."""
        first, *rest = self.signer.certificates
        return first.issuer != first.subject and first.issuer not in {one.subject for one in rest}

    def entitlements(self, bundle_identifier: str) -> dict[str, Any]:
        """The entitlements of an app.

        Args:
            bundle_identifier: of the app.

        Returns:
            Those of the profile, with the app's own identifier for wildcards.

        Raises:
            InvalidInput: the profile is for another app.
        """
        profile = self.profile
        own = f"{profile.application.partition('.')[0]}.{bundle_identifier}"
        pattern = profile.application
        fits = own.startswith(pattern[:-1]) if pattern.endswith("*") else own == pattern
        if not fits:
            raise InvalidInput(
                f"profile {profile.name!r} is for {pattern}, and the base app is {own}",
                hint="use a profile for this bundle identifier, or a wildcard profile",
            )
        groups = profile.entitlements.get("keychain-access-groups")
        changed: dict[str, Any] = {"application-identifier": own}
        if isinstance(groups, list):
            changed["keychain-access-groups"] = [own if str(one).endswith("*") else one for one in groups]
        return {**profile.entitlements, **changed}


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be read: {error.strerror}", hint="check the path and its permissions"
        ) from error
    if len(data) > _MAX_BYTES:
        raise InvalidInput(f"{path} has more than {_MAX_BYTES} bytes", hint="is it the right file?")
    return data


def _load_p12(data: bytes, password: bytes, path: Path) -> Signer:
    try:
        held = pkcs12.load_pkcs12(data, password or None)
    except ValueError as error:
        raise InvalidInput(
            f"{path} cannot be opened: it is not a PKCS #12 file, or the password is wrong",
            hint="export key and certificate from Keychain Access as .p12",
        ) from error
    if held.key is None or held.cert is None:
        raise InvalidInput(
            f"{path} has no private key with its certificate", hint="export both from Keychain Access as .p12"
        )
    others = [one.certificate for one in held.additional_certs]
    return Signer(supported(held.key), (held.cert.certificate, *_chain(held.cert.certificate, others)))


def _chain(leaf: x509.Certificate, others: list[x509.Certificate]) -> list[x509.Certificate]:
    """The issuers of a certificate, the nearest first, as far as they are there."""
    found: list[x509.Certificate] = []
    current = leaf
    while current.issuer != current.subject:
        issuer = next((one for one in others if one.subject == current.issuer and one not in found), None)
        if issuer is None:
            break
        found.append(issuer)
        current = issuer
    return found


def _load_profile(data: bytes, path: Path) -> Profile:
    """Reads the property list inside; Apple's signature around it is checked by phones, not here.

    Raises:
        InvalidInput: it is not a profile, or has expired.
    """
    start, end = data.find(b"<?xml"), data.rfind(b"</plist>")
    try:
        held = read_dictionary(data[max(start, 0) : end + len(b"</plist>")])
        entitlements = held["Entitlements"]
        profile = Profile(
            data=data,
            name=str(held.get("Name", "")),
            team=str(held["TeamIdentifier"][0]),
            application=str(entitlements["application-identifier"]),
            entitlements=dict(entitlements),
            certificates=tuple(map(bytes, held["DeveloperCertificates"])),
            expires=held["ExpirationDate"].replace(tzinfo=datetime.UTC),
        )
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        why = f"{type(error).__name__}: {error}" if not isinstance(error, ValueError) else str(error)
        raise InvalidInput(
            f"{path} is not a provisioning profile of iOS ({why})", hint="give the .mobileprovision file"
        ) from error
    if profile.expires < datetime.datetime.now(datetime.UTC):
        raise InvalidInput(
            f"profile {path} expired on {profile.expires:%Y-%m-%d}",
            hint="download a new one from Apple's developer site",
        )
    return profile
