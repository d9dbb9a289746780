"""The use case: a model and its configuration become a package."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from windtunnel.app_builder.domain.app_package import (
    BaseApp,
    BenchmarkConfig,
    BuildRequest,
    BuiltApp,
    Platform,
    TestAppRequest,
)
from windtunnel.app_builder.domain.base_apps import AppFacts, AppKind
from windtunnel.app_builder.domain.file_digests import sha256_of
from windtunnel.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Written:
    """What a writer wrote.

    Attributes:
        facts: what the base app says of itself.
        signatures: what signs the package.
        model_sha256: of the model inside; empty: there is none.
    """

    facts: AppFacts
    signatures: tuple[str, ...]
    model_sha256: str


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

    def apk(self, base: BinaryIO, label: str, model: BinaryIO, config: BenchmarkConfig, output: BinaryIO) -> Written:
        """Writes the signed package for Android.

        Args:
            base: the base APK, open for reading.
            label: names the base APK in messages.
            model: the .tflite, at its beginning.
            config: is stored next to the model.
            output: empty, open for reading and writing.

        Returns:
            What was written.

        Raises:
            InvalidInput: `base`, which messages call `label`, is not an APK that can be used.
            Unsupported: it is an app bundle, or one of several split APKs.
        """
        ...

    def test_apk(self, base: BinaryIO, label: str, output: BinaryIO) -> Written:
        """Writes the second APK of an instrumentation, signed as `apk` signs the first one.

        Args:
            base: the test APK, open for reading.
            label: names it in messages.
            output: empty, open for reading and writing.

        Returns:
            What was written.

        Raises:
            InvalidInput: `base`, which messages call `label`, is not an APK that can be used.
            Unsupported: it is an app bundle, or one of several split APKs.
        """
        ...

    def ipa(self, base: BinaryIO, label: str, model: BinaryIO, config: BenchmarkConfig, output: BinaryIO) -> Written:
        """Writes the package for iOS, signed if there is a signer.

        Args:
            base: the base IPA, open for reading.
            label: names the base IPA in messages.
            model: the .tflite, at its beginning.
            config: is stored next to the model.
            output: empty, open for reading and writing.

        Returns:
            What was written.

        Raises:
            InvalidInput: `base`, which messages call `label`, is not an IPA that can be used.
            Unsupported: it is encrypted, or cannot be signed here.
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
        Unsupported: the base app is of a kind that cannot be changed here; the message says what to do.
    """
    with _opened(request.model, "model") as model, _replacing(request.output) as output:
        if os.fstat(model.fileno()).st_size == 0:
            raise InvalidInput(f"model {request.model} is empty", hint="give a .tflite file")
        written = _write(request, writers, model, output)
        output.seek(0)
        sha256, size = sha256_of(output)
    if isinstance(written, str):
        return BuiltApp(request.platform, request.output, sha256, size, written)
    return BuiltApp(
        request.platform, request.output, sha256, size, written.model_sha256, written.facts, written.signatures
    )


def build_test_app(request: TestAppRequest, writers: PackageWriters) -> BuiltApp:
    """Builds the second APK of an instrumentation, at `request.output`, whole or not at all.

    Args:
        request: what to build.
        writers: write the package; they need the key that signed the app.

    Returns:
        The package.

    Raises:
        InvalidInput: the base app is not the test APK of that app; the message names the file and why.
        Unsupported: the base app is of a kind that cannot be changed here; the message says what to do.
    """
    base = request.base
    with _replacing(request.output) as output, _opened_base(base, Platform.ANDROID) as file:
        _require_key(writers)
        written = writers.test_apk(file, str(base.path), output)
        _require_test_of(request.target, written.facts, base)
        output.seek(0)
        sha256, size = sha256_of(output)
    return BuiltApp(Platform.ANDROID, request.output, sha256, size, "", written.facts, written.signatures)


def _write(request: BuildRequest, writers: PackageWriters, model: BinaryIO, output: BinaryIO) -> Written | str:
    """Writes the package; for the host, which has no base app, the result is the model's SHA-256.

    Raises:
        InvalidInput: there is no base app, or it is not what the request asks for.
    """
    if request.platform is Platform.HOST:
        _refuse_base(request.base)
        return writers.bundle(model, request.config, output)
    if request.base is None:
        raise InvalidInput(
            f"no base app for {request.platform}",
            hint=f"configure {_PACKAGES[request.platform]} of the benchmark app and its SHA-256",
        )
    write = writers.ipa
    if request.platform is Platform.ANDROID:
        _require_key(writers)
        write = writers.apk
    with _opened_base(request.base, request.platform) as base:
        written = write(base, str(request.base.path), model, request.config, output)
    _require_kind(request, written.facts)
    return written


def _require_key(writers: PackageWriters) -> None:
    if not writers.can_sign:
        raise InvalidInput("no signing key for android", hint="configure a key, or make one with SigningKey.generate()")


def _require_kind(request: BuildRequest, facts: AppFacts) -> None:
    base = request.base
    assert base is not None, "the package was made from it"
    if facts.kind is AppKind.INSTRUMENTATION:
        raise InvalidInput(
            f"base app {base.path} is the test APK of {facts.target_package}, not the app that takes the model",
            hint="give the app under test as the base, and this file as its test app",
        )
    if request.kind not in (None, facts.kind):
        raise InvalidInput(
            f"base app {base.path} ({facts.package_name}) is of kind {facts.kind}, not {request.kind}",
            hint="a game loop needs an activity that takes com.google.intent.action.TEST_LOOP"
            if request.kind is AppKind.GAME_LOOP
            else "give the benchmark app that is started by an intent",
        )


def _require_test_of(target: str, facts: AppFacts, base: BaseApp) -> None:
    if facts.kind is not AppKind.INSTRUMENTATION:
        raise InvalidInput(
            f"test app {base.path} ({facts.package_name}) has no instrumentation of another package",
            hint="give the test APK that Gradle's assembleAndroidTest makes",
        )
    if facts.target_package != target:
        raise InvalidInput(
            f"test app {base.path} tests {facts.target_package}, and the app is {target}",
            hint="build both from the same variant of the app",
        )


_PACKAGES = {Platform.ANDROID: "an APK", Platform.IOS: "an IPA"}


@contextmanager
def _opened_base(base: BaseApp, platform: Platform) -> Iterator[BinaryIO]:
    """The base app, open, after its SHA-256 was checked.

    Raises:
        InvalidInput: it cannot be read, is empty, or is not the pinned one.
    """
    with _opened(base.path, "base app") as file:
        _check_pin(base, file, platform)
        yield file


def _refuse_base(base: BaseApp | None) -> None:
    if base is not None:
        raise InvalidInput(
            f"base app {base.path} given for host", hint="the host's package has no base app: leave it out"
        )


def _check_pin(pinned: BaseApp, base: BinaryIO, platform: Platform) -> None:
    """Hashes the open file, so that what is checked is what is used.

    Raises:
        InvalidInput: the hash is not the pinned one, or the file is empty.
    """
    actual, size = sha256_of(base)
    if size == 0:
        raise InvalidInput(f"base app {pinned.path} is empty", hint=f"give {_PACKAGES[platform]} of the benchmark app")
    if pinned.sha256 is not None and actual != pinned.sha256:
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
