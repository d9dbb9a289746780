"""What a farm is to run, as values: a program with its files, or an app."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from windtunnel.artifacts.stores.port import ArtifactRef
from windtunnel.farm_dispatcher.domain.cells import Cell, RunAs
from windtunnel.farm_dispatcher.domain.devices import Device

# A folder that a shell may write to and execute from, on every Android device.
DEVICE_FOLDER: Final = "/data/local/tmp"

AppKind = Literal["game_loop", "instrumentation", "activity", "xctest"]


@dataclass(frozen=True, slots=True)
class PushedFile:
    """An artifact, and the absolute path that it gets on the device."""

    blob: ArtifactRef
    target: str


@dataclass(frozen=True, slots=True)
class ExecutableJob:
    """A program that runs in the shell of a device.

    `binary` None: the farm has a benchmark of its own (`local`, `arm`). `pull`: absolute paths on the device, files or
    folders. `timeout_s`: of this job alone, in seconds.
    """

    model: PushedFile
    binary: PushedFile | None = None
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    files: tuple[PushedFile, ...] = ()
    pull: tuple[str, ...] = ()
    timeout_s: float = 900.0

    @property
    def pushed(self) -> tuple[PushedFile, ...]:
        """Everything that the device needs, the model first."""
        return (self.model, *(() if self.binary is None else (self.binary,)), *self.files)

    @property
    def blobs(self) -> tuple[ArtifactRef, ...]:
        """The artifacts that it needs."""
        return tuple(file.blob for file in self.pushed)

    @property
    def model_sha256(self) -> str:
        """Of the model that it runs."""
        return self.model.blob.sha256

    @property
    def run_as(self) -> RunAs:
        """Implements `Cell.run_as`."""
        return "executable"


@dataclass(frozen=True, slots=True)
class AppJob:
    """An app with the model inside, or next to it in `files`.

    `package`: an APK or IPA. `test_package`: the tests of an instrumentation or an XCTest. `scenarios`: of a game loop.
    `arguments`: of the intent or the instrumentation, by name. `model_sha256`: of the model that it runs.
    """

    package: ArtifactRef
    platform: str
    kind: AppKind
    package_name: str
    model_sha256: str
    scenarios: tuple[int, ...] = ()
    arguments: Mapping[str, str] = field(default_factory=dict)
    files: tuple[PushedFile, ...] = ()
    pull: tuple[str, ...] = ()
    timeout_s: float = 900.0
    test_package: ArtifactRef | None = None

    @property
    def blobs(self) -> tuple[ArtifactRef, ...]:
        """The artifacts that it needs."""
        tests = () if self.test_package is None else (self.test_package,)
        return (self.package, *tests, *(file.blob for file in self.files))

    @property
    def run_as(self) -> RunAs:
        """Implements `Cell.run_as`."""
        return "app"


@dataclass(frozen=True, slots=True)
class App:
    """An app package that holds a model.

    Attributes:
        package: the APK or IPA.
        platform: android or ios.
        kind: how it is run.
        package_name: as the system knows it.
        test_package: its tests; None: it has none.
    """

    package: ArtifactRef
    platform: str
    kind: AppKind = "game_loop"
    package_name: str = "org.tensorflow.lite.benchmark.firebase"
    test_package: ArtifactRef | None = None


Job = ExecutableJob | AppJob


@dataclass(frozen=True, slots=True)
class Entry:
    """One cell of a farm run. `name` is unique among the entries: letters, digits and '-'."""

    name: str
    cell: Cell
    job: Job


def new_key() -> str:
    """A key for a farm run: the farm knows a repeated submission by it."""
    return f"wt-{uuid.uuid4().hex[:24]}"


@dataclass(frozen=True, slots=True)
class FarmRunRequest:
    """What one farm run does: its entries run one after the other on one device.

    `key` is unique and has at most 40 characters (a-z, 0-9, '-'): the same key again must not start a second farm run.
    `avoid`: instances of the device that failed these cells before; another one is preferred.
    """

    key: str
    device: Device
    entries: tuple[Entry, ...]
    timeout_s: float
    avoid: tuple[str, ...] = ()
