"""The Java monitor, compiled by its own build script."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from support.java_monitor import ROOT, SECONDS, SOURCES, JavaMonitor


@pytest.fixture(scope="session")
def java(tmp_path_factory: pytest.TempPathFactory) -> JavaMonitor:
    """The monitor and the programs of the tests."""
    if not (shutil.which("javac") and shutil.which("java")):
        pytest.skip("there is no JDK: install openjdk-17-jdk-headless")
    folder = tmp_path_factory.mktemp("java")
    jar = folder / "windtunnel-monitor.jar"
    for command in (
        [ROOT / "sdk/java/build", folder],
        ["javac", "-cp", jar, "-d", folder / "tests", *sorted(SOURCES.glob("*.java"))],
    ):
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == 0, done.stderr
    return JavaMonitor(jar, folder / "tests")


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    """Where a test stores the arrays of its script."""
    folder = tmp_path / "arrays"
    folder.mkdir()
    return folder
