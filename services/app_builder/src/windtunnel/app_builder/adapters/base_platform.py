"""Which platform a base app is for, and whether a package of tests is one."""

from __future__ import annotations

from pathlib import Path

from windtunnel.app_builder.adapters.archive.zipfile_read import read_directory
from windtunnel.app_builder.domain.app_package import Platform
from windtunnel.errors import InvalidInput


def platform_of_base(path: Path) -> Platform:
    """The platform of a base app, by what its archive holds.

    Args:
        path: of the base app.

    Returns:
        iOS for what resembles an IPA, otherwise Android: its writer says what is wrong with the file.

    Raises:
        InvalidInput: it cannot be read, or is not a zip file.
    """
    names = _names(path, str(path))
    if "AndroidManifest.xml" in names:
        return Platform.ANDROID
    first = {name.split("/")[0] for name in names}
    apple = any(name.lower() == "payload" or name.endswith((".app", ".xcarchive")) for name in first)
    return Platform.IOS if apple else Platform.ANDROID


def require_test_bundle(path: Path, label: str) -> None:
    """Checks that a file is a package of XCTest.

    Args:
        path: of the file.
        label: names it in messages.

    Raises:
        InvalidInput: it is not a zip file with a bundle of tests.
    """
    names = _names(path, label)
    if not any(part.endswith(".xctest") for name in names for part in name.split("/")[:-1]):
        raise InvalidInput(
            f"test app {label} has no .xctest bundle inside",
            hint="zip the .xctest folder that Xcode's build-for-testing made",
        )


def _names(path: Path, label: str) -> list[str]:
    try:
        with path.open("rb") as file:
            return [entry.text for entry in read_directory(file, label)]
    except OSError as error:
        raise InvalidInput(f"base app {label} cannot be read: {error.strerror}", hint="check the path") from error
