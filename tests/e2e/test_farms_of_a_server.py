"""Farms of a running Windtunnel on the command line: devices, dry run, progress, and what `cancel` ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from support.farms_installation import installation, until
from support.graphs import dense_model
from support.system import System

pytestmark = pytest.mark.heavy


def test_a_run_on_a_farm_is_shown_and_canceled_there(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    devices = [{"farm": "aws", "device": "Google Pixel 8", "os_version": "14", "threads": [1, 2]}]
    plan.write_text(yaml.safe_dump({"apiVersion": "windtunnel/v1", "variants": ["float32"], "devices": devices}))
    model = str(dense_model(tmp_path / "m.tflite"))
    # Virtual time is slow: the farm run lasts until it is canceled.
    with installation(tmp_path, aws_speed=2.0) as farms:
        catalog = str(farms.aws_catalog())
        environment = {
            **farms.environment, "WINDTUNNEL_FARMS_FILE": str(farms.farms), "WINDTUNNEL_CATALOG_FILE": catalog,
        }  # fmt: skip
        system = System(tmp_path / "home", environment).start()
        try:
            listed = json.loads(system.cli("devices", "--json").stdout)
            assert {one["farm"] for one in listed} == {"local", "bench", "ftl", "aws"}
            dry = json.loads(system.cli("submit", model, "--plan", str(plan), "--dry-run", "--json").stdout)
            assert [(one["farm"], one["cells"], one["cost_usd"]) for one in dry["farms"]] == [("aws", 2, 0.34)]
            assert system.cli("submit", model, "--plan", str(plan), "--run-id", "run-1").returncode == 0
            until(lambda: farms.aws.calls["ScheduleRun"] > 0, "the farm run")
            canceled = system.cli("cancel", "run-1", "--reason", "enough")
            assert canceled.returncode == 0, canceled.stderr
            assert "canceled on its farm: aws/Google Pixel 8@14, 2 cells" in canceled.stdout
            until(lambda: farms.aws.calls["StopRun"] > 0, "the cancellation")
            shown = system.cli("watch", "run-1")
            assert shown.returncode == 2
        finally:
            system.stop()
