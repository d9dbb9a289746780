"""The golden recording, made now by every build, and the committed one; the monitor's own reader reads both."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from support.cpp_monitor import SDK, App, read_log
from support.edge_golden import differences
from windtunnel.monitor.mcap.reader import read
from windtunnel.monitor.mcap.records import Header

pytestmark = pytest.mark.heavy
GOLDEN = Path(__file__).parents[2] / "data" / "edge_golden" / "cpp.mcap"


def test_every_build_records_the_golden_recording(any_app: App, tmp_path: Path) -> None:
    any_app.run("golden", tmp_path)
    (file,) = tmp_path.glob("*.mcap")
    assert differences(file) == []
    assert read_log(tmp_path).whole == [True]


def test_the_committed_recording_is_of_this_monitor() -> None:
    assert differences(GOLDEN) == []
    header = next(item for item in read(GOLDEN) if isinstance(item, Header))
    version = (SDK / "src" / "version.h").read_text().split('"')[1]
    python = SDK.parent / "python" / "monitor" / "pyproject.toml"
    assert version == tomllib.loads(python.read_text())["project"]["version"]
    assert f"VERSION {version} " in (SDK / "CMakeLists.txt").read_text()
    assert header.library == f"windtunnel-monitor cpp {version}"
