"""A run on emulated ARM64 processors in addition to this host, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.arm import arm_system
from support.models import DigitsModels
from support.system import System

pytestmark = pytest.mark.heavy


def test_a_run_on_emulated_processors(models: DigitsModels, tmp_path: Path) -> None:
    arm_system()
    plan = {
        "apiVersion": "windtunnel/v1",
        "data": {"samples": str(models.samples), "calibration": str(models.calibration)},
        "variants": ["int8"],
        "devices": [{"farm": "local"}, {"farm": "arm", "device": "cortex-a53", "accelerator": ["xnnpack", "cpu"]}],
        # No gate on the latency: on a busy host none is judged.
        "gates": {"accuracy_drop": 0.05, "memory_mb": 1000},
    }
    (tmp_path / "plan.yaml").write_text(json.dumps(plan))
    system = System(tmp_path / "home", {"WINDTUNNEL_FARMS": "local,arm"}).start()
    try:
        devices = json.loads(system.cli("devices", "--json").stdout)
        submitted = system.cli("submit", str(models.float32), "--plan", str(tmp_path / "plan.yaml"), "--wait", "--json")
    finally:
        system.stop()
    assert {one["name"] for one in devices if one["farm"] == "arm"} == {"cortex-a53", "cortex-a76"}
    assert submitted.returncode == 0, submitted.stderr
    (int8,) = json.loads(submitted.stdout)["variants"]
    cells = {(cell["device"], cell["accelerator"]): cell for cell in int8["cells"]}
    assert {cell["status"] for cell in cells.values()} == {"measured"}
    emulated = cells["cortex-a53", "xnnpack"]
    assert set(emulated["latency_ms"].values()) == {None} and emulated["memory_mb"] is None
    assert "emulation" in emulated["reason"] and emulated["nodes_delegated"] > 0
    assert cells["host", "xnnpack"]["latency_ms"]["p95"] > 0
    kernels = {run["name"]: run for run in int8["diagnosis"]["settings"]["kernels"]}
    assert {name: run["status"] for name, run in kernels.items()} == dict.fromkeys(
        ("none", "xnnpack", "arm:cortex-a53", "arm:cortex-a53:none"), "ran"
    )
    # On the same inputs, integers of ARM64 kernels differ by at most one step from those of this host.
    assert kernels["arm:cortex-a53"]["local_max_steps"] == 1.0
    assert int8["diagnosis"]["verdict"] == "healthy"


def test_a_farm_that_is_not_set_up_says_what_to_run(tmp_path: Path) -> None:
    environment = {"WINDTUNNEL_FARMS": "local,arm", "XDG_CACHE_HOME": str(tmp_path)}
    home = tmp_path / "home"
    result = System(home, environment).cli("up", "--home", str(home))
    assert result.returncode == 2, result.stderr
    assert "windtunnel arm setup" in result.stderr
