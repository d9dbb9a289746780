"""The child's side: `python -m windtunnel.isolation.child CHANNEL LIFELINE PARENT`.

Waits for jobs on the channel and runs them one after the other in its main thread. It dies with its parent:
the kernel kills it (Linux), and the lifeline pipe reports the end of the parent everywhere.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import pickle
import signal
import socket
import sys
import tempfile
import threading
import traceback
from contextlib import suppress
from typing import Any

from windtunnel.errors import InternalError, WindtunnelError
from windtunnel.isolation.reporting import reporting_to
from windtunnel.isolation.wire import Hello, Job, Message, Raised, Ready, Result, Started, receive, resolve, send

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Serves jobs until the parent closes the channel.

    Args:
        arguments: channel and lifeline as file descriptors, and the parent's process id.
    """
    channel_fd, lifeline_fd, parent = (int(argument) for argument in arguments)
    for descriptor in (channel_fd, lifeline_fd):
        os.set_inheritable(descriptor, False)
    _die_with_parent(lifeline_fd, parent)
    channel = socket.socket(fileno=channel_fd)
    try:
        problem = _warm_up(receive(channel))
        send(channel, Ready(problem))
        while not problem:
            send(channel, _run(channel, receive(channel)))
    except (EOFError, OSError):
        return


def _die_with_parent(lifeline_fd: int, parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # The parent may have died before prctl took effect; then nobody would ever send the signal.
    if os.getppid() != parent:
        os._exit(1)
    threading.Thread(target=_watch, args=(lifeline_fd,), daemon=True, name="lifeline").start()


def _watch(lifeline_fd: int) -> None:
    os.read(lifeline_fd, 1)
    os.killpg(0, signal.SIGKILL)


def _warm_up(hello: Hello) -> str:
    sys.path.extend(entry for entry in hello.sys_path if entry not in sys.path)
    for module in hello.preload:
        try:
            importlib.import_module(module)
        except Exception as error:  # noqa: BLE001 (a preload may raise anything; the parent gets it)
            return f"cannot import {module}: {type(error).__name__}: {error}"
    return ""


def _run(channel: socket.socket, job: Job) -> Message:
    _enter(job.folder)
    os.write(1, job.marker)
    send(channel, Started())
    try:
        return _answer(channel, job)
    except BaseException as error:  # noqa: BLE001 (SystemExit of a job must not end the child silently)
        return _raised(error)
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os.chdir("/")


def _enter(folder: str) -> None:
    """Makes `folder` the working and the temporary directory, for Python and for native code."""
    os.chdir(folder)
    tempfile.tempdir = folder
    os.environ["TMPDIR"] = folder


def _answer(channel: socket.socket, job: Job) -> Result:
    function, args, kwargs = _unpack(job)
    with reporting_to(lambda progress: send(channel, progress)):
        value = function(*args, **kwargs)
    try:
        return Result(pickle.dumps(value, protocol=5))
    except MemoryError:
        raise
    except Exception as error:
        raise InternalError(f"the result of {job.function} cannot be pickled: {error}") from error


def _unpack(job: Job) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    try:
        args, kwargs = pickle.loads(job.arguments)
        return resolve(job.function), args, kwargs
    except Exception as error:
        raise InternalError(f"{job.function} cannot be called in a child: {error}") from error


def _raised(error: BaseException) -> Raised:
    trace = "".join(traceback.format_exception(error))
    text = f"{type(error).__name__}: {error}"
    packed = None
    if isinstance(error, WindtunnelError):
        error.__cause__ = error.__context__ = None
        try:
            packed = pickle.dumps(error, protocol=5)
            pickle.loads(packed)
        except Exception:  # noqa: BLE001 (an error that cannot travel goes as text)
            packed = None
    return Raised(packed, text, trace, "memory" if isinstance(error, MemoryError) else "exit")


if __name__ == "__main__":
    main(sys.argv[1:])
