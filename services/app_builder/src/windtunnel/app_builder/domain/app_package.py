"""What is built: the request, the configuration that goes into the app, the result."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from windtunnel.app_builder.domain.base_apps import AppFacts, AppKind
from windtunnel.errors import InvalidInput

CONFIG_SCHEMA = "windtunnel.benchmark/1"

_SHA256 = re.compile(r"[0-9a-f]{64}")
# A flag of the benchmark tool with its value, as its command line takes it.
_ARGUMENT = re.compile(r"--(?P<name>[a-z][a-z0-9_]*)=(?P<value>[^\x00-\x1f\x7f]*)")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}")
# The flags that turn an accelerator on in TFLite's benchmark tool; it applies XNNPACK by default.
_ACCELERATOR_FLAGS: dict[str, tuple[str, ...]] = {
    "cpu": ("--use_xnnpack=false",),
    "xnnpack": ("--use_xnnpack=true",),
    "gpu": ("--use_gpu=true",),
    "nnapi": ("--use_nnapi=true",),
    "coreml": ("--use_coreml=true",),
    "hexagon": ("--use_hexagon=true",),
    "npu": ("--use_npu=true",),
}


class Platform(StrEnum):
    """Where a package runs."""

    HOST = "host"
    ANDROID = "android"
    IOS = "ios"


@dataclass(frozen=True, slots=True)
class BaseApp:
    """The benchmark app that a variant is put into: a file, pinned by its SHA-256 (lower-case hex).

    `sha256` None: the user names the file at this moment, and it is not pinned.
    """

    path: Path
    sha256: str | None

    def __post_init__(self) -> None:
        if self.sha256 is not None and not _SHA256.fullmatch(self.sha256):
            raise InvalidInput(
                f"base app {self.path}: {self.sha256!r} is not a SHA-256",
                hint="pin the base app by 64 lower-case hex digits, as sha256sum prints them",
            )


@dataclass(frozen=True, slots=True)
class BenchmarkConfig:
    """The benchmark's arguments.

    None leaves a choice until the app starts: one package serves many cells and, without `run_id`, many runs.
    `arguments` are further flags of the benchmark tool, each `--name=value`.
    """

    run_id: str | None
    variant: str
    cell_id: str | None = None
    accelerator: str | None = None
    num_threads: int | None = None
    num_runs: int = 50
    warmup_runs: int = 1
    arguments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, value in (("run_id", self.run_id), ("variant", self.variant), ("cell_id", self.cell_id)):
            if value is not None and not _ID.fullmatch(value):
                raise InvalidInput(
                    f"{name} {value!r} cannot go into an app",
                    hint="use letters, digits and . _ : @ -, at most 128, beginning with a letter or digit",
                )
        if self.accelerator is not None and self.accelerator not in _ACCELERATOR_FLAGS:
            raise InvalidInput(
                f"accelerator {self.accelerator!r} is not known", hint=f"use one of {', '.join(_ACCELERATOR_FLAGS)}"
            )
        for name, number, least in (
            ("num_threads", self.num_threads, 1),
            ("num_runs", self.num_runs, 1),
            ("warmup_runs", self.warmup_runs, 0),
        ):
            if number is not None and number < least:
                raise InvalidInput(f"{name} is {number}", hint=f"give {least} or more")
        self._require_arguments()

    def _require_arguments(self) -> None:
        taken = dict.fromkeys(map(_flag, self._args("")), "a field of the config") | {"graph": "the app's own model"}
        for argument in self.arguments:
            if _ARGUMENT.fullmatch(argument) is None:
                raise InvalidInput(
                    f"argument {argument!r:.100} is not --name=value", hint="give flags as benchmark_model takes them"
                )
            if _flag(argument) in taken:
                raise InvalidInput(
                    f"argument {argument!r:.100} is given twice: it is {taken[_flag(argument)]} too", hint="remove one"
                )
            taken[_flag(argument)] = "another argument"

    def to_json(self, graph: str) -> bytes:
        """The file that goes into the package.

        Args:
            graph: path of the model in the app.

        Returns:
            JSON.
        """
        document: dict[str, Any] = {
            "schema": CONFIG_SCHEMA,
            "run_id": self.run_id,
            "cell_id": self.cell_id,
            "variant": self.variant,
            "graph": graph,
            "accelerator": self.accelerator,
            "num_threads": self.num_threads,
            "num_runs": self.num_runs,
            "warmup_runs": self.warmup_runs,
            "args": [*self._args(graph), *self.arguments],
        }
        return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()

    def to_benchmark_params(self, graph: str) -> bytes:
        """The file `benchmark_params.json` that TFLite's benchmark app for iOS reads: flags by name, all of them text.

        Args:
            graph: path of the model in the app.

        Returns:
            JSON.
        """
        flags = (_ARGUMENT.fullmatch(one) for one in (*self._args(graph), *self.arguments))
        named = {flag["name"]: flag["value"] for flag in flags if flag is not None}
        return (json.dumps({"benchmark_name": self.variant, **named}, indent=2) + "\n").encode()

    def _args(self, graph: str) -> tuple[str, ...]:
        threads = () if self.num_threads is None else (f"--num_threads={self.num_threads}",)
        accelerator = () if self.accelerator is None else _ACCELERATOR_FLAGS[self.accelerator]
        runs = (f"--num_runs={self.num_runs}", f"--warmup_runs={self.warmup_runs}")
        return (f"--graph={graph}", *runs, *threads, *accelerator)


def _flag(argument: str) -> str:
    return argument.partition("=")[0].removeprefix("--")


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """Build a package at `output` from a model.

    `base` is needed for Android and iOS and refused for the host. `kind` is what the base must be; None: any kind that
    takes a model.
    """

    platform: Platform
    model: Path
    config: BenchmarkConfig
    output: Path
    base: BaseApp | None = None
    kind: AppKind | None = None


@dataclass(frozen=True, slots=True)
class TestAppRequest:
    """Sign the test APK of an instrumentation with the key of the app that it tests.

    `target` is the package of that app.
    """

    # Not a test, whatever pytest takes it for.
    __test__ = False

    base: BaseApp
    target: str
    output: Path


@dataclass(frozen=True, slots=True)
class BuiltApp:
    """The package.

    Attributes:
        platform: where it runs.
        path: of the file.
        sha256: of the file.
        size_bytes: of the file.
        model_sha256: of the model inside; empty: there is none, as in the test APK of an instrumentation.
        facts: what the base app says of itself; None: there is no base app.
        signatures: what signs it: "v1", "v2", "v3" (Android), "apple"; none: it is not signed.
    """

    platform: Platform
    path: Path
    sha256: str
    size_bytes: int
    model_sha256: str
    facts: AppFacts | None = None
    signatures: tuple[str, ...] = ()
