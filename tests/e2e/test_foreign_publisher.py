"""Somebody else's publisher: plain nats-py, raw JSON, nothing of Windtunnel."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from typing import Any

import jsonschema
import pytest

from support.models import DigitsModels
from support.system import System
from windtunnel import schemas

pytestmark = pytest.mark.heavy

SUBJECT = "windtunnel.model.trained"
TYPE = "windtunnel.model.trained.v1"


def data_of(system: System, models: DigitsModels) -> dict[str, Any]:
    return {
        "model": {"name": "digits", "version": "1", "uri": system.inbox(models.float32)},
        "plan": {
            "apiVersion": "windtunnel/v1",
            "data": {"samples": system.inbox(models.samples)},
            "variants": ["float32", "float16"],
            "devices": [{"farm": "local", "accelerator": "xnnpack", "threads": 1}],
            "gates": {"accuracy_drop": 0.05},
        },
    }


def envelope(data: dict[str, Any], **extra: Any) -> dict[str, Any]:
    return {
        "data": data,
        "datacontenttype": "application/json",
        "type": TYPE,
        "source": "/training/stranger",
        "id": uuid.uuid4().hex,
        "specversion": "1.0",
        **extra,
    }


async def run_of(system: System, event: dict[str, Any]) -> dict[str, Any]:
    """The run that the metrics store has for an event, as the command line lists it."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        runs = json.loads((await asyncio.to_thread(system.cli, "runs", "--json")).stdout or "[]")
        done = [run for run in runs if run["version"] == event["data"]["model"]["version"] and run["verdict"]]
        if done:
            assert len(done) == 1
            return dict(done[0])
        await asyncio.sleep(0.5)
    raise AssertionError("no verdict")


async def test_structured_json_without_any_header_ends_with_a_verdict(system: System, models: DigitsModels) -> None:
    event = envelope(data_of(system, models))
    event["data"]["model"]["version"] = "structured"
    async with system.jetstream() as js:
        await js.publish(SUBJECT, json.dumps(event).encode())
    assert (await run_of(system, event))["verdict"] == "passed"


async def test_the_same_event_twice_is_one_run(system: System, models: DigitsModels) -> None:
    event = envelope(data_of(system, models), team="edge", sequence=7, traceparent=f"00-{'a' * 32}-{'b' * 16}-01")
    event["data"]["model"]["version"] = "doubled"
    async with system.jetstream() as js:
        for _ in range(2):
            await js.publish(
                SUBJECT, json.dumps(event).encode(), headers={"content-type": "application/cloudevents+json"}
            )
        run = await run_of(system, event)
        await js.publish(SUBJECT, json.dumps(event).encode())
        await asyncio.sleep(3)
        completed = [
            h for s, h in await system.events(js) if s.endswith("run.completed") and h["ce-subject"] == run["run_id"]
        ]
        traced = [h for _, h in await system.events(js) if h.get("ce-subject") == run["run_id"]]
    assert len(completed) == 1
    assert all(h["traceparent"].split("-")[1] == "a" * 32 for h in traced)


async def test_binary_mode_with_json_data_and_camel_case(system: System, models: DigitsModels) -> None:
    body = data_of(system, models)
    body["model"]["version"] = "binary"
    body["runId"] = f"binary-{uuid.uuid4().hex[:8]}"
    headers = {
        "ce-myextension": "x",
        "ce-type": TYPE,
        "Content-Type": "application/json; charset=utf-8",
        "ce-id": uuid.uuid4().hex,
        "ce-time": "2026-11-20T10:00:00.5+01:00",
        "ce-source": "/training/ssd%20x",
        "ce-specversion": "1.0",
    }
    async with system.jetstream() as js:
        await js.publish(SUBJECT, json.dumps(body).encode(), headers=headers)
        await system.completed(js, body["runId"])
    assert system.report(body["runId"])["verdict"] == "passed"


@pytest.mark.parametrize(
    ("headers", "payload", "reason"),
    [
        (None, b"not json at all", "neither a binary CloudEvent nor JSON"),
        (None, json.dumps({"specversion": "1.0", "id": "x", "type": TYPE, "data": {}}).encode(), "'source' is missing"),
        ({"ce-specversion": "0.3", "ce-id": "x", "ce-source": "/s", "ce-type": TYPE}, b"{}", "specversion is '0.3'"),
        ({"ce-specversion": "1.0", "ce-id": "x", "ce-source": "/s", "ce-type": "other"}, b"{}", "type is 'other'"),
    ],
)
async def test_an_invalid_event_is_one_dead_letter_with_its_reason(
    system: System, headers: dict[str, str] | None, payload: bytes, reason: str
) -> None:
    before = {letter["id"] for letter in json.loads(system.cli("deadletters", "list", "--json").stdout)}
    async with system.jetstream() as js:
        await js.publish(SUBJECT, payload, headers=headers)
    deadline = time.monotonic() + 20
    letters: list[dict[str, Any]] = []
    while not letters and time.monotonic() < deadline:
        listed = json.loads(system.cli("deadletters", "list", "--json").stdout)
        letters = [letter for letter in listed if letter["id"] not in before]
    assert len(letters) == 1
    jsonschema.validate(letters, schemas.load("deadletters"))
    assert reason in letters[0]["reason"]
    assert letters[0]["subject"] == SUBJECT
    id = letters[0]["id"]
    shown = system.cli("deadletters", "show", id)
    assert shown.returncode == 0
    deleted = system.cli("deadletters", "delete", id, "--json")
    assert json.loads(deleted.stdout) == {"deleted": [id]}
    assert id not in {letter["id"] for letter in json.loads(system.cli("deadletters", "list", "--json").stdout)}
    again = system.cli("deadletters", "delete", id)
    assert again.returncode == 2 and f"there is no dead letter '{id}'" in again.stderr


async def test_all_dead_letters_can_be_deleted(system: System) -> None:
    async with system.jetstream() as js:
        for _ in range(2):
            await js.publish(SUBJECT, b"not an event")
        deadline = time.monotonic() + 20
        while len(json.loads(system.cli("deadletters", "list", "--json").stdout)) < 2:
            assert time.monotonic() < deadline
    for wrong in ((), ("1", "--all")):
        assert system.cli("deadletters", "delete", *wrong).returncode == 64
    assert len(json.loads(system.cli("deadletters", "delete", "--all", "--json").stdout)["deleted"]) >= 2
    assert json.loads(system.cli("deadletters", "list", "--json").stdout) == []
    assert json.loads(system.cli("deadletters", "delete", "--all", "--json").stdout) == {"deleted": []}


async def test_a_used_run_id_is_refused_and_the_first_run_untouched(system: System, models: DigitsModels) -> None:
    run_id = f"mine-{uuid.uuid4().hex[:8]}"
    first, second = envelope(data_of(system, models)), envelope(data_of(system, models))
    for event in (first, second):
        event["data"]["run_id"] = run_id
    async with system.jetstream() as js:
        await js.publish(SUBJECT, json.dumps(first).encode())
        await system.completed(js, run_id)
        await js.publish(SUBJECT, json.dumps(second).encode())
        await asyncio.sleep(2)
    letters = json.loads(system.cli("deadletters", "list", "--json").stdout)
    assert any(run_id in letter["reason"] for letter in letters)
    assert system.report(run_id)["verdict"] == "passed"
