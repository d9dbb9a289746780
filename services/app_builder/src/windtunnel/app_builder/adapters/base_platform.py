"""Which platform a base app is for."""

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
    try:
        with path.open("rb") as file:
            names = [entry.text for entry in read_directory(file, str(path))]
    except OSError as error:
        raise InvalidInput(f"base app {path} cannot be read: {error.strerror}", hint="check the path") from error
    if "AndroidManifest.xml" in names:
        return Platform.ANDROID
    first = {name.split("/")[0] for name in names}
    apple = any(name.lower() == "payload" or name.endswith((".app", ".xcarchive")) for name in first)
    return Platform.IOS if apple else Platform.ANDROID
