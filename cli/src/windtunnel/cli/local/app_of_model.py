"""An app with a model inside, from the base apps of the catalog and of the settings."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from windtunnel.app_builder import BenchmarkConfig, BuildRequest, Platform, SigningKey, TestAppRequest, build_test_app
from windtunnel.app_builder import build as build_package
from windtunnel.app_builder.adapters.base_app_store import BaseAppSource, BaseAppStore
from windtunnel.app_builder.adapters.keyfile import kept_key, load_key
from windtunnel.app_builder.settings import AppBuilderSettings
from windtunnel.artifacts import ArtifactRef, Artifacts, SourceReader
from windtunnel.catalog import Catalog
from windtunnel.errors import Unsupported
from windtunnel.farm_dispatcher.bench_on_farm import App
from windtunnel.farm_dispatcher.domain.jobs import AppKind
from windtunnel.service.settings import load


@dataclass(frozen=True, slots=True)
class AppMaker:
    """Makes apps.

    Attributes:
        catalog: of base apps.
        artifacts: keep what is fetched and made.
        sources: reads what the catalog points to.
        accelerator: as cells spell it; apps of iOS take it from their configuration alone.
        threads: of the CPU.
    """

    catalog: Catalog
    artifacts: Artifacts
    sources: SourceReader
    accelerator: str
    threads: int

    async def app(self, model: ArtifactRef, platform: str, kinds: Sequence[AppKind]) -> App:
        """An app with a model.

        Args:
            model: the .tflite file.
            platform: android or ios.
            kinds: of apps that the farm takes, the preferred one first.

        Returns:
            The app, stored.

        Raises:
            Unsupported: there is no base app of any of these kinds.
            InvalidInput: the base app or the model cannot be used.
        """
        settings = load(AppBuilderSettings)
        store = BaseAppStore(settings.base_apps, self.catalog, self.artifacts, own=self.sources, sources=self.sources)
        bases, test = store.apps(Platform(platform)), store.test_app(Platform(platform))
        for kind in kinds:
            if test is not None and test.kind == kind:
                return await self._made(store, model, platform, kind, bases[0], test)
            base = next((one for one in bases if (one.kind or "activity") == kind), None)
            if base is not None:
                return await self._made(store, model, platform, kind, base, None)
        has = ", ".join(str(one.kind or "activity") for one in bases)
        raise Unsupported(
            f"the farm takes apps of kind {', '.join(kinds) or '(none)'}; there are base apps of kind {has}",
            hint="name another base app in the catalog (--catalog, WINDTUNNEL_CATALOG_FILE)",
        )

    async def _made(
        self,
        store: BaseAppStore,
        model: ArtifactRef,
        platform: str,
        kind: AppKind,
        source: BaseAppSource,
        test_source: BaseAppSource | None,
    ) -> App:
        base = await store.fetched(source)
        test_base = await store.fetched(test_source) if test_source is not None else None
        path = await self.artifacts.path(model.sha256)
        key = await asyncio.to_thread(_key) if platform == "android" else None
        with tempfile.TemporaryDirectory(prefix="windtunnel-app-") as folder:
            config = BenchmarkConfig(
                run_id=None, variant="model", accelerator=self.accelerator, num_threads=self.threads
            )
            request = BuildRequest(Platform(platform), path, config, Path(folder, "app"), base, source.kind)
            built = await asyncio.to_thread(build_package, request, key)
            assert built.facts is not None, "it was made from a base app"
            # The XCTest package of an app of iOS is taken as it is.
            test = None if test_base is None else await self.artifacts.put_file(test_base.path)
            if test_base is not None and key is not None:
                wanted = TestAppRequest(test_base, built.facts.package_name, Path(folder, "test"))
                made = await asyncio.to_thread(build_test_app, wanted, key)
                test = await self.artifacts.put_file(made.path)
            package = await self.artifacts.put_file(built.path)
        found = kind if test is not None else built.facts.kind.value
        return App(package, platform, found, built.facts.package_name, test)


def _key() -> SigningKey:
    """The key of the settings; if there is none, one is made and kept, as the service does."""
    settings = load(AppBuilderSettings)
    if settings.android_signing_key:
        return load_key(Path(settings.android_signing_key), Path(settings.android_signing_cert))
    return kept_key(settings.kept_signing_key)
