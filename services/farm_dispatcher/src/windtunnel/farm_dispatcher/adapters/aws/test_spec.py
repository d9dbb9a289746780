"""The test spec of a farm run, and the script that it runs on the test host.

The spec is the same for all farm runs, so that it is uploaded once. What differs is in the test package.
"""

from __future__ import annotations

import math
import posixpath
import shlex
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Final

from windtunnel.artifacts import ArtifactRef
from windtunnel.errors import InvalidInput
from windtunnel.farm_dispatcher.domain.jobs import AppJob, Entry, ExecutableJob

SPEC: Final = """\
version: 0.1
android_test_host: amazon_linux_2
phases:
  test:
    commands:
      - sh "$DEVICEFARM_TEST_PACKAGE_PATH/windtunnel/run.sh"
artifacts:
  - $DEVICEFARM_LOG_DIR
"""
# Between two entries: the longest wait, in seconds, and the temperature of the battery in tenths of a degree.
COOL_DOWN_S: Final = 60
_COOL_ENOUGH: Final = 380
# Where a program finds its shared libraries.
_LIBRARIES: Final = "LD_LIBRARY_PATH"
_READABLE, _EXECUTABLE = "644", "755"


def script(entries: tuple[Entry, ...], installed: ArtifactRef | None) -> str:
    """The script of a farm run.

    Args:
        entries: all that it runs.
        installed: the package in the app slot, which the farm itself installs.

    Returns:
        Text for sh.

    Raises:
        InvalidInput: a job cannot be run this way.
    """
    runner = resources.files(__package__) / "runner.sh"
    calls = [call for number, entry in enumerate(entries) for call in _calls(number, entry, installed)]
    return runner.read_text(encoding="utf-8") + "\n" + "".join(f"{call}\n" for call in [*calls, "leave"])


def pushed_modes(job: ExecutableJob | AppJob) -> Iterator[tuple[str, str, str]]:
    """The files that a job needs on the device.

    Args:
        job: of an entry.

    Yields:
        SHA-256, path on the device, and mode.
    """
    if isinstance(job, AppJob):
        yield from ((file.blob.sha256, file.target, _READABLE) for file in job.files)
        return
    for file in job.pushed:
        yield file.blob.sha256, file.target, _EXECUTABLE if file == job.binary else _READABLE


def _calls(number: int, entry: Entry, installed: ArtifactRef | None) -> Iterator[str]:
    job = entry.job
    if number:
        yield f"cool {COOL_DOWN_S} {_COOL_ENOUGH}"
    yield _call("begin", entry.name)
    if isinstance(job, AppJob):
        yield from (_call("install", blob.sha256) for blob in packages_beside(job, installed))
    for sha256, target, mode in pushed_modes(job):
        yield _call("push", sha256, _path(target), mode)
    limit = str(math.ceil(job.timeout_s))
    if isinstance(job, AppJob):
        yield _call("run_app", limit, job.package_name, app_command(job))
    else:
        yield _call("run", limit, shell_command(job))
    yield from (_call("pull", str(index), _path(path)) for index, path in enumerate(job.pull))
    yield "finish"


def packages_beside(job: AppJob, installed: ArtifactRef | None) -> tuple[ArtifactRef, ...]:
    """The packages of an app job that the farm does not install.

    Args:
        job: the job.
        installed: the package in the app slot.

    Returns:
        The others.
    """
    tests = () if job.test_package is None else (job.test_package,)
    return tuple(blob for blob in (job.package, *tests) if blob != installed)


def shell_command(job: ExecutableJob) -> str:
    """The command of an executable job for the shell of a device.

    Args:
        job: with a binary.

    Returns:
        It changes to the folder of the binary first.

    Raises:
        InvalidInput: the job has none.
    """
    if job.binary is None:
        raise InvalidInput("the job has no benchmark program", hint="name one in the catalog of benchmark programs")
    folder, name = posixpath.split(job.binary.target)
    libraries = [posixpath.dirname(file.target) for file in job.files if ".so" in posixpath.basename(file.target)]
    environment = {_LIBRARIES: ":".join(dict.fromkeys((folder, *libraries))), **job.environment}
    words = [*_assignments(environment), f"./{name}", *job.arguments]
    return f"cd {shlex.quote(folder)} && {' '.join(_quote_word(word) for word in words)}"


def app_command(job: AppJob) -> str:
    """The command that starts the app of a job.

    Args:
        job: for Android.

    Returns:
        For the shell of a device.
    """
    if job.kind == "instrumentation":
        pairs = [word for name, value in job.arguments.items() for word in ("-e", name, value)]
        return shlex.join(["am", "instrument", "-w", *pairs, f"{job.package_name}/{_RUNNER}"])
    words = ["am", "start", "-W", "-S"]
    if job.kind == "game_loop":
        scenario = str((job.scenarios or (1,))[0])
        words += ["-a", _TEST_LOOP, "-p", job.package_name, "--ei", "scenario", scenario]
    else:
        words += ["-n", f"{job.package_name}/{_ACTIVITY}"]
    return shlex.join([*words, *(word for pair in job.arguments.items() for word in ("--es", *pair))])


_RUNNER: Final = "androidx.test.runner.AndroidJUnitRunner"
_ACTIVITY: Final = ".BenchmarkModelActivity"
_TEST_LOOP: Final = "com.google.intent.action.TEST_LOOP"


def _path(path: str) -> str:
    if not path.startswith("/") or set(path) & set("'\n\r"):
        raise InvalidInput(f"{path!r} cannot be a path on a device", hint="give an absolute path without quotes")
    return path


def _assignments(environment: Mapping[str, str]) -> Iterator[str]:
    for name, value in environment.items():
        if not name.isidentifier() or not name.isascii():
            raise InvalidInput(f"{name!r} is not a name of an environment variable")
        yield f"{name}={value}"


def _quote_word(word: str) -> str:
    """Quotes a word; of an assignment only the value, which would not be one otherwise."""
    name, sign, value = word.partition("=")
    return f"{name}={shlex.quote(value)}" if sign and name.isidentifier() else shlex.quote(word)


def _call(name: str, *words: str) -> str:
    return shlex.join([name, *words])
