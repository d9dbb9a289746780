"""The Java monitor in tests: compiled once, driven by scripts, its logs read by others."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mcap.records import Message
from mcap.stream_reader import StreamReader

from windtunnel.v1 import edge_pb2

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "tests/integration/monitor_java/java"
# A small virtual machine that starts fast.
JAVA = ("java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx256m")
SECONDS = 120


@dataclass(frozen=True)
class JavaMonitor:
    """Where the compiled classes lie."""

    jar: Path
    classes: Path

    @property
    def classpath(self) -> str:
        """What `java -cp` takes."""
        return f"{self.jar}:{self.classes}"

    def command(self, program: str, *arguments: str | Path) -> list[str]:
        """The command that runs a class.

        Args:
            program: Name of the class.
            arguments: Its arguments.

        Returns:
            The command.
        """
        return [*JAVA, "-cp", self.classpath, program, *map(str, arguments)]

    def run(self, folder: Path, lines: Iterable[str], **options: Any) -> list[str]:
        """Run a script of the app.

        Args:
            folder: Where the log lies.
            lines: The script.
            options: Of the monitor.

        Returns:
            What it printed.
        """
        done = subprocess.run(
            self.command("Script", folder, *words(options)), input="\n".join(lines) + "\n", text=True,
            capture_output=True, timeout=SECONDS,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert not done.stderr, done.stderr
        return done.stdout.splitlines()

    @contextmanager
    def started(self, folder: Path, **options: Any) -> Iterator[App]:
        """An app that takes its script line by line.

        Args:
            folder: Where the log lies.
            options: Of the monitor.

        Yields:
            The app.
        """
        with subprocess.Popen(
            self.command("Script", folder, *words(options)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                yield App(process)
            finally:
                process.kill()

    def dump(self, what: str, paths: Sequence[Path]) -> list[list[list[str]]]:
        """Read files with the Java reader.

        Args:
            what: "log" or "container".
            paths: The files.

        Returns:
            Per file its lines, each as its fields.
        """
        command = self.command("io.windtunnel.monitor.reader.Dump", what, *paths)
        done = subprocess.run(command, text=True, capture_output=True, timeout=SECONDS)
        assert done.returncode == 0, done.stderr
        files: list[list[list[str]]] = [[]]
        for line in done.stdout.splitlines():
            if line == "end":
                files.append([])
            else:
                files[-1].append(line.split("\t"))
        return files[:-1]


class App:
    """A running app."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Take a started process.

        Args:
            process: The process.
        """
        self.process = process

    def do(self, *lines: str) -> None:
        """Send lines of the script.

        Args:
            lines: The lines.
        """
        assert self.process.stdin is not None
        self.process.stdin.write("\n".join(lines) + "\n")
        self.process.stdin.flush()

    def answer(self, *lines: str) -> str:
        """Send lines of the script, and wait for a line that it prints.

        Args:
            lines: The lines.

        Returns:
            The printed line.
        """
        self.do(*lines)
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def end(self) -> None:
        """End the script, and wait for the app."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(SECONDS) == 0


def words(options: dict[str, Any]) -> list[str]:
    """Options as arguments of the script.

    Args:
        options: By name.

    Returns:
        Names and values in turn.
    """
    return [str(word) for pair in options.items() for word in pair]


def array(folder: Path, values: Any, form: str = "array") -> str:
    """Store an array for the script.

    Args:
        folder: Where its file lies.
        values: An array or a text.
        form: "array", "nested", "direct", "big", "typed" or "number".

    Returns:
        How the script refers to it.
    """
    path = folder / f"{len(list(folder.iterdir()))}.bin"
    if isinstance(values, str):
        path.write_text(values, encoding="utf-8")
        return f"text,,{form},{path}"
    path.write_bytes(values.tobytes())
    return f"{values.dtype},{'x'.join(map(str, values.shape))},{form},{path}"


def stock_frames(folder: Path) -> list[edge_pb2.EdgeFrame]:
    """Read the frames of a log with the stock MCAP library, in the order of the files.

    Args:
        folder: The log.

    Returns:
        The frames.
    """
    frames = []
    for path in sorted(folder.glob("*.mcap")):
        with path.open("rb") as file:
            for record in StreamReader(file, validate_crcs=True).records:
                if isinstance(record, Message) and record.channel_id == 1:
                    frames.append(edge_pb2.EdgeFrame.FromString(record.data))
    return frames


def values_of(tensor: edge_pb2.EdgeTensor) -> Any:
    """The values of a recorded tensor.

    Args:
        tensor: The tensor.

    Returns:
        The array.
    """
    names = ("", "<f4", "<f2", "<f8", "u1", "i1", "<u2", "<i2", "<i4", "<i8", "?")
    return np.frombuffer(tensor.data, names[tensor.element]).reshape(tuple(tensor.shape))
