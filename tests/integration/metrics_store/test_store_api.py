"""The gRPC API over a real connection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import grpc
import jsonschema
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import insert

from support.metrics_store import Store, async_stub, completed_events, metrics_store, with_plan
from support.run_events import PLAN, STARTED, RunEvents, artifact, sha256
from windtunnel import schemas
from windtunnel.enum_words import ARTIFACT_KIND, EXECUTION_KIND
from windtunnel.errors import InvalidInput, InvalidPlan, NotFound, WindtunnelError
from windtunnel.metrics_store.adapters import tables
from windtunnel.metrics_store.adapters.database import to_micros
from windtunnel.plan import parse_plan_text, plan_from_proto, plan_to_json
from windtunnel.rpc import RpcServer, from_rpc_error
from windtunnel.v1 import events_pb2, types_pb2
from windtunnel.v1 import metrics_store_pb2 as pb
from windtunnel.v1.metrics_store_pb2_grpc import add_MetricsStoreServiceServicer_to_server

if TYPE_CHECKING:
    from windtunnel.v1.metrics_store_pb2_grpc import MetricsStoreServiceAsyncStub

RUNS = 2000
# When the first of the runs of `fill` began.
FIRST = STARTED - timedelta(days=1)
NAME = "windtunnel.v1.MetricsStoreService"


@pytest.fixture
async def api(store: Store) -> AsyncIterator[MetricsStoreServiceAsyncStub]:
    server = RpcServer([(NAME, lambda it: add_MetricsStoreServiceServicer_to_server(store.service, it))])
    await server.start("127.0.0.1", 0)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield async_stub(channel)
    await server.stop(0)


async def error_of(call: Awaitable[Any]) -> WindtunnelError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


async def fill(store: Store, count: int = RUNS) -> None:
    """Runs in pairs that began at the same moment."""

    def row(number: int) -> dict[str, Any]:
        state = "running" if number % 4 else "completed"
        return {
            "run_id": f"r-{number:05d}",
            "model_name": "ssd" if number % 2 else "mobilenet",
            "model_version": str(number % 5),
            "labels": {"team": f"team-{number % 3}", "site": "lab"},
            "started_at": to_micros(FIRST) + number // 2,
            "started_sure": True,
            "deadline": to_micros(STARTED + timedelta(days=1)),
            "state": state,
            "due": False,
            "verdict": None if state == "running" else "failed",
            "reasons": [],
        }

    rows = [row(number) for number in range(count)]
    labels = [
        {"run_id": row["run_id"], "name": name, "value": value} for row in rows for name, value in row["labels"].items()
    ]
    await store.database.write(lambda c: c.execute(insert(tables.runs), rows).rowcount)
    await store.database.write(lambda c: c.execute(insert(tables.labels), labels).rowcount)


async def pages(api: MetricsStoreServiceAsyncStub, request: pb.ListRunsRequest) -> list[list[str]]:
    found = []
    while True:
        page = await api.ListRuns(request)
        found.append([run.run_id for run in page.runs])
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


async def test_pages_hold_every_run_once_newest_first(store: Store, api: MetricsStoreServiceAsyncStub) -> None:
    await fill(store)

    found = await pages(api, pb.ListRunsRequest(page_size=300))

    assert [len(page) for page in found] == [300] * 6 + [200]
    assert [run for page in found for run in page] == [f"r-{n:05d}" for n in reversed(range(RUNS))]
    assert [len(page) for page in await pages(api, pb.ListRunsRequest(page_size=5000))] == [1000, 1000]
    assert len((await api.ListRuns(pb.ListRunsRequest())).runs) == 50


async def test_a_run_that_starts_between_pages_moves_nothing(store: Store, api: MetricsStoreServiceAsyncStub) -> None:
    await fill(store, 20)
    first = await api.ListRuns(pb.ListRunsRequest(page_size=15))
    await store.record(RunEvents().converted())

    second = await api.ListRuns(pb.ListRunsRequest(page_size=15, page_token=first.next_page_token))

    assert [run.run_id for run in second.runs] == [f"r-{n:05d}" for n in reversed(range(5))]


async def test_filters(store: Store, api: MetricsStoreServiceAsyncStub) -> None:
    await fill(store, 120)
    after, before = Timestamp(), Timestamp()
    after.FromDatetime(FIRST + timedelta(microseconds=9))
    before.FromDatetime(FIRST + timedelta(microseconds=20))

    async def count(**wanted: Any) -> int:
        return len((await api.ListRuns(pb.ListRunsRequest(page_size=1000, **wanted))).runs)

    assert await count(model_name="ssd") == 60
    assert await count(model_version="3") == 24
    assert await count(state="running") == await count(run_state=pb.RUN_STATE_RUNNING) == 90
    assert await count(verdict=types_pb2.VERDICT_FAILED) == 30
    assert await count(verdict=types_pb2.VERDICT_PASSED) == 0
    assert await count(labels={"team": "team-1"}) == 40
    assert await count(labels={"team": "team-1", "site": "lab"}) == 40
    assert await count(labels={"team": "team-1", "site": "home"}) == 0
    assert await count(started_after=after, started_before=before) == 20
    assert await count(model_name="ssd", labels={"team": "team-1"}, state="completed") == 0


async def test_tokens_that_are_not_ours_are_refused(store: Store, api: MetricsStoreServiceAsyncStub) -> None:
    await fill(store, 10)
    token = (await api.ListRuns(pb.ListRunsRequest(page_size=5))).next_page_token

    for bad in ("x", "é", token[:-4], token + "AAAA", "W10", "e30", "bnVsbA"):
        assert isinstance(await error_of(api.ListRuns(pb.ListRunsRequest(page_token=bad))), InvalidInput)
    other = pb.ListRunsRequest(page_token=token, model_name="ssd")
    assert isinstance(await error_of(api.ListRuns(other)), InvalidInput)
    assert isinstance(await error_of(api.ListRuns(pb.ListRunsRequest(state="done"))), InvalidInput)
    # A state that only a newer client knows: field 10, value 9.
    newer_state = pb.ListRunsRequest.FromString(b"\x50\x09")
    assert isinstance(await error_of(api.ListRuns(newer_state)), InvalidInput)
    # A verdict that only a newer client knows: field 4, value 9.
    newer = pb.ListRunsRequest.FromString(b"\x20\x09")
    assert isinstance(await error_of(api.ListRuns(newer)), InvalidInput)


async def test_a_run_and_its_report(store: Store, api: MetricsStoreServiceAsyncStub) -> None:
    run = await with_plan(store, RunEvents())
    validator = jsonschema.Draft202012Validator(schemas.load("report"))
    await store.record(*run.all()[:-1])
    found = (await api.GetRun(pb.GetRunRequest(run_id="run-1"))).run
    assert (found.state, found.steps_done, found.steps_known) == ("running", 10, 11)
    assert found.started_at == run.context.started_at and found.deadline.ToDatetime().hour == 13
    draft = json.loads((await api.GetReport(pb.GetReportRequest(run_id="run-1"))).report_json)
    validator.validate(draft)
    assert draft["verdict"] is None

    await store.record(run.all()[-1])

    found = (await api.GetRun(pb.GetRunRequest(run_id="run-1"))).run
    assert (found.state, found.verdict, found.steps_done) == ("completed", types_pb2.VERDICT_PASSED, 11)
    report = json.loads((await api.GetReport(pb.GetReportRequest(run_id="run-1"))).report_json)
    validator.validate(report)
    assert report == await store.report()


async def test_the_report_holds_the_diagnosis_and_its_cause(store: Store, api: MetricsStoreServiceAsyncStub) -> None:
    run = await with_plan(store, RunEvents())
    diagnosis = {
        "schema": "windtunnel.diagnosis/1",
        "verdict": "broken",
        "causes": [{"code": "quantization.per_tensor", "place": {"layer": "conv1", "op_index": 3}}],
    }
    ref = await store.keep(json.dumps(diagnosis).encode())
    where = types_pb2.Artifact(sha256=ref.sha256, size_bytes=ref.size_bytes)
    bad = run.compared("int8", top1=0.5, diagnosis=where)
    lost = run.compared("float32", diagnosis=artifact("lost"))
    rest = [m for m in run.all() if m not in (run.compared("int8"), run.compared("float32"))]

    await store.record(bad, lost, *rest)

    report = json.loads((await api.GetReport(pb.GetReportRequest(run_id="run-1"))).report_json)
    assert report["variants"][1]["diagnosis"] == diagnosis
    assert report["variants"][0]["diagnosis"] is None and report["variants"][0]["diagnosis_problem"]
    assert report["reasons"] == [
        "gate accuracy_drop of variant int8: 0.48 is over 0.01; cause: quantization.per_tensor at layer conv1"
    ]


async def test_what_is_not_there_is_not_found(api: MetricsStoreServiceAsyncStub) -> None:
    assert isinstance(await error_of(api.GetRun(pb.GetRunRequest(run_id="x"))), NotFound)
    assert isinstance(await error_of(api.GetReport(pb.GetReportRequest(run_id="x"))), NotFound)
    assert isinstance(await error_of(api.GetLineage(pb.GetLineageRequest(run_id="x"))), NotFound)
    assert isinstance(await error_of(api.WatchRun(pb.WatchRunRequest(run_id="x")).read()), NotFound)


@pytest.mark.parametrize("same_replica", [True, False])
async def test_watching_tells_every_change_until_the_verdict(
    url: str, store: Store, api: MetricsStoreServiceAsyncStub, same_replica: bool
) -> None:
    async with metrics_store(url, store.bus, store.artifacts) as other:
        speaker = store if same_replica else other
        run = await with_plan(speaker, RunEvents())
        events = run.all()
        await speaker.record(events[0])
        seen: list[pb.WatchRunResponse] = []
        begun = asyncio.Event()

        async def watch() -> None:
            async for message in api.WatchRun(pb.WatchRunRequest(run_id="run-1")):
                seen.append(message)
                begun.set()

        watching = asyncio.create_task(watch())
        await asyncio.wait_for(begun.wait(), 5)
        await speaker.record(*events[1:])
        await asyncio.wait_for(watching, 10)

    assert (seen[0].run.state, seen[0].event_type, seen[0].text) == ("running", "", "")
    assert [message.event_type for message in seen[1:]] == [
        *(f"windtunnel.{kind}.v1" for kind in _kinds()),
        "windtunnel.run.completed.v1",
    ]
    assert seen[-1].run.verdict == types_pb2.VERDICT_PASSED and seen[-1].text == "passed"
    assert any(message.text == "adb/pixel-6/14/gpu/4 measured variant int8: median 4 ms" for message in seen)
    assert [m.run.state async for m in api.WatchRun(pb.WatchRunRequest(run_id="run-1"))] == ["completed"]


def _kinds() -> list[str]:
    cell = ["app.built", "device_run.finished", "device_run.measured"]
    return ["variant.ready", "variant.compared", "cells.planned", *cell, *cell] * 2


async def test_measurements(store: Store, api: MetricsStoreServiceAsyncStub) -> None:
    for number in range(3):
        run = await with_plan(store, RunEvents(f"run-{number}"))
        store.now += timedelta(seconds=1)
        await store.record(*run.all())

    async def found(**wanted: Any) -> list[pb.MeasuredCell]:
        return list((await api.ListMeasurements(pb.ListMeasurementsRequest(**wanted))).measurements)

    assert [m.run_id for m in await found()] == ["run-2"] * 4 + ["run-1"] * 4 + ["run-0"] * 4
    assert len(await found(run_id="run-1", variant="int8")) == 2
    (one,) = await found(run_id="run-1", variant="int8", device="pixel-6", accelerator="gpu", model_name="ssd")
    # The event came from an older farm dispatcher, which gives the platform as text alone.
    told = RunEvents("run-1").cell("int8", "adb")
    assert (told.platform, told.device_platform) == ("android", types_pb2.PLATFORM_UNSPECIFIED)
    told.device_platform = types_pb2.PLATFORM_ANDROID
    told.farm_properties.times_count = True
    assert one.cell == told
    assert one.measurement.latency_ms.p50 == 4.0 and one.measurement.delegate == "gpu"
    assert not one.measurement.HasField("nodes_total")
    assert await found(model_name="other") == []
    request = pb.ListMeasurementsRequest(page_size=5)
    first = await api.ListMeasurements(request)
    request.page_token = first.next_page_token
    second = await api.ListMeasurements(request)
    assert len({(m.run_id, m.cell.id) for page in (first, second) for m in page.measurements}) == 10


async def test_a_measurement_keeps_its_shapes_and_conditions(store: Store, api: MetricsStoreServiceAsyncStub) -> None:
    run = await with_plan(store, RunEvents())
    message = run.measured(
        "int8", nodes=(0, 65), shapes_known=True, unstable="other processes used 1.9 of 2 processors"
    )
    assert isinstance(message, events_pb2.DeviceRunMeasured)
    of_farm = types_pb2.FarmProperties(platform=types_pb2.PLATFORM_HOST, emulated=True)
    planned = run.planned("int8")
    assert isinstance(planned, events_pb2.CellsPlanned)
    for cell in (*planned.cells, message.cell):
        cell.farm_properties.CopyFrom(of_farm)
    await store.record(planned, message)

    (found,) = (await api.ListMeasurements(pb.ListMeasurementsRequest())).measurements

    assert found.measurement == message.measurement
    assert found.cell.farm_properties == of_farm


async def test_a_cell_of_an_older_version_has_what_its_farms_name_says(
    store: Store, api: MetricsStoreServiceAsyncStub
) -> None:
    run = await with_plan(store, RunEvents())
    await store.record(run.planned("int8"), run.measured("int8"))
    await store.database.write(lambda c: c.execute(tables.cells.update().values(farm_properties=None)).rowcount)

    (found,) = (await api.ListMeasurements(pb.ListMeasurementsRequest())).measurements

    assert found.cell.farm_properties.platform == types_pb2.PLATFORM_HOST
    assert found.cell.farm_properties.times_count


async def test_lineage(store: Store, api: MetricsStoreServiceAsyncStub) -> None:
    run = await with_plan(store, RunEvents())
    await store.record(*reversed(run.all()))

    found = await api.GetLineage(pb.GetLineageRequest(run_id="run-1"))
    assert all(EXECUTION_KIND.read(one.execution_kind, "") == one.kind for one in found.executions)
    assert all(ARTIFACT_KIND.read(one.artifact_kind, "") == one.kind for one in found.artifacts)

    kinds = [item.kind for item in found.artifacts]
    assert {kind: kinds.count(kind) for kind in sorted(set(kinds))} == {
        "app": 4,
        "float_model": 1,
        "log": 4,
        "plan": 1,
        "report": 1,
        "trained_model": 1,
        "variant": 2,
    }
    by_kind = {work.kind: work for work in found.executions}
    assert list(by_kind["convert"].output_sha256) == [sha256("float")]
    assert sha256("trained") in by_kind["convert"].input_sha256
    of_int8 = [work for work in found.executions if sha256("model int8") in work.output_sha256]
    assert [(work.kind, list(work.input_sha256)) for work in of_int8] == [("quantize", [sha256("float")])]
    (ran,) = [work for work in found.executions if sha256("log int8 adb 1") in work.output_sha256]
    assert (ran.kind, list(ran.input_sha256)) == ("run", [sha256("app int8 android")])
    (measured,) = [work for work in found.executions if sha256("log int8 adb 1") in work.input_sha256]
    assert measured.kind == "measure" and measured.service == "tests"
    (judged,) = [work for work in found.executions if work.kind == "judge"]
    assert list(judged.output_sha256) == [item.artifact.sha256 for item in found.artifacts if item.kind == "report"]


async def test_plans(store: Store, api: MetricsStoreServiceAsyncStub) -> None:
    put = await api.PutPlan(pb.PutPlanRequest(name="phones-1.2", plan_yaml=PLAN))
    got = await api.GetPlan(pb.GetPlanRequest(name="phones-1.2"))

    plan = parse_plan_text(PLAN)
    assert put.plan == got.artifact
    assert await store.artifacts.read_bytes(put.plan.sha256) == plan_to_json(plan)
    assert plan_from_proto(got.plan) == plan
    await api.PutPlan(pb.PutPlanRequest(name="a", plan_yaml="apiVersion: windtunnel/v1\nvariants: [int8]"))
    assert list((await api.ListPlans(pb.ListPlansRequest())).names) == ["a", "phones-1.2"]
    await api.DeletePlan(pb.DeletePlanRequest(name="a"))
    assert list((await api.ListPlans(pb.ListPlansRequest())).names) == ["phones-1.2"]
    assert isinstance(await error_of(api.GetPlan(pb.GetPlanRequest(name="a"))), NotFound)
    assert isinstance(await error_of(api.DeletePlan(pb.DeletePlanRequest(name="a"))), NotFound)


async def test_small_numbers_survive_being_stored(store: Store, api: MetricsStoreServiceAsyncStub) -> None:
    text = f"{PLAN}preprocessing: {{steps: [{{scale: 0.00001}}]}}\n"
    await api.PutPlan(pb.PutPlanRequest(name="small", plan_yaml=text))

    got = await api.GetPlan(pb.GetPlanRequest(name="small"))

    assert plan_from_proto(got.plan).preprocessing == {"steps": [{"scale": 0.00001}]}


async def test_plans_that_cannot_be_stored(api: MetricsStoreServiceAsyncStub) -> None:
    local = "apiVersion: windtunnel/v1\nvariants: [int8]\ndata: {samples: test.npz}"
    error = await error_of(api.PutPlan(pb.PutPlanRequest(name="a", plan_yaml=local)))
    assert "'test.npz' is not a URI" in error.message and error.code == InvalidPlan.code
    error = await error_of(api.PutPlan(pb.PutPlanRequest(name="a", plan_yaml="variants: [int9]")))
    assert error.code == InvalidPlan.code
    for name in ("", "a b", ".a", "a.", "a..b", "a/b", "x" * 65, "ä", "a\n"):
        error = await error_of(api.PutPlan(pb.PutPlanRequest(name=name, plan_yaml=PLAN)))
        assert isinstance(error, InvalidInput) and "name of a plan" in error.message
    assert list((await api.ListPlans(pb.ListPlansRequest())).names) == []


async def test_a_canceled_run_could_not_run_and_stays_so(store: Store, api: MetricsStoreServiceAsyncStub) -> None:
    run = await with_plan(store, RunEvents())
    await store.record(run.converted(), run.ready("int8"))
    answer = await api.CancelRun(pb.CancelRunRequest(run_id="run-1", reason="wrong model"))
    assert answer.canceled and answer.run.state == "completed"
    assert answer.run.verdict == types_pb2.VERDICT_COULD_NOT_RUN
    assert list(answer.run.reasons) == ["canceled: wrong model"]
    assert await store.canceled.has("run-1")
    ended_at = answer.run.ended_at

    store.now += timedelta(seconds=5)
    again = await api.CancelRun(pb.CancelRunRequest(run_id="run-1", reason="another word"))
    assert again.canceled and list(again.run.reasons) == ["canceled: wrong model"] and again.run.ended_at == ended_at

    # What was on its way still comes, and changes nothing.
    await store.record(*run.all())
    assert await store.verdict() == ("could_not_run", ("canceled: wrong model",))
    report = await store.report()
    jsonschema.validate(report, schemas.load("report"))
    assert report["canceled"] is True and report["reasons"] == ["canceled: wrong model"]
    assert not any(variant["passed"] for variant in report["variants"])
    assert len(await completed_events(store.bus)) == 0
    assert await store.outbox.flush() == 1


async def test_what_a_farm_bills_after_the_verdict_is_in_the_report(
    store: Store, api: MetricsStoreServiceAsyncStub
) -> None:
    run = await with_plan(store, RunEvents())
    await store.record(run.converted(), run.ready("int8"), run.planned("int8"))
    await api.CancelRun(pb.CancelRunRequest(run_id="run-1"))
    before = await api.GetReport(pb.GetReportRequest(run_id="run-1"))
    ended: Any = run.run_failed("int8", "adb", "canceled", attempt=1)
    info = types_pb2.FarmRunInfo(id="arn:1", url="https://farm.example/1", cost_micro_usd=170_001)
    ended.farm_run.CopyFrom(info)
    await store.record(ended)
    first = json.loads(before.report_json)
    report = json.loads((await api.GetReport(pb.GetReportRequest(run_id="run-1"))).report_json)
    jsonschema.validate(report, schemas.load("report"))
    (cell,) = (one for v in report["variants"] for one in v["cells"] if one["id"] == "run-1.int8.adb")
    assert first["cost_usd"] is None and report["cost_usd"] == cell["cost_usd"] == 0.170001
    assert (cell["farm_run"], cell["url"], cell["status"]) == ("arn:1", "https://farm.example/1", "skipped")
    assert (report["verdict"], report["ended_at"]) == (first["verdict"], first["ended_at"])


async def test_what_cannot_be_canceled(store: Store, api: MetricsStoreServiceAsyncStub) -> None:
    unknown = await error_of(api.CancelRun(pb.CancelRunRequest(run_id="no-such-run")))
    assert isinstance(unknown, NotFound) and "'no-such-run'" in str(unknown)
    run = await with_plan(store, RunEvents())
    await store.record(*run.all())
    before = await store.verdict()
    assert before[0] is not None
    answer = await api.CancelRun(pb.CancelRunRequest(run_id="run-1"))
    assert not answer.canceled
    assert await store.verdict() == before
    assert not await store.canceled.has("run-1")
    assert isinstance(
        await error_of(api.CancelRun(pb.CancelRunRequest(run_id="run-1", reason="x" * 501))), InvalidInput
    )
