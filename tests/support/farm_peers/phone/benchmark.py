"""What a pushed benchmark_model does: its bytes decide. It runs the model for real and prints the tool's log.

The binary is a script for `/system/bin/benchmark_runner`, which the phone answers; `benchmark_binary` makes one.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from support.farm_peers.phone import model_job
from support.farm_peers.phone.calls import Call, Command
from support.farm_peers.phone.logcat import Log
from support.farm_peers.phone.state import PhoneState
from support.farm_peers.phone.system_root import inside

HOST, ARM = "host", "cortex-a53"
_HEAD_LINES = 7
_WAIT_S = 0.05
_LONGEST_S = 600.0
_UNKNOWN_DELEGATES = ("use_gpu", "use_nnapi", "use_hexagon", "use_npu", "use_coreml")


def benchmark_binary(runs_on: str = HOST, *, abi: str = "arm64-v8a", needs: str = "") -> bytes:
    """A benchmark_model for phones of this ABI: runs models on HOST's kernels or on ARM64 ones.

    `needs`: a shared library that must be in LD_LIBRARY_PATH. It is as long as a small real one.
    """
    return f"#!/system/bin/benchmark_runner {runs_on}:{abi}:{needs}\n".encode() + bytes(200_000)


@dataclass(frozen=True, slots=True)
class Flags:
    """The arguments of the tool."""

    given: Mapping[str, str]

    @classmethod
    def parse(cls, words: Sequence[str]) -> Flags:
        """Of `--name=value` words."""
        pairs = (word.removeprefix("--").partition("=") for word in words if word.startswith("--"))
        return cls({name: value for name, _, value in pairs})

    @property
    def accelerator(self) -> str:
        """xnnpack unless it is switched off."""
        return "cpu" if self.given.get("use_xnnpack") in ("false", "0") else "xnnpack"

    @property
    def delegate(self) -> str:
        """A delegate that this phone does not have, or ""."""
        return next((name for name in _UNKNOWN_DELEGATES if self.given.get(name) in ("true", "1")), "")

    @property
    def shapes(self) -> dict[str, list[int]]:
        """Of the inputs, by name."""
        names = [name for name in self.given.get("input_layer", "").split(",") if name]
        shapes = [one for one in self.given.get("input_layer_shape", "").split(":") if one]
        return {name: [int(size) for size in shape.split(",")] for name, shape in zip(names, shapes, strict=True)}


class Benchmark:
    """The tool on one phone."""

    def __init__(self, root: Path, state: PhoneState, log: Log) -> None:
        self._root = root
        self._state = state
        self._log = log

    def table(self) -> Mapping[str, Command]:
        """The commands by name."""
        return {"benchmark_runner": self._run}

    def _run(self, call: Call) -> int:
        _, how, binary, *words = call.arguments
        runs_on, abi, needs = how.split(":")
        if abi not in self._state.properties["ro.product.cpu.abilist"].split(","):
            call.err(f"E: /system/bin/sh: {binary}: not executable: 64-bit ELF file\n")
            return 1
        folders = call.environment.get("LD_LIBRARY_PATH", "").split(":")
        if needs and not any(inside(self._root, f"{folder}/{needs}").exists() for folder in folders if folder):
            call.err(f'CANNOT LINK EXECUTABLE "{binary}": library "{needs}" not found: needed by main executable\n')
            return 1
        name = binary.rpartition("/")[2]
        graph = inside(self._root, call.path(Flags.parse(words).given.get("graph", "")))
        return self.run_model(call, Flags.parse(words), graph, runs_on, call.out, name)

    def run_model(
        self, call: Call, flags: Flags, graph: Path, runs_on: str, out: Callable[[str], None], name: str
    ) -> int:
        """Runs a model and prints; returns the status, negative for a signal."""
        self._state.benchmarks.append(tuple(f"--{key}={value}" for key, value in flags.given.items()))
        out("INFO: STARTING!\nINFO: Log parameter values verbosely: [0]\n")
        shown = flags.given.get("graph", graph.name)
        if not graph.is_file():
            out(f"INFO: Graph: [{shown}]\nERROR: Could not open '{shown}'.\nERROR: Failed to load model {shown}\n")
            out("ERROR: Benchmarking failed.\n")
            return 1
        if flags.delegate:
            out(f"ERROR: Failed to apply {flags.delegate.removeprefix('use_').upper()} delegate.\n")
            out("ERROR: Benchmarking failed.\n")
            return 1
        with tempfile.TemporaryDirectory(prefix="windtunnel-phone-") as folder:
            return self._measure(call, flags, graph, runs_on, out, Path(folder), name)

    def _measure(
        self, call: Call, flags: Flags, graph: Path, runs_on: str, out: Callable[[str], None], folder: Path, name: str
    ) -> int:
        log = folder / "log"
        job = {
            "model": str(graph.absolute()),
            "accelerator": flags.accelerator,
            "threads": int(flags.given.get("num_threads", "1")),
            "shapes": flags.shapes,
            "cpu": "" if runs_on == HOST else runs_on,
            "log": str(log),
        }
        (folder / "job.json").write_text(json.dumps(job))
        with _child(folder / "job.json") as child:
            status = _follow(child, call)
            said = child.stdout.read().strip() if child.stdout is not None else ""
        if status is None:
            return -signal.SIGHUP
        if status:
            out(f"ERROR: {said}\nERROR: Failed to allocate tensors!\nERROR: Benchmarking failed.\n")
            return 1
        lines = log.read_text().splitlines(keepends=True)[2:]
        out("".join(lines[:_HEAD_LINES]))
        self._state.started.set()
        while not self._state.may_finish.wait(_WAIT_S):
            if call.gone.is_set():
                return -signal.SIGHUP
        return self._end(call, lines[_HEAD_LINES:], out, name)

    def _end(self, call: Call, lines: list[str], out: Callable[[str], None], name: str) -> int:
        fault = self._state.faults.benchmark
        if not fault:
            out("".join(lines))
            return 0
        out("".join(lines[:1]))
        if fault == "segv":
            self._tombstone(call.pid, name)
            return -signal.SIGSEGV
        if fault == "oom":
            words = f"Kill '{name}' ({call.pid}), uid {call.user}, oom_score_adj -950 to free 5123456kB rss, 0kB swap"
            self._log.write(512, "I", "lowmemorykiller", f"{words}; reason: device is not responding")
            return -signal.SIGKILL
        if fault == "abort":
            call.err("terminating due to uncaught exception of type std::bad_alloc: std::bad_alloc\n")
            return -signal.SIGABRT
        if fault == "exit":
            out("ERROR: Failed to invoke\nERROR: Benchmarking failed.\n")
            return 1
        return 0

    def _tombstone(self, pid: int, name: str) -> None:
        where = f"in tid {pid} ({name}), pid {pid} ({name})"
        fatal = f"Fatal signal 11 (SIGSEGV), code 1 (SEGV_MAPERR), fault addr 0x0000000000000010 {where}"
        self._log.write(pid, "F", "libc", fatal, buffer="crash")
        text = (
            "*** *** *** *** *** *** *** *** *** *** *** *** *** *** *** ***\n"
            f"Build fingerprint: '{self._state.properties['ro.build.fingerprint']}'\nABI: 'arm64'\n"
            f"pid: {pid}, tid: {pid}, name: {name}  >>> {name} <<<\nuid: 2000\n"
            "signal 11 (SIGSEGV), code 1 (SEGV_MAPERR), fault addr 0x0000000000000010\n"
            "Cause: null pointer dereference\nbacktrace:\n"
            f"      #00 pc 00000000001c2a10  /data/local/tmp/{name} (tflite::ops::builtin::conv::Eval+316)\n"
            f"      #01 pc 00000000003f8d44  /data/local/tmp/{name} (tflite::Subgraph::InvokeImpl+1196)"
        )
        self._log.write(pid + 1, "F", "DEBUG", text, buffer="crash")


@contextlib.contextmanager
def _child(job: Path) -> Iterator[subprocess.Popen[str]]:
    """The measurement, ended with everything below it when this is left."""
    command = [sys.executable, model_job.__file__, str(job)]
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        if child.stdout is not None:
            child.stdout.close()


def _follow(child: subprocess.Popen[str], call: Call) -> int | None:
    """Waits; None: the process of the phone is gone."""
    while True:
        try:
            return child.wait(timeout=_WAIT_S)
        except subprocess.TimeoutExpired:
            if call.gone.is_set():
                return None
