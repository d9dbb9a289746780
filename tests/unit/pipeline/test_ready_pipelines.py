"""Ready pipelines: all are valid, and give what the families' own code gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import numpy.typing as npt
import pytest

from windtunnel import schemas
from windtunnel.errors import NotFound
from windtunnel.pipeline import Pipeline, apply_steps, play_back, ready_names, ready_pipeline

Array = npt.NDArray[Any]
# By the module of keras.applications that has the family's own preprocessing.
FAMILIES = {
    "mobilenet_v1": "mobilenet",
    "mobilenet_v2": "mobilenet_v2",
    "mobilenet_v3": "mobilenet_v3",
    "efficientnet_b0": "efficientnet",
    "efficientnet_v2_s": "efficientnet_v2",
    "resnet50_v1": "resnet",
    "resnet50_v2": "resnet_v2",
    "inception_v3": "inception_v3",
    "densenet121": "densenet",
    "vgg16": "vgg16",
}


@pytest.mark.parametrize("name", ready_names())
def test_every_ready_pipeline_is_valid_and_has_sources(name: str) -> None:
    ready = ready_pipeline(name)
    document = ready.pipeline.to_json()
    jsonschema.Draft202012Validator(schemas.load("pipeline")).validate(document)
    assert Pipeline.parse(json.loads(json.dumps(document))) == ready.pipeline
    assert ready.pipeline.name == name
    assert ready.sources
    assert all(one.number and one.source.startswith("https://") for one in ready.sources)


def test_the_usual_families_are_there() -> None:
    names = " ".join(ready_names())
    for family in (
        "mobilenet_v1",
        "mobilenet_v2",
        "mobilenet_v3",
        "efficientnet_b0",
        "efficientnet_lite0",
        "resnet50_v1",
    ):
        assert family in names
    for family in ("resnet50_v2", "inception_v3", "densenet121", "vgg16", "ssd_mobilenet", "deeplab_v3", "yamnet"):
        assert family in names
    assert "speech_commands" in names
    assert "mobilebert" in names


def test_members_of_a_family_have_their_sizes() -> None:
    sizes = {
        name: ready_pipeline(name).pipeline.steps[0].fields["size"] for name in ("efficientnet_b0", "efficientnet_b7")
    }
    assert sizes == {"efficientnet_b0": [224, 224], "efficientnet_b7": [600, 600]}


def test_a_name_that_is_not_there_has_a_hint() -> None:
    with pytest.raises(NotFound, match=r"no ready pipeline 'mobilenetv2'.*mobilenet_v2"):
        ready_pipeline("mobilenetv2")


def test_a_text_goes_into_three_inputs(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\ncafe\nbar\n##s\n")
    document = json.dumps(ready_pipeline("mobilebert").pipeline.to_json())
    pipeline = Pipeline.parse(json.loads(document.replace("vocab.txt", str(tmp_path / "vocab.txt"))))
    fed = play_back(pipeline, ["Cafés BAR", "x"])
    assert fed["input_ids"][:, :6].tolist() == [[2, 4, 6, 5, 3, 0], [2, 1, 3, 0, 0, 0]]
    assert fed["input_mask"].sum(1).tolist() == [5, 3]
    assert fed["segment_ids"].sum() == 0
    assert {array.shape for array in fed.values()} == {(2, 128)}


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore")
class TestAgainstTheFamiliesOwnCode:
    @pytest.fixture(scope="class")
    def tf(self) -> Any:
        return pytest.importorskip("tensorflow")

    @pytest.mark.parametrize(("name", "module"), FAMILIES.items())
    def test_keras(self, tf: Any, name: str, module: str) -> None:
        images = np.random.default_rng(1).integers(0, 256, (2, 40, 50, 3), dtype=np.uint8)
        ready = ready_pipeline(name).pipeline
        size = ready.steps[0].fields["size"]
        resized = tf.image.resize(images, size).numpy()
        expected = getattr(tf.keras.applications, module).preprocess_input(resized.copy())
        np.testing.assert_allclose(ready.apply(images), expected, atol=1e-3)

    def test_yamnet(self, tf: Any) -> None:
        waves = np.random.default_rng(1).uniform(-1, 1, (2, 15_600)).astype(np.float32)
        spectra = tf.abs(tf.signal.stft(waves, 400, 160, fft_length=512))
        weights = tf.signal.linear_to_mel_weight_matrix(64, 257, 16_000, 125.0, 7500.0)
        expected = tf.math.log(tf.matmul(spectra, weights) + 0.001).numpy()
        steps = ready_pipeline("yamnet_features").pipeline.steps
        result = apply_steps(steps, waves, sample_rate_hz=16_000)
        assert result.shape == (2, 96, 64)
        np.testing.assert_allclose(result, expected, atol=1e-4)

    def test_speech_commands(self, tf: Any) -> None:
        waves = np.random.default_rng(1).uniform(-1, 1, (2, 16_000)).astype(np.float32)
        expected = tf.abs(tf.signal.stft(waves, frame_length=255, frame_step=128)).numpy()
        result = ready_pipeline("speech_commands_spectrogram").pipeline.apply(waves, sample_rate_hz=16_000)
        assert result.shape == (2, 124, 129)
        np.testing.assert_allclose(result, expected, atol=1e-3)
