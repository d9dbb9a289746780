"""The base APK: what it says of itself, and files that look like one but cannot be installed alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO, Final, NoReturn

from windtunnel.app_builder.adapters.android.binary_xml import NotBinaryXml
from windtunnel.app_builder.adapters.android.manifest import Manifest, read_manifest
from windtunnel.app_builder.adapters.archive.zipfile_read import Entry, read_entry
from windtunnel.app_builder.domain.base_apps import AppFacts, AppKind
from windtunnel.errors import InvalidInput, Unsupported

MANIFEST: Final = "AndroidManifest.xml"
_MAX_MANIFEST: Final = 8 << 20
_UNIVERSAL: Final = (
    "make one APK for all devices: bundletool build-apks --mode=universal, then take universal.apk from it"
)
_ONE_APK: Final = "give one APK that holds the whole app, for example the universal.apk of bundletool"


def inspect(base: BinaryIO, entries: Sequence[Entry], label: str) -> tuple[Manifest, AppFacts]:
    """Reads what a base APK says of itself.

    Args:
        base: open for reading.
        entries: its directory.
        label: names it in messages.

    Returns:
        Its manifest, and the facts that others need.

    Raises:
        InvalidInput: it is not an APK, or a damaged one.
        Unsupported: it is an app bundle, a set of split APKs, or one of them.
    """
    found = next((entry for entry in entries if entry.text == MANIFEST), None)
    if found is None:
        _refuse_other_archives({entry.text for entry in entries}, label)
    data = read_entry(base, found, label, _MAX_MANIFEST)
    try:
        manifest = read_manifest(data)
    except NotBinaryXml as error:
        why = "plain XML, as in the source of an app" if data.lstrip()[:1] == b"<" else str(error)
        raise InvalidInput(
            f"base app {label}: its {MANIFEST} cannot be read: {why}",
            hint="give the benchmark app's APK as it was built",
        ) from error
    _require_whole(manifest, label)
    return manifest, _facts(manifest, entries)


def _facts(manifest: Manifest, entries: Sequence[Entry]) -> AppFacts:
    parts = (entry.text.split("/") for entry in entries if entry.text.endswith(".so"))
    tests_another = bool(manifest.runner) and manifest.target_package not in ("", manifest.package)
    kind = AppKind.GAME_LOOP if manifest.game_loop else AppKind.ACTIVITY
    return AppFacts(
        kind=AppKind.INSTRUMENTATION if tests_another else kind,
        package_name=manifest.package,
        min_os=str(manifest.min_sdk or ""),
        abis=tuple(sorted({part[1] for part in parts if len(part) == 3 and part[0] == "lib"})),
        runner=manifest.runner if tests_another else "",
        target_package=manifest.target_package if tests_another else "",
        scenarios=manifest.scenarios,
    )


def _require_whole(manifest: Manifest, label: str) -> None:
    """Refuses what phones refuse to install, or to install alone.

    Raises:
        InvalidInput: the manifest names no package, or the app is for tests of its developer only.
        Unsupported: it is one of several split APKs.
    """
    if not manifest.package:
        raise InvalidInput(f"base app {label}: its {MANIFEST} names no package", hint="give the benchmark app's APK")
    if manifest.split:
        raise Unsupported(f"base app {label} is split {manifest.split!r} of an app, not a whole one", hint=_ONE_APK)
    if manifest.needs_splits:
        raise Unsupported(f"base app {label} is the base of split APKs and does not run without them", hint=_ONE_APK)
    if manifest.test_only:
        raise InvalidInput(
            f"base app {label} is marked testOnly: device farms refuse it",
            hint="build it with Gradle's assemble task; Android Studio's Run button sets testOnly",
        )


def _refuse_other_archives(names: set[str], label: str) -> NoReturn:
    if "BundleConfig.pb" in names or f"base/manifest/{MANIFEST}" in names:
        raise Unsupported(f"base app {label} is an Android App Bundle (.aab), which no phone installs", hint=_UNIVERSAL)
    inner = sorted(name for name in names if name.endswith(".apk"))
    if inner:
        kind = "an APK set (.apks)" if "toc.pb" in names else "an archive of APKs (.xapk, .apks, .apkm)"
        shown = ", ".join(inner[:3]) + (", ..." if len(inner) > 3 else "")
        raise Unsupported(f"base app {label} is {kind} with {shown}, not one APK", hint=_ONE_APK)
    if any(name.startswith("Payload/") for name in names):
        raise InvalidInput(f"base app {label} is an IPA, an app for iOS", hint="give an APK for Android devices")
    raise InvalidInput(
        f"base app {label}: it has no {MANIFEST}, so it is not an APK", hint="give the benchmark app's APK"
    )
