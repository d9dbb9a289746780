"""The script that a farm run is on a phone: all its entries, one after the other."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from windtunnel.farm_dispatcher.adapters.adb.refusals import refusal
from windtunnel.farm_dispatcher.domain.farm_settings import AdbSettings
from windtunnel.farm_dispatcher.domain.jobs import DEVICE_FOLDER, AppJob, Entry, ExecutableJob, FarmRunRequest

_FUNCTIONS: Final = Path(__file__).with_name("run_on_phone.sh")
_ACTIVITY: Final = ".BenchmarkModelActivity"
_TEST_LOOP: Final = "com.google.intent.action.TEST_LOOP"
_LIBRARIES: Final = "LD_LIBRARY_PATH"


@dataclass(frozen=True, slots=True)
class Waits:
    """How long the script waits for a phone that is hot or empty, and between two looks, in whole seconds."""

    patience_s: int = 900
    pause_s: int = 10


def script_of(request: FarmRunRequest, settings: AdbSettings, waits: Waits) -> str:
    """The script of a farm run, for Android's shell. Its argument is the folder that jobs call DEVICE_FOLDER.

    Args:
        request: what to run.
        settings: of the farm.
        waits: for phones that are not ready.

    Returns:
        The text.
    """
    values = {
        "KEY": request.key,
        "COUNT": len(request.entries),
        "MIN_BATTERY": settings.min_battery_percent,
        # The battery's own unit: tenths of a degree.
        "MAX_HEAT": round(settings.max_celsius * 10),
        "COOL_DOWN": round(settings.cool_down_seconds),
        "AIRPLANE": int(settings.airplane),
        "PATIENCE": waits.patience_s,
        "PAUSE": waits.pause_s,
    }
    lines = [_FUNCTIONS.read_text(encoding="utf-8"), *(f"{name}={value}" for name, value in values.items())]
    lines += ["prepare || { touch not_prepared; exit 1; }", "rm -f pull.list"]
    for number, entry in enumerate(request.entries):
        if refusal(entry, request.device) is None:
            lines += _entry(number, entry)
    return "\n".join((*lines, ""))


def word(text: str) -> str:
    """A word of the script, in which DEVICE_FOLDER is the folder that the script is given.

    Args:
        text: any.

    Returns:
        Quoted.
    """
    return '"$T"'.join(shlex.quote(part) if part else "" for part in text.split(DEVICE_FOLDER)) or "''"


def _entry(number: int, entry: Entry) -> Iterator[str]:
    job = entry.job
    body = list(_executable(job) if isinstance(job, ExecutableJob) else _app(job))
    targets = [file.target for file in job.pushed] if isinstance(job, ExecutableJob) else [f.target for f in job.files]
    yield f"if start {number}; then"
    yield from (f"    {line}" for line in body)
    for index, path in enumerate(job.pull):
        yield f'    mkdir -p "$D/pull" && cp -r {word(path)} "$D/pull/{index}" 2>/dev/null'
    if targets:
        folders = dict.fromkeys(target.rpartition("/")[0] for target in targets)
        yield f"    rm -f {_words(dict.fromkeys(targets))}"
        # Only empty ones go.
        yield f"    rmdir {_words(folders)} 2>/dev/null"
    # Last: an entry with an answer is complete.
    yield '    [ -z "$code" ] || answer "$code"'
    yield "fi"


def _executable(job: ExecutableJob) -> Iterator[str]:
    assert job.binary is not None
    placed = " && ".join(f"place {file.blob.sha256} {word(file.target)}" for file in job.pushed)
    folder = job.binary.target.rpartition("/")[0]
    environment = {_LIBRARIES: ":".join(_library_folders(job)), **job.environment}
    exports = "".join(f"export {name}={word(value)}; " for name, value in environment.items() if value)
    command = _words((job.binary.target, *job.arguments))
    yield "code="
    yield f"if {placed}; then"
    yield "    clock_on"
    yield f'    ( {exports}cd {word(folder)}; exec {command} ) > "$D/log" 2>&1 < /dev/null &'
    yield f"    watch {max(1, round(job.timeout_s))} $!"
    yield "fi"


def _library_folders(job: ExecutableJob) -> list[str]:
    """Where the program finds its shared libraries: its own folder, and those of pushed libraries."""
    assert job.binary is not None
    libraries = [file.target for file in job.files if ".so" in file.target.rpartition("/")[2]]
    return list(dict.fromkeys(path.rpartition("/")[0] for path in (job.binary.target, *libraries)))


def _app(job: AppJob) -> Iterator[str]:
    placed = [f"place {file.blob.sha256} {word(file.target)}" for file in job.files]
    name = shlex.quote(job.package_name)
    installed = [f'install "$ROOT/blobs/{blob.sha256}" {name}' for blob in (job.package, job.test_package) if blob]
    yield "code="
    yield f"if {' && '.join((*placed, *installed))}; then"
    yield "    clock_on"
    yield f"    {_start_of(job, name)}"
    yield "fi"
    yield f"pm uninstall {name} > /dev/null 2>&1"


def _start_of(job: AppJob, name: str) -> str:
    limit = max(1, round(job.timeout_s))
    extras = [part for key, value in job.arguments.items() for part in ("-e", key, value)]
    if job.kind == "instrumentation":
        return f"instrumentation {limit} {name} {_words(extras)}"
    if job.kind == "game_loop":
        extras += ["-a", _TEST_LOOP, "--ei", "scenario", str(next(iter(job.scenarios), 1))]
    return f"activity {limit} {name} {name}/{_ACTIVITY} {_words(extras)}"


def _words(texts: Iterable[str]) -> str:
    return " ".join(map(word, texts))
