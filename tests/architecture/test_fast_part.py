"""`pytest` alone is the fast offline part; with paths or a mark it runs what it is asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def collected(*arguments: str) -> list[str]:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    return [line for line in done.stdout.splitlines() if "::" in line]


def test_alone_it_is_the_light_unit_tests() -> None:
    light, heavy = collected(), collected("-m", "heavy")
    assert len(light) > 3000 and len(heavy) > 10
    assert {tuple(name.split("/")[:2]) for name in (*light, *heavy)} == {("tests", "unit")}
    assert set(light).isdisjoint(heavy)


def test_a_path_runs_all_of_it() -> None:
    path = "tests/integration/arm/test_arm_setup.py"
    assert len(collected(path)) == len(collected(path, "-m", "heavy")) > 0
