"""A small IPA, with what real ones hold: a program, a library, a framework, localized files, an old signature."""

from __future__ import annotations

import datetime
import io
import plistlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from support.apple_programs import LIBRARY, SIGNED, UNSIGNED

ROOT = "Payload/TFLiteBenchmark.app/"
BUNDLE = "org.example.TFLiteBenchmark"
TEAM = "ABCDE12345"
PASSWORD = b"correct horse"


def info(identifier: str = BUNDLE, executable: str = "TFLiteBenchmark", **more: Any) -> bytes:
    """An Info.plist."""
    stated = {"CFBundleIdentifier": identifier, "CFBundleExecutable": executable, "MinimumOSVersion": "14.0", **more}
    return plistlib.dumps(stated, fmt=plistlib.FMT_BINARY)


def app_files(program: bytes = SIGNED) -> dict[str, bytes]:
    """The files of the app, by their paths in it."""
    framework = "Frameworks/Bench.framework"
    return {
        "Info.plist": info(),
        "PkgInfo": b"APPL????",
        "TFLiteBenchmark": program,
        "Assets.car": b"assets" * 99,
        "Base.lproj/Main.storyboardc/Info.plist": b"story",
        "de.lproj/Localizable.strings": b"hallo",
        "de.lproj/locversion.plist": b"omitted",
        f"{framework}/Info.plist": info("org.example.Bench", "Bench"),
        f"{framework}/Bench": LIBRARY,
        f"{framework}/_CodeSignature/CodeResources": b"old",
        "Frameworks/libx.dylib": LIBRARY,
        "_CodeSignature/CodeResources": b"old",
        "embedded.mobileprovision": b"old",
    }


def ipa_bytes(
    files: Mapping[str, bytes] | None = None, *, root: str = ROOT, extra: Mapping[str, bytes] | None = None,
    unix: bool = True,
) -> bytes:  # fmt: skip
    """The archive. `extra`: files outside of the app. `unix`: entries state permissions."""
    stream = io.BytesIO()
    inside = {f"{root}{path}": data for path, data in (app_files() if files is None else files).items()}
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {**inside, **(extra or {})}.items():
            entry = zipfile.ZipInfo(name, (2024, 5, 6, 7, 8, 10))
            entry.create_system = 3 if unix else 0
            mode = 0o755 if data[:4] in (b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe") else 0o644
            entry.external_attr = (0o100000 | mode) << 16 if unix else 0x20
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def with_program(program: bytes) -> bytes:
    """An IPA with another program."""
    return ipa_bytes(app_files(program))


def unsigned_ipa() -> bytes:
    """An IPA whose program was never signed."""
    return with_program(UNSIGNED)


class Apple:
    """An authority like Apple's, with a developer's certificate, PKCS #12 file and provisioning profile."""

    def __init__(self) -> None:
        self.root_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.root = _certificate("Authority", "Authority", self.root_key, self.root_key, ca=True)
        self.leaf = _certificate("Apple Development: Test", "Authority", self.key, self.root_key, ca=False)

    @property
    def root_pem(self) -> bytes:
        """The authority's certificate."""
        return self.root.public_bytes(serialization.Encoding.PEM)

    def p12(self, password: bytes | None = PASSWORD, *, chain: bool = True) -> bytes:
        """The developer's key and certificate, with the authority's unless `chain` is false."""
        protection: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if password:
            protection = serialization.BestAvailableEncryption(password)
        issuers = [self.root] if chain else None
        return pkcs12.serialize_key_and_certificates(b"dev", self.key, self.leaf, issuers, protection)

    def profile(self, application: str = f"{TEAM}.*", days: int = 30, *, own: bool = True, debug: bool = True) -> bytes:
        """A provisioning profile; `own` false: for somebody else's certificate."""
        certificate = self.leaf if own else self.root
        document = {
            "Name": "Development",
            "TeamIdentifier": [TEAM],
            "ExpirationDate": datetime.datetime(2026, 1, 1) + datetime.timedelta(days=days)
            if days < 0
            else datetime.datetime.now() + datetime.timedelta(days=days),
            "DeveloperCertificates": [certificate.public_bytes(serialization.Encoding.DER)],
            "Entitlements": {
                "application-identifier": application,
                "com.apple.developer.team-identifier": TEAM,
                "get-task-allow": debug,
                "keychain-access-groups": [f"{TEAM}.*", "com.apple.token"],
            },
        }
        # Apple's signature around it is not read here.
        return b"0\x82 signed " + plistlib.dumps(document) + b" certificates"

    def write(self, folder: Path, **profile: Any) -> tuple[Path, Path]:
        """Writes PKCS #12 file and profile."""
        (folder / "dev.p12").write_bytes(self.p12())
        (folder / "dev.mobileprovision").write_bytes(self.profile(**profile))
        return folder / "dev.p12", folder / "dev.mobileprovision"


def _certificate(
    name: str, issuer: str, key: rsa.RSAPrivateKey, issuer_key: rsa.RSAPrivateKey, *, ca: bool
) -> x509.Certificate:
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=20000))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )


def ec_p12(certificate_name: str = "EC") -> bytes:
    """A PKCS #12 file with a key of a kind that is not supported."""
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, certificate_name)])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(7)
        .not_valid_before(start).not_valid_after(start + datetime.timedelta(days=20000)).sign(key, hashes.SHA256())
    )  # fmt: skip
    return pkcs12.serialize_key_and_certificates(b"ec", key, certificate, None, serialization.NoEncryption())
