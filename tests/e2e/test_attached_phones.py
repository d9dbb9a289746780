"""Attached phones through the command line: the model runs on ARM kernels, and a killed dispatcher doubles nothing."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from support.arm import arm_system
from support.farm_peers.phone.adb_server import adb_server
from support.farm_peers.phone.benchmark import ARM, benchmark_binary
from support.farm_peers.phone.phone import Phone, attached_phone
from support.graphs import dense_model
from support.system import System

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(400)]


def test_a_run_on_attached_phones(tmp_path: Path) -> None:
    arm_system()
    with (
        adb_server(tmp_path / "adb") as server,
        attached_phone(tmp_path / "one") as one,
        attached_phone(tmp_path / "two") as two,
    ):
        for phone in (one, two):
            server.connect(phone.serial)
        environment = files_of(tmp_path, server.address)
        system = System(tmp_path / "home", environment).start()
        try:
            report = run_with_a_kill(system, dense_model(tmp_path / "m.tflite"), tmp_path / "plan.yaml", (one, two))
        finally:
            system.stop()
    cells = [cell for variant in report["variants"] for cell in variant["cells"]]
    assert [cell["status"] for cell in cells] == ["measured"] * 4
    # Each cell ran once, and what ran is what the report names.
    ran = [arguments for phone in (one, two) for arguments in phone.state.benchmarks]
    assert len(ran) == len(set(ran)) == 4
    graphs = {next(word for word in words if word.startswith("--graph=")).split("/")[-2] for words in ran}
    assert graphs == {variant["sha256"][:16] for variant in report["variants"]}


def files_of(folder: Path, server: str) -> dict[str, str]:
    """farms.yaml, the catalog and the plan; returns the environment of the system."""
    program = folder / "benchmark_model"
    program.write_bytes(benchmark_binary(ARM))
    digest = hashlib.sha256(program.read_bytes()).hexdigest()
    documents: dict[str, dict[str, Any]] = {
        "catalog": {
            "entries": [
                {
                    "name": "benchmark_model",
                    "kind": "binary",
                    "abi": "arm64-v8a",
                    "path": str(program),
                    "sha256": digest,
                }
            ]
        },
        "farms": {
            "farms": [
                {
                    "name": "bench",
                    "kind": "adb",
                    "server": server,
                    "parallel": 2,
                    "poll_seconds": {"min": 0.5, "max": 2},
                }
            ]
        },
        "plan": {
            "variants": ["float32", "float16"],
            "devices": [{"farm": "bench", "accelerator": ["xnnpack", "cpu"], "run_as": "executable"}],
        },
    }
    for name, document in documents.items():
        (folder / f"{name}.yaml").write_text(json.dumps({"apiVersion": "windtunnel/v1", **document}))
    return {
        "WINDTUNNEL_FARMS_FILE": str(folder / "farms.yaml"),
        "WINDTUNNEL_CATALOG_FILE": str(folder / "catalog.yaml"),
    }


def run_with_a_kill(system: System, model: Path, plan: Path, phones: tuple[Phone, ...]) -> dict[str, Any]:
    """The report of a run whose dispatcher is killed while a phone works."""
    for phone in phones:
        phone.state.may_finish.clear()
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(system.cli, "submit", str(model), "--plan", str(plan), "--wait", "--json")
        try:
            until(lambda: any(phone.state.started.is_set() for phone in phones))
            system.kill("farm_dispatcher")
        finally:
            for phone in phones:
                phone.state.may_finish.set()
        submitted = waiting.result()
    assert submitted.returncode == 0, submitted.stderr
    report: dict[str, Any] = json.loads(submitted.stdout)
    return report


def until(condition: Callable[[], bool], patience_s: float = 120.0) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
