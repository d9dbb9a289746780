"""A laptop and a Windtunnel elsewhere: no folder in common, only addresses. And what is done with runs there."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from support.models import DigitsModels
from support.system import STREAM, System
from windtunnel import schemas

pytestmark = pytest.mark.heavy

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def laptop(system: System, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The laptop's own home, in which nothing runs."""
    return tmp_path_factory.mktemp("laptop")


def addresses(system: System) -> dict[str, str]:
    return {
        "WINDTUNNEL_NATS_URL": system.endpoints["nats"],
        "WINDTUNNEL_METRICS_STORE_ADDRESS": system.endpoints["grpc"]["metrics_store"],
    }


@pytest.fixture(scope="module")
def cli(system: System, laptop: Path) -> Cli:
    """The command line on the laptop; `without` leaves out variables."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("WINDTUNNEL_")}

    def run(*arguments: str, without: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        known = {name: value for name, value in addresses(system).items() if name not in without}
        return subprocess.run(
            [sys.executable, "-m", "windtunnel.cli", *arguments],
            capture_output=True,
            text=True,
            env={**bare, **known, "WINDTUNNEL_HOME": str(laptop)},
            timeout=240,
            check=False,
        )

    return run


@pytest.fixture(scope="module")
def report(cli: Cli, models: DigitsModels, plan: Path) -> dict[str, Any]:
    """The report of a run that the laptop submitted: its model, samples and calibration went through the API."""
    result = cli(
        "submit", str(models.saved_model), "--plan", str(plan), "--name", "digits", "--version", "1",
        "--label", "team=edge", "--label", "from=laptop", "--wait", "--json",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    assert f"run {found['run_id']}; `windtunnel watch {found['run_id']}` follows it" in result.stderr
    return found


def test_a_model_reaches_the_services_without_a_shared_folder(report: dict[str, Any], laptop: Path) -> None:
    assert report["verdict"] == "passed" and report["variants"][1]["accuracy"] > 0.9
    assert list(laptop.iterdir()) == []


def test_without_a_way_to_the_store_it_is_refused_at_once(cli: Cli, models: DigitsModels, laptop: Path) -> None:
    result = cli("submit", str(models.float32), without=("WINDTUNNEL_METRICS_STORE_ADDRESS",))
    assert result.returncode == 2 and result.stdout == ""
    assert "which artifact store the services use is not known: no address of the metrics store" in result.stderr
    assert "WINDTUNNEL_METRICS_STORE_ADDRESS" in result.stderr and "WINDTUNNEL_ARTIFACTS_URL" in result.stderr
    assert list(laptop.iterdir()) == []


def test_reading_needs_no_nats(cli: Cli, report: dict[str, Any]) -> None:
    run_id = report["run_id"]
    result = cli("report", run_id, "--json", without=("WINDTUNNEL_NATS_URL",))
    assert result.returncode == 0 and json.loads(result.stdout) == report
    refused = cli("submit", "s3://models/m.tflite", without=("WINDTUNNEL_NATS_URL",))
    assert refused.returncode == 2 and "set WINDTUNNEL_NATS_URL" in refused.stderr


def test_what_a_run_made_is_fetched(cli: Cli, report: dict[str, Any], tmp_path: Path) -> None:
    run_id = report["run_id"]
    listed = json.loads(cli("artifacts", "list", run_id, "--json").stdout)
    jsonschema.validate(listed, schemas.load("artifacts"))
    int8 = next(variant for variant in report["variants"] if variant["name"] == "int8")
    target = tmp_path / "model.tflite"
    result = cli("artifacts", "get", run_id, "--variant", "int8", "-o", str(target))
    assert result.returncode == 0, result.stderr
    assert hashlib.sha256(target.read_bytes()).hexdigest() == int8["sha256"]
    again = cli("artifacts", "get", run_id, "--variant", "int8", "-o", str(target))
    assert again.returncode == 2 and "already exists" in again.stderr and "--force" in again.stderr
    assert cli("artifacts", "get", run_id, "--variant", "int8", "-o", str(target), "--force").returncode == 0
    several = cli("artifacts", "get", run_id, "--kind", "diagnosis", "-o", str(tmp_path / "d.json"))
    assert several.returncode == 2 and "digits-1-int8-diagnosis.json" in several.stderr
    assert cli("artifacts", "get", run_id, "--kind", "diagnosis", "-o", f"{tmp_path}/new/").returncode == 0
    diagnosis = json.loads((tmp_path / "new" / "digits-1-int8-diagnosis.json").read_text())
    jsonschema.validate(diagnosis, schemas.load("diagnosis"))
    for arguments in (["no-such-run"], [run_id, "--variant", "int7"]):
        missing = cli("artifacts", "get", *arguments)
        assert missing.returncode == 2 and arguments[-1] in missing.stderr and "Traceback" not in missing.stderr


def test_inputs_and_outputs_are_those_of_the_files(cli: Cli, report: dict[str, Any], tmp_path: Path) -> None:
    for variant in report["variants"]:
        target = tmp_path / f"{variant['name']}.tflite"
        result = cli("artifacts", "get", report["run_id"], "--variant", variant["name"], "-o", str(target))
        assert result.returncode == 0, result.stderr
        model = Interpreter(model_path=str(target))
        for said, theirs in (
            (variant["inputs"], model.get_input_details()),
            (variant["outputs"], model.get_output_details()),
        ):
            assert [tensor_of(details) for details in theirs] == [
                {name: tensor[name] for name in ("tensor", "shape", "dtype", "scale", "zero_point")} for tensor in said
            ]
            assert all(tensor["name"] for tensor in said)


def tensor_of(details: dict[str, Any]) -> dict[str, Any]:
    """What the interpreter says of an input or output."""
    scale, zero_point = details["quantization"]
    return {
        "tensor": details["name"],
        "shape": details["shape_signature"].tolist(),
        "dtype": np.dtype(details["dtype"]).name,
        "scale": pytest.approx(scale) if scale else None,
        "zero_point": zero_point if scale else None,
    }


def test_the_python_client_does_the_same(
    system: System, report: dict[str, Any], laptop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from windtunnel.client import Client, RunFilter
    from windtunnel.errors import Conflict

    for name, value in {**addresses(system), "WINDTUNNEL_HOME": str(laptop)}.items():
        monkeypatch.setenv(name, value)
    with Client() as client:
        run = client.run(report["run_id"])
        target = run.variant("int8").download(tmp_path / "int8.tflite")
        assert hashlib.sha256(target.read_bytes()).hexdigest() == report["variants"][1]["sha256"]
        with pytest.raises(Conflict):
            run.variant("int8").download(target)
        assert {artifact.kind for artifact in run.artifacts(variant="int8")} >= {"variant", "diagnosis", "log"}
        assert [found.run_id for found in client.runs(RunFilter(labels={"from": "laptop"}))] == [run.run_id]
        assert client.compare(run.run_id, "digits@1").rows[0].differences == [None, 0.0]
        assert client.history("digits", "variants[int8].accuracy").points[-1].value == report["variants"][1]["accuracy"]
        assert run.cancel() is False


def test_runs_are_found_and_compared(cli: Cli, report: dict[str, Any]) -> None:
    run_id = report["run_id"]
    filters = ["--label", "team=edge", "--label", "from=laptop", "--model", "digits", "--verdict", "passed"]
    found = json.loads(cli("runs", *filters, "--since", "1d", "--json").stdout)
    jsonschema.validate(found, schemas.load("runs"))
    assert [run["run_id"] for run in found] == [run_id] and found[0]["labels"]["team"] == "edge"
    assert json.loads(cli("runs", *filters, "--label", "team=core", "--json").stdout) == []
    compared = json.loads(cli("compare", run_id, "digits@1", "--json").stdout)
    jsonschema.validate(compared, schemas.load("comparison"))
    p50 = [row for row in compared["rows"] if row["variant"] == "int8" and row["name"] == "latency_ms.p50"]
    assert len(p50) == 1 and p50[0]["values"][0] == report["variants"][1]["cells"][0]["latency_ms"]["p50"]
    text = cli("compare", run_id, run_id)
    assert text.returncode == 0 and "int8 on local/" in text.stdout and "(=)" in text.stdout
    assert cli("compare", run_id).returncode == 64
    assert cli("compare", run_id, "digits@77").returncode == 2
    history = json.loads(cli("history", "digits", "--figure", "variants[int8].accuracy", "--json").stdout)
    jsonschema.validate(history, schemas.load("history"))
    assert history["points"][-1]["value"] == report["variants"][1]["accuracy"]
    wrong = cli("history", "digits", "--figure", "variants[int8].acuracy")
    assert wrong.returncode == 2 and "has the figure" in wrong.stderr


def test_a_run_that_is_canceled_ends_and_is_worked_on_no_more(
    system: System, cli: Cli, models: DigitsModels, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        f"apiVersion: windtunnel/v1\ndata: {{samples: {models.samples}}}\n"
        "variants: [float32, float16, dynamic_range, int8, int16x8]\n"
        "devices: [{farm: local, accelerator: [xnnpack, cpu], threads: [1, 2, 4]}]\n"
    )
    run_id = cli("submit", str(models.saved_model), "--plan", str(plan)).stdout.strip()
    while not json.loads(cli("artifacts", "list", run_id, "--kind", "variant", "--json").stdout or "[]"):
        time.sleep(0.1)
    result = cli("cancel", run_id, "--reason", "wrong plan")
    assert result.returncode == 0 and "is canceled" in result.stdout, result.stderr
    watched = cli("watch", run_id, "--json")
    assert watched.returncode == 2
    assert json.loads(watched.stdout)["reasons"] == ["canceled: wrong plan"]
    assert cli("cancel", run_id).returncode == 0
    # If no consumer has a message in hand or in its queue, nothing of the run can begin any more.
    measured = asyncio.run(measured_when_settled(system, run_id))
    assert measured < 5 * 2 * 3
    assert json.loads(cli("report", run_id, "--json").stdout)["reasons"] == ["canceled: wrong plan"]


async def measured_when_settled(system: System, run_id: str, timeout_s: float = 30.0) -> int:
    """How many cells of the run were measured, once every message of the bus is settled."""
    async with system.jetstream() as js:
        deadline = time.monotonic() + timeout_s
        while busy := [c.name for c in await js.consumers_info(STREAM) if c.num_pending or c.num_ack_pending]:
            assert time.monotonic() < deadline, f"{busy} still work"
            await asyncio.sleep(0.1)
        mine = [subject for subject, headers in await system.events(js) if headers.get("ce-subject") == run_id]
    assert "windtunnel.run.completed" in mine
    return mine.count("windtunnel.device_run.measured")


def test_what_cannot_be_canceled(cli: Cli, report: dict[str, Any]) -> None:
    unknown = cli("cancel", "no-such-run")
    assert unknown.returncode == 2 and "'no-such-run'" in unknown.stderr
    ended = cli("cancel", report["run_id"], "--json")
    assert ended.returncode == 2
    assert json.loads(ended.stdout) == {"run_id": report["run_id"], "verdict": "passed", "canceled": False}
