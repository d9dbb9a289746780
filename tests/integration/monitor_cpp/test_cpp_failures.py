"""A killed app, full disks, bounds, read-only folders, two processes: the app goes on, and the log says what is missing."""

from __future__ import annotations

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
    assert first.frames_lost == lost and list(first.left_out) == [f"{lost} frames: File too large"]


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
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_and_then_room_again(app: App, small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    process = app.start("frames", small_disk / "log", 0, 10, "level=statistics")
    list(lines_until(process, 1))
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(512))
        except OSError:
            pass
    # Frames go on and are lost; they are said as soon as there is room.
    written = {path: path.stat().st_size for path in (small_disk / "log").iterdir()}
    assert written and process.poll() is None
    _until_lost(process)
    ballast.unlink()
    list(lines_until(process, 2))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    log = read_log(small_disk / "log")
    said = [frame for frame in log.frames if frame.frames_lost]
    assert said and "No space left on device" in said[0].left_out[0]
    _gaps_are_said(log.numbers, [frame.frames_lost for frame in log.frames])


def _until_lost(process: subprocess.Popen[str]) -> None:
    """A flush that failed prints nothing: the app's own CPU time shows that it goes on."""
    begin = _cpu_ticks(process)
    while _cpu_ticks(process) < begin + 20:
        assert process.poll() is None


def _cpu_ticks(process: subprocess.Popen[str]) -> int:
    return int(Path(f"/proc/{process.pid}/stat").read_text().split()[13])


def _gaps_are_said(numbers: list[int], lost: list[int]) -> None:
    before = -1
    for number, said in zip(numbers, lost, strict=True):
        assert number - before - 1 == said
        before = number


def test_more_frames_than_the_memory_holds(app: App, tmp_path: Path) -> None:
    out = app.run("frames", tmp_path / "log", 2000, 0, "level=io", f"memory={500_000}")
    log = read_log(tmp_path / "log")
    assert int(out.split()[-1]) == 2000 - len(log.frames) > 0
    said = [frame for frame in log.frames if frame.frames_lost]
    assert said and said[0].left_out[0] == f"{said[0].frames_lost} frames: over the memory bound"
    # The last frames may be lost without a later one that says so.
    _gaps_are_said(log.numbers, [frame.frames_lost for frame in log.frames])


def test_an_array_over_the_memory_bound_leaves_its_statistics(app: App, tmp_path: Path) -> None:
    app.run("frames", tmp_path / "log", 3, 1, "level=io", f"memory={50_000}")
    for frame in read_log(tmp_path / "log").frames:
        image, scores = frame.tensors
        assert not image.data and image.statistics.count == 27648 and len(scores.data) == 40
        assert list(frame.left_out) == ["input: over the memory bound"]


def test_a_ring_of_files(app: App, tmp_path: Path) -> None:
    app.run("frames", tmp_path / "log", 400, 10, "level=statistics", "file=20000", "disk=60000")
    paths = sorted((tmp_path / "log").iterdir())
    assert 2 <= len(paths) <= 4 and not paths[0].name.endswith("-000001.mcap")
    assert sum(path.stat().st_size for path in paths) <= 60_000
    assert all(path.stat().st_size <= 20_000 for path in paths)
    log = read_log(tmp_path / "log")
    assert all(log.whole) and log.numbers == list(range(log.numbers[0], 400))


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
    assert log.whole == [True] and log.numbers == [1]


def test_every_nth_frame_and_by_time(app: App, tmp_path: Path) -> None:
    app.run("frames", tmp_path / "nth", 100, 0, "every=7")
    nth = read_log(tmp_path / "nth")
    assert nth.numbers == list(range(0, 100, 7)) and not any(frame.frames_lost for frame in nth.frames)
    app.run("frames", tmp_path / "time", 1000, 0, "every_s=3600")
    assert read_log(tmp_path / "time").numbers == [0]


def test_off_writes_nothing(app: App, tmp_path: Path) -> None:
    app.run("frames", tmp_path / "log", 100, 10, "level=off")
    assert not (tmp_path / "log").exists()
