"""device_run.finished with an edge log in, device_run.diagnosed out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from support.bus_wires import Wire
from support.edge_logs import LogFile, frame, tensor
from support.graphs import GraphWriter
from support.runtime import Outbox, make_runtime, publish, serving
from support.service_runtime import settings_in
from windtunnel import schemas
from windtunnel.artifacts import LocalStore
from windtunnel.bus import subjects
from windtunnel.layer_diff.__main__ import build
from windtunnel.layer_diff.settings import LayerDiffSettings
from windtunnel.pipeline import resize
from windtunnel.plan import parse_plan, plan_to_json
from windtunnel.service.protobuf_values import artifact_to_proto
from windtunnel.v1 import edge_pb2, events_pb2, types_pb2

pytestmark = pytest.mark.heavy

SIDE, FRAMES, CLASSES = 16, 6, 5
PIPELINE = {
    "schema": "windtunnel.pipeline/1",
    "task": "classification",
    "steps": [
        {"op": "resize", "size": [SIDE, SIDE], "method": "bilinear"},
        {"op": "normalize", "scale": 2 / 255, "offset": -1.0},
    ],
}
Device = events_pb2.DeviceRunDiagnosed


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image classifier of one layer with random weights."""
    random = np.random.default_rng(3)
    writer = GraphWriter()
    image = writer.tensor("image", (1, SIDE, SIDE, 3))
    weights = random.normal(0, 0.3, (CLASSES, SIDE * SIDE * 3)).astype(np.float32)
    scores = writer.dense("scores", image, weights, np.zeros(CLASSES, np.float32))
    return writer.write(tmp_path_factory.mktemp("model") / "m.tflite", [image], [scores])


def photos() -> list[NDArray[np.uint8]]:
    from sklearn.datasets import load_sample_images

    draw, images = np.random.default_rng(5), load_sample_images().images
    corners = [(draw.integers(0, 300), draw.integers(0, 400)) for _ in range(FRAMES)]
    return [images[n % 2][top : top + 60, left : left + 80].copy() for n, (top, left) in enumerate(corners)]


def recorded(model: Path, *, bgr: bool, with_values: bool = True) -> list[edge_pb2.EdgeFrame]:
    """What an app records that prepares photos as the pipeline says, or exchanges their channels."""
    interpreter = Interpreter(str(model))
    interpreter.allocate_tensors()
    frames = []
    for number, photo in enumerate(photos()):
        fed = (np.asarray(resize(photo[None], (SIDE, SIDE))) * (2 / 255) - 1).astype(np.float32)
        fed = np.ascontiguousarray(fed[..., ::-1]) if bgr else fed
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], fed)
        interpreter.invoke()
        given = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        arrays = (("raw", photo, ""), ("input", fed, "image"), ("output", given, "scores"))
        frames.append(frame(number, *(tensor(role, one, name, with_values=with_values) for role, one, name in arrays)))
    return frames


async def finished(
    tmp_path: Path, model: Path, logs: list[Path], *, repeat: int = 0, attempt: int = 1
) -> events_pb2.DeviceRunFinished:
    store = LocalStore(tmp_path / "artifacts")
    plan: dict[str, Any] = {"apiVersion": "windtunnel/v1", "variants": ["float32"], "preprocessing": PIPELINE}
    stored = [artifact_to_proto(await store.put_file(log)) for log in logs]
    return events_pb2.DeviceRunFinished(
        run=types_pb2.RunContext(
            run_id="run-1",
            model_name="photos",
            plan=artifact_to_proto(await store.put_bytes(plan_to_json(parse_plan(plan)))),
        ),
        cell=types_pb2.Cell(id="cell-1", variant="float32", farm="bench", device="pixel"),
        attempt=attempt,
        repeat=repeat,
        pulled={f"/sdcard/windtunnel/{log.name}": one for log, one in zip(logs, stored, strict=True)},
        edge_logs=stored,
        model=artifact_to_proto(await store.put_file(model)),
    )


async def answers_to(wire: Wire, tmp_path: Path, *events: events_pb2.DeviceRunFinished, count: int = 1) -> list[Any]:
    """What the service answers to events, and that it answers no more."""
    bus = await wire.open()
    for number, event in enumerate(events):
        await publish(bus, event, str(number))
    runtime = await make_runtime("layer_diff", settings_in(tmp_path, LayerDiffSettings), bus, tmp_path)
    async with Outbox(bus, [subjects.DEVICE_RUN_DIAGNOSED]) as out, serving(build, runtime):
        found = [await out.next(90) for _ in range(count)]
        await out.nothing()
    return found


async def test_exchanged_channels_are_named(wire: Wire, tmp_path: Path, model: Path) -> None:
    messages = recorded(model, bgr=True)
    logs = [
        LogFile(messages[:3], number=1).write(tmp_path / "log"),
        LogFile(messages[3:], number=2).write(tmp_path / "log"),
    ]
    event = await finished(tmp_path, model, logs, attempt=2)
    (answer,) = await answers_to(wire, tmp_path, event)
    assert (answer.run, answer.cell, answer.attempt) == (event.run, event.cell, 2)
    assert answer.verdict in (Device.APP_VERDICT_DEGRADED, Device.APP_VERDICT_BROKEN)
    assert [one.code for one in answer.causes] == ["preprocessing.channel_order"]
    cause = answer.causes[0]
    assert cause.verified and 0.5 < cause.confidence <= 1 and cause.words and not cause.layer
    assert answer.frames == FRAMES and list(answer.gaps) == [] and not answer.HasField("failure")
    data = await LocalStore(tmp_path / "artifacts").read_bytes(answer.diagnosis.sha256)
    document = json.loads(data)
    jsonschema.validate(document, schemas.load("diagnosis"))
    assert document["causes"][0]["code"] == cause.code and "recordings" not in document


async def test_a_right_app_is_healthy(wire: Wire, tmp_path: Path, model: Path) -> None:
    log = LogFile(recorded(model, bgr=False)).write(tmp_path / "log")
    (answer,) = await answers_to(wire, tmp_path, await finished(tmp_path, model, [log]))
    assert answer.verdict == Device.APP_VERDICT_HEALTHY and not answer.causes and answer.frames == FRAMES


async def test_of_several_recordings_the_worst_counts(wire: Wire, tmp_path: Path, model: Path) -> None:
    logs = [LogFile(recorded(model, bgr=bgr), session=f"{bgr}").write(tmp_path / "log") for bgr in (False, True)]
    (answer,) = await answers_to(wire, tmp_path, await finished(tmp_path, model, logs))
    assert [one.code for one in answer.causes] == ["preprocessing.channel_order"] and answer.frames == 2 * FRAMES
    document = json.loads(await LocalStore(tmp_path / "artifacts").read_bytes(answer.diagnosis.sha256))
    assert [one["verdict"] == "healthy" for one in document["recordings"]] == [True, False]


async def test_a_damaged_log_is_diagnosed_and_its_gap_reported(wire: Wire, tmp_path: Path, model: Path) -> None:
    log = LogFile(recorded(model, bgr=True)).write(tmp_path / "log")
    data = bytearray(log.read_bytes())
    data[data.index(photos()[2].tobytes()) + 8] ^= 1
    log.write_bytes(data)
    (answer,) = await answers_to(wire, tmp_path, await finished(tmp_path, model, [log]))
    assert answer.frames == FRAMES - 1 and "CRC" in answer.gaps[0]
    assert [one.code for one in answer.causes] == ["preprocessing.channel_order"]


async def test_what_cannot_be_diagnosed_says_why(wire: Wire, tmp_path: Path, model: Path) -> None:
    broken = tmp_path / "a.mcap"
    broken.write_bytes(b"not a log")
    statistics = LogFile(recorded(model, bgr=True, with_values=False), session="s").write(tmp_path / "log")
    events = [await finished(tmp_path, model, [log]) for log in (broken, statistics)]
    events[1].cell.id = "cell-2"
    found = {one.cell.id: one for one in await answers_to(wire, tmp_path, *events, count=2)}
    assert found["cell-1"].failure.code == "invalid_input" and "a.mcap" in found["cell-1"].failure.message
    assert found["cell-2"].failure.code == "invalid_input" and not found["cell-2"].diagnosis.sha256
    assert not any(one.verdict for one in found.values())


async def test_other_device_runs_are_not_diagnosed(wire: Wire, tmp_path: Path, model: Path) -> None:
    log = LogFile(recorded(model, bgr=True)).write(tmp_path / "log")
    without, repeated = await finished(tmp_path, model, []), await finished(tmp_path, model, [log], repeat=2)
    own = await finished(tmp_path, model, [log])
    assert len(await answers_to(wire, tmp_path, without, repeated, own, own)) == 1
