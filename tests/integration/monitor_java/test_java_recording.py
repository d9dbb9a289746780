"""What the Java monitor records of an app, and that the app continues whatever happens."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from support.java_monitor import ROOT, SECONDS, JavaMonitor, array, stock_frames, values_of
from windtunnel.monitor.mcap.reader import Skipped, read
from windtunnel.monitor.mcap.records import Message, Metadata
from windtunnel.v1 import edge_pb2

pytestmark = pytest.mark.heavy
IMAGE = np.linspace(-1, 1, 96 * 96 * 3, dtype=np.float32).reshape(1, 96, 96, 3)


def frames_of(folder: Path) -> list[edge_pb2.EdgeFrame]:
    """By the reader of the Python monitor, which reads files that were cut too."""
    messages = [item for path in sorted(folder.glob("*.mcap")) for item in read(path) if isinstance(item, Message)]
    return [edge_pb2.EdgeFrame.FromString(item.data) for item in messages if item.channel_id == 1]


def metadata_of(path: Path, name: str) -> dict[str, str]:
    return next(dict(item.metadata) for item in read(path) if isinstance(item, Metadata) and item.name == name)


def test_times_notes_and_facts(java: JavaMonitor, tmp_path: Path, arrays: Path) -> None:
    model = tmp_path / "model.tflite"
    model.write_bytes(b"weights")
    before = time.time_ns()
    lines = [
        "frame", "inference", "layer_time\tconv\tCONV_2D\t1500", "note\tlens\twide", "note\tlens\tnarrow",
        "rate\t16000", "throw\tdecode", "given\tunknown\tobject", "given\tmissing\tnull", "close",
    ]  # fmt: skip
    printed = java.run(tmp_path / "log", lines, level="io", model=model, threads="4")
    assert printed == ["thrown of the app"]
    (frame,) = stock_frames(tmp_path / "log")
    assert before - 10**9 < frame.time.ToNanoseconds() < time.time_ns() + 10**9
    assert [(timing.kind, timing.name) for timing in frame.timings] == [
        (3, ""), (4, "conv"), (2, "decode"), (1, ""),
    ]  # fmt: skip
    assert frame.timings[1].op == "CONV_2D" and frame.timings[1].elapsed.ToNanoseconds() == 1500
    total = frame.timings[3].elapsed.ToNanoseconds()
    assert all(t.begin.ToNanoseconds() + t.elapsed.ToNanoseconds() <= total for t in frame.timings[:3])
    assert dict(frame.values) == {"lens": "narrow"} and frame.sample_rate_hz == 16000
    assert list(frame.left_out) == [
        "input unknown: java.lang.Object is not an array or a text",
        "input missing: null is not an array or a text",
    ]
    assert frame.memory_bytes > 2**20
    (file,) = (tmp_path / "log").glob("*.mcap")
    facts = metadata_of(file, "windtunnel.device")
    assert facts["model_sha256"] == hashlib.sha256(b"weights").hexdigest()
    assert facts["threads"] == "4" and facts["level"] == "io" and facts["schema"] == "windtunnel.edge/1"
    assert file.name.startswith(facts["session"] + "-000001")
    assert facts["os"].startswith("Linux") and facts["device"]


def test_the_interpreter_is_asked_for_types(java: JavaMonitor, tmp_path: Path) -> None:
    java.run(tmp_path / "log", ["frame", "like litert", "close"], level="io")
    (frame,) = stock_frames(tmp_path / "log")
    image, scores = frame.tensors
    assert image.element == edge_pb2.EDGE_ELEMENT_UINT8 and list(image.shape) == [1, 3]
    assert (image.scale, image.zero_point) == (0.5, -7) and image.data == b"\xff\x00\x01"
    assert scores.element == edge_pb2.EDGE_ELEMENT_FLOAT32 and list(scores.shape) == [2] and not scores.scale


def test_every_nth_frame_and_levels(java: JavaMonitor, tmp_path: Path, arrays: Path) -> None:
    image = array(arrays, IMAGE)
    lines = []
    for number in range(9):
        lines += [f"level\t{'off' if number == 3 else 'statistics' if number > 4 else 'io'}", "frame"]
        lines += [f"raw\t\t{array(arrays, np.zeros((2, 2, 3), np.uint8))}", f"input\t\t{image}", "close"]
    java.run(tmp_path / "log", lines, level="io", every=3)
    frames = stock_frames(tmp_path / "log")
    assert [frame.number for frame in frames] == [0, 6]
    assert [[tensor.role for tensor in frame.tensors] for frame in frames] == [[2], [2]], "raw is not switched on"
    assert (values_of(frames[0].tensors[0]) == IMAGE).all()
    assert not frames[1].tensors[0].data and frames[1].tensors[0].statistics.count == IMAGE.size
    java.run(tmp_path / "by time", ["frame", "close"] * 50, level="io", every_s=1000)
    assert len(stock_frames(tmp_path / "by time")) == 1
    java.run(tmp_path / "off", ["frame", f"input\t\t{image}", "close", "sensor\tlight\t3"], level="off")
    assert not (tmp_path / "off").exists()


@pytest.mark.parametrize("level", ["io", "statistics"])
def test_redaction(level: str, java: JavaMonitor, tmp_path: Path, arrays: Path) -> None:
    photo = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    public, secret = np.arange(20, dtype=np.float32), np.arange(2000, dtype=np.float32)
    lines = [
        "frame", f"raw\t\t{array(arrays, photo)}", f"input\tpublic\t{array(arrays, public)}",
        f"input\tsecret\t{array(arrays, secret)}", f"output\tbroken\t{array(arrays, public)}",
        f"postprocessed\tpassword\t{array(arrays, 'swordfish')}", "close",
    ]  # fmt: skip
    java.run(tmp_path / "log", lines, level=level, raw="true", redact="raw,secret,password")
    (file,) = (tmp_path / "log").glob("*.mcap")
    assert metadata_of(file, "windtunnel.device")["redacted"] == "raw,secret,password"
    assert b"swordfish" not in file.read_bytes() and photo.tobytes() not in file.read_bytes()
    (frame,) = stock_frames(tmp_path / "log")
    tensors = {tensor.name: tensor for tensor in frame.tensors}
    assert {name: tensor.redacted for name, tensor in tensors.items()} == {
        "": True, "public": False, "secret": True, "broken": True, "password": level == "io",
    }  # fmt: skip
    for name in ("", "broken"):
        assert not tensors[name].data and not tensors[name].HasField("statistics") and not tensors[name].shape
    assert any(words.startswith("output broken: the redaction hook failed") for words in frame.left_out)
    if level == "io":
        assert (values_of(tensors["secret"]) == 0.5).all() and (values_of(tensors["public"]) == public).all()
        assert tensors["password"].data == b"***"
    else:
        assert tensors["secret"].statistics.max == 0.5 and tensors["public"].statistics.max == 19


def test_memory_is_bounded_and_what_is_missing_is_said(java: JavaMonitor, tmp_path: Path, arrays: Path) -> None:
    image = array(arrays, IMAGE)
    lines = ["frame", *[f"input\t{i}\t{image}" for i in range(4)], "close", "flush", "frame", "close"]
    java.run(tmp_path / "log", lines, level="io", memory_bytes=600_000)
    first, second = stock_frames(tmp_path / "log")
    kept = [bool(tensor.data) for tensor in first.tensors]
    assert kept == [True, True, False, False]
    assert list(first.left_out) == ["input 2: over the memory bound", "input 3: over the memory bound"]
    # Of what is left out, statistics are recorded, but not of all if an app is faster than its disk.
    assert first.tensors[2].statistics.count == IMAGE.size
    assert not second.left_out and not second.frames_lost


def test_a_ring_of_files(java: JavaMonitor, tmp_path: Path, arrays: Path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    old = log / "20200101T000000-7-00ff-000001.mcap"
    old.write_bytes(bytes(400_000))
    os.utime(old, (0, 0))
    (log / "notes.txt").write_text("of the app")
    lines = ["frame", f"input\t\t{array(arrays, IMAGE)}", "close", "flush"] * 30
    java.run(log, lines, level="io", file_bytes=300_000, disk_bytes=1_000_000)
    files = sorted(log.glob("*.mcap"))
    assert sum(file.stat().st_size for file in files) <= 1_000_000
    assert not old.exists() and (log / "notes.txt").exists()
    assert all(file.stat().st_size <= 300_000 for file in files) and len(files) > 2
    numbers = [frame.number for frame in stock_frames(log)]
    assert numbers == list(range(numbers[0], 30)) and 0 < numbers[0] < 28
    assert not any(frame.frames_lost for frame in stock_frames(log))


def test_a_killed_app_loses_only_what_was_not_flushed(java: JavaMonitor, tmp_path: Path, arrays: Path) -> None:
    frame = ["frame", f"input\t\t{array(arrays, IMAGE)}", "close"]
    with java.started(tmp_path / "log", level="io", flush_s=600, memory_bytes=60_000_000) as app:
        assert app.answer(*frame * 40, "flush") == "flushed true"
        assert app.answer(*frame * 5, "say\tkill me") == "kill me"
        os.kill(app.process.pid, signal.SIGKILL)
        app.process.wait(SECONDS)
    assert [frame.number for frame in frames_of(tmp_path / "log")] == list(range(40))
    (lines,) = java.dump("log", [tmp_path / "log"])
    assert [int(line[1]) for line in lines if line[0] == "frame"] == list(range(40))


def test_an_app_killed_while_it_writes(java: JavaMonitor, tmp_path: Path, arrays: Path) -> None:
    frame = ["frame", f"input\t\t{array(arrays, IMAGE)}", "close"]
    for attempt in range(3):
        log = tmp_path / f"log {attempt}"
        with java.started(log, level="io", flush_frames=2) as app:
            app.answer(*frame * 20, "say\tgo")
            app.do(*frame * (50 + 37 * attempt))
            os.kill(app.process.pid, signal.SIGKILL)
            app.process.wait(SECONDS)
        frames = frames_of(log)
        assert all((values_of(frame.tensors[0]) == IMAGE).all() for frame in frames if frame.tensors[0].data)
        numbers = [frame.number for frame in frames]
        assert numbers == sorted(set(numbers))


def test_a_full_disk(java: JavaMonitor, tmp_path: Path, arrays: Path) -> None:
    """The size of files is limited for a time, so that writes fail in the middle of a chunk."""
    frame = ["frame", f"input\t\t{array(arrays, IMAGE)}", "close", "flush"]
    with java.started(tmp_path / "log", level="io") as app:
        for _ in range(3):
            assert app.answer(*frame) == "flushed true"
        resource.prlimit(app.process.pid, resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
        for _ in range(4):
            assert app.answer(*frame) == "flushed true"
        assert app.answer("lost").startswith("lost 4 ")
        resource.prlimit(app.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert app.answer(*frame) == "flushed true"
        app.end()
    frames = stock_frames(tmp_path / "log")
    assert [frame.number for frame in frames] == [0, 1, 2, 7]
    assert [frame.frames_lost for frame in frames] == [0, 0, 0, 4]
    assert frames[3].left_out[0].startswith("4 frames: ")
    items = [item for path in (tmp_path / "log").glob("*.mcap") for item in read(path)]
    assert not [item for item in items if isinstance(item, Skipped)]


def test_a_disk_that_stays_full(java: JavaMonitor, tmp_path: Path, arrays: Path) -> None:
    frame = ["frame", f"input\t\t{array(arrays, IMAGE)}", "close"]
    lines = [*frame, "flush", *frame, "flush", *frame, "flush", *frame]
    java.run(tmp_path / "log", lines, level="io", disk_bytes=130_000)
    assert not list((tmp_path / "log").glob("*.mcap")) or stock_frames(tmp_path / "log")
    printed = java.run(tmp_path / "small", [*lines, "flush", "lost"], level="io", disk_bytes=20_000)
    assert printed[-1] == "lost 4 the log would be larger than its bound of 20000 bytes"


def test_a_folder_that_cannot_be_written(java: JavaMonitor, tmp_path: Path, arrays: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder should be")
    frame = ["frame", f"input\t\t{array(arrays, IMAGE)}", "close"]
    with java.started(blocked / "log", level="io") as app:
        assert app.answer(*frame * 2, "flush") == "flushed true"
        assert app.answer("lost").startswith("lost 2 ")
        blocked.unlink()
        assert app.answer(*frame, "flush") == "flushed true"
        app.end()
    (frame_after,) = stock_frames(blocked / "log")
    assert frame_after.number == 2 and frame_after.frames_lost == 2
    assert "cannot be made" in frame_after.left_out[0]


def test_a_log_that_somebody_deletes(java: JavaMonitor, tmp_path: Path, arrays: Path) -> None:
    log = tmp_path / "log"
    with java.started(log, level="io") as app:
        app.answer("frame", "close", "frame", "close", "flush")
        for file in log.glob("*.mcap"):
            file.unlink()
        app.answer("frame", "close", "flush")
        app.answer("frame", "close", "flush")
        app.end()
    frames = stock_frames(log)
    assert [(frame.number, frame.frames_lost) for frame in frames] == [(2, 2), (3, 0)]
    assert "deleted" in frames[0].left_out[0]


def test_two_processes_on_one_folder(java: JavaMonitor, tmp_path: Path, arrays: Path) -> None:
    lines = "\n".join(["frame", f"input\t\t{array(arrays, IMAGE)}", "close", "flush"] * 10) + "\n"
    command = java.command("Script", tmp_path / "log", "level", "io")
    apps = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) for _ in range(2)]
    for app in apps:
        app.communicate(lines, timeout=SECONDS)
        assert app.returncode == 0
    assert len(list((tmp_path / "log").glob("*.mcap"))) == 2
    assert sorted(frame.number for frame in stock_frames(tmp_path / "log")) == sorted([*range(10), *range(10)])


def test_frames_that_are_lost_at_the_end_are_in_the_log(java: JavaMonitor, tmp_path: Path, arrays: Path) -> None:
    with java.started(tmp_path / "log", level="io") as app:
        app.answer("frame", "close", "flush")
        resource.prlimit(app.process.pid, resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
        app.answer("frame", f"input\t\t{array(arrays, IMAGE)}", "close", "flush")
        app.end()
    (file,) = (tmp_path / "log").glob("*.mcap")
    end = metadata_of(file, "windtunnel.end")
    assert (end["frames_recorded"], end["frames_lost"], end["frames_lost_at_end"]) == ("1", "1", "1")


def test_threads_share_a_monitor_and_frames_that_are_not_closed_cost_nothing(java: JavaMonitor, tmp_path: Path) -> None:
    command = java.command("Threads", tmp_path / "log")
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0 and not done.stderr, done.stderr
    printed = json.loads(done.stdout)
    frames = stock_frames(tmp_path / "log")
    assert len(frames) + printed["lost"] == printed["closed"] + printed["abandoned"]
    assert sum(frame.frames_lost for frame in frames) <= printed["lost"]
    for frame in frames:
        for tensor in frame.tensors:
            if tensor.data:
                assert len(set(values_of(tensor).reshape(-1).tolist())) == 1, "a frame has values of another"
    assert printed["kept_after_all"]


def test_the_readme_uses_what_there_is(java: JavaMonitor, tmp_path: Path) -> None:
    """The Java code of the README compiles within a class that has what it takes for granted."""
    text = (ROOT / "sdk/java/README.md").read_text(encoding="utf-8")
    blocks = [block.split("```")[0] for block in text.split("```java\n")[1:]]
    assert len(blocks) >= 4
    body = "\n".join(f"void block{i}() throws Exception {{\n{block}\n}}" for i, block in enumerate(blocks[1:]))
    imports = "\n".join(line for line in blocks[0].splitlines() if line.startswith("import"))
    first = "\n".join(line for line in blocks[0].splitlines() if not line.startswith("import"))
    given = (ROOT / "tests/integration/monitor_java/readme_context.txt").read_text(encoding="utf-8")
    source = tmp_path / "Readme.java"
    source.write_text(
        f"{imports}\nclass Readme {{\n{given}\nvoid first() throws Exception {{\n{first}\n}}\n{body}\n}}\n"
    )
    done = subprocess.run(
        ["javac", "-cp", str(java.jar), "-d", str(tmp_path / "out"), str(source)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
