"""Waveforms and texts through their pipelines: compared on the command line, and in a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.raw_models import RawModel, audio_model, text_model
from support.system import System

Maker = Callable[[Path], RawModel]
MAKERS = pytest.mark.parametrize("make", [audio_model, text_model], ids=["audio", "text"])


def _diff(made: RawModel, candidate: Path, folder: Path, *more: str) -> tuple[int, str, str]:
    given = ("diff", made.model, candidate, "--samples", made.samples, "--pipeline", made.pipeline, *more)
    command = [sys.executable, "-m", "windtunnel.cli", *map(str, given)]
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    # From another folder: what the pipeline names is next to it.
    done = subprocess.run(command, cwd=folder, capture_output=True, env=environment, timeout=240)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.heavy
@MAKERS
def test_diff_of_raw_samples(make: Maker, tmp_path: Path) -> None:
    made = make(tmp_path / "made")
    code, output, errors = _diff(made, made.model, tmp_path, "--json")
    assert code == 0, errors
    healthy = json.loads(output)
    assert healthy["verdict"] == "healthy"
    assert healthy["accuracy"]["reference"]["top1"] == 1
    assert healthy["findings"] == []
    code, output, errors = _diff(made, made.broken, tmp_path, "--json")
    assert code == 1, errors
    assert json.loads(output)["accuracy"]["candidate"]["top1"] < 0.8


@pytest.mark.heavy
def test_a_vocabulary_that_is_not_there_is_named(tmp_path: Path) -> None:
    made = text_model(tmp_path / "made")
    (tmp_path / "made/words/vocab.txt").unlink()
    code, _, errors = _diff(made, made.model, tmp_path)
    assert code == 2
    assert "input 'ids', step 1 (tokenize): field 'vocabulary'" in " ".join(errors.split())


@pytest.mark.heavy
@MAKERS
def test_a_run_on_raw_samples(make: Maker, system: System, tmp_path: Path) -> None:
    made = make(tmp_path / "made")
    plan: dict[str, Any] = {
        "apiVersion": "windtunnel/v1",
        "data": {"samples": made.samples.name},
        "preprocessing": made.pipeline.name,
        "variants": ["float32", "dynamic_range"],
        "devices": [{"farm": "local"}],
        "expected_accuracy": 1.0,
        "gates": {"accuracy": {"min": 0.99}, "only": {"dynamic_range": {"accuracy": {"min": 0.5}}}},
    }
    path = made.model.parent / "plan.yaml"
    path.write_text(json.dumps(plan))
    result = system.cli("submit", str(made.model), "--plan", str(path), "--wait", "--json")
    report = json.loads(result.stdout)
    assert result.returncode == 0, (report["reasons"], result.stderr)
    by_name = {variant["name"]: variant for variant in report["variants"]}
    assert by_name["float32"]["accuracy"] == 1
    assert by_name.keys() == {"float32", "dynamic_range"}
