"""What apps recorded in cells: a run waits for its diagnosis, shows it, and does not depend on it."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import jsonschema
import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from support.run_events import STARTED, RunEvents, as_event
from windtunnel import schemas
from windtunnel.bus import Malformed
from windtunnel.cli.report.html.report_page import report_html
from windtunnel.cli.report.text.report_text import render_report
from windtunnel.metrics_store.domain import RunRecord, Verdict, fold, is_complete, judge
from windtunnel.metrics_store.domain.lineage import with_implied_inputs
from windtunnel.metrics_store.messages.decode_events import read_event
from windtunnel.metrics_store.use_cases.build_report import Diagnoses, Ending, build_report, with_later_facts
from windtunnel.v1 import events_pb2

RUN = RunEvents()
RECORDED = RUN.finished("int8", "adb", recorded=True)
MIXED = [
    *RUN.all(),
    RECORDED,
    RUN.finished("int8", "adb", attempt=2, recorded=True),
    RUN.diagnosed("int8", "adb", problem="the log is damaged"),
    RUN.diagnosed("int8", "adb"),
    RUN.diagnosed("int8", "adb", attempt=2, problem="the log is damaged"),
]


def heard(messages: Sequence[Message]) -> RunRecord:
    record = RunRecord("run-1")
    for message in messages:
        record = fold(record, read_event(as_event(message)).facts)
    return record


def report_of(record: RunRecord) -> dict[str, Any]:
    judgment = judge(record, RUN.plan)
    found = build_report(record, judgment, Diagnoses(), Ending(judgment.verdict, judgment.reasons, STARTED, 1))
    text: dict[str, Any] = json.loads(json.dumps(found, allow_nan=False))
    jsonschema.validate(text, schemas.load("report"))
    return text


def cell_of(report: dict[str, Any]) -> dict[str, Any]:
    cells = next(one["cells"] for one in report["variants"] if one["name"] == "int8")
    found: dict[str, Any] = next(cell for cell in cells if cell["farm"] == "adb")
    return found


@given(st.permutations(MIXED))
@settings(max_examples=40, deadline=None)
def test_every_order_gives_one_record(messages: list[Message]) -> None:
    assert heard(messages) == heard(MIXED)


def test_a_run_waits_for_the_diagnosis_of_a_recording_and_is_not_incomplete_without() -> None:
    waiting = heard([*RUN.all(), RECORDED])
    assert not is_complete(waiting, RUN.plan) and is_complete(waiting, RUN.plan, with_repeats=False)
    assert judge(waiting, RUN.plan).verdict is Verdict.PASSED
    for end in (RUN.diagnosed("int8", "adb"), RUN.diagnosed("int8", "adb", problem="no frame")):
        assert is_complete(heard([*RUN.all(), RECORDED, end]), RUN.plan)
    assert is_complete(heard([*RUN.all(), RUN.finished("int8", "adb")]), RUN.plan)


def test_the_last_attempt_counts_and_a_diagnosis_wins_over_a_failure() -> None:
    first, failed = RUN.diagnosed("int8", "adb"), RUN.diagnosed("int8", "adb", problem="crash")
    found = heard([failed, first, failed]).cells[RUN.cell("int8", "adb").id].diagnosed
    assert found is not None and found.verdict == "broken"
    later = heard([first, RUN.diagnosed("int8", "adb", attempt=2, problem="crash")])
    found = later.cells[RUN.cell("int8", "adb").id].diagnosed
    assert found is not None and found.attempt == 2 and found.failure is not None


def test_the_report_shows_it() -> None:
    report = report_of(heard([*RUN.all(), RECORDED, RUN.diagnosed("int8", "adb")]))
    shown = cell_of(report)["diagnosis"]
    assert (shown["verdict"], shown["problem"], shown["frames"], shown["attempt"]) == ("broken", None, 12, 1)
    assert shown["gaps"] == ["a file of the session is missing"] and len(shown["sha256"]) == 64
    assert shown["causes"][0] == {
        "code": "preprocessing.channel_order",
        "place": {"layer": None, "op_index": None},
        "confidence": 0.98,
        "verified": True,
        "words": ["the app feeds blue first"],
    }
    assert shown["causes"][1]["place"] == {"layer": "conv_1", "op_index": 0}
    assert report["verdict"] == "passed"
    others = [cell for variant in report["variants"] for cell in variant["cells"] if cell["diagnosis"] is None]
    assert len(others) == 3


def test_text_and_page_show_it() -> None:
    report = report_of(heard([*RUN.all(), RECORDED, RUN.diagnosed("int8", "adb")]))
    console = Console(width=100, record=True, file=io.StringIO())
    render_report(report, console)
    for shown in (console.export_text(), report_html(report)):
        for said in (
            "What apps recorded",
            "roken",
            "preprocessing.channel_order",
            "blue first",
            "conv_1",
            "is missing",
        ):
            assert said.lower() in shown.lower()
    without = report_of(heard(RUN.all()))
    assert "What apps recorded" not in report_html(without)


def test_a_recording_that_could_not_be_diagnosed_says_why() -> None:
    report = report_of(heard([*RUN.all(), RECORDED, RUN.diagnosed("int8", "adb", problem="the log is damaged")]))
    shown = cell_of(report)["diagnosis"]
    assert shown["verdict"] is None and "damaged" in shown["problem"] and shown["causes"] == []
    assert "the log is damaged" in report_html(report)


def test_a_diagnosis_after_the_verdict_enters_the_stored_report() -> None:
    report = report_of(heard(RUN.all()))
    later = heard([*RUN.all(), RECORDED, RUN.diagnosed("int8", "adb")])
    assert with_later_facts(report, later) and cell_of(report)["diagnosis"]["verdict"] == "broken"
    assert not with_later_facts(report, later)
    jsonschema.validate(report, schemas.load("report"))


def test_lineage_leads_from_the_log_to_the_diagnosis() -> None:
    events = [read_event(as_event(message)) for message in (RECORDED, RUN.diagnosed("int8", "adb"))]
    kinds = [(one.kind, one.artifact.sha256) for event in events for one in event.artifacts]
    assert [kind for kind, _ in kinds if kind != "plan"] == ["log", "edge_log", "app_diagnosis"]
    run, diagnose = with_implied_inputs([one.execution for one in events if one.execution is not None], {})
    assert (run.kind, diagnose.kind) == ("run", "diagnose")
    assert set(run.outputs) <= set(diagnose.inputs) and len(diagnose.outputs) == 1


def test_an_empty_answer_is_malformed() -> None:
    with pytest.raises(Malformed, match="no verdict and no failure"):
        read_event(as_event(events_pb2.DeviceRunDiagnosed(run=RUN.context, cell=RUN.cell("int8", "adb"), attempt=1)))
