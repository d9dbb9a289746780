"""Commands that are ended from outside: the message, the exit code, temporary files, child processes.

As from a terminal, and as in the background of a shell's script, where SIGINT is ignored from the start.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest

from support.damaged import arrays, outlier_activation, samples
from windtunnel.diagnosis.quantize import litert_quantizer as litert
from windtunnel.diagnosis.quantize.variants import Calibration
from windtunnel.plan import VariantSpec

COMMANDS = {
    "diff": "diff float32.tflite int8.tflite --samples samples.npz",
    "remedy": "remedy float32.tflite int8.tflite --samples samples.npz -o out.tflite",
    "layers log": "layers log float32.tflite --samples samples.npz --out out.log",
    "kernels": "kernels float32.tflite --samples samples.npz",
    "quantize": "quantize float32.tflite --variant int8 --calibration samples.npz -o out.tflite",
    "convert": "convert float32.tflite -o out.tflite",
    "bench": "bench float32.tflite",
    "ops": "ops float32.tflite",
}
PLAN = """\
apiVersion: windtunnel/v1
data: {{samples: "{folder}/samples.npz"}}
variants: [float32]
devices: [{{farm: local, accelerator: xnnpack, threads: 1}}]
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    model = outlier_activation().write(folder / "float32.tflite")
    np.savez(folder / "c.npz", x=arrays()[0][:100])
    litert.quantize(model, folder / "int8.tflite", VariantSpec("int8"), Calibration(folder / "c.npz"), None)
    samples(folder / "samples.npz")
    return folder


@dataclass
class Running:
    """A command that is at work: it has a child process."""

    process: subprocess.Popen[str]
    children: list[psutil.Process]
    temporary: Path

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """Sends the signal; the exit code and what was written to standard error."""
        self.children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(number)
        _, error = self.process.communicate(timeout=60)
        return self.process.returncode, error

    def left(self) -> list[str]:
        """What it has not cleaned up."""
        _, alive = psutil.wait_procs(self.children, timeout=10)
        return [str(path) for path in self.temporary.rglob("*")] + [str(child) for child in alive]


@pytest.fixture
def started(files: Path, tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    found: list[subprocess.Popen[str]] = []
    yield found
    for process in found:
        if process.poll() is None:
            process.kill()
            process.communicate()


def _start(words: str, files: Path, tmp_path: Path, started: list[subprocess.Popen[str]], *, ignored: str) -> Running:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    for name in ("float32.tflite", "int8.tflite", "samples.npz"):
        os.link(files / name, tmp_path / name)
    shell = f"trap '' {ignored}; " if ignored else ""
    command = f"{shell}exec {shlex.quote(sys.executable)} -m windtunnel.cli {words}"
    process = subprocess.Popen(
        ["bash", "-c", command],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "TMPDIR": str(temporary),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "WINDTUNNEL_HOME": str(tmp_path / "home"),
        },
    )
    started.append(process)
    deadline = time.monotonic() + 60
    while not psutil.Process(process.pid).children(recursive=True):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return Running(process, [], temporary)


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_sigterm_ends_a_command_cleanly_where_sigint_is_ignored(
    files: Path, tmp_path: Path, started: list[subprocess.Popen[str]], words: str
) -> None:
    running = _start(words, files, tmp_path, started, ignored="INT")
    running.process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    assert running.process.poll() is None
    code, error = running.end(signal.SIGTERM)
    assert (code, error.splitlines()[-1]) == (130, "interrupted")
    assert running.children
    assert running.left() == []
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    ("words", "code"), [("up --json", 0), ("submit float32.tflite --plan plan.yaml --wait", 130)], ids=["up", "submit"]
)
def test_sigterm_ends_everything_that_up_and_submit_have_started(
    files: Path, tmp_path: Path, started: list[subprocess.Popen[str]], words: str, code: int
) -> None:
    (tmp_path / "plan.yaml").write_text(PLAN.format(folder=files))
    running = _start(words, files, tmp_path, started, ignored="INT")
    deadline = time.monotonic() + 100
    # nats-server and seven services.
    while len(psutil.Process(running.process.pid).children()) < 8:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    running.process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    found, error = running.end(signal.SIGTERM)
    assert found == code, error
    assert len(running.children) >= 8
    assert running.left() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_every_signal_ends_it_alike(
    files: Path, tmp_path: Path, started: list[subprocess.Popen[str]], number: signal.Signals
) -> None:
    running = _start(COMMANDS["diff"], files, tmp_path, started, ignored="")
    assert running.end(number)[0] == 130
    assert running.left() == []


def test_nohup_goes_on_when_the_terminal_is_closed(
    files: Path, tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    running = _start(COMMANDS["quantize"], files, tmp_path, started, ignored="HUP")
    assert running.end(signal.SIGHUP)[0] == 0
    assert (tmp_path / "out.tflite").exists()
