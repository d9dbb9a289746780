"""kill -9 of the farm dispatcher while cells are on a paid farm: none is lost or runs twice, the bill adds up."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from support.farm_peers.aws.benchmark import measuring_benchmark
from support.farm_peers.aws.server import AwsPeer, start_aws_peer
from support.models import DigitsModels
from support.system import System

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(400)]
PRICE = Decimal("0.17")
KILLS = 6


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[AwsPeer]:
    with start_aws_peer(tmp_path / "farm", speed=20.0, page_size=20) as peer:
        yield peer


@pytest.fixture
def own(tmp_path: Path, peer: AwsPeer) -> Iterator[System]:
    program = measuring_benchmark_in(tmp_path)
    sha256 = hashlib.sha256(program.read_bytes()).hexdigest()
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text(
        "apiVersion: windtunnel/v1\nentries:\n"
        f"- {{name: benchmark_model, kind: binary, abi: arm64-v8a, path: {program}, sha256: {sha256}}}\n"
    )
    farms = tmp_path / "farms.yaml"
    farms.write_text(
        "apiVersion: windtunnel/v1\nfarms:\n"
        f"- {{name: rented, kind: aws, project: '{peer.project}', parallel: 3, cells_per_run: 2, pack_seconds: 1,\n"
        f"   price_per_minute_usd: {{physical: {PRICE}}}, poll_seconds: {{min: 0.2, max: 1}}}}\n"
    )
    environment = {
        **peer.environment,
        "WINDTUNNEL_FARMS_FILE": str(farms),
        "WINDTUNNEL_CATALOG_FILE": str(catalog),
        "WINDTUNNEL_ACK_WAIT_S": "3",
    }
    system = System(tmp_path / "home", environment).start()
    yield system
    assert system.stop() == 0


def measuring_benchmark_in(folder: Path) -> Path:
    path = folder / "benchmark_model"
    measuring_benchmark(path)
    return path


def test_a_dispatcher_that_is_killed_again_and_again(
    own: System, peer: AwsPeer, models: DigitsModels, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        f"apiVersion: windtunnel/v1\ndata: {{samples: {models.samples}}}\nvariants: [float32, float16]\n"
        "devices:\n- {farm: rented, device: Google Pixel 8, os_version: '14', accelerator: [xnnpack, cpu],\n"
        "   threads: [1, 2]}\n"
    )
    submitted = own.cli("submit", str(models.saved_model), "--plan", str(plan), "--json")
    assert submitted.returncode == 0, submitted.stderr
    run_id = json.loads(submitted.stdout)["run_id"]
    draw = random.Random(3)
    for _ in range(KILLS):
        time.sleep(draw.uniform(0.5, 4.0))
        own.kill("farm_dispatcher")
        wait_for_another(own, "farm_dispatcher")
    watched = own.cli("watch", run_id, "--json")
    report = json.loads(watched.stdout)
    assert report["verdict"] == "passed", json.dumps(report["reasons"])
    cells = {variant["name"]: variant["cells"] for variant in report["variants"]}
    assert {name: len(found) for name, found in cells.items()} == {"float32": 4, "float16": 4}
    for variant in report["variants"]:
        for cell in variant["cells"]:
            assert (cell["status"], cell["attempts"]) == ("measured", 1)
            assert cell["latency_ms"]["p50"] is None or cell["latency_ms"]["p50"] > 0
            assert cell["farm_run"]
    # No run was scheduled twice, and what reached the phones is what was made.
    names = Counter(run.name for run in peer.runs.by_arn.values())
    assert names and set(names.values()) == {1}
    ran = sum(len(farm_run) for farm_run in by_farm_run(report).values())
    assert ran == 8 and len(by_farm_run(report)) == len(names)
    models_pushed = {sha for phone in peer.phones for sha, path in phone.received() if path.endswith(".tflite")}
    assert models_pushed == {variant["sha256"] for variant in report["variants"]}
    minutes = sum((Decimal(repr(job.minutes)) for job in peer.runs.jobs()), Decimal(0))
    assert abs(Decimal(str(report["cost_usd"])) - minutes * PRICE) < Decimal("0.0001")
    assert abs(sum(cell["cost_usd"] for found in cells.values() for cell in found) - report["cost_usd"]) < 1e-9


def by_farm_run(report: dict[str, object]) -> dict[str, list[str]]:
    """Ids of the cells that each farm run carried."""
    found: dict[str, list[str]] = {}
    for variant in report["variants"]:  # type: ignore[attr-defined]
        for cell in variant["cells"]:
            found.setdefault(cell["farm_run"], []).append(cell["id"])
    return found


def wait_for_another(system: System, service: str) -> None:
    """Waits until the supervisor has started the service again."""
    before, deadline = system.pid_of(service), time.monotonic() + 30
    while system.pid_of(service) == before:
        assert time.monotonic() < deadline, "it was not started again"
        time.sleep(0.05)
