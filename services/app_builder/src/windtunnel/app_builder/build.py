"""Building app packages with the writers of this package: the use case, wired."""

from __future__ import annotations

from windtunnel.app_builder.adapters.package_writers import ZipPackageWriters
from windtunnel.app_builder.adapters.signing import SigningKey
from windtunnel.app_builder.domain.app_package import BuildRequest, BuiltApp
from windtunnel.app_builder.use_cases import build_app


def build(request: BuildRequest, key: SigningKey | None = None) -> BuiltApp:
    """Builds the package that `request` asks for, at `request.output`, whole or not at all.

    The same request and key give the same bytes.

    Args:
        request: what to build.
        key: signs an APK; needed for Android, not used for the host.

    Returns:
        The package and the SHA-256 of the model in it.

    Raises:
        InvalidInput: the base app, the model or the request cannot be used; the message names the file and why.
        Unsupported: the platform is ios.
    """
    return build_app.build(request, ZipPackageWriters(key))
