"""What cells cost, what carried them, and why they have no measurement."""

from __future__ import annotations

import random
from typing import Any

import jsonschema
import pytest
from google.protobuf.message import Message

from support.run_events import RunEvents, as_event
from windtunnel import schemas
from windtunnel.metrics_store.domain import RunRecord, fold, judge
from windtunnel.metrics_store.messages.decode_events import read_event
from windtunnel.metrics_store.use_cases.build_report import Diagnoses, Ending, build_report
from windtunnel.v1 import types_pb2

RUN = RunEvents()


def report_of(*messages: Message) -> dict[str, Any]:
    record = RunRecord(RUN.run_id)
    for message in messages:
        record = fold(record, read_event(as_event(message)).facts)
    report = build_report(record, judge(record, RUN.plan), Diagnoses(), Ending())
    jsonschema.validate(report, schemas.load("report"))
    return report


def carried(message: Any, id: str, micros: int | None, *, reused: bool = False, **changes: Any) -> Message:
    message.farm_run.CopyFrom(types_pb2.FarmRunInfo(id=id, url=f"https://farm/{id}", cost_micro_usd=micros))
    for name, value in {**changes, **({"reused": True} if reused else {})}.items():
        setattr(message, name, value)
    assert isinstance(message, Message)
    return message


def cell_of(report: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(c for v in report["variants"] for c in v["cells"] if c["id"] == "run-1.int8.adb")
    return found


def test_a_cell_costs_what_its_attempts_and_repeats_cost_once() -> None:
    events = [
        carried(RUN.run_failed("int8", "adb", attempt=1), "one", 167_300),
        carried(RUN.finished("int8", "adb", attempt=2), "two", 83_400),
        carried(RUN.measured("int8", "adb", attempt=2), "two", 83_400),
        carried(RUN.measured("int8", "adb"), "three", 10_000, repeat=1),
        carried(RUN.measured("int8", "adb"), "three", 10_000, repeat=1, of_baseline=True),
        carried(RUN.measured("float32", "adb"), "four", 5_000),
    ]
    random.Random(1).shuffle(events)
    report = report_of(*events, *events)
    cell = cell_of(report)

    assert (cell["cost_usd"], cell["farm_run"], cell["url"]) == (0.2707, "two", "https://farm/two")
    assert cell["reused"] is False and cell["status"] == "measured" and cell["failure"] is None
    assert report["cost_usd"] == 0.2757


def test_a_farm_that_bills_nothing_costs_nothing_known() -> None:
    report = report_of(carried(RUN.measured("int8", "adb"), "one", None))
    assert cell_of(report)["cost_usd"] is None and report["cost_usd"] is None


def test_a_reused_measurement_says_so() -> None:
    cell = cell_of(report_of(carried(RUN.measured("int8", "adb"), "old", 0, reused=True)))
    assert cell["reused"] is True and cell["cost_usd"] == 0.0


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (types_pb2.FAILURE_KIND_QUOTA, "quota"),
        (types_pb2.FAILURE_KIND_INFRASTRUCTURE, "infrastructure"),
        (types_pb2.FAILURE_KIND_UNSPECIFIED, "other"),
    ],
)
def test_a_failed_cell_names_the_kind(kind: Any, expected: str) -> None:
    event: Any = RUN.run_failed("int8", "adb", "no devices left")
    event.failure.kind = kind
    cell = cell_of(report_of(carried(event, "one", 100)))
    assert cell["status"] == "failed"
    assert cell["failure"] == {"kind": expected, "message": "no devices left"}


def test_a_skipped_cell_is_unsupported() -> None:
    cell = cell_of(report_of(RUN.planned("int8", {"adb": "no such delegate"})))
    assert cell["failure"] == {"kind": "unsupported", "message": "no such delegate"}
