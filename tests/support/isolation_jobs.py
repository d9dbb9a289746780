"""Jobs for the tests of windtunnel.isolation: they run in real child processes."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from windtunnel import isolation
from windtunnel.errors import Conflict, InternalError, InvalidInput, InvalidPlan, JobFailed


def add(a: int, b: int) -> int:
    return a + b


def itself(value: Any) -> Any:
    return value


def process_id() -> int:
    return os.getpid()


def write_file(name: str) -> str:
    path = Path(name)
    path.write_text("x")
    return str(path.resolve())


def abort() -> None:
    os.write(2, b"native: assertion failed\n")
    os.abort()


def segfault() -> None:
    ctypes.string_at(0)


def leave(status: int) -> None:
    os._exit(status)


def soft_exit(status: int) -> None:
    sys.exit(status)


def nap(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def allocate(megabytes: int) -> None:
    block = np.ones(megabytes * 125_000, dtype=np.float64)
    time.sleep(30)
    print(block.sum())


def out_of_memory() -> None:
    raise MemoryError("asked for too much")


def be_killed_from_outside() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(10)


def raise_kind(kind: str) -> None:
    if kind == "input":
        raise InvalidInput("bad tensor", hint="use another")
    if kind == "plan":
        raise InvalidPlan("bad field", path="gates", line=3, column=4)
    if kind == "conflict":
        raise Conflict("taken", code="taken")
    if kind == "internal":
        raise InternalError("cannot be")
    if kind == "job":
        raise JobFailed("inner", how="signal", stderr="inner lines")
    raise ValueError("library says no")


def noise(lines: int) -> int:
    for number in range(lines):
        print("printed", number)
        os.write(1, b"\x00\x01\xff raw bytes on stdout\n")
        os.write(2, b"raw bytes on stderr\n")
    return lines


def noisy_abort(lines: int) -> None:
    for number in range(lines):
        os.write(2, f"line {number}\n".encode())
    os.abort()


def big_array(megabytes: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.arange(megabytes * 125_000, dtype=np.float64)


def total(array: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    return float(array.sum())


def unpicklable() -> object:
    return lambda: None


def report(steps: int) -> str:
    for step in range(1, steps + 1):
        isolation.progress(step / steps, f"step {step}")
    return "done"


def spin_in_native_code(pid_file: str) -> None:
    """Holds the GIL for ever, as a native loop may; only the kernel can end it."""
    Path(pid_file).write_text(str(os.getpid()))
    ctypes.PyDLL(None).sleep(600)


def preloaded(name: str) -> bool:
    return name in sys.modules


def serve_until_killed(pid_file: str) -> None:
    """A parent with a busy child, for `kill -9`."""

    async def main() -> None:
        async with isolation.ChildPool(timeout_s=600, memory_mb=1000) as pool:
            await pool.run(spin_in_native_code, pid_file)

    asyncio.run(main())
