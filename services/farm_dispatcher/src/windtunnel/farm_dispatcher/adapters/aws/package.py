"""The test package of a farm run: a zip with the script and the files of all entries, the same for the same run."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Final

from windtunnel.artifacts import ArtifactRef
from windtunnel.errors import FarmError, InvalidInput, Unsupported
from windtunnel.farm_dispatcher.adapters.aws.test_spec import packages_beside, script
from windtunnel.farm_dispatcher.domain.jobs import AppJob, FarmRunRequest
from windtunnel.farms.failure_kinds import FailureKind

# The most bytes of an app, and of a test package.
UPLOAD_LIMIT: Final = 4 << 30
# Device Farm looks for these before it takes the package, and the test spec never runs them.
_TEST: Final = (
    '"""Windtunnel runs through the test spec, not through pytest."""\n\n\ndef test_windtunnel():\n    pass\n'
)
_REQUIREMENTS: Final = "pytest\n"
_APPS: Final = {"android": "APK", "ios": "IPA"}
_DATE: Final = (2020, 1, 1, 0, 0, 0)


def files_of(request: FarmRunRequest, installed: ArtifactRef | None) -> tuple[ArtifactRef, ...]:
    """The artifacts in the test package.

    Args:
        request: of the farm run.
        installed: the package in the app slot.

    Returns:
        Each once.
    """
    blobs: list[ArtifactRef] = []
    for entry in request.entries:
        job = entry.job
        if isinstance(job, AppJob):
            blobs += [*packages_beside(job, installed), *(file.blob for file in job.files)]
        else:
            blobs += [file.blob for file in job.pushed]
    return tuple(dict.fromkeys(blobs))


def write_package(
    path: Path, request: FarmRunRequest, files: Mapping[ArtifactRef, Path], installed: ArtifactRef | None
) -> None:
    """Writes the test package.

    Args:
        path: of the zip.
        request: of the farm run.
        files: local copies of `files_of`.
        installed: the package in the app slot.

    Raises:
        FarmError: it is larger than the service takes.
        InvalidInput: a job cannot be run this way.
    """
    require_size("the test package", sum(blob.size_bytes for blob in files))
    with zipfile.ZipFile(path, "w") as archive:
        texts = {
            "tests/test_windtunnel.py": _TEST,
            "requirements.txt": _REQUIREMENTS,
            "windtunnel/run.sh": script(request.entries, installed),
        }
        for name, text in texts.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), text)
        for blob, source in sorted(files.items(), key=lambda item: item[0].sha256):
            entry = zipfile.ZipInfo(f"windtunnel/files/{blob.sha256}", _DATE)
            # Not compressed: models hardly shrink, and the same files must give the same bytes everywhere.
            entry.compress_type = zipfile.ZIP_STORED
            with archive.open(entry, "w", force_zip64=True) as out, source.open("rb") as stream:
                while piece := stream.read(1 << 20):
                    out.write(piece)


def require_size(what: str, size_bytes: int) -> None:
    """Refuses what the service does not take.

    Args:
        what: for the message.
        size_bytes: of it.

    Raises:
        FarmError: it is too large.
    """
    if size_bytes > UPLOAD_LIMIT:
        raise FarmError(
            f"{what} has {size_bytes / 1e9:.1f} GB, AWS Device Farm takes at most {UPLOAD_LIMIT / 1e9:.1f} GB",
            retryable=False,
            kind=FailureKind.UNSUPPORTED,
        )


def require_app(path: Path, platform: str) -> None:
    """Refuses an app that the service does not take, before it is uploaded. Blocks.

    Args:
        path: of the app.
        platform: android or ios.

    Raises:
        Unsupported: it is an app bundle.
        InvalidInput: it is not an app for the platform.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise InvalidInput(f"the app is not a zip: {error}", hint=f"give an {_APPS[platform]}") from error
    if "BundleConfig.pb" in names:
        raise Unsupported(
            "the app is an Android App Bundle, AWS Device Farm takes APKs", hint="make a universal APK with bundletool"
        )
    has_app = any(name.startswith("Payload/") and ".app/" in name for name in names)
    if not (has_app if platform == "ios" else "AndroidManifest.xml" in names):
        raise InvalidInput(f"the app is not an {_APPS[platform]}", hint="build it again")


def placeholder_app() -> bytes:
    """The app of a run that needs none: Device Farm wants one in the app slot of a test of type APPIUM_PYTHON.

    Returns:
        An APK without code, signed with a key of nobody: it installs, and nothing starts it.
    """
    return (resources.files(__package__) / "placeholder.apk").read_bytes()
