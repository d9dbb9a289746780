"""The example of the edge monitor runs, and needs five lines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.graphs import GraphWriter
from support.recorded_frames import frames, metadata, tensors

EXAMPLE = Path(__file__).parents[3] / "examples" / "edge_monitor_python" / "camera_app.py"


def test_five_lines() -> None:
    code = EXAMPLE.read_text().split('"""')[2].splitlines()
    of_the_monitor = [line for line in code if "onitor" in line]
    assert [line for line in code if line.endswith("# monitor")] == of_the_monitor
    assert len(of_the_monitor) == 5


@pytest.mark.heavy
def test_it_runs(tmp_path: Path) -> None:
    writer = GraphWriter()
    source = writer.tensor("image", (1, 8, 8, 3))
    output = writer.tensor("scores", (1, 8, 8, 3))
    writer.op("RELU", [source], [output])
    model = writer.write(tmp_path / "m.tflite", [source], [output])
    images = []
    for number in range(2):
        images.append(tmp_path / f"{number}.png")
        Image.fromarray(np.full((20, 30, 3), 100 * number, np.uint8)).save(images[-1])
    command = [sys.executable, *map(str, (EXAMPLE, model, tmp_path / "log", *images))]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    recorded = frames(tmp_path / "log")
    assert [tensors(frame) for frame in recorded] == [
        [
            ("raw", ""),
            ("function_input", "preprocess"),
            ("function_output", "preprocess"),
            ("input", ""),
            ("output", ""),
        ]
    ] * 2
    assert metadata(tmp_path / "log", "windtunnel.device")["app"] == "camera"
