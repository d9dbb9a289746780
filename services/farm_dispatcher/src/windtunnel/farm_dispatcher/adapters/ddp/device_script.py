"""The script that a session runs on its device: the programs of all entries, one after the other.

Device Run keeps neither the output nor the exit status of an executable, only files that are pulled. So the session's
executable is this script: it writes what each program prints, how it ended, and the SHA-256 of its files as they are
on the device. Artifacts are pushed once, under their hashes, whatever entries need them.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from windtunnel.farm_dispatcher.adapters.cell_refusals import cell_refusal, unsupported
from windtunnel.farm_dispatcher.domain.device_runs import JobFailure
from windtunnel.farm_dispatcher.domain.devices import Device
from windtunnel.farm_dispatcher.domain.jobs import DEVICE_FOLDER, Entry, ExecutableJob, FarmRunRequest

# Device Run's limits of a session, in seconds.
SHORTEST_S: Final = 60
LONGEST_S: Final = 3 * 3600
# What pushing and hashing take in addition to the programs.
_SPARE_S: Final = 60
LOG: Final = "log.txt"
EXIT: Final = "exit.txt"
HASHES: Final = "sha256.txt"
BEFORE: Final = "before.txt"
AFTER: Final = "after.txt"
SERIAL: Final = "serial.txt"
PULLED: Final = "pulled"


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended: exit status, and its seconds."""

    status: int
    seconds: float


def folder_of(key: str) -> str:
    """The folder of a farm run on its device.

    Args:
        key: of its request.

    Returns:
        An absolute path.
    """
    return f"{DEVICE_FOLDER}/windtunnel/{key}"


def refusal_of(entry: Entry, device: Device) -> JobFailure | None:
    """Why an entry cannot run in a session.

    Args:
        entry: of a request.
        device: of it.

    Returns:
        None: it can.
    """
    job = entry.job
    if not isinstance(job, ExecutableJob):
        return unsupported("this farm runs executables, not apps", "run_as: executable, or another farm")
    if job.binary is None:
        return unsupported("this farm has no benchmark program of its own", "put one for its processor in the catalog")
    bad = [file.target for file in job.pushed if not re.fullmatch(r"(/[\w.+-]+)+", file.target) or ".." in file.target]
    if bad:
        return unsupported(f"{bad[0]!r} is not a path on a device", "use letters, digits, '.', '_', '+' and '-'")
    return cell_refusal(entry.cell, device)


def executables(request: FarmRunRequest) -> list[tuple[int, Entry, ExecutableJob]]:
    """The entries that can run, with their places in the request.

    Args:
        request: of a farm run.

    Returns:
        In their order.
    """
    return [
        (index, entry, entry.job)
        for index, entry in enumerate(request.entries)
        if isinstance(entry.job, ExecutableJob) and refusal_of(entry, request.device) is None
    ]


def timeout_of(request: FarmRunRequest) -> int:
    """How long the whole script may take.

    Args:
        request: of a farm run.

    Returns:
        Whole seconds within Device Run's limits.
    """
    wanted = _SPARE_S + sum(math.ceil(job.timeout_s) for _, _, job in executables(request))
    return min(LONGEST_S, max(SHORTEST_S, wanted))


def script_of(request: FarmRunRequest) -> str:
    """The script for a farm run.

    Args:
        request: of it.

    Returns:
        A shell script for Android's shell and toybox.
    """
    lines = [_HEAD.format(root=folder_of(request.key))]
    for _, entry, job in executables(request):
        lines.append(_part(entry, job))
    return "\n".join([*lines, 'exit "$worst"', ""])


_HEAD: Final = """#!/system/bin/sh
root={root}
worst=0
place() {{
    mkdir -p "${{2%/*}}" && rm -f "$2" && {{ ln "$root/blobs/$1" "$2" 2>/dev/null || cp "$root/blobs/$1" "$2"; }}
}}
conditions() {{
    {{
        dumpsys battery
        dumpsys thermalservice
        for file in /sys/devices/system/cpu/cpu*/cpufreq/*_cur_freq /sys/devices/system/cpu/cpu*/cpufreq/*_max_freq; do
            echo "$file $(cat "$file")"
        done
    }} > "$1" 2>/dev/null
}}
now() {{
    read -r up rest < /proc/uptime && echo "$up" || date +%s
}}
pull() {{
    if [ -e "$2" ]; then mkdir -p "${{1%/*}}" && cp -r "$2" "$1"; fi
}}"""


def _part(entry: Entry, job: ExecutableJob) -> str:
    """One entry: its files in their places, its program, what it leaves, and its files away again."""
    files = {file.target: file.blob.sha256 for file in job.pushed}
    binary = "" if job.binary is None else job.binary.target
    command = " ".join(map(shlex.quote, (binary, *job.arguments)))
    variables = "".join(f"{_name(key)}={shlex.quote(value)} " for key, value in job.environment.items())
    lines = [
        f'out="$root/out/{entry.name}"',
        'mkdir -p "$out"',
        *(f"place {sha256} {target}" for target, sha256 in files.items()),
        f"chmod 755 {binary}",
        f'sha256sum {" ".join(files)} > "$out/{HASHES}"',
        f'getprop ro.serialno > "$out/{SERIAL}" 2>/dev/null',
        f'conditions "$out/{BEFORE}"',
        "began=$(now)",
        f"( cd {PurePosixPath(binary).parent} && "
        f'exec env {variables}timeout {math.ceil(job.timeout_s)} {command} ) > "$out/{LOG}" 2>&1 < /dev/null',
        "status=$?",
        f'echo "$status $began $(now)" > "$out/{EXIT}"',
        f'conditions "$out/{AFTER}"',
        '[ "$status" = 0 ] || worst=$status',
        *(f'pull "$out/{PULLED}/{index}" {shlex.quote(path)}' for index, path in enumerate(job.pull)),
        f"rm -f {' '.join(files)}",
    ]
    return "\n".join(lines)


def _name(variable: str) -> str:
    """A variable's name, which no quote protects."""
    return re.sub(r"\W", "_", variable)


def read_exit(text: str) -> Ran | None:
    """How a program ended, as the script wrote it.

    Args:
        text: of its file.

    Returns:
        None: it does not say.
    """
    match = re.fullmatch(r"(\d+) (\d+(?:\.\d+)?) (\d+(?:\.\d+)?)", text.strip())
    return None if match is None else Ran(int(match[1]), max(0.0, float(match[3]) - float(match[2])))


def wrong_files(text: str, wanted: Mapping[str, str]) -> Sequence[str]:
    """Files that are not on the device as they were sent.

    Args:
        text: of the file with hashes.
        wanted: SHA-256 by path.

    Returns:
        Their paths.
    """
    lines = [(line[:64], line[64:].strip()) for line in text.splitlines()]
    return [path for path, sha256 in wanted.items() if not any(_is(line, sha256, path) for line in lines)]


def _is(line: tuple[str, str], sha256: str, path: str) -> bool:
    return line[0] == sha256 and line[1].endswith(path)
