"""The C++ monitor: builds of it with different compilers, and the logs that apps with it leave."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy.typing as npt
import pytest
from mcap.exceptions import McapError
from mcap.reader import NonSeekingReader, make_reader

from windtunnel.v1.edge_pb2 import EdgeFrame, SensorReading

SDK = Path(__file__).parents[2] / "sdk" / "cpp"
WARNINGS = ("-std=c++17", "-Wall", "-Wextra", "-Werror", "-pthread")
ELEMENTS: Mapping[str, int] = {
    "float32": 1, "float16": 2, "float64": 3, "uint8": 4, "int8": 5, "uint16": 6, "int16": 7, "int32": 8, "int64": 9,
    "bool": 10,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Build:
    """A way to build an app with the monitor. `runner` precedes the app in a command."""

    compiler: str
    flags: tuple[str, ...]
    runner: tuple[str, ...] = ()
    package: str = ""


BUILDS: Mapping[str, Build] = {
    "gcc": Build("g++", ("-O2", "-fno-exceptions")),
    "clang": Build("clang++", ("-O2",), package="clang"),
    "threads": Build("g++", ("-O1", "-g", "-fsanitize=thread")),
    "addresses": Build("g++", ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")),
    "arm64": Build("aarch64-linux-gnu-g++", ("-O2", "-static"), ("qemu-aarch64",), "g++-aarch64-linux-gnu qemu-user"),
}


@dataclass(frozen=True, slots=True)
class App:
    """A built app."""

    command: tuple[str, ...]

    def start(self, *arguments: object, user: int | None = None) -> subprocess.Popen[str]:
        """Run it, without waiting."""
        command = [*self.command, *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, user=user)

    def run(self, *arguments: object, user: int | None = None) -> str:
        """Run it to its end; returns what it printed."""
        with self.start(*arguments, user=user) as process:
            out, errors = process.communicate(timeout=240)
        assert process.returncode == 0, f"exit code {process.returncode}\n{out}\n{errors}"
        return out


def build(name: str, sources: Sequence[Path], target: Path) -> App:
    """Build an app with the monitor's sources; skips, saying why, without the compiler."""
    chosen = BUILDS[name]
    compiler = shutil.which(chosen.compiler) or shutil.which(f"{chosen.compiler}-14")
    if compiler is None:
        pytest.skip(f"{chosen.compiler} is missing: apt-get install {chosen.package or 'g++'}")
    for runner in chosen.runner:
        if shutil.which(runner) is None:
            pytest.skip(f"{runner} is missing: apt-get install {chosen.package}")
    command = [compiler, *WARNINGS, *chosen.flags, f"-I{SDK / 'include'}", f"-I{SDK / 'src'}"]
    files = [*sources, *sorted((SDK / "src").glob("*.cpp"))]
    done = subprocess.run([*command, *map(str, files), "-o", str(target)], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return App((*chosen.runner, str(target)))


@dataclass(slots=True)
class Log:
    """What the stock library reads of a folder, file by file in order, as far as each file goes."""

    frames: list[EdgeFrame] = field(default_factory=list)
    readings: list[SensorReading] = field(default_factory=list)
    metadata: list[Mapping[str, str]] = field(default_factory=list)
    ends: list[Mapping[str, str]] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)

    @property
    def numbers(self) -> list[int]:
        """Numbers of the frames."""
        return [frame.number for frame in self.frames]


def read_log(folder: Path) -> Log:
    """Read all files; a file without an end counts as not whole."""
    log = Log()
    for path in sorted(folder.glob("*.mcap")):
        log.whole.append(_whole(path))
        with path.open("rb") as file:
            _read_messages(file, log)
    return log


def _whole(path: Path) -> bool:
    data = path.read_bytes()
    if not data.endswith(b"\x89MCAP0\r\n") or len(data) == 8:
        return False
    summary = make_reader(BytesIO(data), validate_crcs=True).get_summary()
    assert summary is not None and summary.statistics is not None
    reader = make_reader(BytesIO(data), validate_crcs=True)
    counted = sum(1 for _ in reader.iter_messages())
    assert counted == summary.statistics.message_count
    assert next(one.name for one in reader.iter_metadata()) == "windtunnel.device"
    assert summary.statistics.metadata_count == len(summary.metadata_indexes)
    return True


def _read_messages(file: IO[bytes], log: Log) -> None:
    reader = NonSeekingReader(file, validate_crcs=True)
    with suppress(McapError, struct.error):
        for schema, channel, message in reader.iter_messages(log_time_order=False):
            assert schema is not None and channel.message_encoding == schema.encoding == "protobuf"
            if channel.topic == "/frame":
                log.frames.append(EdgeFrame.FromString(message.data))
                assert message.sequence == log.frames[-1].number % 2**32
                assert message.log_time == message.publish_time == log.frames[-1].time.ToNanoseconds()
            else:
                log.readings.append(SensorReading.FromString(message.data))
    file.seek(0)
    with suppress(McapError, struct.error):
        for one in NonSeekingReader(file).iter_metadata():
            (log.ends if one.name == "windtunnel.end" else log.metadata).append(dict(one.metadata))


def write_arrays(path: Path, arrays: Sequence[npt.NDArray[Any]]) -> None:
    """Write arrays for the driver's command `arrays`."""
    with path.open("wb") as file:
        for array in arrays:
            file.write(struct.pack("<II", ELEMENTS[array.dtype.name], array.ndim))
            file.write(struct.pack(f"<{array.ndim}I", *array.shape))
            file.write(struct.pack("<Q", array.nbytes) + array.tobytes())


def lines_until(process: subprocess.Popen[str], enough: int) -> Iterator[str]:
    """Lines that a running app prints, until so many came."""
    assert process.stdout is not None
    for _ in range(enough):
        line = process.stdout.readline()
        assert line, process.stderr.read() if process.stderr else ""
        yield line.strip()


def run_as_nobody() -> int | None:
    """The user under which root's tests meet a read-only folder; None for a user who is not root."""
    return 65534 if os.geteuid() == 0 else None
