"""The base IPA: what it says of itself, and files that look like one but cannot be installed."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from windtunnel.app_builder.adapters.archive.zipfile_read import Entry, read_entry
from windtunnel.app_builder.adapters.ios.macho import NotMachO, Part, parts_of
from windtunnel.app_builder.adapters.ios.property_lists import read_dictionary
from windtunnel.app_builder.domain.base_apps import AppFacts, AppKind
from windtunnel.errors import InvalidInput, Unsupported, WindtunnelError

_MAX_PLIST: Final = 4 << 20
MAX_BINARY: Final = 1 << 30
_INFO: Final = "Info.plist"
_IPA_HINT: Final = "give the .ipa that Xcode exports (Product > Archive > Distribute App)"


@dataclass(frozen=True, slots=True)
class BaseIpa:
    """What a base IPA is.

    Attributes:
        root: folder of the app in the archive, "Payload/Name.app/".
        info: bytes of its Info.plist.
        executable: name of its program.
        facts: what others need.
    """

    root: str
    info: bytes
    executable: str
    facts: AppFacts


def inspect(base: BinaryIO, entries: Sequence[Entry], label: str) -> BaseIpa:
    """Reads what a base IPA says of itself.

    Args:
        base: open for reading.
        entries: its directory.
        label: names it in messages.

    Returns:
        What it is.

    Raises:
        InvalidInput: it is not an IPA, a damaged one, or one for a simulator.
        Unsupported: it is encrypted by the App Store.
    """
    by_name = {entry.text: entry for entry in entries}
    root = _root(list(by_name), label)
    _refuse_entries(entries, label)
    if f"{root}{_INFO}" not in by_name:
        raise InvalidInput(f"base app {label}: {root} has no {_INFO}", hint=_IPA_HINT)
    info = read_entry(base, by_name[f"{root}{_INFO}"], label, _MAX_PLIST)
    stated = read_info(info, f"base app {label}: {root}{_INFO}")
    identifier, executable = str(stated.get("CFBundleIdentifier", "")), str(stated.get("CFBundleExecutable", ""))
    program = by_name.get(f"{root}{executable}")
    if not identifier or not executable or program is None:
        raise InvalidInput(
            f"base app {label}: {root}{_INFO} names no identifier, or no program that is there "
            f"(CFBundleIdentifier {identifier!r}, CFBundleExecutable {executable!r})",
            hint=_IPA_HINT,
        )
    parts = _program(read_entry(base, program, label, MAX_BINARY), program, label)
    facts = AppFacts(
        kind=AppKind.ACTIVITY,
        package_name=identifier,
        min_os=str(stated.get("MinimumOSVersion", "")),
        abis=tuple(part.architecture for part in parts),
    )
    return BaseIpa(root, info, executable, facts)


def read_info(data: bytes, what: str) -> Mapping[str, Any]:
    """Reads an Info.plist.

    Args:
        data: XML or binary.
        what: names it in messages.

    Returns:
        Its dictionary.

    Raises:
        InvalidInput: it is not a property list with a dictionary.
    """
    try:
        return read_dictionary(data)
    except ValueError as error:
        raise InvalidInput(f"{what} is {error}", hint=_IPA_HINT) from error


def _root(names: Sequence[str], label: str) -> str:
    """The folder of the app. Other files in Payload, which some tools leave there, do not matter.

    Raises:
        InvalidInput: there is none, or there are several.
    """
    inside = (name.split("/") for name in names if name.startswith("Payload/"))
    apps = sorted({parts[1] for parts in inside if len(parts) > 2 and parts[1].endswith(".app")})
    if len(apps) == 1:
        return f"Payload/{apps[0]}/"
    if apps:
        raise InvalidInput(f"base app {label}: it holds several apps: {', '.join(apps)}", hint=_IPA_HINT)
    raise _not_an_ipa(names, label)


def _not_an_ipa(names: Sequence[str], label: str) -> WindtunnelError:
    if "AndroidManifest.xml" in names:
        return InvalidInput(f"base app {label} is an APK, an app for Android", hint="give an IPA for iOS devices")
    first = {name.split("/")[0] for name in names}
    lower = next((name for name in first if name.lower() == "payload"), None)
    if lower is not None and lower != "Payload":
        return InvalidInput(f"base app {label}: its folder {lower!r} must be called 'Payload'", hint="rename it")
    app = next((name for name in first if name.endswith((".app", ".xcarchive"))), None)
    if app is not None:
        return InvalidInput(
            f"base app {label} is a zipped {app}, not an IPA",
            hint="put the .app folder into a folder Payload, and zip that: zip -r app.ipa Payload",
        )
    return InvalidInput(f"base app {label}: it has no Payload/*.app, so it is not an IPA", hint=_IPA_HINT)


def _refuse_entries(entries: Sequence[Entry], label: str) -> None:
    """Refuses links, and names that a property list of files cannot hold.

    Raises:
        InvalidInput: there is one.
    """
    for entry in entries:
        if stat.S_ISLNK(entry.external >> 16):
            why = "is a symbolic link, which apps of iOS do not have"
        elif entry.text.encode() != entry.name:
            why = "has a name that is not UTF-8"
        else:
            continue
        raise InvalidInput(f"base app {label}: entry {entry.text!r} {why}", hint=_IPA_HINT)


def _program(data: bytes, entry: Entry, label: str) -> tuple[Part, ...]:
    """The parts of the app's program.

    Raises:
        InvalidInput: it does not run on phones.
        Unsupported: it is encrypted.
    """
    try:
        parts = parts_of(data)
    except NotMachO as error:
        raise InvalidInput(f"base app {label}: {entry.text!r} is {error}", hint=_IPA_HINT) from error
    if any(part.encrypted for part in parts):
        raise Unsupported(
            f"base app {label} comes from the App Store and is encrypted (FairPlay): it cannot be changed",
            hint="build the app yourself and export it with Xcode for development, ad hoc or enterprise",
        )
    if all(part.simulator for part in parts):
        raise InvalidInput(
            f"base app {label} is made for the simulator, not for phones", hint="build it for a device: -sdk iphoneos"
        )
    return parts
