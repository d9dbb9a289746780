"""Puts a variant and its configuration into a benchmark app, and signs it.

`build` takes a `BuildRequest` and writes a package: a signed, aligned APK for Android, a plain stored zip for this
host. The same request gives the same bytes.
"""

from windtunnel.app_builder.adapters.signing import SigningKey
from windtunnel.app_builder.build import build
from windtunnel.app_builder.domain.app_package import (
    BaseApp,
    BenchmarkConfig,
    BuildRequest,
    BuiltApp,
    Platform,
)

__all__ = ["BaseApp", "BenchmarkConfig", "BuildRequest", "BuiltApp", "Platform", "SigningKey", "build"]
