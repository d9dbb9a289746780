"""What the package manager reads of an APK, and its refusals."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

from support.farm_peers.phone.apk.binary_xml import Element, parse
from support.farm_peers.phone.apk.signature import NotSigned, signer_of


class Refused(Exception):
    """The package manager's code and its words."""

    def __init__(self, code: str, words: str = "") -> None:
        super().__init__(f"{code}: {words}" if words else code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Package:
    """An APK that may be installed."""

    name: str
    version: int
    min_sdk: int
    test_only: bool
    activities: tuple[str, ...]
    # Runner and the package that it tests.
    instrumentation: tuple[tuple[str, str], ...]
    abis: frozenset[str]
    signer: str
    data: bytes

    def file(self, name: str) -> bytes | None:
        """An entry of the APK."""
        with zipfile.ZipFile(io.BytesIO(self.data)) as archive:
            return archive.read(name) if name in archive.namelist() else None

    def files(self, prefix: str) -> list[str]:
        """Names of entries."""
        with zipfile.ZipFile(io.BytesIO(self.data)) as archive:
            return [name for name in archive.namelist() if name.startswith(prefix)]


def read_package(data: bytes, sdk: int) -> Package:
    """Reads and verifies an APK. Raises Refused."""
    manifest, libraries = _contents(data)
    try:
        signer = signer_of(data, sdk)
    except NotSigned as error:
        raise Refused(
            "INSTALL_PARSE_FAILED_NO_CERTIFICATES",
            f"Failed to collect certificates from /data/app/vmdl1077.tmp/base.apk {error}",
        ) from error
    return _package(manifest, libraries, signer, data)


def _contents(data: bytes) -> tuple[Element, frozenset[str]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = [name.split("/") for name in archive.namelist() if name.startswith("lib/")]
            return parse(archive.read("AndroidManifest.xml")), frozenset(part[1] for part in parts if len(part) == 3)
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise Refused(
            "INSTALL_PARSE_FAILED_NOT_APK", f"Failed to parse /data/app/vmdl1077.tmp/base.apk: {error}"
        ) from error


def _package(manifest: Element, abis: frozenset[str], signer: str, data: bytes) -> Package:
    name = manifest.attributes.get("package")
    if not isinstance(name, str):
        raise Refused("INSTALL_PARSE_FAILED_MANIFEST_MALFORMED", "no package name")
    applications = manifest.all("application")
    found = [one for app in applications for one in app.all("activity")]
    needs = [int(one.attributes.get("minSdkVersion", 1)) for one in manifest.all("uses-sdk")]
    runners = [
        (_full(name, one), str(one.attributes.get("targetPackage", ""))) for one in manifest.all("instrumentation")
    ]
    return Package(
        name=name,
        version=int(manifest.attributes.get("versionCode", 0)),
        min_sdk=max(needs, default=1),
        test_only=any(bool(app.attributes.get("testOnly", False)) for app in applications),
        activities=tuple(_full(name, one) for one in found),
        instrumentation=tuple(runners),
        abis=abis,
        signer=signer,
        data=data,
    )


def _full(package: str, element: Element) -> str:
    name = str(element.attributes.get("name", ""))
    return package + name if name.startswith(".") else name


def check_fits(
    package: Package, *, sdk: int, abis: Sequence[str], free_bytes: int, flags: Sequence[str], older: Package | None
) -> None:
    """Raises Refused where the phone cannot take the package."""
    if len(package.data) > free_bytes:
        raise Refused("INSTALL_FAILED_INSUFFICIENT_STORAGE", "Failed to override installation location")
    if package.min_sdk > sdk:
        raise Refused(
            "INSTALL_FAILED_OLDER_SDK", f"Requires newer sdk version #{package.min_sdk} (current version is #{sdk})"
        )
    if package.abis and not package.abis & set(abis):
        raise Refused("INSTALL_FAILED_NO_MATCHING_ABIS", "Failed to extract native libraries, res=-113")
    if package.test_only and "-t" not in flags:
        raise Refused("INSTALL_FAILED_TEST_ONLY", "Failed to install test-only apk. Did you forget to add -t?")
    if older is None:
        return
    if older.signer != package.signer:
        words = f"Existing package {package.name} signatures do not match newer version; ignoring!"
        raise Refused("INSTALL_FAILED_UPDATE_INCOMPATIBLE", words)
    if package.version < older.version and "-d" not in flags:
        raise Refused("INSTALL_FAILED_VERSION_DOWNGRADE", "Downgrade detected")
    if "-r" not in flags and sdk < 28:
        raise Refused(
            "INSTALL_FAILED_ALREADY_EXISTS", f"Attempt to re-install {package.name} without first uninstalling."
        )
