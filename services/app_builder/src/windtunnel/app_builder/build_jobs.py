"""Building apps once: the same model, base app and keys give one package, whoever asks for it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from windtunnel.app_builder.adapters.base_app_store import BaseAppSource, BaseAppStore
from windtunnel.app_builder.adapters.base_platform import require_test_bundle
from windtunnel.app_builder.adapters.ios.provisioning import IosSigner
from windtunnel.app_builder.adapters.keyfile import kept_key
from windtunnel.app_builder.adapters.keys.signing_key import SigningKey
from windtunnel.app_builder.build import build, build_test_app
from windtunnel.app_builder.domain.app_package import BenchmarkConfig, BuildRequest, BuiltApp, Platform, TestAppRequest
from windtunnel.app_builder.domain.base_apps import AppKind
from windtunnel.app_builder.settings import AppBuilderSettings
from windtunnel.artifacts import ArtifactRef
from windtunnel.bus import job_key
from windtunnel.enum_words import APP_KIND
from windtunnel.errors import InvalidInput, Unsupported, UserError
from windtunnel.service.protobuf_values import artifact_to_proto
from windtunnel.service.runtime import Runtime
from windtunnel.v1 import app_builder_pb2, types_pb2

MEDIA_TYPES: Final = {
    Platform.HOST: "application/zip",
    Platform.ANDROID: "application/vnd.android.package-archive",
    Platform.IOS: "application/octet-stream",
}
# Changes when a package of the same inputs does, or what is stored of it.
_FORMAT: Final = 2


@dataclass(frozen=True, slots=True)
class BuildJob:
    """One app to build.

    Attributes:
        platform: where it runs.
        model: the .tflite.
        config: goes into the app.
        base: the base app; None for the host.
        test: the test APK of an instrumentation, or the XCTest package of an app of iOS; None: there is none.
        key: signs APKs.
        ios: signs IPAs; None: they are not signed.
    """

    platform: Platform
    model: ArtifactRef
    config: BenchmarkConfig
    base: BaseAppSource | None = None
    test: BaseAppSource | None = None
    key: SigningKey | None = None
    ios: IosSigner | None = None

    @property
    def kind(self) -> str:
        """The kind of app job that it is for, as far as it is known before the base app is read; "" for the host."""
        if self.base is None:
            return ""
        return (self.test or self.base).kind or AppKind.ACTIVITY

    def id(self, versions: Mapping[str, str]) -> str:
        """The key of the job: what its package depends on.

        Args:
            versions: of the tools, by name.

        Returns:
            The key.
        """
        inputs = {
            "format": _FORMAT,
            "platform": self.platform.value,
            "kind": self.kind,
            "model": self.model.sha256,
            "variant": self.config.variant,
            "base_app": self.base.sha256 if self.base else None,
            "test_app": self.test.sha256 if self.test else None,
            "signing_cert": self.key.certificate_sha256 if self.key else None,
            "ios_signer": self.ios.sha256 if self.ios else None,
        }
        return job_key("build", inputs, versions)


class AppBuilds:
    """Plans and builds apps.

    Args:
        runtime: what the service has to work with.
        base_apps: that there are.
        key: the configured one for Android; None: one is made and kept.
        ios: signs IPAs; None: they are not signed.
        versions: of the tools, by name.
    """

    def __init__(
        self,
        runtime: Runtime[AppBuilderSettings],
        base_apps: BaseAppStore,
        key: SigningKey | None,
        ios: IosSigner | None,
        versions: Mapping[str, str],
    ) -> None:
        self._runtime = runtime
        self._base_apps = base_apps
        self._key = key
        self._ios = ios
        self._versions = versions

    async def jobs(self, platform: Platform, model: ArtifactRef, variant: str, kind: str = "") -> tuple[BuildJob, ...]:
        """The apps of a variant for one platform: one for each kind of app job that there is a base app for.

        Args:
            platform: of the apps.
            model: the .tflite.
            variant: its name.
            kind: of app job; empty: all.

        Returns:
            At least one.

        Raises:
            InvalidInput: the variant's name, or the signing key, cannot be used.
            Unsupported: there is no base app for the platform, or none of that kind.
        """
        # Without a run in it, the same variant gives the same package in every run.
        config = BenchmarkConfig(run_id=None, variant=variant)
        if platform is Platform.HOST:
            return (BuildJob(platform, model, config),)
        bases = self._base_apps.apps(platform)
        key = None
        if platform is Platform.ANDROID:
            key = self._key or await asyncio.to_thread(kept_key, self._runtime.settings.kept_signing_key)
        ios = self._ios if platform is Platform.IOS else None
        jobs = [BuildJob(platform, model, config, base, key=key, ios=ios) for base in bases]
        test = self._base_apps.test_app(platform)
        if test is not None:
            jobs.append(BuildJob(platform, model, config, bases[0], test, key, ios))
        found = tuple(job for job in jobs if kind in ("", job.kind))
        if not found:
            has = ", ".join(dict.fromkeys(job.kind for job in jobs))
            raise Unsupported(
                f"no base app for {platform} of kind {kind!r}: there are {has}",
                hint="add one to the catalog that WINDTUNNEL_CATALOG_FILE names",
                code="no_base_app",
            )
        return found

    async def build(self, job: BuildJob) -> app_builder_pb2.BuildResponse:
        """Builds an app, or finds it built.

        Args:
            job: what to build.

        Returns:
            The package, stored.

        Raises:
            UserError: the base app or the model cannot be used.
            Unavailable: a store or a source does not answer.
        """
        return await self._runtime.jobs.once(
            job.id(self._versions), app_builder_pb2.BuildResponse, lambda: self._compute(job)
        )

    async def stored(self, job: BuildJob) -> app_builder_pb2.BuildResponse | None:
        """An app that was built before.

        Args:
            job: what was built.

        Returns:
            The package; None: it was not built.
        """
        return await self._runtime.jobs.stored(job.id(self._versions), app_builder_pb2.BuildResponse)

    async def _compute(self, job: BuildJob) -> app_builder_pb2.BuildResponse:
        artifacts = self._runtime.artifacts
        with tempfile.TemporaryDirectory(prefix="windtunnel-build-") as folder:
            base = await self._base_apps.fetched(job.base) if job.base else None
            model = await artifacts.path(job.model.sha256)
            kind = job.base.kind if job.base else None
            request = BuildRequest(job.platform, model, job.config, Path(folder, "app"), base, kind)
            try:
                built = await asyncio.to_thread(build, request, job.key, job.ios)
            except UserError as error:
                # The file is known there by its hash; the operator knows it by where it came from.
                raise _named(error, job.base) from error
            package = artifact_to_proto(await artifacts.put_file(built.path), MEDIA_TYPES[job.platform])
            response = app_builder_pb2.BuildResponse(package=package, model_sha256=built.model_sha256)
            if built.facts is not None:
                response.app.CopyFrom(_app(built, package))
                await self._add_test(job, built.facts.package_name, Path(folder, "test"), response.app)
        return response

    async def _add_test(self, job: BuildJob, target: str, output: Path, app: types_pb2.BuiltApp) -> None:
        if job.test is None:
            return
        base = await self._base_apps.fetched(job.test)
        if job.key is None:
            # A farm that runs XCTest signs the package itself.
            require_test_bundle(base.path, job.test.label)
            app.kind = APP_KIND.number(AppKind.XCTEST)
            size = base.path.stat().st_size
            app.test_package.CopyFrom(artifact_to_proto(ArtifactRef(job.test.sha256, size), MEDIA_TYPES[Platform.IOS]))
            return
        try:
            built = await asyncio.to_thread(build_test_app, TestAppRequest(base, target, output), job.key)
        except UserError as error:
            raise _named(error, job.test) from error
        stored = await self._runtime.artifacts.put_file(built.path)
        assert built.facts is not None, "it was made from a base app"
        app.kind = APP_KIND.number(built.facts.kind)
        app.test_package.CopyFrom(artifact_to_proto(stored, MEDIA_TYPES[Platform.ANDROID]))
        app.test_package_name = built.facts.package_name
        app.test_runner = built.facts.runner


def _app(built: BuiltApp, package: types_pb2.Artifact) -> types_pb2.BuiltApp:
    facts = built.facts
    assert facts is not None, "it was made from a base app"
    return types_pb2.BuiltApp(
        kind=APP_KIND.number(facts.kind),
        package=package,
        package_name=facts.package_name,
        min_os=facts.min_os,
        abis=facts.abis,
        signatures=built.signatures,
        scenarios=facts.scenarios,
    )


def _named(error: UserError, base: BaseAppSource | None) -> UserError:
    if base is None or not isinstance(error, (InvalidInput, Unsupported)):
        return error
    return type(error)(f"{error.message}; the base app is {base.label}", hint=error.hint)
