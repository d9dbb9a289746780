"""The log lines of a job say which run, variant and cell it is about, in the trace of the run."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from windtunnel.bus import Event, subjects
from windtunnel.bus.event_context import event_context
from windtunnel.telemetry import current_job, current_trace_id, job_context, note_job
from windtunnel.telemetry.logs import JsonFormatter
from windtunnel.v1 import events_pb2, types_pb2

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
RUN = types_pb2.RunContext(run_id="run-1", trace_id=TRACE)
CELL = types_pb2.Cell(id="cell-7", variant="int8")


def event(message: object, subject: str, traceparent: str = "") -> Event:
    attributes = {"id": "e-1", "source": "/s", "type": f"{subject}.v1", "specversion": "1.0"}
    headers = {"traceparent": traceparent} if traceparent else {}
    return Event(subject, attributes, "application/protobuf", message.SerializeToString(), headers)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("message", "subject", "wanted"),
    [
        (
            events_pb2.DeviceRunFinished(run=RUN, cell=CELL),
            subjects.DEVICE_RUN_FINISHED,
            {"run_id": "run-1", "variant": "int8", "cell": "cell-7"},
        ),
        (
            events_pb2.VariantReady(run=RUN, variant=types_pb2.Variant(name="int8")),
            subjects.VARIANT_READY,
            {"run_id": "run-1", "variant": "int8"},
        ),
        (
            events_pb2.VariantCompared(run=RUN, variant="float16"),
            subjects.VARIANT_COMPARED,
            {"run_id": "run-1", "variant": "float16"},
        ),
        (events_pb2.ModelConverted(run=RUN), subjects.MODEL_CONVERTED, {"run_id": "run-1"}),
        (events_pb2.ModelTrained(), subjects.MODEL_TRAINED, {}),
    ],
)
def test_fields_of_an_event(message: object, subject: str, wanted: dict[str, str]) -> None:
    with event_context(event(message, subject)):
        assert dict(current_job()) == {"event_id": "e-1", **wanted}
    assert dict(current_job()) == {}


def test_every_event_has_fields_that_can_be_read() -> None:
    for subject, kind in subjects.MESSAGES.items():
        with event_context(event(kind(), subject)):
            assert current_trace_id(), subject


def test_the_trace_is_that_of_the_header_then_that_of_the_run() -> None:
    message = events_pb2.ModelConverted(run=RUN)
    with event_context(event(message, subjects.MODEL_CONVERTED, f"00-{'a' * 32}-{'b' * 16}-01")):
        assert current_trace_id() == "a" * 32
    with event_context(event(message, subjects.MODEL_CONVERTED)):
        assert current_trace_id() == TRACE


def test_an_announcement_without_a_trace_begins_the_same_one_at_every_delivery() -> None:
    found = set()
    for _ in range(2):
        with event_context(event(events_pb2.ModelTrained(), subjects.MODEL_TRAINED)):
            found.add(current_trace_id())
    assert len(found) == 1


def test_data_that_cannot_be_read_still_has_a_trace() -> None:
    broken = Event(subjects.MODEL_CONVERTED, {"id": "e", "source": "/s"}, "application/protobuf", b"\xff\xff")
    with event_context(broken):
        assert current_trace_id()
        assert dict(current_job()) == {"event_id": "e"}


def test_a_log_line_carries_the_fields_and_never_lets_them_replace_its_own() -> None:
    record = logging.LogRecord("x", logging.INFO, "f", 1, "words", None, None)
    with event_context(event(events_pb2.ModelConverted(run=RUN), subjects.MODEL_CONVERTED)), job_context(level="no"):
        note_job(cell="c", variant="")
        line = json.loads(JsonFormatter("converter").format(record))
    assert (line["run_id"], line["trace_id"], line["cell"], line["event_id"]) == ("run-1", TRACE, "c", "e-1")
    assert (line["level"], line["message"]) == ("info", "words")
    assert "variant" not in line


async def test_what_a_task_of_the_job_notes_the_whole_job_carries() -> None:
    async def work() -> None:
        note_job(run_id="r-1")
        with job_context(cell="c-1"):
            note_job(variant="int8")

    with job_context(event_id="e"):
        await asyncio.create_task(work())
        assert dict(current_job()) == {"event_id": "e", "run_id": "r-1"}
    note_job(run_id="nobody")
    assert dict(current_job()) == {}
