"""The activity manager: am starts, stops and tests apps. An app runs the model in it and logs as TFLite's."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from support.farm_peers.phone.apk.package import Package
from support.farm_peers.phone.benchmark import HOST, Benchmark, Flags
from support.farm_peers.phone.calls import Call, Command, Killed
from support.farm_peers.phone.commands.processes import Processes
from support.farm_peers.phone.logcat import Log
from support.farm_peers.phone.shell_service import start
from support.farm_peers.phone.system_root import inside

_APP_USER = 10123
_LEVELS = {"INFO": "I", "ERROR": "E", "VERBOSE": "V", "WARNING": "W"}
_PATIENCE_S = 20.0
GRAPH, CONFIG = "assets/windtunnel/model.tflite", "assets/windtunnel/config.json"


@dataclass
class Intent:
    """What `am start` and `am instrument` are given."""

    component: str = ""
    action: str = ""
    waits: bool = False
    stops_first: bool = False
    extras: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, words: Sequence[str]) -> Intent:
        """Of the words after the verb."""
        intent, rest = cls(), list(words)
        while rest:
            word = rest.pop(0)
            if word == "-n":
                intent.component = rest.pop(0)
            elif word == "-a":
                intent.action = rest.pop(0)
            elif word in ("--es", "--ei", "--ez", "--el", "--ef", "-e"):
                name, value = rest.pop(0), rest.pop(0)
                intent.extras[name] = value
            elif word in ("-d", "-t", "-c", "-f", "--user", "--activity-clear-top"):
                rest = rest[1:]
            elif word.startswith("-"):
                intent.waits = intent.waits or word in ("-W", "-w")
                intent.stops_first = intent.stops_first or word == "-S"
            else:
                intent.component = word
        return intent


class ActivityCommands:
    """am over one phone's packages. `runs_on` is where apps run their models."""

    def __init__(
        self, root: Path, packages: Mapping[str, Package], processes: Processes, benchmark: Benchmark, log: Log
    ) -> None:
        self._root = root
        self._packages = packages
        self._processes = processes
        self._benchmark = benchmark
        self._log = log
        self.runs_on = HOST
        self._ended: dict[int, threading.Event] = {}
        self._status: dict[int, int] = {}

    def table(self) -> Mapping[str, Command]:
        """The commands by name."""
        return {"am": self._am, "app_process64": self._app}

    def stop(self, package: str) -> None:
        """Ends the processes of an app."""
        for pid, name in list(self._processes.apps.items()):
            if name == package:
                self._processes.apps.pop(pid, None)
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue

    def _am(self, call: Call) -> int:
        verb, words = (call.arguments[1], call.arguments[2:]) if len(call.arguments) > 1 else ("", [])
        if verb in ("start", "start-activity"):
            return self._start(call, Intent.parse(words))
        if verb == "instrument":
            return self._instrument(call, Intent.parse(words))
        if verb in ("force-stop", "kill"):
            self.stop(words[-1])
            return 0
        if verb == "broadcast":
            call.err("java.lang.SecurityException: Permission Denial: not allowed to send broadcast\n")
            return 255
        call.err(f"Unknown command: {verb}\n")
        return 255

    def _start(self, call: Call, intent: Intent) -> int:
        name, _, activity = intent.component.partition("/")
        shown = f" cmp={intent.component}" + (" (has extras)" if intent.extras else "")
        action = f" act={intent.action}" if intent.action else ""
        call.out(f"Starting: Intent {{{action}{shown} }}\n".replace("{ ", "{", 1))
        full = name + activity if activity.startswith(".") else activity
        package = self._packages.get(name)
        if package is None or full not in package.activities:
            call.out(f"Error type 3\nError: Activity class {{{name}/{full}}} does not exist.\n")
            return 1
        if intent.stops_first:
            self.stop(name)
        self._launch(name, intent)
        if intent.waits:
            call.out(
                f"Status: ok\nLaunchState: COLD\nActivity: {intent.component}\nTotalTime: 321\n"
                "WaitTime: 333\nComplete\n"
            )
        return 0

    def _launch(self, name: str, intent: Intent) -> subprocess.Popen[bytes]:
        process = start(
            self._root, ("/system/bin/app_process64", name, json.dumps(intent.extras)), user=_APP_USER, merged=True
        )
        self._processes.apps[process.pid] = name
        self._ended[process.pid] = threading.Event()
        self._log.write(1602, "I", "ActivityManager", f"Start proc {process.pid}:{name}/u0a123 for top-activity")
        threading.Thread(target=self._bury, args=(process, name), daemon=True).start()
        return process

    def _bury(self, process: subprocess.Popen[bytes], name: str) -> None:
        process.communicate()
        if self._processes.apps.pop(process.pid, None) is not None:
            self._log.write(1602, "I", "ActivityManager", f"Process {name} (pid {process.pid}) has died: fg  TOP")
        self._status.setdefault(process.pid, process.returncode or -signal.SIGKILL)
        self._ended[process.pid].set()

    def _instrument(self, call: Call, intent: Intent) -> int:
        name, _, runner = intent.component.partition("/")
        full = name + runner if runner.startswith(".") else runner
        package = self._packages.get(name)
        target = dict(package.instrumentation).get(full) if package is not None else None
        if target is None or target not in self._packages:
            call.out(
                "INSTRUMENTATION_STATUS: Error=Unable to find instrumentation info for: "
                f"ComponentInfo{{{name}/{full}}}\nINSTRUMENTATION_STATUS_CODE: -1\n"
            )
            call.err(f"android.util.AndroidException: INSTRUMENTATION_FAILED: {intent.component}\n")
            return 1
        process = self._launch(target, intent)
        while not self._ended[process.pid].wait(0.1):
            if call.gone.is_set():
                raise Killed
        status = self._status[process.pid]
        self.stop(target)
        if status < 0:
            call.out("INSTRUMENTATION_RESULT: shortMsg=Process crashed.\nINSTRUMENTATION_CODE: 0\n")
        elif status:
            call.out("INSTRUMENTATION_RESULT: stream=\n\nTime: 1.234\n\nFAILURES!!!\nTests run: 1,  Failures: 1\n\n\n")
            call.out("INSTRUMENTATION_CODE: -1\n")
        else:
            call.out("INSTRUMENTATION_RESULT: stream=\n\nTime: 1.234\n\nOK (1 test)\n\n\nINSTRUMENTATION_CODE: -1\n")
        return 0

    def _app(self, call: Call) -> int:
        """The app's process: runs the model, then stays as a cached process does."""
        name, extras = call.arguments[1], json.loads(call.arguments[2])
        status = self._run_model(call, self._packages[name], extras)
        self._status[call.pid] = status
        if status < 0:
            return status
        # Set by whoever launched it, which may be a moment later.
        ended = self._ended.setdefault(call.pid, threading.Event())
        ended.set()
        call.gone.wait()
        return 0

    def _run_model(self, call: Call, package: Package, extras: Mapping[str, str]) -> int:
        config = json.loads(package.file(CONFIG) or b"{}")
        flags = Flags.parse([*config.get("args", ()), *shlex.split(extras.get("args", "").strip('"'))])

        def out(text: str) -> None:
            for line in text.splitlines():
                word, _, rest = line.partition(": ")
                level, shown = (_LEVELS[word], rest) if word in _LEVELS else ("I", line)
                self._log.write(call.pid, level, "tflite", shown)

        with tempfile.TemporaryDirectory(prefix="windtunnel-app-") as folder:
            graph = flags.given.get("graph", "")
            inner = package.file(GRAPH) if not graph.startswith("/") else None
            if inner is not None:
                file = Path(folder, "model.tflite")
                file.write_bytes(inner)
            else:
                file = inside(self._root, graph or "/nothing")
            return self._benchmark.run_model(call, flags, file, self.runs_on, out, package.name)
