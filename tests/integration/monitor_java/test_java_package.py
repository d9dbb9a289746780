"""The Java monitor as a package: what it needs, what it costs to use, and that its example records."""

from __future__ import annotations

import re
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from support.java_monitor import JAVA, ROOT, SECONDS, JavaMonitor, stock_frames, values_of

pytestmark = pytest.mark.heavy
EXAMPLE = ROOT / "examples/edge_monitor_java/CameraApp.java"
# All of them are in Java 8 and in Android 5 (API level 21). Before you add one, look it up in the reference of Android.
KNOWN = Path(__file__).with_name("java_api.txt")
MOST_LINES = 5


def test_it_needs_only_java_8_and_android_5(java: JavaMonitor, tmp_path: Path) -> None:
    with zipfile.ZipFile(java.jar) as jar:
        names = [name for name in jar.namelist() if name.endswith(".class")]
        assert {int.from_bytes(jar.read(name)[6:8], "big") for name in names} == {52}, "classes of Java 8"
        jar.extractall(tmp_path)
    listed = subprocess.run(
        ["javap", "-v", *(str(tmp_path / name) for name in names)], capture_output=True, text=True, check=True
    ).stdout
    used = set(re.findall(r"(?:Methodref|Fieldref) .*// (\"?\[?L?java\S+?):", listed))
    assert len(used) > 150
    assert used - set(KNOWN.read_text().split()) == set()


def test_the_example_has_at_most_five_lines_of_instrumentation() -> None:
    code = [
        line.split("//")[0] for line in EXAMPLE.read_text().splitlines() if not line.lstrip().startswith(("/*", "*"))
    ]
    lines = [line for line in code if re.search(r"windtunnel|monitor|frame", line, re.IGNORECASE)]
    assert 0 < len(lines) <= MOST_LINES, lines


def test_the_example_records(java: JavaMonitor, tmp_path: Path) -> None:
    compile_it = ["javac", "-cp", java.jar, "-d", tmp_path, EXAMPLE]
    run_it = [*JAVA, "-cp", f"{java.jar}:{tmp_path}", "CameraApp"]
    for command in (compile_it, run_it):
        done = subprocess.run(list(map(str, command)), cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == 0 and not done.stderr, done.stderr
    assert done.stdout.split() == ["class", "0", "class", "1", "class", "2"]
    frames = stock_frames(tmp_path / "edge-log")
    assert [[tensor.role for tensor in frame.tensors] for frame in frames] == [[1, 5, 6, 2, 3]] * 3
    for frame in frames:
        raw, given, made, fed, scores = map(values_of, frame.tensors)
        assert raw.shape == (96, 96, 3) and raw.dtype == np.uint8
        assert (given == raw.reshape(-1)).all() and (made == fed.reshape(-1)).all()
        assert np.allclose(fed[0], raw.astype(np.float32) / 127.5 - 1, atol=1e-6) and scores.shape == (1, 3)
    (file,) = (tmp_path / "edge-log").glob("*.mcap")
    assert file.read_bytes().endswith(b"\x89MCAP0\r\n"), "the end of the virtual machine closes the log"
