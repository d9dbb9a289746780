"""The use case `diagnose` on apps that record themselves: inputs, kernels, layers, labels, assertions, verdicts."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from support.app_models import CLASSES, SIDE, image_classifier, two_image_classifier
from windtunnel.diagnosis.app_diagnosis.app_assertions import load_assertions
from windtunnel.diagnosis.app_diagnosis.diagnose_app import diagnose_app
from windtunnel.diagnosis.app_diagnosis.diagnose_files import diagnose_files
from windtunnel.diagnosis.recording.edge_recording import EdgeDevice, EdgeRecording
from windtunnel.errors import InvalidInput, NotFound
from windtunnel.pipeline import Pipeline
from windtunnel.schemas import load
from windtunnel.tflite import Runner

pytestmark = pytest.mark.heavy
FRAMES = 10
PIPELINE = {
    "schema": "windtunnel.pipeline/1",
    "steps": [{"op": "resize", "size": [SIDE, SIDE]}, {"op": "normalize", "scale": 2 / 255, "offset": -1.0}],
}
Array = NDArray[Any]


def photos(count: int = FRAMES) -> Array:
    """Smooth images with edges and colors, (N, 64, 64, 3)."""
    draw = np.random.default_rng(1)
    y, x = np.mgrid[0:64, 0:64] / 64
    found = []
    for _ in range(count):
        waves = [np.sin(2 * np.pi * (a * x + b * y + c)) for a, b, c in draw.uniform(-2, 2, (3, 3))]
        image = np.stack(waves, axis=-1) + (x > draw.uniform(0.2, 0.8))[..., None] * draw.uniform(-1, 1, 3)
        found.append(np.clip(110 + 60 * image, 0, 255))
    return np.asarray(found, np.uint8)


def app(
    model: Path,
    change: Callable[[Array], Array] = lambda fed: fed,
    *,
    device: Path | None = None,
    with_layers: bool = False,
) -> EdgeRecording:
    """An app that prepares images as the pipeline says and then changes them; `device`: the model it really runs."""
    raw = photos()
    fed = np.asarray(change(Pipeline.parse(PIPELINE).apply(raw)), np.float32)
    runner = Runner(device or model, preserve_all=True)
    outputs, layers = [], []
    for frame in fed:
        outputs.append(next(iter(runner.run({"image": frame.reshape(1, -1)}).values()))[0])
        layers.append({layer.name: layer.array[0] for layer in runner.layers()})
    kept = {name: np.stack([one[name] for one in layers]) for name in layers[0]} if with_layers else {}
    return EdgeRecording("app", len(raw), raw={"": raw}, inputs={"": fed}, outputs={"": np.stack(outputs)}, layers=kept)


def codes(causes: Sequence[Any]) -> list[str]:
    return [str(cause.code) for cause in causes]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return image_classifier(tmp_path / "m.tflite")


def test_a_right_app_is_healthy(model: Path) -> None:
    found = diagnose_app(model, app(model), PIPELINE)
    assert (found.verdict, found.causes, found.reasons) == ("healthy", (), ())
    assert found.figures.agreement == 1.0


def test_wrong_channels_are_named_and_their_effect_on_the_outputs(model: Path) -> None:
    found = diagnose_app(model, app(model, lambda fed: fed[..., ::-1]), PIPELINE)
    assert codes(found.causes) == ["preprocessing.channel_order"]
    assert found.causes[0].verified
    assert found.figures.output_nrmse is not None and found.figures.output_nrmse > 0.01
    assert found.verdict != "healthy"


@pytest.mark.parametrize("with_layers", [False, True])
def test_a_wrong_kernel_shows_in_the_outputs_and_its_place_in_the_layers(
    model: Path, tmp_path: Path, *, with_layers: bool
) -> None:
    wrong = image_classifier(tmp_path / "wrong.tflite", second=1.1)
    found = diagnose_app(model, app(model, device=wrong, with_layers=with_layers), PIPELINE)
    assert codes(found.causes) == ["kernel"]
    place = (found.causes[0].layer, found.causes[0].op_index)
    assert place == (("logits", 1) if with_layers else (None, None))
    assert found.verdict == "broken"
    assert found.coverage.compared == (2 if with_layers else 0)
    assert found.causes[0].evidence["frames"] == FRAMES


def test_a_wrong_kernel_and_a_wrong_input_are_both_named(model: Path, tmp_path: Path) -> None:
    wrong = image_classifier(tmp_path / "wrong.tflite", second=1.1)
    found = diagnose_app(model, app(model, lambda fed: fed[:, :, ::-1], device=wrong), PIPELINE)
    assert sorted(codes(found.causes)) == ["kernel", "preprocessing.orientation"]


def test_outputs_that_are_not_finite_on_the_device(model: Path) -> None:
    recording = app(model)
    broken = np.array(recording.outputs[""])
    broken[3, 1] = np.nan
    found = diagnose_app(model, replace(recording, outputs={"": broken}), PIPELINE)
    assert codes(found.causes) == ["kernel"] and found.verdict == "broken"


def test_inputs_that_are_not_finite_break_the_app(model: Path) -> None:
    recording = app(model)
    broken = np.array(recording.inputs[""])
    broken[0, 0, 0, 0] = np.inf
    found = diagnose_app(model, replace(recording, inputs={"": broken}), PIPELINE)
    assert found.verdict == "broken" and "NaN or infinity in 1 frames" in found.reasons[0]


@pytest.mark.parametrize("shift", [1, -1])
def test_labels_that_the_app_shows_moved(model: Path, shift: int) -> None:
    recording = app(model)
    shown = (np.asarray(recording.outputs[""]).argmax(axis=1) + shift) % CLASSES
    found = diagnose_app(model, replace(recording, postprocessed={"label": shown}), PIPELINE)
    assert codes(found.causes) == ["output.labels"]
    right = np.asarray(recording.outputs[""]).argmax(axis=1)
    assert not diagnose_app(model, replace(recording, postprocessed={"label": right}), PIPELINE).causes


def test_without_raw_samples_the_inputs_are_not_judged(model: Path) -> None:
    recording = replace(app(model, lambda fed: fed[..., ::-1]), raw={})
    assert diagnose_app(model, recording, PIPELINE).verdict == "healthy"


def test_the_pipeline_of_the_recording_is_taken(model: Path) -> None:
    recording = app(model, lambda fed: fed[..., ::-1])
    told = replace(recording, device=EdgeDevice(pipeline=json.dumps(PIPELINE)))
    assert codes(diagnose_app(model, told).causes) == ["preprocessing.channel_order"]
    with pytest.raises(InvalidInput, match="the pipeline in the recording cannot be read"):
        diagnose_app(model, replace(recording, device=EdgeDevice(pipeline="{")))


def test_a_recording_of_another_model_is_refused(model: Path) -> None:
    recording = app(model)
    with pytest.raises(InvalidInput, match=r"frame 0 has an input of \[5\]"):
        diagnose_app(model, replace(recording, inputs={"": np.zeros((FRAMES, 5), np.float32)}, raw={}), PIPELINE)
    with pytest.raises(InvalidInput, match="the recording has the input 'other'"):
        diagnose_app(model, replace(recording, inputs={"other": recording.inputs[""]}), PIPELINE)


def test_each_of_several_inputs_has_its_own_pipeline_and_raw_samples(tmp_path: Path) -> None:
    model = two_image_classifier(tmp_path / "two.tflite")
    steps = {"image": PIPELINE["steps"], "depth": PIPELINE["steps"]}
    pipeline = {"schema": PIPELINE["schema"], "inputs": {name: {"steps": one} for name, one in steps.items()}}
    raw = {"image": photos(), "depth": photos()[::-1]}
    right = {name: np.asarray(Pipeline.parse(PIPELINE).apply(one), np.float32) for name, one in raw.items()}
    fed = {"image": right["image"], "depth": right["depth"][:, :, ::-1]}
    runner = Runner(model)
    frames = [{name: one[number].reshape(1, -1) for name, one in fed.items()} for number in range(FRAMES)]
    outputs = np.stack([next(iter(runner.run(one).values()))[0] for one in frames])
    recording = EdgeRecording("app", FRAMES, raw=raw, inputs=fed, outputs={"": outputs})
    (cause,) = diagnose_app(model, recording, pipeline).causes
    assert (str(cause.code), cause.evidence["input"]) == ("preprocessing.orientation", "depth")
    assert "input depth" in cause.words()[0]
    assert diagnose_app(model, replace(recording, inputs=right), pipeline).figures.input_nrmse == {
        "image": 0.0,
        "depth": 0.0,
    }


def test_files_several_recordings_a_reference_and_assertions(model: Path, tmp_path: Path) -> None:
    for name, change in (("right", lambda fed: fed), ("wrong", lambda fed: fed[..., ::-1])):
        recording = app(model, change)
        raw, fed, given = (np.asarray(one[""]) for one in (recording.raw, recording.inputs, recording.outputs))
        np.savez(tmp_path / f"{name}.npz", raw=raw, input=fed, output=given)
    checks = tmp_path / "checks.py"
    checks.write_text(
        "from windtunnel.diagnosis.app_diagnosis.app_assertions import assertion\n"
        "@assertion\n"
        "def is_dark(frame):\n"
        "    assert frame.input.mean() < -2, 'turn the light off'\n"
    )
    edges = [tmp_path / "right.npz", tmp_path / "wrong.npz"]
    found = diagnose_files(model, edges, PIPELINE, model, [checks])
    assert [codes(one.causes) for one in found.recordings] == [[], ["preprocessing.channel_order"]]
    assert all("is_dark fails in 10 of 10 frames" in one.reasons[0] for one in found.recordings)
    document = found.to_json()
    assert [one["edge"]["source"] for one in document["recordings"]] == [str(path) for path in edges]
    import jsonschema

    jsonschema.validate(document, load("diagnosis"))


def test_assertions_that_cannot_be_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        load_assertions(tmp_path / "none.py")
    bad = tmp_path / "bad.py"
    bad.write_text("1 / 0\n")
    with pytest.raises(InvalidInput, match="ZeroDivisionError"):
        load_assertions(bad)
    bad.write_text("x = 1\n")
    with pytest.raises(InvalidInput, match="has no assertion"):
        load_assertions(bad)
