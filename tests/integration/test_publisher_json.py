"""Events as JSON in addition to the binary ones: the same id rules, and no harm if they cannot be published."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.service_runtime import open_bus
from windtunnel.bus import Bus, subjects
from windtunnel.bus.port import MAX_MESSAGE_BYTES
from windtunnel.bus.publisher import Publisher
from windtunnel.v1 import events_pb2, types_pb2


@pytest.fixture(params=["memory", "nats"])
async def bus(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bus]:
    async with open_bus(request.param, tmp_path / "nats") as opened:
        yield opened


def failed(message: str = "no") -> events_pb2.ModelFailed:
    return events_pb2.ModelFailed(run=types_pb2.RunContext(run_id="r-1"), failure=types_pb2.Failure(message=message))


async def heard(bus: Bus) -> list[tuple[str, bytes]]:
    subscription = await bus.subscribe("listener", [*subjects.MESSAGES, *JSON], ack_wait_s=30, max_pending=100)
    found = [(one.subject, one.data) for one in await subscription.fetch(10, 1.0)]
    found += [(one.subject, one.data) for one in await subscription.fetch(10, 0.5)]
    await subscription.close()
    return found


JSON = tuple(map(subjects.json_subject_of, subjects.MESSAGES))


async def test_it_is_told_once_however_often_it_is_published(bus: Bus) -> None:
    publisher = Publisher(bus, "converter", json_events=True)
    first = await publisher.publish(failed(), run_id="r-1")
    again = await publisher.publish(failed(), run_id="r-1")
    assert (first.duplicate, again.duplicate) == (False, True)
    found = await heard(bus)
    assert [subject for subject, _ in found] == ["windtunnel.model.failed", "windtunnel.json.model.failed"]
    envelope = json.loads(found[1][1])
    assert envelope["data"] == {"run": {"runId": "r-1"}, "failure": {"message": "no"}}
    assert (envelope["source"], envelope["subject"]) == ("/windtunnel/converter", "r-1")


async def test_it_is_not_told_by_default(bus: Bus) -> None:
    await Publisher(bus, "converter").publish(failed(), run_id="r-1")
    assert [subject for subject, _ in await heard(bus)] == ["windtunnel.model.failed"]


async def test_what_does_not_fit_as_json_does_no_harm(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    # Each of these characters takes one byte in protobuf, and six once it is escaped in JSON.
    published = await Publisher(bus, "converter", json_events=True).publish(
        failed("\x01" * (MAX_MESSAGE_BYTES // 3)), run_id="r-1"
    )
    assert not published.duplicate
    assert [subject for subject, _ in await heard(bus)] == ["windtunnel.model.failed"]
    assert "cannot be published as JSON" in caplog.text
