"""device_run.finished in, device_run.measured or device_run.failed out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message

from support.bus_wires import Wire
from support.runtime import Outbox, make_runtime, publish, serving
from support.service_runtime import settings_in
from windtunnel.artifacts import LocalStore
from windtunnel.bus import encode, subjects
from windtunnel.log_parser.__main__ import build
from windtunnel.log_parser.settings import LogParserSettings
from windtunnel.service.protobuf_values import artifact_to_proto
from windtunnel.v1 import events_pb2, types_pb2

LOGS = Path(__file__).parents[2] / "unit/log_parser/logs"
ANSWERS = (subjects.DEVICE_RUN_MEASURED, subjects.DEVICE_RUN_FAILED)
SAMPLES = {"unit": "us", "inference": [1000, 2000]}
OP_VERSION = b"INFO: STARTING!\nERROR: Didn't find op for builtin opcode 'MUL' version '5'. An older version exists.\n"


def settings(tmp_path: Path, **given: Any) -> LogParserSettings:
    return settings_in(tmp_path, LogParserSettings, **given)


async def finished(
    tmp_path: Path, log: bytes, samples: Any = None, cell: str = "c-1", attempt: int = 2
) -> events_pb2.DeviceRunFinished:
    store = LocalStore(tmp_path / "artifacts")
    ref = None if samples is None else await store.put_bytes(json.dumps(samples).encode())
    return events_pb2.DeviceRunFinished(
        run=types_pb2.RunContext(run_id="run-1", model_name="ssd", labels={"team": "edge"}),
        cell=types_pb2.Cell(id=cell, variant="int8", farm="adb", device="Pixel 9", accelerator="gpu", threads=2),
        attempt=attempt,
        log=artifact_to_proto(await store.put_bytes(log)),
        samples=artifact_to_proto(ref),
        device=types_pb2.DeviceFacts(name="Pixel 9", cores=8),
    )


async def answer_to(wire: Wire, tmp_path: Path, event: events_pb2.DeviceRunFinished) -> Message:
    """What the service says of one event."""
    bus = await wire.open()
    await publish(bus, event, "a")
    async with (
        Outbox(bus, ANSWERS) as out,
        serving(build, await make_runtime("log_parser", settings(tmp_path), bus, tmp_path)),
    ):
        return await out.next()


def log_named(name: str) -> bytes:
    return (LOGS / f"{name}.txt").read_bytes()


async def test_repeats_of_one_cell_are_answered_each(wire: Wire, tmp_path: Path) -> None:
    """The variant's, the baseline's, and a log that nobody can read: no answer is taken for another."""
    good, bad = await finished(tmp_path, log_named("xnnpack_implicit")), await finished(tmp_path, b"no log")
    bus = await wire.open()
    events = [good]
    for event, of_baseline in ((good, False), (good, True), (bad, True)):
        repeat = events_pb2.DeviceRunFinished()
        repeat.CopyFrom(event)
        repeat.repeat, repeat.of_baseline = (3 if event is bad else 2), of_baseline
        repeat.farm_run.id = "f-1"
        events.append(repeat)
    for number, event in enumerate(events):
        await publish(bus, event, str(number))
    async with (
        Outbox(bus, ANSWERS) as out,
        serving(build, await make_runtime("log_parser", settings(tmp_path), bus, tmp_path)),
    ):
        answers: list[Any] = [await out.next() for _ in events]
    found = {(type(one).__name__, one.repeat, one.of_baseline, one.farm_run.id) for one in answers}
    assert found == {
        ("DeviceRunMeasured", 0, False, ""),
        ("DeviceRunMeasured", 2, False, "f-1"),
        ("DeviceRunMeasured", 2, True, "f-1"),
        ("DeviceRunFailed", 3, True, "f-1"),
    }


async def test_a_log_becomes_a_measurement(wire: Wire, tmp_path: Path) -> None:
    event = await finished(tmp_path, log_named("xnnpack_implicit"))
    answer = await answer_to(wire, tmp_path, event)
    assert isinstance(answer, events_pb2.DeviceRunMeasured)
    assert (answer.run, answer.cell, answer.attempt, answer.device) == (event.run, event.cell, 2, event.device)
    measurement = answer.measurement
    assert measurement.latency_ms.p50 == pytest.approx(576.856)
    assert measurement.latency_ms.samples == 50
    assert measurement.init_ms == pytest.approx(102.321)
    assert measurement.memory_mb == pytest.approx(112.25)
    assert (measurement.delegate, measurement.nodes_delegated, measurement.nodes_total) == ("xnnpack", 46, 49)


async def test_what_the_farm_knows_goes_with_the_measurement(wire: Wire, tmp_path: Path) -> None:
    event = await finished(tmp_path, log_named("old_nostats"), {"unit": "us", "inference": [1000]})
    event.input_shapes.add(name="image", shape=(1, 48, 48, 3))
    event.shapes_known = True
    event.conditions.CopyFrom(types_pb2.RunConditions(other_load_cores=1.9, repeats=2, unstable=True, reason="busy"))
    event.device.nodes_delegated, event.device.nodes_total = 0, 65
    answer = await answer_to(wire, tmp_path, event)
    assert isinstance(answer, events_pb2.DeviceRunMeasured)
    measurement = answer.measurement
    assert list(measurement.input_shapes) == list(event.input_shapes) and measurement.shapes_known
    assert measurement.conditions == event.conditions
    # The log says nothing of nodes, the farm does.
    assert (measurement.nodes_delegated, measurement.nodes_total) == (0, 65)


async def test_raw_samples_win_over_the_log(wire: Wire, tmp_path: Path) -> None:
    samples = {"unit": "us", "warmup": [9e9], "inference": [1000, 2000, 3000, 4000]}
    answer = await answer_to(wire, tmp_path, await finished(tmp_path, log_named("xnnpack_implicit"), samples))
    assert isinstance(answer, events_pb2.DeviceRunMeasured)
    latency = answer.measurement.latency_ms
    assert (latency.p50, latency.min, latency.max, latency.samples) == (2.5, 1.0, 4.0, 4)
    assert answer.measurement.init_ms == pytest.approx(102.321)


@pytest.mark.parametrize(
    ("log", "samples", "code", "says"),
    [
        (OP_VERSION, None, "op_version", "Didn't find op for builtin opcode 'MUL'"),
        (log_named("external_qnn"), None, "crash", "Segmentation fault"),
        (log_named("truncated"), None, "invalid_input", "stops before the first latency"),
        (log_named("external_qnn"), SAMPLES, "crash", "Segmentation fault"),
        (log_named("truncated"), SAMPLES, "invalid_input", "stops before the first latency"),
        (b"adb: no devices found\n", None, "invalid_input", "no benchmark run; 1 of its lines"),
        (log_named("old_nostats"), {"unit": "ms", "inference": [1]}, "invalid_input", "another form"),
        (log_named("old_nostats"), {"unit": "us", "inference": [1, "2"]}, "invalid_input", "sample 1 is '2'"),
        (log_named("old_nostats"), {"unit": "us", "inference": [1, float("nan")]}, "invalid_input", "sample 1 is nan"),
        (log_named("old_nostats"), {"unit": "us", "inference": []}, "invalid_input", "shape (0,)"),
    ],
)
async def test_what_cannot_be_measured_fails_with_its_reason(
    wire: Wire, tmp_path: Path, log: bytes, samples: Any, code: str, says: str
) -> None:
    event = await finished(tmp_path, log, samples)
    answer = await answer_to(wire, tmp_path, event)
    assert isinstance(answer, events_pb2.DeviceRunFailed)
    assert (answer.run, answer.cell, answer.attempt) == (event.run, event.cell, 2)
    assert (answer.failure.code, answer.failure.service) == (code, "log_parser")
    assert answer.failure.kind == types_pb2.FAILURE_KIND_TEST
    assert says in answer.failure.message


async def test_a_log_that_is_not_in_the_store_fails_the_attempt(wire: Wire, tmp_path: Path) -> None:
    event = await finished(tmp_path, b"")
    event.log.sha256 = "0" * 64
    answer = await answer_to(wire, tmp_path, event)
    assert isinstance(answer, events_pb2.DeviceRunFailed)
    assert answer.failure.code == "not_found"


async def test_the_same_event_twice_says_it_once(wire: Wire, tmp_path: Path) -> None:
    bus = await wire.open()
    async with (
        Outbox(bus, ANSWERS) as out,
        serving(build, await make_runtime("log_parser", settings(tmp_path), bus, tmp_path)),
    ):
        for log, kind in ((log_named("old_nostats"), "measured"), (OP_VERSION, "failed")):
            event = await finished(tmp_path, log, cell=f"c-{kind}")
            await publish(bus, event, f"{kind}-1")
            await publish(bus, event, f"{kind}-2")
            assert (await out.next_event()).subject == f"windtunnel.device_run.{kind}"
        await out.nothing()


async def test_two_workers_share_the_events(wire: Wire, tmp_path: Path) -> None:
    bus, other = await wire.open(), await wire.open()
    first = await make_runtime("log_parser", settings(tmp_path), bus, tmp_path)
    second = await make_runtime("log_parser", settings(tmp_path), other, tmp_path)
    async with Outbox(bus, ANSWERS) as out, serving(build, first), serving(build, second):
        for number in range(6):
            await publish(bus, await finished(tmp_path, log_named("old_nostats"), cell=f"c-{number}"), f"e-{number}")
        answers = [await out.next() for _ in range(6)]
        await out.nothing()
    assert all(isinstance(answer, events_pb2.DeviceRunMeasured) for answer in answers)
    assert {answer.cell.id for answer in answers if isinstance(answer, events_pb2.DeviceRunMeasured)} == {
        f"c-{number}" for number in range(6)
    }


async def test_a_log_is_read_once(wire: Wire, tmp_path: Path) -> None:
    bus = await wire.open()
    first, second = [await finished(tmp_path, log_named("old_nostats"), cell=cell) for cell in ("c-1", "c-2")]
    async with (
        Outbox(bus, ANSWERS) as out,
        serving(build, await make_runtime("log_parser", settings(tmp_path), bus, tmp_path)),
    ):
        await publish(bus, first, "a")
        before = await out.next()
        await LocalStore(tmp_path / "artifacts").delete(first.log.sha256)
        await publish(bus, second, "b")
        after = await out.next()
    assert isinstance(before, events_pb2.DeviceRunMeasured)
    assert isinstance(after, events_pb2.DeviceRunMeasured)
    assert (after.cell.id, after.measurement) == ("c-2", before.measurement)


async def test_a_store_that_comes_back_is_waited_for(wire: Wire, tmp_path: Path) -> None:
    bus = await wire.open()
    event = await finished(tmp_path, log_named("old_nostats"))
    blobs, away = tmp_path / "artifacts/sha256", tmp_path / "away"
    blobs.rename(away)
    blobs.touch()
    async with (
        Outbox(bus, ANSWERS) as out,
        serving(build, await make_runtime("log_parser", settings(tmp_path), bus, tmp_path)),
    ):
        await publish(bus, event, "a")
        await out.nothing(0.5)
        blobs.unlink()
        away.rename(blobs)
        assert isinstance(await out.next(), events_pb2.DeviceRunMeasured)


async def test_a_store_that_stays_away_fails_the_attempt_and_keeps_the_event(wire: Wire, tmp_path: Path) -> None:
    bus = await wire.open()
    event = await finished(tmp_path, log_named("old_nostats"))
    blobs = tmp_path / "artifacts/sha256"
    blobs.rename(tmp_path / "away")
    blobs.touch()
    runtime = await make_runtime("log_parser", settings(tmp_path, attempts=1), bus, tmp_path)
    async with Outbox(bus, ANSWERS) as out, serving(build, runtime):
        await publish(bus, event, "a")
        answer = await out.next()
    assert isinstance(answer, events_pb2.DeviceRunFailed)
    assert answer.failure.code == "unavailable"
    assert answer.failure.kind == types_pb2.FAILURE_KIND_OTHER
    assert [letter.event_id for letter in await bus.dead_letters()] == ["a"]


async def test_an_event_that_nobody_can_read_is_a_dead_letter(wire: Wire, tmp_path: Path) -> None:
    bus = await wire.open()
    subject, headers, _ = encode(await finished(tmp_path, b""), id="broken", source="/tests", run_id="run-1")
    async with (
        Outbox(bus, ANSWERS) as out,
        serving(build, await make_runtime("log_parser", settings(tmp_path), bus, tmp_path)),
    ):
        await bus.publish(subject, headers, b"\xff\xff\xff")
        await publish(bus, await finished(tmp_path, log_named("old_nostats")), "good")
        assert isinstance(await out.next(), events_pb2.DeviceRunMeasured)
        await out.nothing()
    assert [letter.event_id for letter in await bus.dead_letters()] == ["broken"]


# The farm's own word, or of an older writer its name.
@pytest.mark.parametrize("says", ["nothing", "that its times do not count"])
async def test_times_that_do_not_count_are_left_out(wire: Wire, tmp_path: Path, says: str) -> None:
    event = await finished(tmp_path, log_named("xnnpack_implicit"), SAMPLES)
    event.cell.farm = "arm" if says == "nothing" else "another farm"
    if says != "nothing":
        event.cell.farm_properties.CopyFrom(types_pb2.FarmProperties(times_count=False))
    answer = await answer_to(wire, tmp_path, event)
    assert isinstance(answer, events_pb2.DeviceRunMeasured)
    measurement = answer.measurement
    assert not measurement.latency_ms.ListFields()
    assert not measurement.HasField("init_ms") and not measurement.HasField("memory_mb")
    assert (measurement.delegate, measurement.nodes_delegated, measurement.nodes_total) == ("xnnpack", 46, 49)


async def test_times_count_if_the_farm_says_so_whatever_its_name(wire: Wire, tmp_path: Path) -> None:
    event = await finished(tmp_path, log_named("xnnpack_implicit"), SAMPLES)
    event.cell.farm = "arm"
    event.cell.farm_properties.CopyFrom(types_pb2.FarmProperties(times_count=True))
    answer = await answer_to(wire, tmp_path, event)
    assert isinstance(answer, events_pb2.DeviceRunMeasured)
    assert answer.measurement.latency_ms.p50 > 0
