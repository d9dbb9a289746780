"""What the C++ monitor costs, with limits for a busy machine; benchmarks/edge_monitor_cpp.py has the figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.cpp_monitor import SDK, build

pytestmark = pytest.mark.heavy


def test_memory_disk_and_time_of_a_frame(tmp_path: Path) -> None:
    app = build("gcc", (SDK / "bench" / "overhead.cpp",), tmp_path / "overhead")
    rows = {level: json.loads(app.run(level, tmp_path / level, 300)) for level in ("off", "statistics", "io")}
    assert all(row["memory_bytes"] <= 4_000_000 for row in rows.values())
    assert rows["statistics"]["disk_bytes_per_frame"] <= 410
    assert rows["off"]["monitor_us"] < 3 and rows["off"]["disk_bytes_per_frame"] == 0
    assert rows["statistics"]["monitor_us"] < 180
    assert rows["io"]["monitor_us"] < max(9 * rows["io"]["copy_us"], 100)
