"""Puts a variant and its configuration into a benchmark app, and signs it.

`build` takes a `BuildRequest` and writes a package: a signed, aligned APK for Android, an IPA for iOS, a plain stored
zip for this host.
"""

from windtunnel.app_builder.adapters.base_platform import platform_of_base
from windtunnel.app_builder.adapters.ios.provisioning import IosSigner
from windtunnel.app_builder.adapters.keys.signing_key import SigningKey
from windtunnel.app_builder.build import build, build_test_app
from windtunnel.app_builder.domain.app_package import (
    BaseApp,
    BenchmarkConfig,
    BuildRequest,
    BuiltApp,
    Platform,
    TestAppRequest,
)
from windtunnel.app_builder.domain.base_apps import AppFacts, AppKind

__all__ = [
    "AppFacts",
    "AppKind",
    "BaseApp",
    "BenchmarkConfig",
    "BuildRequest",
    "BuiltApp",
    "IosSigner",
    "Platform",
    "SigningKey",
    "TestAppRequest",
    "build",
    "build_test_app",
    "platform_of_base",
]
