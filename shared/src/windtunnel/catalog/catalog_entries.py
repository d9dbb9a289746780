"""What a catalog holds, and how an entry of it is found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from windtunnel.errors import InvalidInput, NotFound


class EntryKind(StrEnum):
    """What an entry is for."""

    BINARY = "binary"
    ANDROID_APP = "android_app"
    ANDROID_TEST_APP = "android_test_app"
    GAME_LOOP_APP = "game_loop_app"
    IOS_APP = "ios_app"
    IOS_TEST_APP = "ios_test_app"


# What an app job is, on which platform: the app that runs it.
_APP_OF_JOB: Final[Mapping[tuple[str, str], EntryKind]] = MappingProxyType(
    {
        ("activity", "android"): EntryKind.ANDROID_APP,
        ("instrumentation", "android"): EntryKind.ANDROID_APP,
        ("game_loop", "android"): EntryKind.GAME_LOOP_APP,
        ("activity", "ios"): EntryKind.IOS_APP,
        ("xctest", "ios"): EntryKind.IOS_APP,
    }
)


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """A base app or a benchmark binary.

    Attributes:
        name: of the entry, for example "benchmark_model".
        kind: what it is for.
        sha256: of its bytes, 64 lower-case hex digits.
        uri: where it comes from: https://, s3://, gs://, file:// or sha256:<hex> (an artifact).
        abi: of a binary, for example "arm64-v8a". Of an app: empty if it has the code of several ABIs.
        version: in the words of its publisher; empty: not known.
        size_bytes: None: not known before it is fetched.
    """

    name: str
    kind: EntryKind
    sha256: str
    uri: str
    abi: str = ""
    version: str = ""
    size_bytes: int | None = None

    @property
    def platform(self) -> str:
        """The platform it runs on: android or ios."""
        return "ios" if self.kind in (EntryKind.IOS_APP, EntryKind.IOS_TEST_APP) else "android"

    @property
    def label(self) -> str:
        """How messages name it, for example "binary benchmark_model (arm64-v8a)"."""
        return f"{self.kind} {self.name}" + (f" ({self.abi})" if self.abi else "")


@dataclass(frozen=True, slots=True)
class Catalog:
    """Entries in the order of their file.

    Attributes:
        entries: each one under its kind, name and ABI.
        source: names the file in messages; empty: there is no file.
    """

    entries: tuple[CatalogEntry, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        seen: set[tuple[str, str, str]] = set()
        for entry in self.entries:
            key = (entry.kind, entry.name, entry.abi)
            if key in seen:
                raise InvalidInput(f"{self._called} has {entry.label} twice", hint="remove one, or rename it")
            seen.add(key)

    def binary(self, name: str, abi: str) -> CatalogEntry:
        """The benchmark binary for the devices of one ABI.

        Args:
            name: of the entry.
            abi: of the devices, for example "arm64-v8a".

        Returns:
            The entry.

        Raises:
            NotFound: the catalog does not have it; the message names the ABIs and names that it has.
        """
        binaries = [entry for entry in self.entries if entry.kind is EntryKind.BINARY]
        found = next((entry for entry in binaries if (entry.name, entry.abi) == (name, abi)), None)
        if found is not None:
            return found
        abis = _listed(entry.abi for entry in binaries if entry.name == name)
        has = f"it has this binary for {abis}" if abis else f"it has the binaries {_listed_names(binaries)}"
        raise self._not_found(f"no binary {name!r} for {abi!r}: {has}")

    def app(self, kind: str, platform: str, name: str = "") -> CatalogEntry:
        """The base app of a kind; the first one in the file if there are several.

        Args:
            kind: of the entry ("game_loop_app"), or of the app job that it runs ("game_loop", "instrumentation",
                "activity", "xctest").
            platform: android or ios.
            name: of the entry; empty: any.

        Returns:
            The entry.

        Raises:
            NotFound: the catalog does not have it; the message names the apps that it has.
        """
        wanted = _APP_OF_JOB.get((kind, platform), kind)
        apps = [entry for entry in self.entries if entry.kind is not EntryKind.BINARY]
        for entry in apps:
            if entry.kind == wanted and entry.platform == platform and name in ("", entry.name):
                return entry
        called = f" {name!r}" if name else ""
        raise self._not_found(f"no app{called} of kind {kind!r} for {platform}: it has the apps {_listed_names(apps)}")

    @property
    def _called(self) -> str:
        return f"catalog {self.source}" if self.source else "the catalog"

    def _not_found(self, what: str) -> NotFound:
        hint = "add an entry to it" if self.source else "name a catalog with WINDTUNNEL_CATALOG_FILE"
        return NotFound(f"{self._called} has {what}", hint=hint)


def _listed_names(entries: Iterable[CatalogEntry]) -> str:
    return _listed(f"{entry.name} ({entry.abi or entry.kind})" for entry in entries) or "(none)"


def _listed(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(words))
