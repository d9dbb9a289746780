"""What is known of a run does not depend on the order of its events, nor on how often they came."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from support.run_events import RunEvents, as_event
from windtunnel.bus import Malformed
from windtunnel.metrics_store.domain import RunRecord, Verdict, fold, is_complete, judge, progress
from windtunnel.metrics_store.messages.decode_events import read_event
from windtunnel.v1 import events_pb2, types_pb2

RUN = RunEvents()
WELL = RUN.all()
# Faults of every kind, and the events that make them good, or do not.
MIXED = [
    *WELL,
    RUN.run_failed("int8", "adb"),
    RUN.run_failed("int8", "adb", "another crash", attempt=2),
    RUN.app_failed("int8", "android"),
    RUN.variant_failed("float32", compare=True),
    RUN.cells_failed("int8"),
    RUN.variant_failed("int8"),
    RUN.model_failed(),
    RUN.measured("int8", "adb", p50=7.0, attempt=2),
]


def heard(messages: Sequence[Message]) -> RunRecord:
    record = RunRecord("run-1")
    for message in messages:
        record = fold(record, read_event(as_event(message)).facts)
    return record


@given(st.permutations([*MIXED, *random.Random(7).sample(MIXED, 8)]))
@settings(max_examples=100, deadline=None)
def test_every_order_gives_one_record(messages: list[Message]) -> None:
    assert heard(messages) == heard(MIXED)


@given(st.permutations(MIXED))
@settings(max_examples=50, deadline=None)
def test_success_beats_failure_in_every_order(messages: list[Message]) -> None:
    record = heard(messages)

    assert is_complete(record, RUN.plan)
    assert judge(record, RUN.plan).verdict is Verdict.PASSED


@pytest.mark.parametrize(("how", "waits"), [(types_pb2.RUN_AS_EXECUTABLE, True), (types_pb2.RUN_AS_APP, False)])
def test_a_cell_that_runs_as_an_executable_waits_for_no_app(how: types_pb2.RunAs, waits: bool) -> None:
    """Without a base app, phones still run the benchmark program."""
    messages = []
    for message in WELL:
        if isinstance(message, events_pb2.AppBuilt) and message.platform == "android":
            message = RUN.app_failed(message.variant, "android")
        changed: Any = type(message)()
        changed.CopyFrom(message)
        cells = [changed.cell] if "cell" in changed.DESCRIPTOR.fields_by_name else getattr(changed, "cells", [])
        for cell in cells:
            cell.run_as = how
        messages.append(changed)
    on_phones = [one for one in messages if isinstance(one, events_pb2.DeviceRunMeasured) and one.cell.farm == "adb"]
    assert on_phones

    early = heard([one for one in messages if one not in on_phones])

    assert is_complete(early, RUN.plan) is not waits
    assert judge(heard(messages), RUN.plan).verdict is Verdict.PASSED


def test_a_run_is_complete_with_its_last_event_and_not_before() -> None:
    order = [*WELL]
    random.Random(3).shuffle(order)
    # A device run's log and the app are on the way to a measurement: nothing waits for them.
    needed = [m for m in order if type(m).__name__ not in ("AppBuilt", "DeviceRunFinished")]

    assert [is_complete(heard(needed[:n]), RUN.plan) for n in range(len(needed) + 1)] == [False] * len(needed) + [True]


def test_progress_counts_steps() -> None:
    assert progress(heard([]), None) == (0, 2)
    # The conversion, and three steps for each variant.
    assert progress(heard([RUN.converted()]), RUN.plan) == (1, 7)
    assert progress(heard(WELL), RUN.plan) == (11, 11)


def test_the_measurement_of_the_first_attempt_stays() -> None:
    first, second = RUN.measured("int8", p50=4.0, attempt=1), RUN.measured("int8", p50=40.0, attempt=2)

    for order in ([first, second], [second, first]):
        measured = heard(order).cells["run-1.int8.local"].measured
        assert measured is not None and measured.measurement.latency.p50 == 4.0


def test_the_last_failure_is_told() -> None:
    one, two = RUN.run_failed("int8", message="first", attempt=1), RUN.run_failed("int8", message="last", attempt=2)

    for order in ([one, two], [two, one]):
        cell = heard(order).cells["run-1.int8.local"]
        assert cell.not_run is not None and cell.not_run.failure.message == "last"
        assert cell.attempts == 2


def _spoiled() -> dict[str, Message]:
    nameless, hashless = RunEvents(), RunEvents()
    nameless.context.run_id = ""
    hashless.context.plan.sha256 = "xyz"
    return {
        "run_id": nameless.converted(),
        "sha256": hashless.converted(),
        "step": events_pb2.VariantFailed(run=RUN.context, variant="int8"),
        "variant": events_pb2.CellsPlanned(run=RUN.context, variant="int8", cells=[RUN.cell("float32")]),
        "cell": events_pb2.DeviceRunMeasured(run=RUN.context),
        "model": events_pb2.ModelConverted(run=RUN.context),
    }


@pytest.mark.parametrize("what", sorted(_spoiled()))
def test_an_event_that_cannot_be_is_malformed(what: str) -> None:
    with pytest.raises(Malformed):
        read_event(as_event(_spoiled()[what]))


def test_planned_cells_are_counted_in_words_that_fit() -> None:
    said = {count: read_event(as_event(planned(count))).text for count in (0, 1, 2)}
    assert said[0] == "0 cells of variant int8 are planned"
    assert said[1] == "1 cell of variant int8 is planned"
    assert said[2] == "2 cells of variant int8 are planned"


def planned(count: int) -> Message:
    message = events_pb2.CellsPlanned()
    message.ParseFromString(RUN.planned("int8").SerializeToString())
    cells = [message.cells[0]] * count
    made = events_pb2.CellsPlanned(run=message.run, variant=message.variant)
    made.cells.extend(cells)
    return made
