"""The example app: its lines for the monitor are counted, it runs, and CMake builds the library."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.cpp_monitor import SDK, build, read_log
from windtunnel.v1 import edge_pb2

EXAMPLE = SDK.parents[1] / "examples" / "edge_monitor_cpp" / "camera_app.cpp"


def test_five_lines_instrument_the_example() -> None:
    code = [line.split("//")[0] for line in EXAMPLE.read_text().splitlines()]
    lines = [line for line in code if re.search(r"windtunnel|\bmonitor\b|\bframe\b", line)]
    assert 3 <= len(lines) <= 5, lines


@pytest.mark.heavy
def test_the_example_records_the_app(tmp_path: Path) -> None:
    (tmp_path / "photo.ppm").write_bytes(b"P6\n4 2\n255\n" + bytes([200, 10, 20] * 8))
    app = build("gcc", (EXAMPLE,), tmp_path / "app")
    done = subprocess.run([*app.command, "photo.ppm"], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout == "red\n"
    log = read_log(tmp_path / "edge-log")
    (frame,) = log.frames
    shapes = {(one.role, one.name): list(one.shape) for one in frame.tensors}
    assert shapes[edge_pb2.EDGE_ROLE_FUNCTION_INPUT, "preprocess[0]"] == [2, 4, 3]
    assert shapes[edge_pb2.EDGE_ROLE_FUNCTION_OUTPUT, "preprocess"] == [96 * 96 * 3]
    assert shapes[edge_pb2.EDGE_ROLE_INPUT, ""] == [1, 96, 96, 3]
    assert shapes[edge_pb2.EDGE_ROLE_OUTPUT, ""] == [3]
    kinds = {one.kind for one in frame.timings}
    assert kinds == {
        edge_pb2.EDGE_TIMING_KIND_FRAME,
        edge_pb2.EDGE_TIMING_KIND_STAGE,
        edge_pb2.EDGE_TIMING_KIND_INFERENCE,
    }


@pytest.mark.heavy
def test_cmake_builds_and_installs_the_library(tmp_path: Path) -> None:
    if shutil.which("cmake") is None:
        pytest.skip("cmake is missing: apt-get install cmake")
    (tmp_path / "app").mkdir()
    shutil.copy(EXAMPLE, tmp_path / "app" / "app.cpp")
    (tmp_path / "app" / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.13)\nproject(app CXX)\n"
        f"add_subdirectory({SDK} monitor)\nadd_executable(app app.cpp)\n"
        "target_link_libraries(app windtunnel::monitor)\n"
    )
    for command in (
        ["cmake", "-S", "app", "-B", "build", f"-DCMAKE_INSTALL_PREFIX={tmp_path / 'installed'}"],
        ["cmake", "--build", "build"],
        ["cmake", "--install", "build"],
    ):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "build" / "app").exists()
    assert (tmp_path / "installed" / "include" / "windtunnel" / "monitor.h").exists()
