"""Killed apps, full disks, bounds, bad folders: the app continues, and the log reports what is missing."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cpp_monitor import App, lines_until, read_log, run_as_nobody

pytestmark = pytest.mark.heavy


@pytest.mark.parametrize("level", ["statistics", "io"])
@pytest.mark.parametrize("lines", [1, 7])
def test_a_killed_app_leaves_every_flushed_frame(app: App, tmp_path: Path, level: str, lines: int) -> None:
    process = app.start("frames", tmp_path / "log", 0, 9, f"level={level}", f"file={1 << 30}", f"disk={4 << 30}")
    flushed = int(list(lines_until(process, lines))[-1])
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    log = read_log(tmp_path / "log")
    assert log.whole == [False]
    assert log.numbers[:flushed] == list(range(flushed))
    assert all(len(frame.tensors) == 2 for frame in log.frames)


def test_a_bound_on_the_size_of_files_ends_a_file_and_not_the_app(app: App, tmp_path: Path) -> None:
    lost = int(app.run("small_files", tmp_path / "log", 50_000, "level=statistics").split()[-1])
    log = read_log(tmp_path / "log")
    assert len(log.whole) > 1 and lost == 200 - len(log.frames) > 0
    first = next(frame for frame in log.frames if frame.frames_lost)
    assert first.frames_lost == lost and list(first.left_out) == ["frames: not written: File too large"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k,mode=777", "none", str(place)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_and_then_room(app: App, small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(512))
    process = app.start("frames", small_disk / "log", 0, 10, "level=statistics", "disk=100000")
    try:
        while _cpu_ticks(process) < 5:  # frames continue and are lost
            assert process.poll() is None
        ballast.unlink()
        flushed = int(next(lines_until(process, 1)))
    finally:
        process.kill()
        process.communicate(timeout=60)
    log = read_log(small_disk / "log")
    assert log.frames[0].frames_lost == log.numbers[0] > 0 and log.numbers[0] == flushed - 10
    assert list(log.frames[0].left_out) == ["frames: not written: No space left on device"]
    _gaps_are_said(log.numbers, [frame.frames_lost for frame in log.frames])


def _cpu_ticks(process: subprocess.Popen[str]) -> int:
    return int(Path(f"/proc/{process.pid}/stat").read_text().split()[13])


def _gaps_are_said(numbers: list[int], lost: list[int]) -> None:
    before = numbers[0] - lost[0] - 1
    for number, said in zip(numbers, lost, strict=True):
        assert number - before - 1 == said
        before = number


def test_more_frames_than_the_memory_holds(app: App, tmp_path: Path) -> None:
    out = app.run("frames", tmp_path / "log", 300_000, 0, "level=statistics", "memory=4000")
    log = read_log(tmp_path / "log")
    assert int(out.split()[-1]) == 300_000 - len(log.frames) > 0
    said = [frame for frame in log.frames if frame.frames_lost]
    assert said and list(said[0].left_out) == ["frames: over the memory bound"]
    _gaps_are_said(log.numbers, [frame.frames_lost for frame in log.frames])
    # The last frames have none after them that could report it: the end of the log does.
    (end,) = log.ends
    assert int(end["frames_recorded"]) == len(log.frames) and int(end["frames_lost"]) == 300_000 - len(log.frames)
    assert int(end["frames_lost_at_end"]) == 299_999 - log.numbers[-1]


def test_values_are_left_out_while_the_writer_is_behind(app: App, tmp_path: Path) -> None:
    out = app.run("frames", tmp_path / "log", 2000, 0, "level=io", "memory=500000")
    log = read_log(tmp_path / "log")
    assert len(log.frames) + int(out.split()[-1]) == 2000
    without = [frame for frame in log.frames if not frame.tensors[0].data]
    assert without
    for frame in without:
        assert "input: over the memory bound, because the disk is slow" in frame.left_out
        assert not frame.tensors[0].HasField("statistics") and len(frame.tensors[0].shape) == 4


def test_an_array_over_the_memory_bound_leaves_its_statistics(app: App, tmp_path: Path) -> None:
    app.run("frames", tmp_path / "log", 3, 1, "level=io", f"memory={50_000}")
    for frame in read_log(tmp_path / "log").frames:
        image, scores = frame.tensors
        assert not image.data and image.statistics.count == 27648 and len(scores.data) == 40
        assert list(frame.left_out) == ["input: over the memory bound"]


def test_a_ring_of_files(app: App, tmp_path: Path) -> None:
    app.run("frames", tmp_path / "log", 400, 10, "level=statistics", "file=20000", "disk=60000")
    paths = sorted((tmp_path / "log").iterdir())
    assert len(paths) >= 2 and not paths[0].name.endswith("-000001.mcap")
    assert sum(path.stat().st_size for path in paths) <= 60_000
    assert all(path.stat().st_size <= 20_000 for path in paths)
    log = read_log(tmp_path / "log")
    assert all(log.whole) and log.numbers == list(range(log.numbers[0], 400))


def test_the_ring_is_of_all_sessions_of_a_folder(app: App, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    for _ in range(3):
        app.run("frames", folder, 100, 10, "level=statistics", "file=20000", "disk=60000")
        for path in folder.iterdir():
            os.utime(path, (1, 1))  # as if the session had ended long ago
    (folder / "other.mcap").write_bytes(bytes(100_000))
    app.run("frames", folder, 100, 10, "level=statistics", "file=20000", "disk=60000")
    logs = [path for path in folder.iterdir() if path.name != "other.mcap"]
    assert sum(path.stat().st_size for path in logs) <= 60_000 and (folder / "other.mcap").exists()
    assert read_log(folder).numbers[-1] == 99


def test_a_chunk_over_the_disk_bound(app: App, tmp_path: Path) -> None:
    out = app.run("frames", tmp_path / "log", 20, 1, "level=io", "disk=50000")
    assert out.split()[-1] == "20" and not list((tmp_path / "log").glob("*"))


def test_a_read_only_folder(app: App, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir(mode=0o555)
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    assert app.run("frames", folder, 30, 10, "level=io", user=run_as_nobody()).split()[-1] == "30"
    assert not list(folder.iterdir())


@pytest.mark.parametrize("place", ["file/log", "file"])
def test_a_folder_that_cannot_be_one(app: App, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("here")
    assert app.run("frames", tmp_path / place, 30, 10).split()[-1] == "30"


def test_two_processes_write_one_folder(app: App, tmp_path: Path) -> None:
    both = [app.start("frames", tmp_path / "log", 100, 7, f"app={name}") for name in ("one", "two")]
    for process in both:
        process.communicate(timeout=60)
        assert process.returncode == 0
    log = read_log(tmp_path / "log")
    assert log.whole == [True, True] and sorted(log.numbers) == sorted(2 * list(range(100)))
    assert {one["app"] for one in log.metadata} == {"one", "two"}


def test_a_forked_child_leaves_the_log_alone(app: App, tmp_path: Path) -> None:
    app.run("forked", tmp_path / "log", "level=io")
    log = read_log(tmp_path / "log")
    assert log.whole == [True] and log.numbers == [0, 1]


def test_a_log_that_is_deleted_and_a_frame_that_ends_after_the_monitor(any_app: App, tmp_path: Path) -> None:
    any_app.run("late", tmp_path / "log", "level=io")
    log = read_log(tmp_path / "log")
    assert log.whole == [True] and log.numbers == [1] and log.frames[0].frames_lost == 1
    assert list(log.frames[0].left_out) == ["a file of the log was deleted"]


def test_every_nth_frame_and_by_time(app: App, tmp_path: Path) -> None:
    app.run("frames", tmp_path / "nth", 100, 0, "every=7")
    nth = read_log(tmp_path / "nth")
    assert nth.numbers == list(range(0, 100, 7)) and not any(frame.frames_lost for frame in nth.frames)
    app.run("frames", tmp_path / "time", 1000, 0, "every_s=3600")
    assert read_log(tmp_path / "time").numbers == [0]


def test_off_writes_nothing(app: App, tmp_path: Path) -> None:
    app.run("frames", tmp_path / "log", 100, 10, "level=off")
    assert not (tmp_path / "log").exists()
