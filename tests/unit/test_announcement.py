"""Reading `model.trained`, and which run it is."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from windtunnel.bus import Bucket, Event, Malformed, subjects
from windtunnel.bus.memory import MemoryBus
from windtunnel.errors import InvalidPlan
from windtunnel.plan import parse_plan, plan_to_proto
from windtunnel.service.announcement import (
    Announcement,
    RunIdTaken,
    TrainedModel,
    claim_run,
    derived_run_id,
    read_announcement,
    wanted_run_id,
)
from windtunnel.v1 import events_pb2, types_pb2

MODEL: dict[str, Any] = {"name": "ssd", "version": "3", "uri": "s3://models/ssd.zip"}
PLAN: dict[str, Any] = {"apiVersion": "windtunnel/v1", "variants": ["float32"], "devices": [{"farm": "local"}]}
# More than 64 letters, what a key cannot have, what is not text.
BAD_RUN_IDS: list[Any] = ["r" * 65, "a b", "a/b", "ü", "a\n", "../x", 7, ["a"], {"a": 1}]


def event(data: bytes, content_type: str = "application/json", *, id: str = "7f0c", source: str = "/training") -> Event:
    return Event(subjects.MODEL_TRAINED, {"id": id, "source": source}, content_type, data)


def as_json(*, id: str = "7f0c", **body: Any) -> Event:
    return event(json.dumps({"model": MODEL, **body}).encode(), id=id)


def as_protobuf(message: events_pb2.ModelTrained, *, id: str = "7f0c") -> Event:
    return event(message.SerializeToString(), "application/protobuf", id=id)


def trained(**fields: Any) -> events_pb2.ModelTrained:
    return events_pb2.ModelTrained(model=types_pb2.Model(**MODEL), **fields)


@pytest.fixture
async def runs() -> Bucket:
    return await MemoryBus().bucket(subjects.RUNS_BUCKET)


class TestReading:
    def test_the_least_that_an_event_must_say(self) -> None:
        expected = Announcement(TrainedModel("ssd", "3", "s3://models/ssd.zip"), None, None, None, {})
        assert read_announcement(as_json()) == expected
        assert read_announcement(as_protobuf(trained())) == expected

    @pytest.mark.parametrize("names", [("plan_uri", "planUri"), ("plan_name", "planName")])
    def test_both_spellings_of_a_field(self, names: tuple[str, str]) -> None:
        first, second = (read_announcement(as_json(**{name: "s3://plans/x"})) for name in names)
        assert first == second
        assert getattr(first, names[0]) == "s3://plans/x"

    def test_everything_of_a_model(self) -> None:
        model = {**MODEL, "sha256": "AB" * 32, "format": "frozen_graph", "inputs": ["image"], "outputs": ["a", "b"]}
        found = read_announcement(as_json(model=model, labels={"team": "edge"}, future="ignored"))
        assert found.model == TrainedModel(
            "ssd", "3", "s3://models/ssd.zip", "ab" * 32, "frozen_graph", ("image",), ("a", "b")
        )
        assert found.labels == {"team": "edge"}

    def test_figures_of_the_training(self) -> None:
        metrics = {"accuracy": 0.9275, "loss": 12.5}
        assert read_announcement(as_json(model={**MODEL, "metrics": metrics})).model.metrics == metrics
        message = events_pb2.ModelTrained(model=types_pb2.Model(**MODEL, metrics=metrics))
        assert read_announcement(as_protobuf(message)).model.metrics == metrics

    @pytest.mark.parametrize(("accuracy", "hint"), [(92.75, r"0\.9275"), (-1, "accuracy is -1"), (1e9, "share")])
    def test_an_accuracy_is_a_share(self, accuracy: float, hint: str) -> None:
        with pytest.raises(Malformed, match=hint):
            read_announcement(as_json(model={**MODEL, "metrics": {"accuracy": accuracy}}))

    def test_an_inline_plan_in_either_form(self) -> None:
        plan = parse_plan(PLAN)
        assert read_announcement(as_json(plan=PLAN)).plan == plan
        assert read_announcement(as_protobuf(trained(plan=plan_to_proto(plan)))).plan == plan

    @pytest.mark.parametrize("missing", ["name", "version", "uri"])
    @pytest.mark.parametrize("left_out", [True, False])
    def test_a_model_without_is_named(self, missing: str, left_out: bool) -> None:
        model = {name: value for name, value in MODEL.items() if name != missing}
        if not left_out:
            model[missing] = ""
        with pytest.raises(Malformed, match=rf"model\.{missing} is missing"):
            read_announcement(as_json(model=model))

    @pytest.mark.parametrize(
        ("field", "value", "message"),
        [("format", "onnx", "'onnx'.*saved_model"), ("sha256", "abc", "64 hex"), ("sha256", "g" * 64, "64 hex")],
    )
    def test_a_wrong_field_of_the_model_is_named(self, field: str, value: str, message: str) -> None:
        with pytest.raises(Malformed, match=message):
            read_announcement(as_json(model={**MODEL, field: value}))
        with pytest.raises(Malformed, match=message):
            read_announcement(as_protobuf(events_pb2.ModelTrained(model=types_pb2.Model(**{**MODEL, field: value}))))

    @pytest.mark.parametrize("data", [b"", b"{", b"[]", b'"x"', b"null", b"\xff", b'{"model": 3}', b'{"labels": []}'])
    def test_what_is_no_announcement(self, data: bytes) -> None:
        with pytest.raises(Malformed):
            read_announcement(event(data))

    def test_what_is_no_protobuf(self) -> None:
        with pytest.raises(Malformed):
            read_announcement(event(b"\xff\xff", "application/protobuf"))

    def test_a_wrong_plan_alone_is_told_apart(self) -> None:
        with pytest.raises(InvalidPlan, match="variants"):
            read_announcement(as_json(plan={**PLAN, "variants": ["int3"]}))
        with pytest.raises(Malformed, match=r"model\.name"):
            read_announcement(as_json(model={}, plan={"wrong": 1}))

    @pytest.mark.parametrize(
        "given",
        [
            {"plan": PLAN, "plan_uri": "s3://x"},
            {"plan": PLAN, "plan_name": "x"},
            {"plan_uri": "s3://x", "planName": "x"},
        ],
    )
    def test_one_plan_at_the_most(self, given: dict[str, Any]) -> None:
        with pytest.raises(InvalidPlan, match="are given"):
            read_announcement(as_json(**given))


class TestRunIds:
    def test_source_and_id_make_the_run(self) -> None:
        same, other = as_json(labels={"a": "b"}), as_json(id="other")
        assert wanted_run_id(as_json()) == wanted_run_id(same) == derived_run_id(same)
        assert derived_run_id(other) != derived_run_id(same)
        # Source and id do not run into each other.
        assert derived_run_id(event(b"", source="a", id="bc")) != derived_run_id(event(b"", source="ab", id="c"))

    @pytest.mark.parametrize("run_id", ["r", "A-b_9", "r" * 64])
    def test_a_wanted_one_in_every_form(self, run_id: str) -> None:
        events = [as_json(run_id=run_id), as_json(runId=run_id), as_protobuf(trained(run_id=run_id))]
        assert [wanted_run_id(one) for one in events] == [run_id] * 3

    @pytest.mark.parametrize("run_id", BAD_RUN_IDS)
    def test_a_bad_one_is_named(self, run_id: Any) -> None:
        with pytest.raises(Malformed, match="run_id is"):
            wanted_run_id(as_json(run_id=run_id))


class TestClaiming:
    async def test_the_same_event_twice_is_one_run(self, runs: Bucket) -> None:
        first = await claim_run(runs, as_json())
        assert first.run_id == derived_run_id(as_json())
        assert await claim_run(runs, as_json(labels={"redelivered": "yes"})) == first

    async def test_the_run_starts_when_it_is_first_claimed(self, runs: Bucket) -> None:
        before = datetime.now(UTC)
        first = await claim_run(runs, as_json())
        assert before <= first.started_at <= datetime.now(UTC)
        await asyncio.sleep(0.01)
        assert (await claim_run(runs, as_json())).started_at == first.started_at

    async def test_a_claim_without_a_time_is_read(self, runs: Bucket) -> None:
        await claim_run(runs, as_json(run_id="mine"))
        (key,) = [name for name in await runs.keys() if name.startswith("event.")]
        await runs.put(key, b"mine")
        assert (await claim_run(runs, as_json(run_id="mine"))).run_id == "mine"

    async def test_a_wanted_id_is_kept(self, runs: Bucket) -> None:
        assert (await claim_run(runs, as_json(run_id="mine"))).run_id == "mine"
        assert (await claim_run(runs, as_json(run_id="mine"))).run_id == "mine"
        # What counts is what the event wanted when it was first seen.
        assert (await claim_run(runs, as_json(run_id="changed"))).run_id == "mine"

    async def test_an_id_of_another_event_is_refused(self, runs: Bucket) -> None:
        assert (await claim_run(runs, as_json(run_id="mine"))).run_id == "mine"
        for _ in range(2):
            with pytest.raises(RunIdTaken, match="'mine'"):
                await claim_run(runs, as_json(id="another", run_id="mine"))
        assert (await claim_run(runs, as_json(run_id="mine"))).run_id == "mine"

    async def test_the_derived_id_of_another_cannot_be_taken_away(self, runs: Bucket) -> None:
        theirs = (await claim_run(runs, as_json())).run_id
        with pytest.raises(RunIdTaken):
            await claim_run(runs, as_json(id="another", run_id=theirs))

    @pytest.mark.parametrize(
        "unreadable",
        [event(b"{"), event(b"\xff\xff", "application/protobuf"), event(b"[]"), as_json(run_id="not allowed")],
    )
    async def test_what_cannot_be_read_has_the_derived_id(self, runs: Bucket, unreadable: Event) -> None:
        assert (await claim_run(runs, unreadable)).run_id == derived_run_id(unreadable)
