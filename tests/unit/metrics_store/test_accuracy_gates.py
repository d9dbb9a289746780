"""Gates on the accuracy itself, variants that may be missing, and what a report says where an accuracy is not known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jsonschema
import pytest
from google.protobuf.message import Message

from support.run_events import STARTED, RunEvents, as_event, finding
from windtunnel import schemas
from windtunnel.metrics_store.domain import Judgment, RunRecord, Verdict, fold, judge
from windtunnel.metrics_store.messages.decode_events import read_event
from windtunnel.metrics_store.use_cases.build_report import Diagnoses, Ending, build_report
from windtunnel.v1 import events_pb2, types_pb2

PLAN = "apiVersion: windtunnel/v1\nvariants: [float32, int8]\ndevices: []\n"


def record_of(messages: Sequence[Message]) -> RunRecord:
    record = RunRecord("run-1")
    for message in messages:
        record = fold(record, read_event(as_event(message)).facts)
    return record


def outcome(run: RunEvents, messages: Sequence[Message]) -> tuple[Judgment, dict[str, Any]]:
    record = record_of(messages)
    judgment = judge(record, run.plan)
    report = build_report(record, judgment, Diagnoses(), Ending(judgment.verdict, judgment.reasons, STARTED, 1))
    jsonschema.Draft202012Validator(schemas.load("report")).validate(report)
    return judgment, report


def events(run: RunEvents, *others: Message) -> list[Message]:
    """A run in which `others` replace the events on the same things."""
    usual = [run.converted()]
    for name in run.variants:
        usual += [run.ready(name), run.compared(name), run.planned(name)]
    about = {(type(one), name_of(one)) for one in others}
    return [one for one in usual if (type(one), name_of(one)) not in about] + list(others)


def name_of(message: Message) -> str:
    variant: Any = getattr(message, "variant", "")
    return str(getattr(variant, "name", variant))


@pytest.mark.parametrize(("top1", "verdict"), [(0.9, Verdict.PASSED), (0.899, Verdict.FAILED)])
def test_the_least_accuracy_is_a_lower_bound(top1: float, verdict: Verdict) -> None:
    run = RunEvents(plan=PLAN + "gates: {accuracy: {min: 0.9}}\n")

    judgment, report = outcome(run, events(run, run.compared("int8", top1=top1)))

    assert judgment.verdict is verdict
    gate = report["variants"][1]["gates"][0]
    assert (gate["gate"], gate["limit"], gate["measured"], gate["bound"]) == ("accuracy_min", 0.9, top1, "at_least")
    assert gate["judged_at"] is None
    if verdict is Verdict.FAILED:
        assert judgment.reasons == ("gate accuracy_min of variant int8: 0.899 is under 0.9",)


def test_the_least_accuracy_of_masks_is_of_their_elements() -> None:
    run = RunEvents(plan=PLAN + "gates: {accuracy: {min: 0.9}}\n")

    judgment, report = outcome(run, events(run, run.compared("int8", top1=None, element_accuracy=0.85)))

    assert judgment.reasons == ("gate accuracy_min of variant int8: 0.85 is under 0.9",)
    assert report["variants"][1]["accuracy"] == report["variants"][1]["element_accuracy"] == 0.85


# 100 samples: chance takes 0.9275 - 0.01 down to 0.85 and no further.
@pytest.mark.parametrize(("top1", "verdict"), [(0.95, "passed"), (0.86, "passed"), (0.84, "failed"), (0.12, "failed")])
def test_the_model_as_trained_reaches_the_accuracy_of_its_training(top1: float, verdict: str) -> None:
    run = RunEvents(plan=PLAN + "expected_accuracy: 0.9275\n")
    compared = [run.compared(name, top1=top1, reference=top1) for name in run.variants]

    judgment, report = outcome(run, events(run, run.converted(top1=top1), *compared))

    assert judgment.verdict.value == verdict
    gates = [variant["gates"][0] for variant in report["variants"]]
    assert {gate["gate"] for gate in gates} == {"expected_accuracy"}
    assert {gate["passed"] for gate in gates} == {verdict == "passed"}
    # The plan's number, and what chance makes of it.
    assert {(gate["limit"], gate["judged_at"]) for gate in gates} == {(0.9275, 0.85)}
    if verdict == "failed":
        assert len(judgment.reasons) == 1
        assert "samples, labels or preprocessing are not those of the training" in judgment.reasons[0]


def test_labels_without_a_gate_on_the_accuracy_are_said() -> None:
    free, guarded = RunEvents(plan=PLAN), RunEvents(plan=PLAN + "gates: {accuracy_drop: 0.01}\n")
    partly = RunEvents(plan=PLAN + "gates: {only: {int8: {accuracy: {min: 0.5}}}}\n")

    codes = [[one["code"] for one in outcome(run, events(run))[1]["findings"]] for run in (free, guarded, partly)]

    assert codes == [["accuracy.unguarded"], [], ["accuracy.unguarded"]]
    assert "of float32" in outcome(partly, events(partly))[1]["findings"][0]["message"]
    assert outcome(free, events(free))[0].verdict is Verdict.PASSED


def test_findings_are_told_where_they_belong_and_once_for_the_run() -> None:
    run = RunEvents(plan=PLAN + "gates: {accuracy_drop: 0.01}\n")
    compared = [run.compared(name, findings=[finding("labels.unused")]) for name in run.variants]

    _, report = outcome(run, events(run, run.converted(findings=[finding("input.range")]), *compared))

    assert [one["code"] for one in report["conversion"]["findings"]] == ["input.range"]
    assert [[one["code"] for one in variant["findings"]] for variant in report["variants"]] == [["labels.unused"]] * 2
    assert [one["code"] for one in report["findings"]] == ["input.range", "labels.unused"]
    assert report["findings"][0]["evidence"] == {"share": 0.5} and report["findings"][0]["fix"] == "do this"


def test_a_missing_accuracy_has_a_reason() -> None:
    run = RunEvents(plan=PLAN)
    why = finding("accuracy.unknown", "the samples have no labels")
    others = [one for one in events(run, run.compared("float32", top1=None, findings=[why])) if name_of(one) != "int8"]

    _, report = outcome(run, [*others, run.variant_failed("int8")])

    reasons = [variant["accuracy_reason"] for variant in report["variants"]]
    assert reasons == ["the samples have no labels", "the variant could not be made: no recipe fits"]
    assert outcome(run, events(run))[1]["variants"][0]["accuracy_reason"] is None


@pytest.mark.parametrize(
    ("optional", "made", "verdict"),
    [
        (("int8",), ("float32",), "passed"),
        ((), ("float32",), "failed"),
        (("float32",), ("float32",), "failed"),
        (("float32", "int8"), (), "could_not_run"),
    ],
)
def test_a_variant_that_may_be_missing(optional: tuple[str, ...], made: tuple[str, ...], verdict: str) -> None:
    names = ("float32", "int8")
    listed = "".join(f"  - {{name: {name}, optional: {str(name in optional).lower()}}}\n" for name in names)
    run = RunEvents(plan=f"apiVersion: windtunnel/v1\nvariants:\n{listed}devices: []\n")
    messages: list[Message] = [run.converted()]
    for name in names:
        messages += [run.ready(name), run.compared(name), run.planned(name)] if name in made else []
        messages += [] if name in made else [run.variant_failed(name, code="unsupported")]

    judgment, report = outcome(run, messages)

    assert judgment.verdict.value == verdict
    assert [variant["passed"] for variant in report["variants"]] == [name in made for name in names]
    assert all(variant["problems"] for variant in report["variants"] if variant["name"] not in made)


@pytest.mark.parametrize(
    ("accuracy", "spread", "verdict"),
    [
        # 0.92 - 0.01 - t * 0.05 / sqrt(100), t = 2.365: 0.8982.
        (0.90, 0.05, "passed"),
        (0.895, 0.05, "failed"),
        (0.895, 0.10, "passed"),
        # Without a spread: as for right and wrong samples.
        (0.85, None, "passed"),
        (0.83, None, "failed"),
    ],
)
def test_masks_are_judged_by_how_much_their_samples_differ(accuracy: float, spread: float | None, verdict: str) -> None:
    run = RunEvents(plan=PLAN + "expected_accuracy: 0.92\n")
    figures = types_pb2.QualityFigures(element_accuracy=accuracy, element_spread=spread, samples=100)
    compared = [run.compared(name, top1=None, element_accuracy=accuracy) for name in run.variants]

    judgment, _ = outcome(run, events(run, run.converted(original=figures), *compared))

    assert judgment.verdict.value == verdict


@pytest.mark.parametrize("gate", ["accuracy: {min: 0.9}", "accuracy_drop: 0.01"])
def test_a_gate_on_the_accuracy_of_samples_without_labels_says_so(gate: str) -> None:
    run = RunEvents(plan=PLAN + f"gates: {{{gate}}}\n")
    why = finding("accuracy.unknown", "the samples have no labels: add an array y")

    judgment, report = outcome(run, events(run, run.compared("int8", top1=None, findings=[why])))

    assert judgment.verdict is Verdict.COULD_NOT_RUN
    name = report["variants"][1]["gates"][0]["gate"]
    words = f"gate {name} of variant int8 was not judged: the samples have no labels: add an array y"
    assert judgment.reasons == (words,)


def test_a_missed_expected_accuracy_is_said_once_and_in_plain_words() -> None:
    run = RunEvents(plan=PLAN + "expected_accuracy: 0.9275\n")
    compared = [run.compared(name, top1=0.84, reference=0.84) for name in run.variants]

    judgment, _ = outcome(run, events(run, run.converted(top1=0.84), *compared))

    assert judgment.reasons == (
        "gate expected_accuracy: the model as trained has an accuracy of 0.84 on 100 samples; the plan expects 0.9275, "
        "and so many samples would show at least 0.85: samples, labels or preprocessing are not those of the training",
    )


def figures_of(metric: str, value: float, **others: Any) -> types_pb2.QualityFigures:
    task = {"map": "detection", "mae": "regression", "miou": "segmentation"}[metric]
    made = types_pb2.QualityFigures(samples=100, task=task, metric=metric, main=value, **others)
    made.figures[metric] = value
    return made


def task_run(plan: str, metric: str, trained: float, value: float, **others: Any) -> tuple[Judgment, dict[str, Any]]:
    run = RunEvents(plan=PLAN + plan)
    messages = events(run, run.converted(original=figures_of(metric, trained, **others)))
    for message in messages:
        if isinstance(message, events_pb2.VariantCompared):
            message.reference.CopyFrom(figures_of(metric, trained, **others))
            message.candidate.CopyFrom(figures_of(metric, value, **others))
    return outcome(run, messages)


def test_a_task_is_judged_by_its_main_metric() -> None:
    plan = "data: {samples: 'sha256:%s', task: detection}\ngates: {accuracy: {min: 0.5}, accuracy_drop: 0.05}\n"
    judgment, report = task_run(plan % ("5" * 64), "map", 0.55, 0.48)
    assert judgment.verdict is Verdict.FAILED
    assert judgment.reasons[:2] == (
        "gate accuracy_min of variant float32: 0.48 is under 0.5",
        "gate accuracy_drop of variant float32: 0.07 is over 0.05",
    )
    variant = report["variants"][1]
    assert (variant["accuracy"], variant["accuracy_drop"]) == (0.48, 0.07)
    assert (variant["task"], variant["metric"], variant["figures"]) == ("detection", "map", {"map": 0.48})
    assert report["conversion"]["original"]["figures"] == {"map": 0.55}


def test_the_main_metric_counts_even_where_elements_are_known() -> None:
    plan = "gates: {accuracy: {min: 0.5}}\n"
    judgment, report = task_run(plan, "miou", 0.9, 0.4, element_accuracy=0.95)
    assert judgment.verdict is Verdict.FAILED
    assert (report["variants"][0]["accuracy"], report["variants"][0]["element_accuracy"]) == (0.4, 0.95)


@pytest.mark.parametrize(("value", "verdict"), [(2.4, Verdict.PASSED), (2.6, Verdict.FAILED)])
def test_of_an_error_less_is_better(value: float, verdict: Verdict) -> None:
    plan = "data: {samples: 'sha256:%s', task: regression}\ngates: {accuracy: {max: 2.5}, accuracy_drop: 0.5}\n"
    judgment, report = task_run(plan % ("5" * 64), "mae", 2.0, value)
    assert judgment.verdict is verdict
    gates = {gate["gate"]: gate for gate in report["variants"][0]["gates"]}
    assert (gates["accuracy_max"]["measured"], gates["accuracy_max"]["bound"]) == (value, "at_most")
    assert report["variants"][0]["accuracy_drop"] == pytest.approx(value - 2.0)


def test_an_expected_map_is_named_so() -> None:
    judgment, _ = task_run("expected_accuracy: 0.9\n", "map", 0.2, 0.2)
    assert judgment.verdict is Verdict.FAILED
    assert "the model as trained has an accuracy (map) of 0.2 on 100 samples" in judgment.reasons[0]


def test_a_main_metric_that_is_not_known_is_no_accuracy() -> None:
    run = RunEvents(plan=PLAN + "gates: {accuracy: {min: 0.5}}\n")
    messages = events(run)
    for message in messages:
        if isinstance(message, events_pb2.VariantCompared):
            message.candidate.CopyFrom(types_pb2.QualityFigures(samples=100, task="detection", metric="map", top1=0.9))
    judgment, report = outcome(run, messages)
    assert judgment.verdict is Verdict.COULD_NOT_RUN
    assert report["variants"][0]["accuracy"] is None
