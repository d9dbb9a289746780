"""Building app packages with the writers of this package: the use case, wired."""

from __future__ import annotations

from windtunnel.app_builder.adapters.ios.provisioning import IosSigner
from windtunnel.app_builder.adapters.keys.signing_key import SigningKey
from windtunnel.app_builder.adapters.package_writers import ZipPackageWriters
from windtunnel.app_builder.domain.app_package import BuildRequest, BuiltApp, TestAppRequest
from windtunnel.app_builder.use_cases import build_app


def build(request: BuildRequest, key: SigningKey | None = None, ios: IosSigner | None = None) -> BuiltApp:
    """Builds the package that `request` asks for, at `request.output`, whole or not at all.

    The same request and key give the same bytes, except for a signed app of iOS, which states when it was signed.

    Args:
        request: what to build.
        key: signs an APK; needed for Android.
        ios: signs an IPA; None: it is left for the farm to sign.

    Returns:
        The package and the SHA-256 of the model in it.

    Raises:
        InvalidInput: the base app, the model or the request cannot be used; the message names the file and why.
        Unsupported: the base app is of a kind that cannot be changed here; the message says what to do.
    """
    return build_app.build(request, ZipPackageWriters(key, ios))


def build_test_app(request: TestAppRequest, key: SigningKey) -> BuiltApp:
    """Builds the second APK of an instrumentation, at `request.output`, whole or not at all.

    Args:
        request: what to build.
        key: the one that signed the app: Android asks for the same.

    Returns:
        The package.

    Raises:
        InvalidInput: the base app is not the test APK of that app; the message names the file and why.
        Unsupported: the base app is of a kind that cannot be changed here; the message says what to do.
    """
    return build_app.build_test_app(request, ZipPackageWriters(key))
