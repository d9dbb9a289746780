"""Running steps up to any of them, changed or not, and pipelines with several inputs or a Python function."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.pipeline import (
    InputSpec,
    Pipeline,
    Step,
    advance,
    after_each_step,
    apply_steps,
    begin,
    finished,
    load_samples,
    model_inputs,
    play_back,
)

Array = npt.NDArray[Any]
STEPS: list[dict[str, Any]] = [
    {"op": "resize", "size": [4, 6]},
    {"op": "layout", "to": "NCHW"},
    {"op": "channel_order", "to": "BGR"},
    {"op": "normalize", "scale": 2, "offset": [1, 2, 3]},
]


def parsed(**fields: Any) -> Pipeline:
    return Pipeline.parse({"schema": "windtunnel.pipeline/1", **fields})


@pytest.fixture
def images() -> Array:
    return np.random.default_rng(1).integers(0, 256, (3, 5, 7, 3), dtype=np.uint8)


def test_every_stop_is_the_shorter_pipeline(images: Array) -> None:
    steps = parsed(steps=STEPS).steps
    states = list(after_each_step(steps, images))
    assert [state.done for state in states] == [0, 1, 2, 3, 4]
    for count in range(len(steps) + 1):
        expected = parsed(steps=STEPS[:count]).apply(images)
        assert (apply_steps(steps, images, stop=count) == expected).all()
        assert (finished(states[count]) == expected).all()


def test_a_search_goes_on_from_any_state(images: Array) -> None:
    steps = parsed(steps=STEPS).steps
    state = list(after_each_step(steps, images))[3]
    changed = steps[3].with_fields(scale=0.5)
    expected = parsed(steps=[*STEPS[:3], STEPS[3] | {"scale": 0.5}]).apply(images)
    assert (finished(advance(state, [changed])) == expected).all()
    assert changed.fields["offset"] == steps[3].fields["offset"]


def test_samples_of_different_sizes_are_one_array_as_soon_as_they_can_be(images: Array) -> None:
    mixed = [images[0], images[1, :4], images[2]]
    steps = parsed(steps=STEPS).steps
    state = begin(mixed, steps)
    assert len(state.parts) == 3
    assert len(advance(state, steps[:1]).parts) == 1
    with pytest.raises(InvalidInput, match="different shapes"):
        finished(state)


def test_the_place_of_a_step_is_named(images: Array) -> None:
    crop = {"op": "central_crop", "size": [9, 9]}
    with pytest.raises(InvalidInput, match=r"^pipeline: step 1 \(central_crop\)"):
        play_back(parsed(steps=[{"op": "mirror"}, crop]), images)
    several = parsed(inputs={"left": {"steps": [{"op": "mirror"}]}, "right": {"steps": [crop]}})
    with pytest.raises(InvalidInput, match=r"^pipeline: input 'right', step 0 \(central_crop\)"):
        play_back(several, {"left": images, "right": images})


def test_play_back_names_what_it_gives(images: Array) -> None:
    pipeline = parsed(steps=STEPS)
    assert (play_back(pipeline, images)[""] == pipeline.apply(images)).all()
    assert play_back(pipeline, {"image": images}).keys() == {"image"}
    with pytest.raises(InvalidInput, match="steps for one input"):
        play_back(pipeline, {"a": images, "b": images})


def test_several_inputs(images: Array) -> None:
    inputs = {"left": {"steps": [{"op": "mirror"}]}, "right": {"steps": []}}
    pipeline = parsed(inputs=inputs)
    assert Pipeline.parse(json.loads(json.dumps(pipeline.to_json()))) == pipeline
    named = play_back(pipeline, {"left": images, "right": images + 1})
    assert (named["left"] == images[:, :, ::-1]).all()
    assert (named["right"] == images + 1).all()
    # Samples without a name are for all inputs.
    assert (play_back(pipeline, images)["right"] == images).all()
    with pytest.raises(InvalidInput, match="'right', for which there are no raw samples"):
        play_back(pipeline, {"left": images})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"steps": [], "inputs": {"a": {"steps": []}}}, "pipeline: field 'inputs' is given in addition to 'steps'"),
        ({}, "pipeline: field 'steps' is missing"),
        ({"inputs": {}}, "pipeline: field 'inputs' must have at least 1 items; has 0"),
        ({"inputs": {"a": {}}}, "pipeline: input 'a': field 'steps' is missing"),
        ({"inputs": {"a": {"steps": [], "x": 1}}}, "pipeline: input 'a': unknown field 'x'"),
        ({"inputs": {"a": {"steps": [{"op": "miror"}]}}}, "pipeline: input 'a', step 0: unknown op 'miror'"),
        (
            {"inputs": {"a": {"steps": [{"op": "rotate", "degrees": 1}]}}},
            "pipeline: input 'a', step 0 (rotate): field 'degrees' must be 0, 90, 180 or 270, this is int 1",
        ),
        (
            {"inputs": {"a": {"steps": [{"op": "mirror"}, {"op": "log"}]}}},
            "pipeline: input 'a', step 1 (log) works on audio, step 0 on image",
        ),
        (
            {"steps": [{"op": "mel", "bins": 4, "low": 200, "high": 100}]},
            "pipeline: step 0 (mel): field 'low' is 200, not below 'high', which is 100",
        ),
        ({"task": "text", "steps": [{"op": "log"}]}, "pipeline: field 'task' is 'text', but step 0 works on audio"),
    ],
)
def test_what_is_wrong_is_said(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parsed(**fields)
    assert str(caught.value).startswith(words)


def _named(images: Array, *names: str) -> Any:
    return dict.fromkeys(names, images)


SPECS = [InputSpec("serving_default_left:0", (1, 5, 7, 3), "float32"), InputSpec("right", (1, 5, 7, 3), "float32")]


def test_samples_of_several_inputs(images: Array, tmp_path: Path) -> None:
    pipeline = parsed(inputs={"left": {"steps": [{"op": "mirror"}]}, "right": {"steps": []}})
    np.savez(tmp_path / "both.npz", **_named(images, "x/left", "x/right"))
    np.savez(tmp_path / "one.npz", x=images)
    for name in ("both.npz", "one.npz"):
        fed = list(model_inputs(load_samples(tmp_path / name), pipeline, SPECS))
        assert (fed[1]["serving_default_left:0"] == images[1:2, :, ::-1]).all()
        assert (fed[1]["right"] == images[1:2]).all()
    np.savez(tmp_path / "less.npz", **_named(images, "x/left"))
    for wrong, file, words in (
        (pipeline, "less.npz", "the samples have left"),
        (parsed(inputs={"left": {"steps": []}}), "both.npz", "no steps for the model's input 'right'"),
        (parsed(inputs={"top": {"steps": []}}), "both.npz", "'top', which the model does not have"),
    ):
        with pytest.raises(InvalidInput, match=words):
            list(model_inputs(load_samples(tmp_path / file), wrong, SPECS))


def test_waveforms_with_their_rate(tmp_path: Path) -> None:
    waves = np.random.default_rng(1).uniform(-1, 1, (2, 800)).astype(np.float32)
    np.savez(tmp_path / "waves.npz", x=waves, sample_rate=8000)
    samples = load_samples(tmp_path / "waves.npz")
    assert samples.sample_rate_hz == 8000
    assert samples.take([1]).sample_rate_hz == 8000
    assert [batch.sample_rate_hz for batch in samples.batches(1)] == [8000, 8000]
    frame = {"op": "frame", "length": 160, "step": 160}
    pipeline = parsed(task="audio", steps=[{"op": "resample", "to": 16_000}, frame, {"op": "spectrogram"}])
    for shape in ((1, 10, 81), (1, 10, 81, 1), (1, 1, 10, 81), (1, -1, 81, 1)):
        fed = list(model_inputs(samples, pipeline, [InputSpec("spectra", shape, "float32")]))
        expected = pipeline.apply(waves, sample_rate_hz=8000)
        assert fed[1]["spectra"].shape == tuple(10 if size == -1 else size for size in shape)
        np.testing.assert_allclose(fed[1]["spectra"].reshape(10, 81), expected[1], rtol=1e-6)
    with pytest.raises(InvalidInput, match=r"takes \[1, 81, 10\]"):
        list(model_inputs(samples, pipeline, [InputSpec("spectra", (1, 81, 10), "float32")]))
    np.savez(tmp_path / "none.npz", x=waves)
    with pytest.raises(InvalidInput, match=r"sample rate.*not known"):
        list(model_inputs(load_samples(tmp_path / "none.npz"), pipeline, [InputSpec("s", (1, 10, 81), "float32")]))


@pytest.mark.parametrize("rate", [0, -1, np.nan, np.inf, [8000, 16_000], "8000", [[8000]]])
def test_a_wrong_sample_rate_is_named(rate: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "waves.npz", x=np.zeros((2, 4), np.float32), sample_rate=np.array(rate))
    with pytest.raises(InvalidInput, match=r"waves\.npz: sample_rate is .*one number in Hz"):
        load_samples(tmp_path / "waves.npz")


def test_one_equal_sample_rate_per_sample_is_taken(tmp_path: Path) -> None:
    np.savez(tmp_path / "waves.npz", x=np.zeros((2, 4), np.float32), sample_rate=np.array([8000, 8000]))
    assert load_samples(tmp_path / "waves.npz").sample_rate_hz == 8000


def test_a_python_function_is_a_pipeline(images: Array) -> None:
    pipeline = Pipeline.of_function(lambda raw: raw[:, ::-1] / 255)
    assert (play_back(pipeline, images)[""] == images[:, ::-1] / 255).all()
    mixed = parsed(steps=STEPS[:1])
    both = dataclasses.replace(mixed, steps=(*mixed.steps, Step.of_function(lambda raw: raw * 2)))
    np.testing.assert_allclose(both.apply(images), mixed.apply(images) * 2)
    # One sample at a time where they differ in shape.
    assert pipeline.apply([images[0], images[1]]).shape == images[:2].shape
    with pytest.raises(Unsupported, match="step 0 is a Python function"):
        pipeline.to_json()


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda raw: raw[0], r"was given 3 samples and gave the shape \[5, 7, 3\]"),
        (lambda raw: raw["x"], "raised IndexError"),
        (lambda raw: 1, r"was given 3 samples and gave the shape \[\]"),
    ],
)
def test_a_function_that_fails_is_named(function: Any, words: str, images: Array) -> None:
    with pytest.raises(InvalidInput, match=rf"step 0 \(function\): the function '<lambda>' {words}"):
        play_back(Pipeline.of_function(function), images)
