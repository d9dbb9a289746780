"""Events in any order, more than once, and a process that dies at any point: one verdict, published once."""

from __future__ import annotations

import asyncio
import json
import random
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from support.metrics_store import Store, completed_events, metrics_store, twice, with_plan
from support.run_events import PLAN, STARTED, RunEvents, as_event, sha256
from windtunnel.artifacts import MemoryStore
from windtunnel.bus import Event, decode, subjects
from windtunnel.bus.memory import MemoryBus
from windtunnel.metrics_store.adapters import tables
from windtunnel.metrics_store.domain.listings import RunFilter
from windtunnel.v1 import types_pb2

DEADLINE = STARTED + timedelta(hours=1)


def trained(id: str = "7f0c", **data: Any) -> Event:
    """A `model.trained` as a stranger publishes it."""
    model = {"name": "ssd", "version": "3", "uri": "s3://models/ssd.zip"}
    envelope = {
        "specversion": "1.0",
        "id": id,
        "source": "/training/ssd",
        "type": "windtunnel.model.trained.v1",
        "datacontenttype": "application/json",
        "data": {"model": model, "run_id": "run-1", **data},
    }
    return decode(subjects.MODEL_TRAINED, {}, json.dumps(envelope).encode())


@pytest.mark.parametrize("seed", range(3))
async def test_any_order_and_doubled_gives_one_verdict(store: Store, seed: int) -> None:
    run = await with_plan(store, RunEvents())
    events = twice(run.all())
    random.Random(seed).shuffle(events)

    await store.record(*events)
    await store.outbox.flush()

    assert await store.verdict() == ("passed", ())
    ((event, completed),) = await completed_events(store.bus)
    assert completed.run == run.context
    assert completed.verdict == types_pb2.VERDICT_PASSED
    assert [(v.name, v.passed, v.model.sha256) for v in completed.variants] == [
        (name, True, sha256(f"model {name}")) for name in ("float32", "int8")
    ]
    report = await store.artifacts.read_bytes(completed.report.sha256)
    assert json.loads(report)["verdict"] == "passed" and len(report) == completed.report.size_bytes
    assert event.source == "/windtunnel/metrics_store"


async def test_the_diagnosis_of_an_app_is_stored(store: Store) -> None:
    run = await with_plan(store, RunEvents())
    recorded = run.finished("int8", "adb", recorded=True)
    await store.record(recorded, *run.all())
    await store.watch.look()
    assert await store.verdict() == (None, ()), "it waits for the diagnosis"
    await store.record(run.diagnosed("int8", "adb"))
    await store.watch.look()
    assert (await store.verdict())[0] == "passed"
    cell = run.cell("int8", "adb").id
    report = await store.report()
    shown = {one["id"]: one["diagnosis"] for variant in report["variants"] for one in variant["cells"]}
    assert shown[cell]["causes"][1]["place"] == {"layer": "conv_1", "op_index": 0}
    assert [one for one in shown if shown[one] is not None] == [cell]
    stored = await store.repository.load("run-1")
    assert stored is not None and stored.record.cells[cell].recorded == 1
    diagnosed = stored.record.cells[cell].diagnosed
    assert diagnosed is not None and diagnosed.causes[0].words == ("the app feeds blue first",)


async def test_replicas_share_the_work(url: str) -> None:
    bus, artifacts = MemoryBus(), MemoryStore()
    run = RunEvents()
    await artifacts.put_bytes(run.plan_json)
    async with metrics_store(url, bus, artifacts) as one, metrics_store(url, bus, artifacts) as two:
        events = run.all()
        await asyncio.gather(*(store.record(event) for event in events for store in (one, two)))
        await asyncio.gather(one.watch.look(), two.watch.look())
        await asyncio.gather(one.outbox.flush(), two.outbox.flush())

        assert await one.verdict() == ("passed", ())
        assert len(await completed_events(bus)) == 1
        assert (
            sum(s.sample("windtunnel_runs_completed_total", model="ssd", verdict="passed") or 0 for s in (one, two))
            == 1
        )


async def test_death_between_verdict_and_publishing_loses_nothing(url: str) -> None:
    bus, artifacts = MemoryBus(), MemoryStore()
    async with metrics_store(url, bus, artifacts) as store:
        run = await with_plan(store, RunEvents())
        await store.record(*run.all())
        assert await completed_events(bus) == []

    async with metrics_store(url, bus, artifacts) as store:
        await store.record(*run.all())
        assert await store.outbox.flush() == 1
        assert await store.outbox.flush() == 0
    assert len(await completed_events(bus)) == 1


async def test_death_between_publishing_and_forgetting_doubles_nothing(store: Store) -> None:
    run = await with_plan(store, RunEvents())
    await store.record(*run.all())
    (waiting,) = await store.repository.outgoing()
    await store.bus.publish(waiting.subject, waiting.headers, waiting.data)

    await store.outbox.flush()

    assert len(await completed_events(store.bus)) == 1
    assert await store.repository.outgoing() == []


async def test_what_is_heard_is_kept_while_the_artifact_store_is_away(store: Store) -> None:
    run = await with_plan(store, RunEvents())
    store.artifacts.available = False
    await store.record(*run.all())
    await store.watch.look()
    assert await store.verdict() == (None, ())

    store.artifacts.available = True
    await asyncio.sleep(0.1)
    await store.watch.look()

    assert await store.verdict() == ("passed", ())


async def test_the_outbox_waits_for_the_bus(store: Store) -> None:
    assert isinstance(store.bus, MemoryBus)
    run = await with_plan(store, RunEvents())
    await store.bus.stop()
    task = asyncio.create_task(store.outbox.run())
    await store.record(*run.all())
    await asyncio.sleep(0.1)
    await store.bus.start()

    assert len(await completed_events(store.bus, wait_s=5)) == 1
    task.cancel()


async def test_a_verdict_with_a_huge_reason_is_told_in_part(store: Store) -> None:
    run = await with_plan(store, RunEvents())
    await store.record(run.model_failed("x" * 600_000))
    assert await store.outbox.flush() == 1

    ((_, completed),) = await completed_events(store.bus)
    assert [len(reason) for reason in completed.reasons] == [500]
    assert len((await store.report())["reasons"][0]) > 600_000


async def test_a_verdict_of_many_reasons_is_told_in_part(store: Store) -> None:
    variants = [f"{{name: v{number}, recipe: [{{a: 1}}]}}" for number in range(60)]
    run = await with_plan(
        store, RunEvents(plan=f"apiVersion: windtunnel/v1\ndevices: []\nvariants: [{', '.join(variants)}]\n")
    )
    await store.record(run.converted(), *(run.variant_failed(f"v{number}") for number in range(60)))
    await store.outbox.flush()

    ((_, completed),) = await completed_events(store.bus)
    assert completed.reasons[49] == "variant v49 could not be made: no recipe fits"
    assert completed.reasons[50:] == ["and 10 more, see the report"]
    assert len((await store.report())["reasons"]) == 60


async def test_an_event_that_can_never_be_sent_holds_up_no_other(store: Store) -> None:
    large = await with_plan(store, RunEvents("run-0", labels={"long": "x" * 600_000}))
    small = await with_plan(store, RunEvents("run-1"))
    await store.record(large.model_failed(), small.model_failed())
    task = asyncio.create_task(store.outbox.run())

    ((_, completed),) = await completed_events(store.bus, wait_s=5)
    assert completed.run.run_id == "run-1"
    await asyncio.sleep(0.1)
    assert not task.done()
    task.cancel()
    assert await store.repository.outgoing() == []
    rows = await store.database.read(lambda c: c.execute(select(tables.outbox)).all())
    assert [(row.subject, "the bus takes" in row.refused) for row in rows] == [(subjects.RUN_COMPLETED, True)]


async def test_runs_that_cannot_be_judged_hide_no_other(store: Store) -> None:
    rows = [
        {
            "run_id": f"broken-{number}",
            "labels": {},
            "reasons": [],
            "started_at": 1,
            "started_sure": True,
            "deadline": 1,
            "state": "running",
            "due": True,
            # Nothing that this version can read.
            "converted": {"color": "red"},
        }
        for number in range(250)
    ]
    await store.database.write(lambda c: c.execute(insert(tables.runs), rows).rowcount)
    run = await with_plan(store, RunEvents())
    await store.record(run.converted())

    store.now = DEADLINE
    await store.watch.look()

    assert (await store.verdict())[0] == "could_not_run"


async def test_the_deadline_ends_a_run_and_names_what_is_missing(store: Store) -> None:
    run = await with_plan(store, RunEvents())
    missing = [run.compared("int8"), run.measured("int8", "adb")]
    await store.record(*(m for m in run.all() if m not in missing))
    store.now = DEADLINE - timedelta(seconds=1)
    await store.watch.look()
    assert await store.verdict() == (None, ())

    store.now = DEADLINE
    await store.watch.look()

    assert await store.verdict() == (
        "could_not_run",
        (
            "the deadline of the run has passed",
            "variant int8 was not compared",
            "cell adb/pixel-6/14/gpu/4 of variant int8 has no measurement",
        ),
    )
    # Part of what was missing changes nothing; all of it is a second verdict.
    await store.record(missing[0])
    await store.watch.look()
    assert (await store.verdict())[0] == "could_not_run"
    await store.record(missing[1])
    assert await store.verdict() == ("passed", ())
    await store.outbox.flush()
    events = await completed_events(store.bus)
    assert [message.verdict for _, message in events] == [types_pb2.VERDICT_COULD_NOT_RUN, types_pb2.VERDICT_PASSED]
    assert len({event.id for event, _ in events}) == 2
    assert (await store.report())["revision"] == 2


async def test_the_deadline_of_the_plan_goes_first(store: Store) -> None:
    run = await with_plan(store, RunEvents(plan=PLAN + "deadline_seconds: 60\n"))
    await store.record(run.converted())

    store.now = STARTED + timedelta(seconds=60)
    await store.watch.look()

    assert (await store.verdict())[0] == "could_not_run"


async def test_a_failed_cell_that_is_measured_after_all_passes(store: Store) -> None:
    run = await with_plan(store, RunEvents())
    await store.record(*(m for m in run.all() if m != run.measured("int8", "adb")), run.run_failed("int8", "adb"))
    assert (await store.verdict())[0] == "could_not_run"

    await store.record(run.measured("int8", "adb"))

    assert await store.verdict() == ("passed", ())


@pytest.mark.parametrize("first", ["passed", "failed"])
async def test_a_verdict_on_the_merits_never_changes(store: Store, first: str) -> None:
    run = await with_plan(store, RunEvents())
    last = run.measured("int8", "adb", p50=99.0 if first == "failed" else 4.0, attempt=2)
    await store.record(*(m for m in run.all() if m != run.measured("int8", "adb")), last)
    assert (await store.verdict())[0] == first

    await store.record(run.measured("int8", "adb", p50=4.0 if first == "failed" else 99.0, attempt=1))
    store.now = DEADLINE
    await store.watch.look()

    assert (await store.verdict())[0] == first
    await store.outbox.flush()
    assert len(await completed_events(store.bus)) == 1


async def test_a_model_that_cannot_be_converted_ends_the_run_at_once(store: Store) -> None:
    run = RunEvents()
    run.context.ClearField("plan")

    await store.record(run.model_failed())

    verdict, reasons = await store.verdict()
    assert verdict == "could_not_run"
    assert reasons[0] == "the model could not be converted: the file is cut off"
    assert all("plan" not in reason for reason in reasons)


async def test_a_plan_that_is_gone_is_named_at_the_deadline(store: Store) -> None:
    run = RunEvents()
    await store.record(*run.all())
    assert await store.verdict() == (None, ())

    store.now = DEADLINE
    await store.watch.look()

    verdict, reasons = await store.verdict()
    assert verdict == "could_not_run"
    assert any(f"the plan {run.context.plan.sha256} cannot be read" in reason for reason in reasons)


async def test_an_announcement_starts_the_run(store: Store) -> None:
    await store.recorder.handle(trained(labels={"team": "edge"}))
    await store.recorder.handle(trained(labels={"team": "edge"}))

    run = await store.queries.run("run-1")
    assert run is not None
    assert (run.model_name, run.model_version, run.state, run.labels) == ("ssd", "3", "running", {"team": "edge"})
    assert [change.text for change in await store.queries.changes("run-1", 0)] == ["a model is announced"]


async def test_the_run_begins_when_the_converter_says(store: Store) -> None:
    run = await with_plan(store, RunEvents())
    for first, second in ((trained(), as_event(run.converted())), (as_event(run.ready("int8")), trained("8"))):
        await store.recorder.handle(first)
        await store.recorder.handle(second)

    summary = await store.queries.run("run-1")
    assert summary is not None and summary.started_at == STARTED and summary.deadline == DEADLINE


async def test_a_taken_run_id_is_dropped(store: Store) -> None:
    await store.recorder.handle(trained("first"))
    await store.recorder.handle(trained("second", labels={"team": "other"}))

    run = await store.queries.run("run-1")
    assert run is not None and run.labels == {}
    assert (await store.queries.runs(RunFilter(), 10, ""))[0] == [run]


@pytest.mark.parametrize(
    "data",
    [
        {"model": {}},
        {"model": 7},
        {"plan": {"variants": "int8"}},
        {"plan": {"apiVersion": "windtunnel/v1", "variants": ["int8"]}, "plan_name": "x"},
        {"labels": {"x": "\ud800"}},
        {"labels": 3},
    ],
)
async def test_an_announcement_that_cannot_be_read_raises_nothing(store: Store, data: dict[str, Any]) -> None:
    await store.recorder.handle(trained(**data))

    run = await store.queries.run("run-1")
    assert run is not None and run.state == "running"


async def test_text_of_any_kind_is_stored(store: Store) -> None:
    run = await with_plan(store, RunEvents(labels={"nul": "a\0b", "long": "x" * 100_000, "schön": "🙂"}))
    run.context.model_name = "ssd\0" + "y" * 5000

    await store.record(run.model_failed("NUL \0 in a message"))

    verdict, reasons = await store.verdict()
    assert verdict == "could_not_run" and "NUL" in reasons[0]
    assert (await store.queries.runs(RunFilter(labels={"long": "x" * 100_000}), 10, ""))[0]


async def test_latencies_are_counted_once(store: Store) -> None:
    run = await with_plan(store, RunEvents())
    ref = await store.keep(json.dumps({"unit": "us", "inference": [4000, 5000, 6000], "warmup": [9000]}).encode())
    raw = types_pb2.Artifact(sha256=ref.sha256, size_bytes=ref.size_bytes)

    await store.record(run.finished("int8", samples=raw), run.measured("int8"), run.measured("int8"))
    await store.record(run.measured("int8", "adb"))

    labels = {"model": "ssd", "version": "3", "variant": "int8"}
    labels |= {"device": "host", "accelerator": "xnnpack", "threads": "1"}
    assert store.sample("windtunnel_inference_latency_seconds_count", **labels) == 3
    assert store.sample("windtunnel_inference_latency_seconds_sum", **labels) == pytest.approx(0.015)
    phone = labels | {"device": "pixel-6", "accelerator": "gpu", "threads": "4"}
    assert store.sample("windtunnel_inference_latency_seconds_sum", **phone) == pytest.approx(0.004)


async def test_runs_are_counted(store: Store) -> None:
    run = await with_plan(store, RunEvents())
    await store.record(run.converted())
    await store.watch.look()
    assert store.sample("windtunnel_runs_running") == 1

    await store.record(*run.all())
    await store.watch.look()

    assert store.sample("windtunnel_runs_running") == 0
    assert store.sample("windtunnel_runs_completed_total", model="ssd", verdict="passed") == 1


async def test_the_inbox_is_emptied_of_what_is_old(store: Store) -> None:
    await store.record(RunEvents().converted())

    assert await store.repository.forget_inbox(store.now) == 0
    assert await store.repository.forget_inbox(store.now + timedelta(seconds=1)) == 1
