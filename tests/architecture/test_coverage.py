"""Coverage is measured over all sources, and a fall below the recorded figure fails the checks."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SETTINGS: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["coverage"]
# Half of its lines run without arguments, all of them with one.
PROGRAM = "import sys\nif len(sys.argv) > 1:\n    x = 1\n    y = 2\n"


def test_every_source_folder_is_measured() -> None:
    folders = {str(path.relative_to(ROOT)) for depth in ("*", "*/*", "*/*/*") for path in ROOT.glob(f"{depth}/src")}
    assert {path for path in folders if (ROOT / path / "windtunnel").is_dir()} == set(SETTINGS["run"]["source"])


def test_a_floor_is_recorded() -> None:
    assert 50 < SETTINGS["report"]["fail_under"] < 100


@pytest.mark.parametrize(("arguments", "code"), [([], 2), (["x"], 0)])
def test_lines_that_no_test_reaches_any_more_fail_the_report(tmp_path: Path, arguments: list[str], code: int) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    # The settings of the checks, over other sources.
    report = "\n".join(
        f"{key} = {str(value).lower()}" for key, value in SETTINGS["report"].items() if key != "exclude_also"
    )
    (tmp_path / "pyproject.toml").write_text(f"[tool.coverage.run]\nsource = ['.']\n[tool.coverage.report]\n{report}\n")
    coverage = [sys.executable, "-m", "coverage"]
    # These tests may be measured themselves.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    run = [*coverage, "run", "program.py", *arguments]
    subprocess.run(run, cwd=tmp_path, env=environment, check=True, capture_output=True)
    done = subprocess.run(
        [*coverage, "report"], cwd=tmp_path, env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode == code, done.stdout + done.stderr
