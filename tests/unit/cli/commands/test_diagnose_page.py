"""`windtunnel diagnose --html`: the page of an app, from its files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.graphs import GraphWriter

pytestmark = pytest.mark.heavy


def test_the_page_shows_causes_and_samples(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    writer = GraphWriter()
    image = writer.tensor("image", (1, 8, 8, 3))
    weights = random.normal(0, 0.3, (4, 192)).astype(np.float32)
    scores = writer.dense("scores", image, weights, np.zeros(4, np.float32))
    writer.write(tmp_path / "m.tflite", [image], [scores])
    raw = random.integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    steps = [{"op": "normalize", "scale": 1 / 255, "offset": 0.0}]
    pipeline = {"schema": "windtunnel.pipeline/1", "task": "classification", "steps": steps}
    (tmp_path / "p.json").write_text(json.dumps(pipeline))
    fed = (raw / 255).astype(np.float32)[..., ::-1]
    np.savez(tmp_path / "edge.npz", raw=raw, input=fed, output=fed.reshape(5, -1) @ weights.T)
    options = ("--model", "m.tflite", "--pipeline", "p.json", "--edge", "edge.npz", "--html", "app.html")
    command = [sys.executable, "-m", "windtunnel.cli", "diagnose", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    page = (tmp_path / "app.html").read_text()
    assert "preprocessing.channel_order" in page and page.count("data:image/png") == 20 and "frame 4" in page
    again = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path)
    assert again.returncode == 2 and "app.html" in again.stderr, "it does not replace a file without --force"
