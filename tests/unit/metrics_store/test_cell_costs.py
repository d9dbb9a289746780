"""What cells cost, what carried them, and why they have no measurement."""

from __future__ import annotations

import random
from typing import Any

import jsonschema
import pytest
from google.protobuf.message import Message

from support.run_events import STARTED, RunEvents, as_event
from windtunnel import schemas
from windtunnel.metrics_store.domain import RunRecord, Verdict, fold, judge
from windtunnel.metrics_store.domain.facts import Canceled
from windtunnel.metrics_store.messages.decode_events import read_event
from windtunnel.metrics_store.use_cases.build_report import Diagnoses, Ending, build_report, with_later_facts
from windtunnel.v1 import events_pb2, types_pb2

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


def again(attempt: int, id: str, micros: int | None, **changes: Any) -> Message:
    """A cell that is queued for an attempt, because the one before failed."""
    event = events_pb2.DeviceRunProgressed(
        run=RUN.context,
        cell=RUN.cell("int8", "adb"),
        attempt=attempt,
        stage=events_pb2.DeviceRunProgressed.STAGE_QUEUED,
        reason="the device was lost",
    )
    return carried(event, id, micros, **changes)


def test_failed_attempts_that_were_tried_again_cost_too() -> None:
    events = [
        again(2, "one", 100_001),
        again(3, "two", 20_020),
        carried(RUN.measured("int8", "adb", attempt=3), "three", 3),
        # Two repeats that failed together, in one farm run.
        again(2, "four", 1_000_000, repeat=1),
        again(2, "four", 2_000_000, repeat=1, of_baseline=True),
    ]
    random.Random(2).shuffle(events)
    report = report_of(*events, *events)
    cell = cell_of(report)
    assert cell["cost_usd"] == report["cost_usd"] == 3.120024
    assert (cell["farm_run"], cell["attempts"], cell["status"]) == ("three", 3, "measured")


def test_a_cell_that_is_on_its_way_costs_nothing_yet() -> None:
    running = again(1, "one", None)
    running.stage = events_pb2.DeviceRunProgressed.STAGE_RUNNING  # type: ignore[attr-defined]
    cell = cell_of(report_of(RUN.planned("int8"), running, again(1, "", None)))
    assert (cell["cost_usd"], cell["farm_run"], cell["attempts"]) == (None, None, 0)


def test_costs_that_are_known_late_come_into_a_stored_report() -> None:
    events = [carried(RUN.run_failed("int8", "adb", attempt=1), "one", 500_000)]
    record = RunRecord(RUN.run_id)
    stored = report_of(RUN.planned("int8"))
    for message in (RUN.planned("int8"), *events):
        record = fold(record, read_event(as_event(message)).facts)
    assert with_later_facts(stored, record)
    assert cell_of(stored)["cost_usd"] == stored["cost_usd"] == 0.5
    assert cell_of(stored)["status"] is None
    assert not with_later_facts(stored, record)


@pytest.mark.parametrize(
    ("code", "kind", "expected"),
    [
        ("job_failed", types_pb2.FAILURE_KIND_QUOTA, "quota"),
        ("job_failed", types_pb2.FAILURE_KIND_INFRASTRUCTURE, "infrastructure"),
        # Writers that give no kind.
        ("job_failed", types_pb2.FAILURE_KIND_UNSPECIFIED, "test"),
        ("out_of_memory", types_pb2.FAILURE_KIND_UNSPECIFIED, "test"),
        ("unavailable", types_pb2.FAILURE_KIND_UNSPECIFIED, "infrastructure"),
        ("canceled", types_pb2.FAILURE_KIND_UNSPECIFIED, "cancelled"),
        ("unsupported", types_pb2.FAILURE_KIND_UNSPECIFIED, "unsupported"),
        ("internal", types_pb2.FAILURE_KIND_UNSPECIFIED, "other"),
        ("a code of tomorrow", 99, "other"),
    ],
)
def test_a_failed_cell_names_the_kind(code: str, kind: Any, expected: str) -> None:
    event: Any = RUN.run_failed("int8", "adb", "no devices left")
    event.failure.code, event.failure.kind = code, kind
    cell = cell_of(report_of(carried(event, "one", 100)))
    assert cell["status"] == "failed"
    assert cell["failure"] == {"kind": expected, "message": "no devices left"}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(types_pb2.FAILURE_KIND_DEVICE, "device"), (types_pb2.FAILURE_KIND_UNSPECIFIED, "unsupported")],
)
def test_a_skipped_cell_is_of_the_kind_that_the_planner_gives(kind: Any, expected: str) -> None:
    event: Any = RUN.planned("int8", {"adb": "no such device"})
    for cell in event.cells:
        cell.skip_kind = kind
    found = cell_of(report_of(event))
    assert (found["status"], found["failure"]) == ("skipped", {"kind": expected, "message": "no such device"})


@pytest.mark.parametrize(
    ("code", "expected"), [("no_base_app", "unsupported"), ("unsupported", "unsupported"), ("job_failed", "other")]
)
def test_a_cell_without_its_app_failed_before_any_device(code: str, expected: str) -> None:
    planned: Any = RUN.planned("int8")
    for cell in planned.cells:
        cell.run_as = types_pb2.RUN_AS_APP
    failed: Any = RUN.app_failed("int8", "android", "it cannot be built")
    failed.failure.code = code
    cell = cell_of(report_of(planned, failed))
    message = "the android app could not be built: it cannot be built"
    assert cell["status"] == "failed" and cell["run_as"] == "app"
    assert cell["failure"] == {"kind": expected, "message": message}


@pytest.mark.parametrize(("canceled", "status"), [(True, "skipped"), (False, "failed")])
def test_a_cell_that_a_run_did_not_wait_for_is_cancelled(canceled: bool, status: str) -> None:
    record = fold(RunRecord(RUN.run_id), read_event(as_event(RUN.planned("int8"))).facts)
    if canceled:
        record = fold(record, [Canceled(STARTED)])
    ending = Ending(Verdict.COULD_NOT_RUN, ("late",), STARTED, 1)
    cell = cell_of(build_report(record, judge(record, RUN.plan), Diagnoses(), ending))
    assert (cell["status"], cell["failure"]["kind"]) == (status, "cancelled")
