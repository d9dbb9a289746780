"""The base apps of this installation: the one in the settings, and those of the catalog."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from windtunnel.app_builder.domain.app_package import BaseApp, Platform
from windtunnel.app_builder.domain.base_apps import AppKind
from windtunnel.artifacts import Artifacts, SourceReader
from windtunnel.catalog import Catalog, CatalogEntry, EntryKind, fetch
from windtunnel.errors import Unsupported
from windtunnel.service.run_inputs import ingest


@dataclass(frozen=True, slots=True)
class BaseAppSource:
    """A base app that can be fetched.

    Attributes:
        sha256: of its bytes.
        label: names it in messages.
        kind: what it must be; None: its manifest decides.
        entry: of the catalog.
        pinned_in_settings: the operator named it by a setting, and may name any host and file.
    """

    sha256: str
    label: str
    kind: AppKind | None
    entry: CatalogEntry
    pinned_in_settings: bool = False


class BaseAppStore:
    """Finds base apps and fetches them, each once.

    Args:
        pinned: the base apps that the settings name, by platform: URI and SHA-256.
        catalog: names more of them.
        artifacts: keep what was fetched.
        own: reads what the settings point to.
        sources: reads what the catalog points to.
    """

    def __init__(
        self,
        pinned: Mapping[Platform, tuple[str, str]],
        catalog: Catalog,
        artifacts: Artifacts,
        *,
        own: SourceReader,
        sources: SourceReader,
    ) -> None:
        self._pinned = pinned
        self._catalog = catalog
        self._artifacts = artifacts
        self._own = own
        self._sources = sources

    def apps(self, platform: Platform) -> tuple[BaseAppSource, ...]:
        """The base apps for a platform that take a model: the usual one first, then that of game loops.

        Args:
            platform: android or ios.

        Returns:
            At least one.

        Raises:
            Unsupported: none is configured.
        """
        wanted = (
            ((EntryKind.ANDROID_APP, AppKind.ACTIVITY), (EntryKind.GAME_LOOP_APP, AppKind.GAME_LOOP))
            if platform is Platform.ANDROID
            else ((EntryKind.IOS_APP, AppKind.ACTIVITY),)
        )
        own = self._in_settings(platform)
        found = [own] if own is not None else []
        for entry_kind, kind in wanted:
            entry = self._entry(entry_kind)
            # A base app in the settings takes the place of the catalog's.
            if entry is not None and not (own is not None and kind is AppKind.ACTIVITY):
                found.append(BaseAppSource(entry.sha256, f"{entry.label} of the catalog", kind, entry))
        if not found:
            raise _none_for(platform)
        return tuple(found)

    def test_app(self, platform: Platform) -> BaseAppSource | None:
        """What tests an app: the test APK of an instrumentation, the XCTest package of an app of iOS.

        Args:
            platform: android or ios.

        Returns:
            None: there is none.
        """
        wanted, kind = (
            (EntryKind.ANDROID_TEST_APP, AppKind.INSTRUMENTATION)
            if platform is Platform.ANDROID
            else (EntryKind.IOS_TEST_APP, AppKind.XCTEST)
        )
        entry = self._entry(wanted)
        if entry is None:
            return None
        return BaseAppSource(entry.sha256, f"{entry.label} of the catalog", kind, entry)

    async def fetched(self, source: BaseAppSource) -> BaseApp:
        """A base app as a local file; fetched once, then an artifact like any other.

        Args:
            source: what to fetch.

        Returns:
            The file, pinned.

        Raises:
            InvalidInput: its bytes are not the pinned ones.
            NotFound: it is not where it should be.
            Unavailable: what holds it does not answer.
        """
        if source.pinned_in_settings:
            await self._fetch_own(source)
        else:
            await fetch(source.entry, self._artifacts, self._sources)
        return BaseApp(await self._artifacts.path(source.sha256), source.sha256)

    async def _fetch_own(self, source: BaseAppSource) -> None:
        if await self._artifacts.stat(source.sha256) is not None:
            return
        with tempfile.TemporaryDirectory(prefix="windtunnel-base-app-") as folder:
            await ingest(self._artifacts, self._own, source.entry.uri, Path(folder, "base"), sha256=source.sha256)

    def _in_settings(self, platform: Platform) -> BaseAppSource | None:
        uri, sha256 = self._pinned.get(platform, ("", ""))
        kind = EntryKind.ANDROID_APP if platform is Platform.ANDROID else EntryKind.IOS_APP
        if not uri:
            return None
        entry = CatalogEntry("settings", kind, sha256, uri)
        return BaseAppSource(sha256, uri, None, entry, pinned_in_settings=True)

    def _entry(self, kind: EntryKind) -> CatalogEntry | None:
        return next((entry for entry in self._catalog.entries if entry.kind is kind), None)


def _none_for(platform: Platform) -> Unsupported:
    if platform is Platform.IOS:
        return Unsupported(
            "no base app for ios is configured",
            hint="set WINDTUNNEL_IOS_BASE_APP to the URI of a benchmark app's IPA and WINDTUNNEL_IOS_BASE_APP_SHA256 "
            "to its SHA-256, or add an ios_app to the catalog, or leave ios devices out of the plan",
        )
    return Unsupported(
        "no base app for android is configured",
        hint="set WINDTUNNEL_ANDROID_BASE_APP to the URI of a benchmark app's APK and "
        "WINDTUNNEL_ANDROID_BASE_APP_SHA256 to its SHA-256, or add an android_app to the catalog",
        code="no_base_app",
    )
