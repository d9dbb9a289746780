"""A model that leaves the size of its input open, from its announcement to the verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from support.open_models import CHANNELS, conv_model
from support.system import System
from windtunnel import schemas

pytestmark = pytest.mark.heavy

PLAN = """\
apiVersion: windtunnel/v1
variants: [float32]
devices: [{farm: local, accelerator: xnnpack, threads: 1}]
gates: {latency_ms: {p50: 10000}}
"""


def submitted(system: System, model: Path, plan: str) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """Exit code, report, and its only cell."""
    path = model.with_name("plan.yaml")
    path.write_text(plan)
    result = system.cli("submit", str(model), "--plan", str(path), "--wait", "--json")
    report = json.loads(result.stdout)
    jsonschema.validate(report, schemas.load("report"))
    (cell,) = report["variants"][0]["cells"]
    return result.returncode, report, cell


def test_it_is_measured_at_the_samples_size(system: System, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.ones((3, 40, 24, CHANNELS), np.float32))
    _, report, cell = submitted(system, conv_model(tmp_path / "m.tflite"), PLAN + "data: {samples: x.npz}\n")
    assert (cell["input_shapes"], cell["shapes_known"]) == ({"image": [1, 40, 24, CHANNELS]}, True)
    assert cell["conditions"]["other_load_cores"] is not None and cell["nodes_total"] == 1
    (gate,) = report["variants"][0]["gates"]
    # The machine that runs the tests may be busy.
    assert gate["passed"] is (None if cell["unstable"] else True)
    shown = system.cli("report", report["run_id"]).stdout
    assert f"input 1x40x24x{CHANNELS}" in shown and "1/1" in shown


def test_the_plan_gives_the_size(system: System, tmp_path: Path) -> None:
    plan = PLAN + "input_shapes: {image: [1, 32, 16, 3]}\n"
    _, _, cell = submitted(system, conv_model(tmp_path / "m.tflite"), plan)
    assert (cell["input_shapes"], cell["shapes_known"]) == ({"image": [1, 32, 16, CHANNELS]}, True)


def test_a_gate_on_a_size_that_nobody_gave_is_not_judged(system: System, tmp_path: Path) -> None:
    code, report, cell = submitted(system, conv_model(tmp_path / "m.tflite"), PLAN)
    assert (code, report["verdict"], cell["shapes_known"]) == (2, "could_not_run", False)
    (gate,) = report["variants"][0]["gates"]
    assert gate["passed"] is None and "the input shape is not known" in gate["why"]
    assert any("were taken as 1 (give samples, or input_shapes in the plan)" in text for text in report["reasons"])
