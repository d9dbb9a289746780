"""Every rule of the verdict, one case each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from google.protobuf.message import Message

from support.run_events import PLAN, RunEvents, as_event, finding
from windtunnel.metrics_store.domain import Judgment, RunRecord, Verdict, fold, is_complete, judge
from windtunnel.metrics_store.messages.decode_events import read_event
from windtunnel.v1 import events_pb2, types_pb2

BUSY = "other processes used 1.9 of 2 cores"
PASSED, FAILED, COULD_NOT_RUN = Verdict.PASSED, Verdict.FAILED, Verdict.COULD_NOT_RUN


def record_of(messages: Sequence[Message]) -> RunRecord:
    record = RunRecord("run-1")
    for message in messages:
        record = fold(record, read_event(as_event(message)).facts)
    return record


def judged(run: RunEvents, messages: Sequence[Message]) -> Judgment:
    return judge(record_of(messages), run.plan)


@dataclass(frozen=True)
class Case:
    """`change` gives events that replace those of the same kind about the same thing."""

    name: str
    change: Callable[[RunEvents], Sequence[Message]]
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    complete: bool = True
    without: Callable[[Message], bool] = lambda message: False


def subject(message: Message) -> tuple[object, ...]:
    variant = getattr(message, "variant", "")
    cell = getattr(message, "cell", None)
    return (type(message), getattr(variant, "name", variant), cell.id if cell is not None else "")


def is_a(name: str, variant: str | None = None) -> Callable[[Message], bool]:
    def check(message: Message) -> bool:
        return type(message).__name__ == name and variant in (None, subject(message)[1])

    return check


def not_started(code: str, run: RunEvents) -> Sequence[Message]:
    return [run.model_failed("there is no plan 'nightly'", code=code)]


def of_cell(variant: str, farm: str) -> Callable[[Message], bool]:
    return lambda message: subject(message)[2] == f"run-1.{variant}.{farm}"


def of_variant(name: str) -> Callable[[Message], bool]:
    def check(message: Message) -> bool:
        cell = getattr(message, "cell", None)
        return name in (subject(message)[1], cell.variant if cell is not None else "")

    return check


CASES = [
    Case("all well", lambda run: [], PASSED),
    Case(
        "accuracy",
        lambda run: [run.compared("int8", top1=0.95)],
        FAILED,
        ("gate accuracy_drop of variant int8: 0.03 is over 0.01",),
    ),
    # In binary 0.98 - 0.97 is larger than 0.01.
    Case("accuracy exactly at its bound", lambda run: [run.compared("int8", top1=0.97)], PASSED),
    Case(
        "accuracy against the model as trained, not the float model",
        lambda run: [run.converted(top1=0.985), run.compared("int8", top1=0.97, reference=0.97)],
        FAILED,
        ("gate accuracy_drop of variant int8: 0.015 is over 0.01",),
    ),
    Case(
        "accuracy against the float model where the original cannot be run",
        lambda run: [run.converted(top1=None), run.compared("int8", reference=0.99)],
        FAILED,
        ("gate accuracy_drop of variant int8: 0.015 is over 0.01",),
    ),
    Case(
        "accuracy unknown",
        lambda run: [run.compared("int8", top1=None)],
        COULD_NOT_RUN,
        ("gate accuracy_drop of variant int8: the figure is not known",),
    ),
    Case(
        "median of one cell",
        lambda run: [run.measured("int8", "adb", p50=10.5)],
        FAILED,
        ("gate latency_ms_p50 of variant int8: 10.5 on adb/pixel-6/14/gpu/4 is over 10",),
    ),
    # An older writer: the name of the farm says it.
    Case("an emulated cell", lambda run: [run.measured("int8", "arm", p50=None, p95=None, memory_mb=None)], PASSED),
    Case("median at its bound", lambda run: [run.measured("int8", "adb", p50=10.0)], PASSED),
    Case(
        "tail",
        lambda run: [run.measured("float32", p95=21.0)],
        FAILED,
        ("gate latency_ms_p95 of variant float32: 21 on local/host/12/xnnpack/1 is over 20",),
    ),
    Case(
        "tail unknown on one cell",
        lambda run: [run.measured("int8", "adb", p95=None)],
        COULD_NOT_RUN,
        ("gate latency_ms_p95 of variant int8: the figure is not known on adb/pixel-6/14/gpu/4",),
    ),
    Case(
        "one cell over, another unknown",
        lambda run: [run.measured("int8", "adb", p95=None), run.measured("int8", p95=30.0)],
        FAILED,
        ("gate latency_ms_p95 of variant int8: 30 on local/host/12/xnnpack/1 is over 20",),
    ),
    Case(
        "a latency that is unstable",
        lambda run: [run.measured("int8", "adb", p50=103.0, unstable=BUSY)],
        COULD_NOT_RUN,
        (
            "gates latency_ms_p50, latency_ms_p95 of variant int8 were not judged on adb/pixel-6/14/gpu/4: "
            f"the latency is unstable: {BUSY} (measure again when the host is quiet)",
        ),
    ),
    Case(
        "a latency that is unstable, and one that is over",
        lambda run: [run.measured("int8", "adb", unstable=BUSY), run.measured("int8", p50=10.0048193)],
        FAILED,
        (
            "gate latency_ms_p50 of variant int8: 10.005 on local/host/12/xnnpack/1 is over 10",
            "gate latency_ms_p95 of variant int8 was not judged on adb/pixel-6/14/gpu/4: "
            f"the latency is unstable: {BUSY} (measure again when the host is quiet)",
        ),
    ),
    Case(
        "latencies of several cells that are unstable",
        lambda run: [run.measured("int8", "adb", unstable=BUSY), run.measured("int8", unstable=BUSY)],
        COULD_NOT_RUN,
        (
            "gates latency_ms_p50, latency_ms_p95 of variant int8 were not judged on adb/pixel-6/14/gpu/4: "
            f"the latency is unstable: {BUSY} (measure again when the host is quiet); 1 more cell likewise",
        ),
    ),
    Case(
        "an unstable latency does not hide a cell that failed",
        lambda run: [run.run_failed("int8", "adb"), run.measured("int8", p50=12.0, unstable=BUSY)],
        COULD_NOT_RUN,
        ("cell adb/pixel-6/14/gpu/4 of variant int8 failed: the app crashed",),
        without=of_cell("int8", "adb"),
    ),
    Case(
        "a size of inputs that nobody gave",
        lambda run: [run.measured("int8", shapes_known=False)],
        COULD_NOT_RUN,
        (
            "gates latency_ms_p50, latency_ms_p95, memory_mb of variant int8 were not judged on "
            "local/host/12/xnnpack/1: the input shape is not known: dynamic dimensions were taken as 1 "
            "(give samples, or input_shapes in the plan)",
        ),
    ),
    Case("a size of inputs that is known", lambda run: [run.measured("int8", shapes_known=True)], PASSED),
    Case(
        "size in 10^6 bytes",
        lambda run: [run.ready("int8", size_bytes=5_000_001)],
        FAILED,
        ("gate size_mb of variant int8: 5.000001 is over 5",),
    ),
    Case("size at its bound", lambda run: [run.ready("int8", size_bytes=5_000_000)], PASSED),
    Case(
        "memory of the worst cell",
        lambda run: [run.measured("int8", "adb", memory_mb=201.0)],
        FAILED,
        ("gate memory_mb of variant int8: 201 on adb/pixel-6/14/gpu/4 is over 200",),
    ),
    Case(
        "memory unknown",
        lambda run: [run.measured("int8", memory_mb=None)],
        COULD_NOT_RUN,
        ("gate memory_mb of variant int8: the figure is not known on local/host/12/xnnpack/1",),
    ),
    Case(
        "layers",
        lambda run: [run.compared("int8", max_nrmse=0.5)],
        FAILED,
        ("gate layer_nrmse of variant int8: 0.5 is over 0.1",),
    ),
    Case(
        "layers unknown",
        lambda run: [run.compared("int8", max_nrmse=None)],
        COULD_NOT_RUN,
        ("gate layer_nrmse of variant int8: the figure is not known",),
    ),
    Case(
        "layers that hold NaN, and others that are well",
        lambda run: [run.compared("int8", first_over="conv1", non_finite=2)],
        FAILED,
        (
            "gate layer_nrmse of variant int8: 2 of 65 layers hold NaN or infinity (non-finite)",
            "variant int8: 2 of 65 layers hold NaN or infinity, first over its bound is 'conv1'",
        ),
    ),
    Case(
        "only layers without a figure",
        lambda run: [run.compared("int8", max_nrmse=None, first_over="conv1")],
        FAILED,
        ("gate layer_nrmse of variant int8: layer conv1 has no figure (non-finite or not comparable)",),
    ),
    Case(
        "a figure that is not finite",
        lambda run: [run.compared("int8", loss=math.inf)],
        COULD_NOT_RUN,
        ("variant int8: candidate.loss is inf",),
    ),
    Case(
        "a latency that is not finite",
        lambda run: [run.measured("int8", p50=math.nan)],
        COULD_NOT_RUN,
        ("cell local/host/12/xnnpack/1 of variant int8: latency_ms.p50 is nan",),
    ),
    *(
        Case(
            f"the run could not start: {code}",
            partial(not_started, code),
            COULD_NOT_RUN,
            ("the run could not start: there is no plan 'nightly'",),
            without=lambda message: not is_a("ModelFailed")(message),
        )
        for code in ("unknown_plan", "malformed_event", "sha256_missing")
    ),
    Case(
        "the conversion changed the model",
        lambda run: [run.converted(passed=False, message="top-1 fell from 0.98 to 0.41")],
        FAILED,
        ("the conversion changed the model (not the quantization): top-1 fell from 0.98 to 0.41",),
    ),
    Case(
        "no model",
        lambda run: [run.model_failed()],
        COULD_NOT_RUN,
        ("the model could not be converted: the file is cut off",),
        without=lambda message: not is_a("ModelFailed")(message),
    ),
    Case(
        "samples that cannot be used",
        lambda run: [run.model_failed("test.npz has no samples", code="invalid_samples")],
        COULD_NOT_RUN,
        ("the samples cannot be used: test.npz has no samples",),
        without=lambda message: not is_a("ModelFailed")(message),
    ),
    Case(
        "a plan that cannot be used",
        lambda run: [run.model_failed("data.samples: there is no file", code="invalid_plan")],
        COULD_NOT_RUN,
        ("the plan cannot be used: data.samples: there is no file",),
        without=lambda message: not is_a("ModelFailed")(message),
    ),
    Case(
        "no variant",
        lambda run: [run.variant_failed("int8", code="not_quantizable")],
        FAILED,
        ("variant int8 could not be made: no recipe fits",),
        without=lambda message: of_variant("int8")(message) and not is_a("VariantFailed")(message),
    ),
    Case(
        "no variant, and not for the model's fault",
        lambda run: [run.variant_failed("int8", "the store does not answer", code="attempts_exhausted")],
        COULD_NOT_RUN,
        ("variant int8 could not be made: the store does not answer",),
        without=lambda message: of_variant("int8")(message) and not is_a("VariantFailed")(message),
    ),
    *(
        Case(
            f"no variant: {code}",
            lambda run, code=code: [run.variant_failed("int8", "why", code=code)],  # type: ignore[misc]
            verdict,
            ("variant int8 could not be made: why",),
            without=lambda message: of_variant("int8")(message) and not is_a("VariantFailed")(message),
        )
        for code, verdict in (
            ("unsupported", FAILED),
            ("loop_not_calibrated", FAILED),
            ("non_finite", FAILED),
            ("invalid_input", COULD_NOT_RUN),
            ("not_found", COULD_NOT_RUN),
            ("job_failed", COULD_NOT_RUN),
            ("unavailable", COULD_NOT_RUN),
        )
    ),
    Case(
        "the model as trained gives NaN",
        lambda run: [run.model_failed("the original model's output 'y' holds NaN", code="non_finite")],
        FAILED,
        ("the model could not be converted: the original model's output 'y' holds NaN",),
        without=lambda message: not is_a("ModelFailed")(message),
    ),
    Case(
        "a variant gives NaN, and its comparison says where",
        lambda run: [
            run.compared("int8", findings=[finding("output.non_finite", "output 'y' holds NaN, first at 'conv1'")])
        ],
        FAILED,
        ("variant int8: output 'y' holds NaN, first at 'conv1'",),
    ),
    Case(
        "no comparison",
        lambda run: [run.variant_failed("int8", "the kernel crashed", compare=True)],
        COULD_NOT_RUN,
        ("variant int8 could not be compared: the kernel crashed",),
        without=is_a("VariantCompared", "int8"),
    ),
    Case(
        "no cells",
        lambda run: [run.cells_failed("int8")],
        COULD_NOT_RUN,
        ("the cells of variant int8 could not be planned: no such farm",),
        without=lambda m: is_a("CellsPlanned", "int8")(m) or of_cell("int8", "adb")(m) or of_cell("int8", "local")(m),
    ),
    Case(
        "a cell failed",
        lambda run: [run.run_failed("int8", "adb")],
        COULD_NOT_RUN,
        ("cell adb/pixel-6/14/gpu/4 of variant int8 failed: the app crashed",),
        without=of_cell("int8", "adb"),
    ),
    Case(
        "a cell was skipped",
        lambda run: [run.planned("int8", {"adb": "the phone has no GPU"})],
        COULD_NOT_RUN,
        ("cell adb/pixel-6/14/gpu/4 of variant int8 was skipped: the phone has no GPU",),
        without=of_cell("int8", "adb"),
    ),
    Case(
        "no app for the phone",
        lambda run: [run.app_failed("int8", "android")],
        COULD_NOT_RUN,
        (
            "cell adb/pixel-6/14/gpu/4 of variant int8 failed: "
            "the android app could not be built: the base app is missing",
        ),
        without=lambda m: of_cell("int8", "adb")(m) or is_a("AppBuilt", "int8")(m),
    ),
    Case(
        "a gate beats what is missing",
        lambda run: [run.run_failed("int8", "adb"), run.compared("int8", top1=0.5)],
        FAILED,
        (
            "gate accuracy_drop of variant int8: 0.48 is over 0.01",
            "cell adb/pixel-6/14/gpu/4 of variant int8 failed: the app crashed",
        ),
        without=of_cell("int8", "adb"),
    ),
    Case(
        "nothing yet",
        lambda run: [],
        COULD_NOT_RUN,
        (
            "the model was not converted",
            *(
                text
                for name in ("float32", "int8")
                for text in (
                    f"variant {name} was not made",
                    f"variant {name} was not compared",
                    f"the cells of variant {name} were not planned",
                )
            ),
        ),
        complete=False,
        without=lambda message: True,
    ),
    Case(
        "one comparison and one cell to come",
        lambda run: [],
        COULD_NOT_RUN,
        (
            "variant int8 was not compared",
            "cell adb/pixel-6/14/gpu/4 of variant int8 has no measurement",
        ),
        complete=False,
        without=lambda m: is_a("VariantCompared", "int8")(m) or of_cell("int8", "adb")(m),
    ),
]


def events_of(case: Case, run: RunEvents) -> list[Message]:
    changed = list(case.change(run))
    replaced = {subject(message) for message in changed}
    kept = [m for m in run.all() if subject(m) not in replaced and not case.without(m)]
    return kept + changed


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_rule(case: Case) -> None:
    run = RunEvents()
    events = events_of(case, run)

    judgment = judged(run, events)

    assert (judgment.verdict, judgment.reasons) == (case.verdict, case.reasons)
    assert is_complete(record_of(events), run.plan) is case.complete
    assert all(variant.passed for variant in judgment.variants) is (case.verdict is PASSED)


def test_gates_of_one_variant_may_differ() -> None:
    run = RunEvents(plan=PLAN + "  only: {int8: {latency_ms: {p50: 1}}}\n")

    judgment = judged(run, run.all())

    assert judgment.verdict is FAILED
    assert all(reason.startswith("gate latency_ms_p50 of variant int8: 4 ") for reason in judgment.reasons)
    assert [variant.passed for variant in judgment.variants] == [True, False]


def test_filters_that_match_no_device_do_not_pass() -> None:
    run = RunEvents()
    events = [m for m in run.all() if not of_cell("int8", "adb")(m) and not is_a("CellsPlanned", "int8")(m)]
    planned = events_pb2.CellsPlanned(run=run.context, variant="int8", cells=[run.cell("int8")])

    judgment = judged(run, [*events, planned])

    assert judgment.verdict is COULD_NOT_RUN
    assert judgment.reasons == ("variant int8 has no cell on farm adb",)


def test_a_plan_without_devices_or_gates_needs_neither() -> None:
    run = RunEvents(plan="apiVersion: windtunnel/v1\nvariants: [float16]\ndevices: []\n")

    judgment = judged(run, [run.converted(), run.ready("float16"), run.compared("float16"), run.planned("float16")])

    assert judgment.verdict is PASSED


def test_nan_does_not_pass_where_there_are_no_gates() -> None:
    run = RunEvents(plan="apiVersion: windtunnel/v1\nvariants: [float16]\ndevices: []\n")
    sick = run.compared("float16", top1=None, first_over="conv1", non_finite=1)

    judgment = judged(run, [run.converted(), run.ready("float16"), sick, run.planned("float16")])

    assert judgment.verdict is FAILED
    assert judgment.reasons == (
        "variant float16: 1 of 65 layers hold NaN or infinity, first over its bound is 'conv1'",
    )


def test_an_accuracy_gate_names_the_cause() -> None:
    run = RunEvents()
    events = [m for m in run.all() if not is_a("VariantCompared", "int8")(m)] + [run.compared("int8", top1=0.5)]

    causes = {"int8": "quantization.per_tensor at layer conv1"}
    judgment = judge(record_of(events), run.plan, causes=causes)

    assert judgment.reasons == (
        "gate accuracy_drop of variant int8: 0.48 is over 0.01; cause: quantization.per_tensor at layer conv1",
    )


def test_a_late_run_says_so_first() -> None:
    run = RunEvents()

    judgment = judge(record_of(run.all()[:-1]), run.plan, late=True)

    assert judgment.reasons[0] == "the deadline of the run has passed"


def test_without_a_plan_the_reason_is_told() -> None:
    run = RunEvents()

    judgment = judge(record_of([run.converted()]), None, plan_problem="the plan abc cannot be read")

    assert judgment.verdict is COULD_NOT_RUN
    assert judgment.reasons == ("the plan of the run is not known", "the plan abc cannot be read")


@pytest.mark.parametrize(("times_count", "verdict"), [(True, FAILED), (False, PASSED)])
def test_a_latency_is_judged_if_the_farm_says_that_its_times_count(times_count: bool, verdict: Verdict) -> None:
    run = RunEvents()
    over = run.measured("int8", "adb", p50=10.5)
    messages: list[Any] = [over if subject(message) == subject(over) else message for message in run.all()]
    for message in messages:
        names = message.DESCRIPTOR.fields_by_name
        for cell in (*([message.cell] if "cell" in names else []), *(message.cells if "cells" in names else [])):
            if cell.farm == "adb":
                cell.farm_properties.CopyFrom(types_pb2.FarmProperties(times_count=times_count))
    assert judged(run, messages).verdict == verdict
