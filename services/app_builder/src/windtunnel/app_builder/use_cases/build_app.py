"""The use case: a model and its configuration become a package."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from windtunnel.app_builder.domain.app_package import BaseApp, BenchmarkConfig, BuildRequest, BuiltApp, Platform
from windtunnel.app_builder.domain.file_digests import sha256_of
from windtunnel.errors import InvalidInput, Unsupported


class PackageWriters(Protocol):
    """Writes app packages. Each method writes into an empty file and returns the model's SHA-256 in hex."""

    @property
    def can_sign(self) -> bool:
        """Whether there is a key to sign an APK with."""
        ...

    def bundle(self, model: BinaryIO, config: BenchmarkConfig, output: BinaryIO) -> str:
        """Writes the package for the host.

        Args:
            model: the .tflite, at its beginning.
            config: is stored next to the model.
            output: empty, open for reading and writing.

        Returns:
            The model's SHA-256, hexadecimal digits.
        """
        ...

    def apk(self, base: BinaryIO, label: str, model: BinaryIO, config: BenchmarkConfig, output: BinaryIO) -> str:
        """Writes the signed package for Android.

        Args:
            base: the base APK, open for reading.
            label: names the base APK in messages.
            model: the .tflite, at its beginning.
            config: is stored next to the model.
            output: empty, open for reading and writing.

        Returns:
            The model's SHA-256, hexadecimal digits.

        Raises:
            InvalidInput: `base`, which messages call `label`, is not an APK that can be used.
        """
        ...


def build(request: BuildRequest, writers: PackageWriters) -> BuiltApp:
    """Builds the package that `request` asks for, at `request.output`, whole or not at all.

    The same request and writers give the same bytes.

    Args:
        request: what to build.
        writers: write the package; for Android they need a key.

    Returns:
        The package and the SHA-256 of the model in it.

    Raises:
        InvalidInput: the base app, the model or the request cannot be used; the message names the file and why.
        Unsupported: the platform is ios.
    """
    if request.platform is Platform.IOS:
        raise Unsupported(
            "cannot build an app for ios: an .ipa must be signed with an Apple certificate and its profile on a Mac",
            hint="sign the app with Xcode and give it to the farm yourself, or leave ios devices out of the plan",
        )
    with _opened(request.model, "model") as model, _replacing(request.output) as output:
        if os.fstat(model.fileno()).st_size == 0:
            raise InvalidInput(f"model {request.model} is empty", hint="give a .tflite file")
        if request.platform is Platform.ANDROID:
            model_sha256 = _android(request, writers, model, output)
        else:
            _refuse_base(request.base)
            model_sha256 = writers.bundle(model, request.config, output)
        output.seek(0)
        sha256, size = sha256_of(output)
    return BuiltApp(request.platform, request.output, sha256, size, model_sha256)


def _android(request: BuildRequest, writers: PackageWriters, model: BinaryIO, output: BinaryIO) -> str:
    if request.base is None:
        raise InvalidInput("no base app for android", hint="configure an APK of the benchmark app and its SHA-256")
    if not writers.can_sign:
        raise InvalidInput("no signing key for android", hint="configure a key, or make one with SigningKey.generate()")
    with _opened(request.base.path, "base app") as base:
        _check_pin(request.base, base)
        return writers.apk(base, str(request.base.path), model, request.config, output)


def _refuse_base(base: BaseApp | None) -> None:
    if base is not None:
        raise InvalidInput(
            f"base app {base.path} given for host", hint="the host's package has no base app: leave it out"
        )


def _check_pin(pinned: BaseApp, base: BinaryIO) -> None:
    """Hashes the open file, so that what is checked is what is used.

    Raises:
        InvalidInput: the hash is not the pinned one, or the file is empty.
    """
    actual, size = sha256_of(base)
    if size == 0:
        raise InvalidInput(f"base app {pinned.path} is empty", hint="give the benchmark app's APK")
    if actual != pinned.sha256:
        raise InvalidInput(
            f"base app {pinned.path} has SHA-256 {actual}, not the pinned {pinned.sha256}",
            hint="restore the file, or pin its new SHA-256 after checking where it came from",
        )
    base.seek(0)


@contextmanager
def _opened(path: Path, what: str) -> Iterator[BinaryIO]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise InvalidInput(f"{what} {path} cannot be read: {error.strerror}", hint="check the path") from error
    with file:
        yield file


@contextmanager
def _replacing(output: Path) -> Iterator[BinaryIO]:
    """A temporary file next to `output` that replaces it if the block ends without an error.

    Raises:
        InvalidInput: the folder cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{output.name}.", dir=output.parent)
    except OSError as error:
        raise InvalidInput(f"cannot write {output}: {error.strerror}", hint="give a folder that exists") from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)
