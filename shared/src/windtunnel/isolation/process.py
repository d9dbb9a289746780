"""One child process, seen from the parent: start it, give it jobs, watch it, explain its death."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import psutil

from windtunnel.errors import InternalError, JobFailed, Unavailable, WindtunnelError
from windtunnel.isolation.reporting import Progress
from windtunnel.isolation.wire import (
    HEADER,
    MAX_FRAME_BYTES,
    Hello,
    Job,
    Message,
    Raised,
    Ready,
    Result,
    Started,
    encode,
)

_WATCH_INTERVAL_S = 0.05
_TAIL_BYTES = 64 * 1024
_TAIL_LINES = 20
_START_LIMIT_S = 120.0
_BYTES_PER_MB = 1_000_000
# Native code does not send these to itself: an operator or the kernel's out-of-memory killer did.
_FROM_OUTSIDE = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


class NeverStarted(Exception):
    """The child was gone before it began the job, so the job may go to another one."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a job may use: wall-clock seconds and resident memory in MB (10^6 bytes)."""

    timeout_s: float
    memory_mb: int


@dataclass(frozen=True, slots=True)
class Call:
    """A call to be made in a child: function reference and pickled arguments."""

    function: str
    arguments: bytes


class Child:
    """A warm child process. Create with `Child.start`; end with `kill`, always.

    Args:
        process: started with the child's program.
        reader: of the channel.
        writer: of the channel.
        lifeline: a pipe; its end shows the child that the parent is gone.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        lifeline: int,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._lifeline = lifeline
        self._output = bytearray()
        self._pump = asyncio.create_task(self._pump_output())
        self._killed_for = ""
        self.jobs_done = 0

    @classmethod
    async def start(cls, preload: Sequence[str], env: Mapping[str, str]) -> Child:
        """Starts a child and waits until it is warm.

        Args:
            preload: modules that it imports first.
            env: variables on top of this process's own.

        Returns:
            The child, ready for a job.

        Raises:
            InternalError: a preload module cannot be imported.
            Unavailable: the child does not start in time.
        """
        child = await cls._spawn(env)
        try:
            await child._send(Hello(tuple(sys.path), tuple(preload)))
            ready = await asyncio.wait_for(child._receive(), _START_LIMIT_S)
        except (EOFError, OSError, TimeoutError) as error:
            await child.kill()
            raise Unavailable(f"a worker process did not start: {child._last_line() or error}") from error
        except BaseException:
            await child.kill()
            raise
        if not isinstance(ready, Ready) or ready.problem:
            await child.kill()
            raise InternalError(f"a worker process did not start: {getattr(ready, 'problem', ready)}")
        return child

    @classmethod
    async def _spawn(cls, env: Mapping[str, str]) -> Child:
        parent_end, child_end = socket.socketpair()
        lifeline_read, lifeline_write = os.pipe()
        # The parent's end is closed when this fails or is canceled; the child, if there is one, ends with it.
        with contextlib.ExitStack() as undo, contextlib.closing(child_end):
            undo.callback(os.close, lifeline_write)
            undo.callback(parent_end.close)
            try:
                reader, writer = await asyncio.open_connection(sock=parent_end, limit=1 << 20)
                undo.callback(writer.close)
                process = await _launch(child_end.fileno(), lifeline_read, env)
            finally:
                os.close(lifeline_read)
            undo.pop_all()
        return cls(process, reader, writer, lifeline_write)

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """False once the child has ended or was killed."""
        return self._process.returncode is None and not self._killed_for and not self._reader.at_eof()

    async def run(self, call: Call, limits: Limits, on_progress: Callable[[Progress], None] | None) -> Any:
        """Runs one job; the child lives on unless the job ended it.

        The child is killed if the call is canceled, or if `on_progress` raises.

        Args:
            call: the function and its arguments.
            limits: of this job.
            on_progress: called with what the job reports; None: reports are dropped.

        Returns:
            What the function returns.

        Raises:
            WindtunnelError: the one that the job raised, as itself.
            JobFailed: the job raised anything else, crashed, or exceeded a limit.
            Unavailable: somebody else killed the child.
            InternalError: the result cannot be sent.
            NeverStarted: the child was gone before the job began.
        """
        folder = tempfile.mkdtemp(prefix="windtunnel-job-")
        watch = asyncio.create_task(self._watch(limits))
        marker = f"\n--- {secrets.token_hex(8)} ---\n".encode()
        started = False
        try:
            await self._send(Job(call.function, call.arguments, folder, marker))
            while True:
                message = await self._receive()
                if isinstance(message, Progress) and on_progress is not None:
                    on_progress(message)
                elif isinstance(message, Started):
                    started = True
                elif isinstance(message, Result | Raised):
                    break
        except (EOFError, OSError):
            await self.kill()
            self._explain_death(call.function, limits, marker, started)
        except BaseException:
            await self.kill()
            raise
        finally:
            watch.cancel()
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        self.jobs_done += 1
        return self._unpack(call.function, message, marker)

    async def kill(self) -> None:
        """Kills the child and everything it started, reaps it and closes its pipes. May be called twice."""
        self._killed_for = self._killed_for or "kill"
        await asyncio.shield(self._end())

    async def _end(self) -> None:
        # An exit status that is already there must win over our own SIGKILL, or a crash would look like a kill.
        if self._reader.at_eof():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), 5.0)
        self._signal_group()
        await self._process.wait()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._pump, 1.0)
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    def _signal_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def _send(self, message: Message) -> None:
        self._writer.write(encode(message))
        await self._writer.drain()

    async def _receive(self) -> Any:
        (length,) = HEADER.unpack(await self._reader.readexactly(HEADER.size))
        if length > MAX_FRAME_BYTES:
            raise EOFError(f"a frame of {length} bytes is larger than any message")
        return pickle.loads(await self._reader.readexactly(length))

    async def _watch(self, limits: Limits) -> None:
        """Kills the child when it runs past a limit; the reader then sees the end of the channel."""
        deadline = time.monotonic() + limits.timeout_s
        try:
            process = psutil.Process(self.pid)
            while True:
                if process.memory_info().rss > limits.memory_mb * _BYTES_PER_MB:
                    self._killed_for = "memory"
                elif time.monotonic() >= deadline:
                    self._killed_for = "timeout"
                if self._killed_for:
                    self._signal_group()
                    return
                await asyncio.sleep(min(_WATCH_INTERVAL_S, max(0.0, deadline - time.monotonic())))
        except psutil.Error:
            return

    async def _pump_output(self) -> None:
        """Keeps the end of what the child prints, so that its pipe never fills."""
        assert self._process.stdout is not None
        while chunk := await self._process.stdout.read(1 << 16):
            self._output += chunk
            del self._output[:-_TAIL_BYTES]

    def _tail(self, marker: bytes) -> str:
        """The job's last lines: what was printed before its marker belongs to earlier jobs."""
        text = bytes(self._output).rpartition(marker)[2].decode(errors="replace")
        return "\n".join(line for line in text.splitlines()[-_TAIL_LINES:])

    def _last_line(self, marker: bytes = b"\0") -> str:
        lines = [line.strip() for line in self._tail(marker).splitlines() if line.strip()]
        return lines[-1] if lines else ""

    def _unpack(self, function: str, message: Result | Raised, marker: bytes) -> Any:
        if isinstance(message, Result):
            return pickle.loads(message.value)
        if message.error is not None:
            error = pickle.loads(message.error)
            assert isinstance(error, WindtunnelError)
            raise error
        trace = "\n".join(message.trace.splitlines()[-_TAIL_LINES:])
        raise JobFailed(f"{function} raised {message.text}", how=message.kind, stderr=trace)

    def _explain_death(self, function: str, limits: Limits, marker: bytes, started: bool) -> NoReturn:
        status = self._process.returncode or 0
        stderr, last = self._tail(marker), self._last_line(marker)
        said = f": {last}" if last else ""
        if self._killed_for == "timeout":
            limit = f"{limits.timeout_s:g} s"
            raise JobFailed(f"{function} ran past its limit of {limit}", how="timeout", stderr=stderr)
        if self._killed_for == "memory":
            limit = f"{limits.memory_mb} MB"
            raise JobFailed(f"{function} used more than its limit of {limit}", how="memory", stderr=stderr)
        if not started:
            raise NeverStarted
        if -status in _FROM_OUTSIDE:
            name = signal.Signals(-status).name
            raise Unavailable(f"the process of {function} was killed from outside ({name})")
        if status < 0:
            raise JobFailed(f"{function} died of {_signal_name(-status)}{said}", how="signal", stderr=stderr)
        raise JobFailed(f"{function} exited with status {status}{said}", how="exit", stderr=stderr)


async def _launch(channel: int, lifeline: int, env: Mapping[str, str]) -> asyncio.subprocess.Process:
    """Starts the child's program with two inherited descriptors, in a session of its own."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", "-P", "-m", "windtunnel.isolation.child"),
        *(str(channel), str(lifeline), str(os.getpid())),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        pass_fds=(channel, lifeline),
        cwd="/",
        env={**os.environ, **env},
        start_new_session=True,
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
