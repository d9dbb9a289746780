"""Runs a job of the worker under qemu-user; a crash or an endless run is an error of this job alone."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

import psutil

from windtunnel.arm_emulator import worker
from windtunnel.arm_emulator.home import CPUS, SETUP, ArmHome, default_home, in_words, missing, qemu
from windtunnel.errors import InvalidInput, JobFailed, NotFound

_WATCH_S: Final = 0.1
_TAIL_LINES: Final = 20
_BYTES_PER_MB: Final = 1_000_000


_WORKER: Final = Path(worker.__file__).absolute()


def run_arm(
    job: Mapping[str, Any],
    cpu: str,
    *,
    script: Path = _WORKER,
    packages: Sequence[Path] = (),
    home: ArmHome | None = None,
    timeout_s: float = 1800.0,
    memory_mb: int = 4000,
    on_sample: Callable[[int], None] = lambda done: None,
) -> None:
    """Runs a job of `worker.run` on the ARM64 kernels of a CPU; paths in it are absolute.

    Another `script` gets the file of its job too, and ends as `worker.main` does. Times under emulation mean nothing;
    the numbers are those of the real kernels. The process stays in the caller's process group, so a pool that ends the
    caller ends it too.

    Args:
        job: what `worker.run` takes, as JSON values.
        cpu: one of CPUS.
        script: the program; it runs under the ARM64 Python.
        packages: folders in which it finds pure Python packages.
        home: of the ARM64 system; None: the default one.
        timeout_s: the longest run, in seconds.
        memory_mb: the most memory, in MB.
        on_sample: called with the number of samples that are done.

    Raises:
        NotFound: the emulator or the system is missing; the hint says what to run.
        InvalidInput: the CPU is not known, or the runtime refuses the model.
        JobFailed: as from `ChildPool.run`.
    """
    home = home or default_home()
    emulator = _require(cpu, home)
    with tempfile.TemporaryDirectory(prefix="windtunnel-arm-") as folder:
        order = Path(folder, "job.json")
        order.write_text(json.dumps(dict(job)), encoding="utf-8")
        with Path(folder, "stderr").open("w+b") as stderr:
            process = subprocess.Popen(
                [*_command(emulator, cpu, home, packages), str(script), str(order)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
            why = _follow(process, timeout_s, memory_mb, on_sample)
            if process.returncode:
                _explain(process.returncode, why, cpu, Path(str(job["model"])).name, _tail(stderr))


def _require(cpu: str, home: ArmHome) -> str:
    if cpu not in CPUS:
        raise InvalidInput(f"unknown ARM CPU {cpu!r}", hint="use " + " or ".join(CPUS))
    lacking = missing(home)
    emulator = qemu()
    if lacking or emulator is None:
        names, todo = in_words(lacking)
        raise NotFound(f"ARM64 kernels need {names}", hint=f"run: {todo or SETUP}")
    return emulator


def _command(emulator: str, cpu: str, home: ArmHome, packages: Sequence[Path]) -> list[str]:
    # -I and -S: nothing of this machine's Python settings reaches the emulated one.
    found = [str(home.site), *map(str, packages)]
    start = f"import runpy, sys; sys.path += {found!r}; sys.argv = sys.argv[1:]; "
    start += "runpy.run_path(sys.argv[0], run_name='__main__')"
    return [emulator, "-cpu", cpu, "-L", str(home.root), str(home.python), "-I", "-S", "-B", "-c", start]


def _follow(process: subprocess.Popen[str], timeout_s: float, memory_mb: int, on_sample: Callable[[int], None]) -> str:
    """Waits for the end of the process within its limits; returns which of them ended it, or ""."""
    ended_by: list[str] = []
    watch = threading.Thread(target=_watch, args=(process, timeout_s, memory_mb, ended_by), daemon=True)
    watch.start()
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("sample "):
                on_sample(int(line.split()[1]))
        process.wait()
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        watch.join()
    return ended_by[0] if ended_by else ""


def _watch(process: subprocess.Popen[str], timeout_s: float, memory_mb: int, ended_by: list[str]) -> None:
    deadline = time.monotonic() + timeout_s
    try:
        seen = psutil.Process(process.pid)
        while process.poll() is None:
            if time.monotonic() > deadline:
                ended_by.append("timeout")
            elif seen.memory_info().rss > memory_mb * _BYTES_PER_MB:
                ended_by.append("memory")
            if ended_by:
                process.kill()
                return
            time.sleep(_WATCH_S)
    except psutil.Error:
        return


def _explain(status: int, why: str, cpu: str, model: str, stderr: str) -> None:
    if why:
        limit = "time" if why == "timeout" else "memory"
        raise JobFailed(f"ran past its {limit} limit", how=why, stderr=stderr)
    if status == worker.REFUSED:
        said = stderr.rpartition("refused: ")[2].strip()
        raise InvalidInput(f"the runtime refuses {model} on {cpu}: {said}")
    last = next((line for line in reversed(stderr.splitlines()) if line.strip()), "")
    if status < 0:
        name = signal.Signals(-status).name
        raise JobFailed(f"died of {name}: {last}", how="signal", stderr=stderr)
    raise JobFailed(f"ended with status {status}: {last}", how="exit", stderr=stderr)


def _tail(stderr: IO[bytes]) -> str:
    stderr.seek(0)
    lines = stderr.read().decode(errors="replace").splitlines()
    return "\n".join(lines[-_TAIL_LINES:])
