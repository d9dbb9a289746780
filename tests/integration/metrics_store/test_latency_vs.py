"""The gate `latency_vs` over several runs: baselines, noise of the store's own history, repeats until it is decided."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.message import Message

from support.metrics_store import Store, with_plan
from support.run_events import STARTED, RunEvents, artifact, failure, sha256
from windtunnel.bus import decode, subjects
from windtunnel.metrics_store.domain.latency_vs import noise_of
from windtunnel.metrics_store.use_cases import compare_latencies
from windtunnel.v1 import events_pb2, types_pb2

PLAN = """
apiVersion: windtunnel/v1
data: {samples: "sha256:%s"}
variants: [int8]
devices: [{farm: adb, accelerator: gpu, threads: 4}]
gates: {latency_vs: {baseline: %s, max_increase: 0.05}}
"""
QUIET = (1.0, 1.002, 0.999, 1.001, 0.998, 1.003)


def plan(baseline: str = "last_passed") -> str:
    return PLAN % ("5" * 64, baseline)


class OneCell(RunEvents):
    """A run of one variant on one phone; every run has a file of its own."""

    def ready(self, variant: str, *, size_bytes: int = 1_200_000) -> Message:
        made = types_pb2.Variant(name=variant, model=artifact(f"model {variant} {self.run_id}", size_bytes))
        return events_pb2.VariantReady(run=self.context, variant=made, float_model=artifact("float", 4_000_000))

    def own(self, p50: float | None, **changes: Any) -> Message:
        return self.measured("int8", "adb", p50=p50, **changes)

    def until_measured(self, p50: float | None, **changes: Any) -> list[Message]:
        old = self.measured("int8", "adb")
        return [event for event in self.all() if event != old] + [self.own(p50, **changes)]

    def repeat(self, number: int, p50: float, *, of_baseline: bool = False, **changes: Any) -> Message:
        message = self.own(p50, **changes)
        assert isinstance(message, events_pb2.DeviceRunMeasured)
        message.repeat, message.of_baseline = number, of_baseline
        return message

    def repeat_failed(self, number: int, *, of_baseline: bool = False) -> Message:
        return events_pb2.DeviceRunFailed(
            run=self.context,
            cell=self.cell("int8", "adb"),
            attempt=1,
            failure=failure("the phone is gone"),
            repeat=number,
            of_baseline=of_baseline,
        )


async def ran(store: Store, run_id: str, p50: float | None, text: str = plan(), **changes: Any) -> OneCell:
    """A run whose own measurement is recorded. Runs start one minute after the other, in the order of their ids."""
    run = OneCell(run_id, text)
    run.context.started_at.FromDatetime(STARTED + timedelta(minutes=int(run_id.rsplit("-", 1)[1])))
    store.now = STARTED + timedelta(minutes=int(run_id.rsplit("-", 1)[1]), seconds=10)
    await with_plan(store, run)
    await store.record(*run.until_measured(p50, **changes))
    return run


async def requests(store: Store) -> list[events_pb2.RepeatsRequested]:
    """What the outbox asks for, once each."""
    found = []
    for waiting in await store.repository.outgoing():
        if waiting.subject == subjects.REPEATS_REQUESTED:
            message = decode(waiting.subject, waiting.headers, waiting.data).message()
            assert isinstance(message, events_pb2.RepeatsRequested)
            found.append(message)
            await store.repository.published(waiting.id)
    return found


async def gate_of(store: Store, run_id: str) -> dict[str, Any]:
    report = await store.report(run_id)
    found: dict[str, Any] = next(g for g in report["variants"][0]["gates"] if g["gate"] == "latency_vs")
    return found


async def answer(store: Store, run: OneCell, asked: events_pb2.RepeatsRequested, own: float, other: float) -> None:
    """Measures the repeats that were asked for, those of the baseline first."""
    for n in range(asked.first, asked.first + asked.pairs):
        noise = QUIET[n % len(QUIET)]
        await store.record(run.repeat(n, other * noise, of_baseline=True))
        await store.record(run.repeat(n, own / noise))


async def decided(store: Store, run: OneCell, own: float, other: float = 10.0) -> int:
    """Answers requests until there is a verdict; returns the number of requests."""
    for asked in range(5):
        found = await requests(store)
        if not found:
            return asked
        assert (await store.verdict(run.run_id))[0] is None
        await answer(store, run, found[0], own, other)
    raise AssertionError("it asks and asks")


async def test_the_first_run_has_no_baseline_and_may_pass(store: Store) -> None:
    await ran(store, "run-1", 10.0)

    assert await store.verdict("run-1") == ("passed", ())
    gate = await gate_of(store, "run-1")
    assert gate["passed"] is None and gate["baseline"] is None and gate["interval"] is None
    assert gate["why"] == "no run of model 'ssd' that passed has a latency of this variant there that can be trusted"
    assert (await store.report("run-1"))["variants"][0]["passed"] is True


async def test_noise_is_learned_outside_of_the_event_loop(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a long history it takes seconds."""
    threads = []

    def noted(*args: Any) -> Any:
        threads.append(threading.current_thread())
        return noise_of(*args)

    monkeypatch.setattr(compare_latencies, "noise_of", noted)
    await ran(store, "run-1", 10.0)
    await ran(store, "run-2", 10.0)
    assert threads and threading.current_thread() not in threads


async def test_a_slowdown_is_found_with_repeats(store: Store) -> None:
    await ran(store, "run-1", 10.0)
    run = await ran(store, "run-2", 11.5)

    (asked,) = await requests(store)
    assert (asked.round, asked.first, asked.pairs) == (1, 1, 2)
    assert asked.run.run_id == "run-2" and asked.cell.id == run.cell("int8", "adb").id
    assert asked.model.sha256 == sha256("model int8 run-2")
    assert asked.baseline_run_id == "run-1" and asked.baseline_cell_id == "run-1.int8.adb"
    assert asked.baseline_model.sha256 == sha256("model int8 run-1")
    await answer(store, run, asked, 11.5, 10.0)
    await decided(store, run, 11.5)

    verdict, reasons = await store.verdict("run-2")
    assert verdict == "failed"
    assert "times that of run run-1" in reasons[0] and "over 1.05" in reasons[0]
    gate = await gate_of(store, "run-2")
    assert gate["passed"] is False and gate["limit"] == 1.05 and gate["baseline"] == "run-1"
    assert gate["measured"] == pytest.approx(1.15, abs=0.01) and gate["interval"][0] > 1.05
    assert gate["noise"] > 0
    repeats = (await store.report("run-2"))["variants"][0]["cells"][0]["repeats"]
    assert [(one["repeat"], one["of_baseline"]) for one in repeats[:2]] == [(1, False), (1, True)]


async def test_the_same_speed_passes(store: Store) -> None:
    await ran(store, "run-1", 10.0)
    run = await ran(store, "run-2", 10.0)
    asked = await decided(store, run, 10.0)

    assert 1 <= asked <= 2
    assert (await store.verdict("run-2"))[0] == "passed"
    gate = await gate_of(store, "run-2")
    assert gate["passed"] is True and gate["measured"] == pytest.approx(1.0, abs=0.01)


async def test_the_noise_of_a_device_is_learned_from_its_history(store: Store) -> None:
    for n in range(1, 5):
        run = await ran(store, f"run-{n}", 10.0)
        await decided(store, run, 10.0)
    learned = await gate_of(store, "run-4")
    first = await gate_of(store, "run-2")
    assert learned["noise"] < first["noise"] < 0.3

    run = await ran(store, "run-5", 10.02)
    assert await decided(store, run, 10.0) == 1
    assert (await store.verdict("run-5"))[0] == "passed"


async def test_a_failed_run_is_no_baseline(store: Store) -> None:
    await ran(store, "run-1", 10.0)
    slow = await ran(store, "run-2", 13.0)
    await decided(store, slow, 13.0)
    assert (await store.verdict("run-2"))[0] == "failed"

    again = await ran(store, "run-3", 13.0)
    await decided(store, again, 13.0)
    assert (await gate_of(store, "run-3"))["baseline"] == "run-1"
    assert (await store.verdict("run-3"))[0] == "failed"

    given = await ran(store, "run-4", 13.0, plan("run-2"))
    await decided(store, given, 13.0, 13.0)
    assert (await gate_of(store, "run-4"))["baseline"] == "run-2"
    assert (await store.verdict("run-4"))[0] == "passed"


async def test_a_run_without_a_trusted_latency_is_no_baseline(store: Store) -> None:
    """The gate is not judged in a first run, which may pass with an unstable latency."""
    await ran(store, "run-1", 30.0, unstable="another process")
    assert (await store.verdict("run-1"))[0] == "passed"
    await ran(store, "run-2", 10.0)
    assert (await store.verdict("run-2"))[0] == "passed"
    await ran(store, "run-3", 30.0, plan().replace("latency_vs", "size_mb: 5, latency_ms: {p50: 99}, latency_vs"))
    (asked,) = await requests(store)
    assert asked.baseline_run_id == "run-2"


@pytest.mark.parametrize(
    ("baseline", "why"), [("run-99", "there is no run 'run-99', the baseline of the plan"), ("run-1", "not measured")]
)
async def test_a_given_baseline_must_be_there(store: Store, baseline: str, why: str) -> None:
    other = RunEvents("run-1")
    await store.record(other.converted())
    await ran(store, "run-2", 10.0, plan(baseline))

    verdict, reasons = await store.verdict("run-2")
    assert verdict == "could_not_run" and why in reasons[0]
    assert await requests(store) == []


async def test_a_failed_repeat_ends_the_questions(store: Store) -> None:
    await ran(store, "run-1", 10.0)
    run = await ran(store, "run-2", 10.4)
    (asked,) = await requests(store)
    await store.record(*(run.repeat_failed(n, of_baseline=of) for n in (1, 2) for of in (False, True)))

    assert asked.pairs == 2 and await requests(store) == []
    assert (await store.verdict("run-2"))[0] == "passed"
    assert "undecided" in (await gate_of(store, "run-2"))["why"]


async def test_missing_repeats_do_not_outlast_the_deadline(store: Store) -> None:
    await ran(store, "run-1", 10.0)
    run = await ran(store, "run-2", 10.4)
    await requests(store)
    await store.record(run.repeat(1, 10.4))
    assert (await store.verdict("run-2"))[0] is None

    store.now += timedelta(hours=2)
    await store.watch.look()
    assert await store.verdict("run-2") == ("passed", ())


async def test_repeats_in_any_order_and_twice(store: Store) -> None:
    await ran(store, "run-1", 10.0)
    run = await ran(store, "run-2", 12.0)
    await requests(store)
    events = [run.repeat(n, p50, of_baseline=of) for n in (1, 2) for of, p50 in ((False, 12.0), (True, 10.0))] * 2
    random.Random(4).shuffle(events)
    await store.record(*events)

    stored = await store.repository.load("run-2")
    assert stored is not None
    (cell,) = stored.record.cells.values()
    assert sorted(cell.repeats) == [(1, False), (1, True), (2, False), (2, True)] and cell.awaited == ()
    assert cell.measured is not None and cell.measured.measurement.latency.p50 == 12.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"nodes": (0, 476), "delegate": "xnnpack"}, "gpu was requested but xnnpack ran"),
        ({"nodes": (6, 476)}, "gpu ran 6 of 476 nodes"),
        ({"unstable": "another process"}, "the latency is unstable"),
    ],
)
async def test_what_fell_back_or_is_unstable_is_not_compared(store: Store, changes: dict[str, Any], words: str) -> None:
    await ran(store, "run-1", 10.0)
    await ran(store, "run-2", 20.0, **changes)

    gate = await gate_of(store, "run-2")
    assert gate["passed"] is None and words in gate["why"]
    assert (await store.verdict("run-2"))[0] == "could_not_run"
    cell = (await store.report("run-2"))["variants"][0]["cells"][0]
    assert cell["fell_back"] is (None if "unstable" in changes else True)
    # Nor is it a baseline that a later run is compared with.
    assert await requests(store) == []


async def test_jobs_that_fell_back_teach_no_noise(store: Store) -> None:
    await ran(store, "run-1", 10.0)
    for n in range(2, 6):
        run = await ran(store, f"run-{n}", 10.0)
        asked: Sequence[events_pb2.RepeatsRequested] = await requests(store)
        while asked:
            for number in range(asked[0].first, asked[0].first + asked[0].pairs):
                await store.record(
                    run.repeat(number, 10.0 * QUIET[number % 6], of_baseline=True),
                    run.repeat(number, 40.0, nodes=(0, 476), delegate="xnnpack"),
                )
            asked = await requests(store)
    assert (await gate_of(store, "run-5"))["measured"] == pytest.approx(1.0, abs=0.01)
