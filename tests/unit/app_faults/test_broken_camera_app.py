"""The example examples/broken_camera_app, with the commands of its README."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_EXAMPLE = Path(__file__).parents[3] / "examples" / "broken_camera_app"
_FAULTS = {"preprocessing.orientation", "preprocessing.range", "preprocessing.channel_order"}
_CORRECTIONS = (
    ("upright = np.rot90(photo)", "upright = photo"),
    ("bgr = small[..., ::-1]", "bgr = small"),
    ("(bgr / 255)", "(bgr / 127.5 - 1)"),
)


@pytest.mark.heavy
def test_three_commands_name_the_three_faults_and_the_corrected_app_is_healthy(tmp_path: Path) -> None:
    folder = tmp_path / "app"
    shutil.copytree(_EXAMPLE, folder, ignore=shutil.ignore_patterns("edge-log", "photos.npz", "__pycache__"))
    _python(folder, "make_photos.py")
    assert "4 of 24" in _python(folder, "app.py")

    code, found = _diagnosed(folder)
    assert code == 1
    assert {cause["code"] for cause in found["causes"]} == _FAULTS
    assert all(cause["verified"] for cause in found["causes"])

    shutil.rmtree(folder / "edge-log")
    app = (folder / "app.py").read_text()
    for wrong, right in _CORRECTIONS:
        assert wrong in app
        app = app.replace(wrong, right)
    (folder / "app.py").write_text(app)
    assert "24 of 24" in _python(folder, "app.py")

    code, found = _diagnosed(folder)
    assert (code, found["verdict"], found["causes"]) == (0, "healthy", [])


def test_the_app_is_instrumented_with_five_lines_and_the_readme_has_three_commands() -> None:
    marked = [line for line in (_EXAMPLE / "app.py").read_text().splitlines() if line.endswith("# monitor")]
    monitoring = [
        line for line in (_EXAMPLE / "app.py").read_text().splitlines() if re.search(r"onitor[.(]|import Mon", line)
    ]
    commands = re.findall(r"^    (?:python|windtunnel) .*$", (_EXAMPLE / "README.md").read_text(), re.MULTILINE)

    assert len(marked) == 5
    assert marked == monitoring
    assert len(commands) == 3


def _python(folder: Path, script: str) -> str:
    return subprocess.run(
        [sys.executable, script], cwd=folder, check=True, capture_output=True, text=True, timeout=120
    ).stdout


def _diagnosed(folder: Path) -> tuple[int, dict[str, Any]]:
    command = [str(Path(sys.executable).with_name("windtunnel")), "diagnose", "--json", "--edge", "edge-log"]
    command += ["--model", "model.tflite", "--pipeline", "pipeline.json"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    found: dict[str, Any] = json.loads(ended.stdout)
    return ended.returncode, found
