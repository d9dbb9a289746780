"""A phone that is attached by a cable: an adbd that Debian's adb and adbutils accept, on a TCP port of this host.

Its shell and its tools are Android's own (mksh, toybox) in a private file system; benchmarks run the model for real.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from support.farm_peers.phone.benchmark import Benchmark
from support.farm_peers.phone.calls import Call, CallServer
from support.farm_peers.phone.commands.activities import ActivityCommands
from support.farm_peers.phone.commands.logs import LogCommands
from support.farm_peers.phone.commands.packages import PackageCommands
from support.farm_peers.phone.commands.processes import Processes
from support.farm_peers.phone.commands.system import SystemCommands
from support.farm_peers.phone.logcat import Log
from support.farm_peers.phone.programs import phone_programs
from support.farm_peers.phone.shell_service import hang_up, run_protocol, run_raw
from support.farm_peers.phone.state import PhoneState
from support.farm_peers.phone.sync_service import SyncService
from support.farm_peers.phone.system_root import build_root, inside, new_boot
from support.farm_peers.phone.wire import Connection, Stream


class Phone:
    """One phone. `folder` becomes its file system. Close it in the end.

    Its `mode` is device, unauthorized or offline.
    """

    def __init__(self, folder: Path, state: PhoneState | None = None) -> None:
        phone_programs()
        self.root = folder.resolve()
        self.root.mkdir(parents=True)
        self.state = state or PhoneState()
        self.log = Log()
        self.mode = "device"
        self.processes = Processes(self.root)
        benchmark = Benchmark(self.root, self.state, self.log)
        self.packages = PackageCommands(self.root, self.state, lambda name: self.activities.stop(name))
        self.activities = ActivityCommands(self.root, self.packages.installed, self.processes, benchmark, self.log)
        self.system = SystemCommands(self.root, self.state, self.reboot)
        parts = (self.system, self.packages, self.activities, self.processes, benchmark, LogCommands(self.log))
        commands = {name: command for part in parts for name, command in part.table().items()}
        build_root(self.root, self.state, (*commands, "cmd"))
        new_boot(self.root)
        self._calls = CallServer(self.root, {**commands, "cmd": self._cmd}, _unknown)
        self._connections: list[Connection] = []
        # Process groups of the shells that were started; some live on in the background.
        self._sessions: set[int] = set()
        self._listening: socket.socket | None = None
        self.port = 0
        self.plug()

    @property
    def serial(self) -> str:
        """As adb names it."""
        return f"127.0.0.1:{self.port}"

    def file(self, path: str) -> Path:
        """The file of this host that is `path` of the phone."""
        return inside(self.root, path)

    def plug(self) -> None:
        """Puts the cable in."""
        if self._listening is not None:
            return
        listening = socket.create_server(("127.0.0.1", self.port), backlog=8)
        self.port = listening.getsockname()[1]
        self._listening = listening
        threading.Thread(target=self._accept, args=(listening,), daemon=True, name="adbd").start()

    def unplug(self) -> None:
        """Pulls the cable: what the shell runs gets a hang-up, the phone lives on."""
        listening, self._listening = self._listening, None
        if listening is not None:
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            listening.close()
        self.drop()

    def drop(self) -> None:
        """Ends the connections that there are; new ones are taken."""
        connections, self._connections = self._connections, []
        for connection in connections:
            connection.drop()
        sessions, self._sessions = self._sessions, set()
        for session in sessions:
            hang_up(session)

    def change_mode(self, mode: str) -> None:
        """Makes it device, unauthorized or offline from now on."""
        self.mode = mode
        self.drop()

    def reboot(self) -> None:
        """Starts again: no process and no connection survives, files do."""
        self.processes.kill_all()
        self.processes.apps.clear()
        self.log.clear()
        new_boot(self.root)
        self.state.settings.pop(("global", "stay_on_while_plugged_in"), None)
        self.drop()

    def close(self) -> None:
        """Switches it off and forgets it."""
        self.state.may_finish.set()
        self.unplug()
        self.processes.kill_all()
        self._calls.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                sock, _ = listening.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pace = lambda: self.state.faults.pace  # noqa: E731
            connection = Connection(sock, self._banner, self._service, lambda: self.mode, pace)
            self._connections.append(connection)
            threading.Thread(target=connection.serve, daemon=True, name="adbd connection").start()

    def _banner(self) -> str:
        names = ("ro.product.name", "ro.product.model", "ro.product.device")
        told = ";".join(f"{name}={self.state.properties[name]}" for name in names)
        return f"device::{told};features={','.join(self.state.features)}"

    def _service(self, name: str) -> Callable[[Stream], None] | None:
        kind, _, rest = name.partition(":")
        kind, *options = kind.split(",")
        if kind == "shell" and "v2" in options and "shell_v2" in self.state.features:
            return lambda stream: run_protocol(self.root, rest, stream, self._sessions)
        if kind in ("shell", "exec"):
            return lambda stream: run_raw(self.root, rest, stream, self._sessions)
        if kind == "sync":
            return SyncService(self.root, self.state, self.unplug).run
        if kind == "reboot":
            return lambda stream: self.reboot()
        return None

    def _cmd(self, call: Call) -> int:
        """`cmd SERVICE ...`, which Android 7 brought."""
        service = call.arguments[1] if len(call.arguments) > 1 else ""
        if service == "package":
            return self.packages.run(call, call.arguments[2:])
        if service == "connectivity":
            return self.system.connectivity(call)
        call.err(f"cmd: Can't find service: {service}\n")
        return 20


def _unknown(call: Call) -> int:
    call.err(f"/system/bin/sh: {call.name}: inaccessible or not found\n")
    return 127


@contextlib.contextmanager
def attached_phone(folder: Path, state: PhoneState | None = None) -> Iterator[Phone]:
    """A phone for the time of a block."""
    phone = Phone(folder, state)
    try:
        yield phone
    finally:
        phone.close()
