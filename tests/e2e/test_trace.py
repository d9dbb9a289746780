"""One trace id leads through the logs of all seven services, and through every event of a run."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from support.models import DigitsModels
from support.system import System

pytestmark = pytest.mark.heavy

SERVICES = ("converter", "quantizer", "layer_diff", "app_builder", "farm_dispatcher", "log_parser", "metrics_store")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def announcement(system: System, models: DigitsModels, run_id: str, **extra: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "type": "windtunnel.model.trained.v1",
        "source": "/training/traced",
        "id": uuid.uuid4().hex,
        "datacontenttype": "application/json",
        "data": {
            "run_id": run_id,
            "model": {"name": "digits", "version": run_id, "uri": system.inbox(models.float32)},
            "plan": {
                "apiVersion": "windtunnel/v1",
                "data": {"samples": system.inbox(models.samples)},
                "variants": ["float32"],
                "devices": [{"farm": "local", "accelerator": "xnnpack", "threads": 1}],
            },
        },
        **extra,
    }


async def report_after(system: System, event: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """The report of the run that `event` starts, and the headers of all its events."""
    run_id = event["data"]["run_id"]
    async with system.jetstream() as js:
        await js.publish("windtunnel.model.trained", json.dumps(event).encode())
        await system.completed(js, run_id)
        headers = [found for _, found in await system.events(js) if found.get("ce-subject") == run_id]
    done = await asyncio.to_thread(system.cli, "report", run_id, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), headers


def lines_of(home: Path, service: str, run_id: str) -> list[dict[str, Any]]:
    """Every log line of a service that is about the run, by its field or by its words."""
    lines = [json.loads(line) for line in (home / "logs" / f"{service}.log").read_text().splitlines() if line]
    return [line for line in lines if run_id in json.dumps(line)]


def all_lines(home: Path, run_id: str, timeout_s: float = 20) -> dict[str, list[dict[str, Any]]]:
    """The lines of all services; the last handler may still be about to say that it is done."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = {service: lines_of(home, service, run_id) for service in SERVICES}
        if all(found.values()) or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


@pytest.mark.parametrize("announced", [True, False])
async def test_a_passed_run_can_be_followed_by_its_trace_id(
    system: System, models: DigitsModels, announced: bool
) -> None:
    extra = {"traceparent": f"00-{TRACE}-{'b' * 16}-01"} if announced else {}
    run_id = f"traced-{announced}".lower()
    report, headers = await report_after(system, announcement(system, models, run_id, **extra))
    trace_id = report["trace_id"]
    assert report["verdict"] == "passed"
    assert len(trace_id) == 32
    assert (trace_id == TRACE) is announced
    assert {entry["traceparent"].split("-")[1] for entry in headers} == {trace_id}
    found = all_lines(system.home, run_id)
    for service, lines in found.items():
        assert lines, service
        assert {line["trace_id"] for line in lines} == {trace_id}, service
        assert {line["run_id"] for line in lines} == {run_id}, service
    cell = report["variants"][0]["cells"][0]["id"]
    for service in ("farm_dispatcher", "log_parser", "metrics_store"):
        assert cell in {line.get("cell") for line in found[service]}, service
