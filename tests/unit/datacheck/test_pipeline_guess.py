"""The pipeline that a model is probably made for, and how that is known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner

from support.graphs import GraphWriter
from support.tflite_metadata import MetadataWriter
from windtunnel import schemas
from windtunnel.cli.main import cli
from windtunnel.datacheck.pipeline_guess import PipelineGuess, guess_pipeline
from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.pipeline import Pipeline
from windtunnel.tflite import read_model

IMAGE = (1, 96, 64, 3)


def model(path: Path, shape: Sequence[int] = IMAGE, dtype: str = "float32", **tensor: Any) -> Path:
    writer = GraphWriter()
    source = writer.tensor("image", shape, dtype, **tensor)
    result = writer.tensor("out", shape, dtype, **tensor)
    writer.op("RELU", [source], [result])
    return writer.write(path, [source], [result])


def guessed(path: Path) -> PipelineGuess:
    found = guess_pipeline(read_model(path))
    jsonschema.Draft202012Validator(schemas.load("pipeline")).validate(found.pipeline)
    Pipeline.parse(found.pipeline)
    return found


def after_resize(found: PipelineGuess) -> list[Any]:
    first, *others = found.pipeline["steps"]
    assert first["op"] == "resize"
    return list(others)


def test_metadata_says_the_normalization(tmp_path: Path) -> None:
    path = MetadataWriter().input(mean=[127.5], std=[127.5], color=1).add_to(model(tmp_path / "m.tflite"))
    found = guessed(path)
    assert found.pipeline["steps"][0]["size"] == [96, 64]
    assert after_resize(found) == [{"op": "normalize", "scale": pytest.approx(1 / 127.5), "offset": -1.0}]
    assert any("metadata" in one and "127.5" in one for one in found.found)
    assert not any("values" in one for one in found.assumed)


def test_metadata_may_say_a_number_for_each_channel(tmp_path: Path) -> None:
    writer = MetadataWriter().input(mean=[100, 110, 120], std=[50, 60, 80])
    (step,) = after_resize(guessed(writer.add_to(model(tmp_path / "m.tflite"))))
    assert step["scale"] == pytest.approx([1 / 50, 1 / 60, 1 / 80])
    assert step["offset"] == pytest.approx([-2, -110 / 60, -1.5])


@pytest.mark.parametrize(
    ("dtype", "scale", "zero", "expected"),
    [
        ("uint8", 1 / 128, 128, [{"op": "normalize", "scale": pytest.approx(1 / 128), "offset": -1.0}]),
        ("int8", 1 / 255, -128, [{"op": "normalize", "scale": pytest.approx(1 / 255), "offset": 0.0}]),
        ("uint8", 1.0, 0, []),
        ("int8", 1.0, -128, []),
        ("int8", 1.0, 0, [{"op": "normalize", "scale": 1.0, "offset": -128.0}]),
    ],
)
def test_the_quantization_of_the_input_says_the_range(
    dtype: str, scale: float, zero: int, expected: list[Any], tmp_path: Path
) -> None:
    found = guessed(model(tmp_path / "m.tflite", dtype=dtype, scales=[scale], zeros=[zero]))
    assert after_resize(found) == expected
    assert any("quantization" in one for one in found.found)


def test_the_name_of_the_file_says_the_family(tmp_path: Path) -> None:
    found = guessed(model(tmp_path / "my_ResNet50_V1_final.tflite"))
    assert [step["op"] for step in after_resize(found)] == ["channel_order", "normalize"]
    assert found.pipeline["steps"][0]["size"] == [96, 64]
    assert any("ResNet v1" in one and "file's name" in one for one in found.assumed)


def test_what_nothing_says_is_assumed_and_said(tmp_path: Path) -> None:
    found = guessed(model(tmp_path / "m.tflite", (1, 3, 96, 64)))
    assert [step["op"] for step in after_resize(found)] == ["normalize", "layout"]
    assert any("nothing in the file says it" in one for one in found.assumed)
    bytes_in = guessed(model(tmp_path / "u.tflite", dtype="uint8"))
    assert after_resize(bytes_in) == [{"op": "cast", "to": "uint8", "rounding": "nearest", "saturate": True}]
    open_sides = guessed(model(tmp_path / "mobilenet_v2_open.tflite", signature=(-1, -1, -1, 3)))
    assert open_sides.pipeline["steps"][0]["size"] == [224, 224]
    assert any("the input is open" in one for one in open_sides.assumed)


def test_waveforms_and_spectra(tmp_path: Path) -> None:
    found = guessed(model(tmp_path / "yam.tflite", (15_600,)))
    assert found.pipeline["steps"] == [
        {"op": "resample", "to": 16_000, "method": "polyphase"},
        {"op": "pad", "length": 15_600, "value": 0},
    ]
    assert any("YAMNet" in one for one in found.assumed)
    said = MetadataWriter().input(sample_rate=22_050).add_to(model(tmp_path / "m.tflite", (1, 30_000)))
    assert guessed(said).pipeline["steps"][0]["to"] == 22_050
    assert any("22050 Hz, in the metadata" in one for one in guessed(said).found)
    spectra = guessed(model(tmp_path / "s.tflite", (1, 124, 129, 1)))
    assert [step["op"] for step in spectra.pipeline["steps"]][-1] == "spectrogram"


def bert(path: Path, names: Sequence[str]) -> Path:
    writer = GraphWriter()
    sources = [writer.tensor(name, (1, 64), "int32") for name in names]
    result = writer.tensor("out", (1, 64), "int32")
    writer.op("ADD", sources[:2], [result])
    return writer.write(path, sources, [result], signature=False)


def test_texts(tmp_path: Path) -> None:
    path = bert(tmp_path / "bert.tflite", ["segment_ids", "input_mask", "input_word_ids"])
    writer = MetadataWriter().input(vocabulary="words.txt").input().input()
    found = guessed(writer.add_to(path, {"words.txt": "[UNK]\n", "other.txt": "x"}))
    inputs = found.pipeline["inputs"]
    assert inputs["input_mask"]["steps"][-2:] == [{"op": "mask", "value": 1}, {"op": "pad", "length": 64, "value": 0}]
    assert inputs["segment_ids"]["steps"][-2] == {"op": "mask", "value": 0}
    assert inputs["input_word_ids"]["steps"][-2]["vocabulary"] == "words.txt"
    assert found.files == {"words.txt": b"[UNK]\n"}
    by_order = guessed(bert(tmp_path / "order.tflite", ["a", "b", "c"]))
    assert by_order.pipeline["inputs"]["b"]["steps"][-2] == {"op": "mask", "value": 1}
    assert any("by their order" in one for one in by_order.assumed)


@pytest.mark.parametrize(
    ("shape", "words"),
    [((1, 8), r"takes float32 \[1, 8\]"), ((1, 28, 28, 1), "one channel"), ((1, 5, 5, 4), "5, 5, 4")],
)
def test_what_looks_like_nothing_known_is_said(shape: Sequence[int], words: str, tmp_path: Path) -> None:
    path = model(tmp_path / "m.tflite", shape)
    with pytest.raises(Unsupported, match=words):
        guess_pipeline(read_model(path))


def test_damaged_metadata_says_nothing(tmp_path: Path) -> None:
    path = MetadataWriter().input(mean=[1], std=[2]).labels("labels.txt").add_to(model(tmp_path / "m.tflite"))
    path.write_bytes(path.read_bytes() + b"PK\x05\x06 no archive")
    assert guessed(path).labels == ()


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(cli, [*map(str, arguments)], catch_exceptions=False)


def test_commands(tmp_path: Path) -> None:
    writer = MetadataWriter().input(mean=[0], std=[255]).labels("labels.txt")
    path = writer.add_to(model(tmp_path / "m.tflite"), {"labels.txt": "cat\ndog\n"})
    listed = json.loads(run("pipelines", "list", "--json").stdout)
    assert {"name": "yamnet", "title": "YAMNet: the waveform goes into the model", "task": "audio"} in listed
    shown = run("pipelines", "show", "vgg16")
    assert json.loads(shown.stdout)["name"] == "vgg16"
    assert "source: BGR minus 103.939" in shown.stderr
    with_sources = json.loads(run("pipelines", "show", "vgg16", "--json").stdout)
    jsonschema.Draft202012Validator(schemas.load("ready_pipeline")).validate(with_sources)
    assert with_sources["pipeline"] == json.loads(shown.stdout)
    guess = run("pipelines", "guess", path)
    assert json.loads(guess.stdout)["steps"][1]["scale"] == pytest.approx(1 / 255)
    assert "found: labels: 2 names in labels.txt" in guess.stderr
    document = json.loads(run("pipelines", "guess", path, "--json").stdout)
    jsonschema.Draft202012Validator(schemas.load("pipeline_guess")).validate(document)
    assert document["labels"] == ["cat", "dog"]


def test_a_guess_is_written_with_its_vocabulary(tmp_path: Path) -> None:
    path = bert(tmp_path / "bert.tflite", ["ids", "mask"])
    writer = MetadataWriter().input(vocabulary="../up/words.txt").input()
    writer.add_to(path, {"../up/words.txt": "[PAD]\n[UNK]\n[CLS]\n[SEP]\nhi\n"})
    (tmp_path / "made").mkdir()
    assert run("pipelines", "guess", path, "-o", tmp_path / "made/p.json").exit_code == 0
    assert sorted(file.name for file in (tmp_path / "made").iterdir()) == ["p.json", "words.txt"]
    with pytest.raises(InvalidInput, match=r"words\.txt"):
        Pipeline.parse(json.loads((tmp_path / "made/p.json").read_text())).apply(["Hi"], name="ids")
