"""kill -9 of every process in turn in the middle of a run: the run completes, once, with the same verdict."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.js import JetStreamContext
from nats.js.errors import NoKeysError

from support.models import DigitsModels
from support.system import System

RESULTS = "windtunnel_results"
pytestmark = [pytest.mark.heavy, pytest.mark.timeout(400)]

# The event in whose handling the process is killed.
HEARS = {
    "converter": "windtunnel.model.trained",
    "quantizer": "windtunnel.model.converted",
    "layer_diff": "windtunnel.variant.ready",
    "app_builder": "windtunnel.cells.planned",
    "farm_dispatcher": "windtunnel.cells.planned",
    "log_parser": "windtunnel.device_run.finished",
    "metrics_store": "windtunnel.variant.compared",
    "nats-server": "windtunnel.model.converted",
}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system of its own, with a short lease: what a killed worker held comes again soon."""
    system = System(tmp_path_factory.mktemp("kill") / "home", {"WINDTUNNEL_ACK_WAIT_S": "3"}).start()
    yield system
    assert system.stop() == 0


def verdict_of(report: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on who was killed when."""
    return {
        "verdict": report["verdict"],
        "reasons": report["reasons"],
        "variants": {
            v["name"]: (v["sha256"], v["accuracy"], [c["status"] for c in v["cells"]], v["layers"]["compared"])
            for v in report["variants"]
        },
    }


async def stored_results(js: JetStreamContext) -> set[str]:
    """Keys of the results that follow from content alone: every run of this model and plan has the same."""
    bucket = await js.key_value(RESULTS)
    deadline = time.monotonic() + 10
    while True:
        try:
            keys = await bucket.keys()
            break
        except NoKeysError:
            # The client may take a bucket for empty whose keys are still on their way.
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)
    return {key for key in keys if key.split(".")[0] in ("convert", "quantize", "compare")}


@pytest.fixture(scope="module")
def undisturbed(own: System, plan: Path, models: DigitsModels) -> dict[str, Any]:
    result = own.cli("submit", str(models.saved_model), "--plan", str(plan), "--wait", "--json")
    assert result.returncode == 0, result.stderr
    return verdict_of(json.loads(result.stdout))


@pytest.mark.parametrize("victim", list(HEARS))
async def test_the_run_completes_once_with_the_same_verdict(
    own: System, undisturbed: dict[str, Any], plan: Path, models: DigitsModels, victim: str
) -> None:
    run_id = f"kill-{victim}-{uuid.uuid4().hex[:6]}"
    async with own.jetstream() as js:
        before = await stored_results(js)
        # A stored result would leave a service nothing to do, and nothing to be killed at.
        await js.purge_stream(f"KV_{RESULTS}")
    client = await nats.connect(own.endpoints["nats"], max_reconnect_attempts=-1, reconnect_time_wait=0.1)
    killed = asyncio.Event()

    async def kill(message: Any) -> None:
        if not killed.is_set() and message.headers.get("ce-subject") == run_id:
            killed.set()
            own.kill(victim)

    await client.subscribe(HEARS[victim], cb=kill)
    await client.flush()
    model = models.saved_model
    submitted = await asyncio.to_thread(
        own.cli, "submit", str(model), "--plan", str(plan), "--run-id", run_id, "--name", run_id
    )
    assert submitted.returncode == 0, submitted.stderr
    await asyncio.wait_for(killed.wait(), 60)
    await client.close()
    await asyncio.sleep(1)
    async with own.jetstream() as js:
        await own.completed(js, run_id)
        events = [(s, h["ce-id"]) for s, h in await own.events(js) if h.get("ce-subject") == run_id]
        assert len(before) >= 4 and await stored_results(js) == before, "not every job was done again"
    counts = Counter(s for s, _ in events)
    assert counts["windtunnel.run.completed"] == 1
    assert max(Counter(events).values()) == 1, "an event is in the stream twice"
    assert verdict_of(own.report(run_id)) == undisturbed
    leftovers = [p for p in (own.home / "artifacts").rglob("*") if p.is_file() and len(p.name) != 64]
    assert leftovers == []
