"""The report and its schema."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import jsonschema
import pytest
from google.protobuf.message import Message

from support.reports import diagnosis
from support.run_events import PLAN, STARTED, RunEvents, artifact, as_event
from windtunnel import schemas
from windtunnel.metrics_store.domain import RunRecord, fold, judge
from windtunnel.metrics_store.messages.decode_events import read_event
from windtunnel.metrics_store.use_cases.build_report import Diagnoses, Ending, build_report
from windtunnel.v1 import events_pb2, types_pb2

VALIDATOR = jsonschema.Draft202012Validator(schemas.load("report"))


def report_of(
    run: RunEvents, messages: Sequence[Message], diagnoses: Diagnoses | None = None, *, ended: bool = True
) -> dict[str, Any]:
    record = RunRecord("run-1")
    for message in messages:
        record = fold(record, read_event(as_event(message)).facts)
    judgment = judge(record, run.plan)
    ending = Ending(judgment.verdict, judgment.reasons, STARTED, 1) if ended else Ending()
    report = build_report(record, judgment, diagnoses or Diagnoses(), ending)
    text = json.dumps(report, allow_nan=False)
    found: dict[str, Any] = json.loads(text)
    VALIDATOR.validate(found)
    return found


def test_a_whole_run() -> None:
    run = RunEvents()
    messages = [m for m in run.all() if m != run.compared("int8")]
    messages.append(run.compared("int8", diagnosis=artifact("diagnosis")))

    report = report_of(run, messages, Diagnoses({"int8": diagnosis()}))

    names = ("schema", "run_id", "verdict", "reasons", "canceled", "started_at", "ended_at")
    assert {name: report[name] for name in names} == {
        "schema": "windtunnel.report/1",
        "run_id": "run-1",
        "verdict": "passed",
        "reasons": [],
        "canceled": False,
        "started_at": "2026-11-20T12:00:03.000Z",
        "ended_at": "2026-11-20T12:00:03.000Z",
    }
    assert report["model"] == {"name": "ssd", "version": "3", "sha256": run.context.model_sha256}
    assert report["labels"] == {"team": "edge"}
    assert report["conversion"]["original"]["top1"] == 0.98
    assert [variant["name"] for variant in report["variants"]] == ["float32", "int8"]
    int8 = report["variants"][1]
    assert int8["accuracy"] == 0.975 and int8["accuracy_drop"] == 0.005
    assert int8["size_bytes"] == 1_200_000 and int8["calibration_from_samples"] is True
    assert int8["layers"] == {"compared": 64, "total": 65, "max_nrmse": 0.02, "first_over": None}
    assert int8["diagnosis"]["schema"] == "windtunnel.diagnosis/1"
    phone = int8["cells"][0]
    assert (phone["farm"], phone["device"], phone["accelerator"], phone["threads"]) == ("adb", "pixel-6", "gpu", 4)
    assert phone["status"] == "measured" and phone["reason"] is None and phone["attempts"] == 1
    assert phone["latency_ms"] == {
        "p50": 4.0,
        "p95": 6.0,
        "mean": 4.2,
        "min": 3.9,
        "max": 9.0,
        "std": 0.3,
        "samples": 200,
    }
    assert [gate["gate"] for gate in int8["gates"]] == [
        "accuracy_drop",
        "latency_ms_p50",
        "latency_ms_p95",
        "size_mb",
        "memory_mb",
        "layer_nrmse",
    ]


def test_what_is_not_known_is_null() -> None:
    run = RunEvents()

    report = report_of(run, [run.planned("int8"), run.compared("int8", top1=None, loss=None, max_nrmse=None)])

    float32, int8 = report["variants"]
    assert int8["accuracy"] is None and int8["accuracy_drop"] is None and int8["loss"] is None
    assert float32["sha256"] is None and float32["size_bytes"] is None
    assert float32["layers"] == {"compared": None, "total": None, "max_nrmse": None, "first_over": None}
    assert float32["diagnosis"] is None and float32["cells"] == []
    assert [(gate["measured"], gate["passed"]) for gate in float32["gates"]] == [(None, None)] * 6
    assert set(int8["cells"][0]["latency_ms"].values()) == {None}
    assert report["conversion"]["passed"] is None


def test_a_running_run_has_no_ending() -> None:
    run = RunEvents()

    report = report_of(run, run.all()[:-1], ended=False)

    assert report["verdict"] is None and report["ended_at"] is None and report["reasons"] == []
    pending = next(cell for cell in report["variants"][1]["cells"] if cell["farm"] == "adb")
    assert pending["status"] is None and pending["reason"] is None
    assert report["variants"][1]["passed"] is None


@pytest.mark.parametrize(
    ("event", "status", "reason"),
    [
        ("run_failed", "failed", "the app crashed"),
        ("skipped", "skipped", "the phone has no GPU"),
        ("app_failed", "failed", "the android app could not be built: the base app is missing"),
        ("nothing", "failed", "there is no measurement"),
    ],
)
def test_a_cell_without_measurement_says_why(event: str, status: str, reason: str) -> None:
    run = RunEvents()
    happened = {
        "run_failed": [run.run_failed("int8", "adb")],
        "skipped": [run.planned("int8", {"adb": "the phone has no GPU"})],
        "app_failed": [run.app_failed("int8", "android")],
        "nothing": [],
    }[event]

    report = report_of(run, [run.planned("int8"), *happened])

    cell = report["variants"][1]["cells"][0]
    assert (cell["status"], cell["reason"]) == (status, reason)
    assert cell["attempts"] == (3 if event == "run_failed" else 0)


def test_a_model_that_cannot_be_converted() -> None:
    run = RunEvents()

    report = report_of(run, [run.model_failed()])

    assert report["verdict"] == "could_not_run"
    assert report["conversion"]["passed"] is False
    assert report["conversion"]["message"] == "the file is cut off"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("verdict",), "ok"),
        (("schema",), "windtunnel.report/2"),
        (("variants", 0, "accuracy"), "0.9"),
        (("variants", 0, "cells", 0, "status"), "done"),
        (("variants", 0, "cells", 0, "latency_ms"), {"p50": 1}),
        (("variants", 0, "gates", 0, "passed"), "yes"),
        (("started_at",), "yesterday"),
    ],
)
def test_the_schema_refuses(path: tuple[str | int, ...], value: object) -> None:
    run = RunEvents()
    report = report_of(run, run.all())
    place: Any = report
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value

    assert not VALIDATOR.is_valid(report)


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        (
            "runs",
            {
                "run_id": "r",
                "model": "ssd",
                "version": "3",
                "state": "completed",
                "verdict": "passed",
                "started_at": "2026-11-20T12:00:03Z",
                "ended_at": None,
            },
            {"state": "done"},
        ),
        (
            "deadletters",
            {
                "id": "7",
                "subject": "windtunnel.variant.ready",
                "event_id": None,
                "reason": "malformed_event: no id",
                "attempts": 1,
                "at": "2026-11-20T12:00:03.25+00:00",
            },
            {"attempts": None},
        ),
    ],
)
def test_lists_have_schemas(schema: str, good: dict[str, Any], bad: dict[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(schemas.load(schema))

    assert validator.is_valid([good]) and validator.is_valid([])
    assert not validator.is_valid([good | bad])
    for name in good:
        assert not validator.is_valid([{key: value for key, value in good.items() if key != name}])


PHONE_STATE = ("battery_celsius", "thermal_status", "cpu_khz")


def cell_of(**changes: Any) -> dict[str, Any]:
    """The local cell of int8 in a report, measured with `changes`."""
    run = RunEvents()
    changed = run.measured("int8", **changes)
    report = report_of(run, [m for m in run.all() if m != run.measured("int8")] + [changed])
    found: dict[str, Any] = next(cell for cell in report["variants"][1]["cells"] if cell["farm"] == "local")
    return found


def test_a_cell_says_its_shapes_and_conditions() -> None:
    cell = cell_of(shapes_known=True, unstable="other processes used 1.9 of 2 cores")

    assert cell["input_shapes"] == {"image": [1, 48, 48, 3]} and cell["shapes_known"] is True
    assert cell["unstable"] is True
    assert cell["conditions"] == {
        "other_load_cores": 1.9,
        "spread": None,
        "drift": None,
        "waited": None,
        "repeats": 2,
        "unstable": True,
        "reason": "other processes used 1.9 of 2 cores",
        **dict.fromkeys(f"{what}_{when}" for what in PHONE_STATE for when in ("before", "after")),
    }
    assert cell["warnings"] == ["the latency is unstable: other processes used 1.9 of 2 cores"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"nodes": (0, 65), "delegate": ""}, "xnnpack ran 0 of 65 nodes"),
        ({"nodes": (40, 40), "delegate": "nnapi"}, "xnnpack was requested but nnapi ran"),
        ({"nodes": (40, 65)}, ""),
        ({"nodes": (65, 65)}, ""),
        ({}, ""),
        ({"shapes_known": False}, "the input shape is not known"),
    ],
)
def test_a_cell_warns_of_what_its_figures_are_not(changes: dict[str, Any], words: str) -> None:
    warnings = cell_of(**changes)["warnings"]

    assert len(warnings) == bool(words) and all(words in text for text in warnings)


def test_a_cell_without_a_delegate_has_none_to_fall_back_from() -> None:
    run = RunEvents(plan=PLAN.replace("xnnpack", "cpu"))
    measured = run.measured("int8", nodes=(0, 65), delegate="")
    assert isinstance(measured, events_pb2.DeviceRunMeasured)
    measured.cell.accelerator = "cpu"
    (cell,) = report_of(run, [run.converted(), measured])["variants"][1]["cells"]

    assert (cell["nodes_delegated"], cell["nodes_total"], cell["warnings"]) == (0, 65, [])


def test_an_emulated_cell_warns_of_a_fallback_alone() -> None:
    run = RunEvents(plan=PLAN.replace("farm: local", "farm: arm"))
    measured = run.measured("int8", "arm", nodes=(0, 65), delegate="", shapes_known=False)
    (cell,) = report_of(run, [run.converted(), measured])["variants"][1]["cells"]
    assert len(cell["warnings"]) == 1 and cell["warnings"][0].startswith("xnnpack ran 0 of 65 nodes")


def test_a_gate_that_was_not_judged_says_why() -> None:
    run = RunEvents()
    changed = run.measured("int8", p50=103.0, unstable="the host was busy")
    report = report_of(run, [m for m in run.all() if m != run.measured("int8")] + [changed])

    (gate,) = [gate for gate in report["variants"][1]["gates"] if gate["gate"] == "latency_ms_p50"]
    assert (gate["measured"], gate["passed"]) == (103.0, None)
    assert gate["why"] == "the latency is unstable: the host was busy (measure again when the host is quiet)"
    assert report["verdict"] == "could_not_run"


def test_inputs_and_outputs_of_a_variant() -> None:
    run = RunEvents()
    ready = run.ready("int8")
    assert isinstance(ready, events_pb2.VariantReady)
    info = types_pb2.TensorInfo
    image = info(name="serving:0", signature_name="image", shape=[-1, 8], dtype="int8", scale=[0.5], zero_point=[-3])
    ready.variant.facts.inputs.append(image)
    ready.variant.facts.outputs.append(
        info(name="out", shape=[1, 2], dtype="int16", scale=[0.5, 0.25], zero_point=[0, 0])
    )
    ready.variant.facts.outputs.append(info(name="odd", dtype="float32", scale=[float("nan")], zero_point=[0]))
    report = report_of(run, [run.converted(), ready, run.ready("float32")])
    found = {variant["name"]: variant for variant in report["variants"]}
    assert found["int8"]["inputs"] == [
        {"name": "image", "tensor": "serving:0", "shape": [-1, 8], "dtype": "int8", "scale": 0.5, "zero_point": -3}
    ]
    per_channel, odd = found["int8"]["outputs"]
    assert (per_channel["name"], per_channel["scale"], per_channel["zero_point"]) == ("out", [0.5, 0.25], [0, 0])
    assert (odd["shape"], odd["scale"], odd["zero_point"]) == ([], None, None)
    assert found["float32"]["inputs"] is None and found["float32"]["outputs"] is None
