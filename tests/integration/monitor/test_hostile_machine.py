"""An app with the monitor on a hostile machine: it is killed, the disk is full, the folder is read-only, it forks."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mcap.exceptions import EndOfFile
from mcap.reader import NonSeekingReader

from support.recorded_frames import frames, items, metadata
from windtunnel.monitor.mcap.reader import Damage, Skipped, read
from windtunnel.monitor.mcap.records import Message, Metadata
from windtunnel.v1 import edge_pb2

pytestmark = pytest.mark.heavy

_START = """
import sys, os, signal
import numpy as np
from windtunnel.monitor import Monitor
folder = sys.argv[1]
def record(monitor, values=1000):
    with monitor.frame() as frame:
        frame.input(np.full(values, 1.0, np.float32))
"""


def _app(words: str, *args: str | Path, before: str = "") -> subprocess.Popen[str]:
    """An app in a process of its own; `before`: a command of the shell."""
    program = _START + textwrap.dedent(words)
    command = [sys.executable, "-c", program, *map(str, args)]
    if before:
        command = ["bash", "-c", before + ' && exec "$0" "$@"', *command]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _finished(words: str, *args: str | Path, before: str = "") -> str:
    process = _app(words, *args, before=before)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


def _numbers(folder: Path) -> list[int]:
    """Numbers of the frames that can be read, of files that may be cut."""
    found = [item for file in sorted(folder.glob("*.mcap")) for item in read(file)]
    assert all(item.damage is Damage.CUT for item in found if isinstance(item, Skipped))
    return [edge_pb2.EdgeFrame.FromString(item.data).number for item in found if isinstance(item, Message)]


@pytest.mark.parametrize("seed", range(6))
def test_kill_9_at_any_moment_leaves_every_flushed_frame(tmp_path: Path, seed: int) -> None:
    process = _app(
        """
        monitor = Monitor(folder, "io", flush_frames=5, flush_s=0.05, file_bytes=100_000)
        number = 0
        while True:
            for _ in range(7):
                record(monitor)
                number += 1
            if monitor.flush(10):
                print(number, flush=True)
        """,
        tmp_path,
    )
    assert process.stdout is not None
    for _ in range(3):
        process.stdout.readline()
    delay = random.Random(seed).random() / 20
    deadline = time.monotonic() + delay
    while time.monotonic() < deadline:
        pass
    process.kill()
    rest, _ = process.communicate(timeout=60)
    told = rest.split("\n")[:-1]  # the last line may be cut
    flushed = int(told[-1]) if told else 21
    numbers = _numbers(tmp_path)
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= flushed
    for file in tmp_path.glob("*.mcap"):
        # The stock library reads what is whole, and then finds that the file ends.
        with file.open("rb") as stream, contextlib.suppress(EndOfFile):
            for _ in zip(range(1), NonSeekingReader(stream).iter_messages(log_time_order=False), strict=False):
                pass


def test_exit_without_close_writes_all(tmp_path: Path) -> None:
    _finished("monitor = Monitor(folder, 'io')\nfor _ in range(3): record(monitor)", tmp_path)
    assert [frame.number for frame in frames(tmp_path)] == [0, 1, 2]
    assert metadata(tmp_path, "windtunnel.end")["frames_recorded"] == "3"


def test_an_app_that_ends_by_an_error_writes_all(tmp_path: Path) -> None:
    process = _app("monitor = Monitor(folder, 'io')\nrecord(monitor)\nraise SystemExit(3)", tmp_path)
    process.communicate(timeout=60)
    assert process.returncode == 3
    assert len(frames(tmp_path)) == 1


def test_file_size_limit(tmp_path: Path) -> None:
    """The disk takes 100 KiB per file: the app continues, the log says what is missing."""
    out = _finished(
        """
        monitor = Monitor(folder, "io", flush_frames=1)
        for number in range(100):
            record(monitor)
            assert monitor.flush(20)
        print(monitor.frames_lost)
        """,
        tmp_path,
        before="ulimit -f 100",
    )
    lost = int(out)
    recorded = frames(tmp_path)
    assert 0 < lost < 20
    assert len(recorded) == 100 - lost
    said = sum(frame.frames_lost for frame in recorded)
    ends = [item for item in items(tmp_path) if isinstance(item, Metadata) and item.name == "windtunnel.end"]
    at_end = sum(int(item.metadata.get("frames_lost_at_end", 0)) for item in ends)
    assert said + at_end == lost
    assert any("File too large" in " ".join(frame.left_out) for frame in recorded)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root may mount a small file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_full_disk(full_disk: Path) -> None:
    out = _finished(
        """
        from pathlib import Path
        ballast = Path(folder, "ballast")
        monitor = Monitor(Path(folder, "log"), "io", flush_frames=1)
        for number in range(30):
            if number == 10:
                ballast.write_bytes(bytes(190_000))
            if number == 20:
                ballast.unlink()
            record(monitor, 1500)
            assert monitor.flush(20)
        print(monitor.frames_lost)
        """,
        full_disk,
    )
    lost = int(out)
    recorded = frames(full_disk / "log")
    assert 5 <= lost <= 10
    assert [frame.number for frame in recorded] == [*range(20 - lost), *range(20, 30)]
    first_after = recorded[20 - lost]
    assert first_after.frames_lost == lost
    assert "No space left" in first_after.left_out[0]


def test_read_only_folder(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        # Root writes everywhere but on a read-only file system.
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(tmp_path)], capture_output=True)
        if mounted.returncode:
            pytest.skip("root may not mount here")
    else:
        tmp_path.chmod(0o500)
    try:
        out = _finished(
            """
            monitor = Monitor(folder + "/log", "io")
            for _ in range(5):
                record(monitor)
            print(monitor.flush(20), monitor.frames_lost, monitor.close())
            """,
            tmp_path,
        )
    finally:
        if os.geteuid() == 0:
            subprocess.run(["umount", str(tmp_path)], check=True)
        else:
            tmp_path.chmod(0o700)
    assert out.split() == ["True", "5", "True"]


def test_two_processes_in_one_folder(tmp_path: Path) -> None:
    words = "monitor = Monitor(folder, 'io', flush_frames=3)\nfor _ in range(50): record(monitor)"
    processes = [_app(words, tmp_path) for _ in range(2)]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert sorted(frame.number for frame in frames(tmp_path)) == sorted([*range(50)] * 2)
    assert len(list(tmp_path.glob("*.mcap"))) == 2


def test_fork(tmp_path: Path) -> None:
    _finished(
        """
        monitor = Monitor(folder, "io", app="forks")
        record(monitor); record(monitor)
        child = os.fork()
        record(monitor)
        if child:
            os.waitpid(child, 0)
        else:
            monitor.flush(20)
            os._exit(0)
        """,
        tmp_path,
    )
    by_session = {file.name.rsplit("-", 1)[0]: file for file in tmp_path.glob("*.mcap")}
    assert len(by_session) == 2
    numbers = sorted(
        [item.sequence for item in read(file) if isinstance(item, Message)] for file in by_session.values()
    )
    assert numbers == [[0], [0, 1, 2]]


def test_process_of_multiprocessing(tmp_path: Path) -> None:
    _finished(
        """
        import multiprocessing
        monitor = Monitor(folder, "io", flush_s=3600)
        record(monitor)
        process = multiprocessing.get_context("fork").Process(target=record, args=(monitor,))
        process.start()
        process.join()
        """,
        tmp_path,
    )
    assert [frame.number for frame in frames(tmp_path)] == [0, 0]


def test_signal_in_the_app_does_not_stop_the_log(tmp_path: Path) -> None:
    process = _app(
        """
        monitor = Monitor(folder, "io")
        record(monitor)
        print("ready", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            record(monitor)
        """,
        tmp_path,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert len(frames(tmp_path)) == 2
