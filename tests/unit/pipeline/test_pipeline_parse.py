"""Reading and writing pipeline.json."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from windtunnel import schemas
from windtunnel.errors import InvalidInput
from windtunnel.pipeline import Pipeline
from windtunnel.pipeline.document.pipeline_document import OPS
from windtunnel.pipeline.op_registry import COMPUTE
from windtunnel.pipeline.ops.kinds import KINDS

FROM_THE_FORMAT: dict[str, Any] = {
    "schema": "windtunnel.pipeline/1",
    "task": "classification",
    "steps": [
        {"op": "resize", "size": [224, 224], "method": "bilinear", "antialias": False},
        {"op": "central_crop", "size": [224, 224]},
        {"op": "channel_order", "to": "BGR"},
        {"op": "normalize", "scale": 0.00784313725, "offset": -1.0},
        {"op": "layout", "to": "NCHW"},
    ],
}
STEPS = [
    *FROM_THE_FORMAT["steps"],
    {"op": "letterbox", "size": [3, 4], "value": 114},
    {"op": "letterbox", "size": [3, 4], "value": [1, 2, 3]},
    {"op": "rotate", "degrees": 270},
    {"op": "mirror"},
    {"op": "normalize", "scale": [1, 2, 3], "offset": [0.5, 0, -1]},
    {"op": "cast", "to": "uint8", "saturate": True},
    {"op": "resample", "to": 16000},
    {"op": "frame", "length": 400, "step": 160},
    {"op": "window", "kind": "hann", "periodic": True},
    {"op": "spectrogram", "power": 2},
    {"op": "mel", "bins": 64, "low": 125, "high": 7500},
    {"op": "log", "kind": "ln", "floor": 0.001},
    {"op": "lowercase"},
    {"op": "normalize_unicode", "form": "NFKC"},
    {"op": "tokenize", "vocabulary": "sha256:00", "kind": "wordpiece"},
    {
        "op": "tokenize",
        "vocabulary": "v.txt",
        "kind": "whitespace",
        "unknown": "?",
        "prefix": ["a", "b"],
        "suffix": "c",
    },
    {"op": "pad", "length": 128},
    {"op": "mask", "value": 0},
    {"op": "resample", "to": 8000, "method": "linear"},
    {"op": "spectrogram", "power": 1, "fft_length": 512},
    {"op": "yuv_to_rgb", "matrix": "bt709", "range": "video"},
    {"op": "gamma", "exponent": 2.2},
]
BAD_STEPS: list[tuple[Any, str]] = [
    ({"op": "resise", "size": [1, 1]}, "step 1.*'resise'.*'resize'"),
    ({"op": "resize", "sise": [1, 1]}, "step 1.*'sise'.*'size'"),
    ({"op": "resize"}, "'size' is missing"),
    ({"op": "resize", "size": 224}, "height, width"),
    ({"op": "resize", "size": [224, 0]}, "'size'"),
    ({"op": "resize", "size": [224, 1e9]}, "'size'"),
    ({"op": "resize", "size": [224, True]}, "'size'"),
    ({"op": "resize", "size": [20000, 1]}, "16384"),
    ({"op": "resize", "size": [2, 2], "method": "lanczos"}, "'method'.*lanczos"),
    ({"op": "resize", "size": [2, 2], "antialias": 1}, "'antialias'"),
    ({"op": "rotate", "degrees": 45}, "'degrees'"),
    ({"op": "rotate", "degrees": False}, "'degrees'"),
    ({"op": "normalize", "scale": [1, 2]}, "'scale'.*has 2"),
    ({"op": "normalize", "scale": 0}, "'scale'"),
    ({"op": "normalize", "offset": "1"}, "'offset'"),
    ({"op": "cast", "to": "object"}, "'to'"),
    ({"op": "channel_order", "to": "RBG"}, "'to'"),
    ({"op": "resample", "to": 0}, "'to'"),
    ({"op": "resample", "to": 8000, "method": "sinc"}, "'method'"),
    ({"op": "resample"}, "'to' is missing"),
    ({"op": "frame", "length": 400}, "'step' is missing"),
    ({"op": "frame", "length": 400, "step": 0}, "'step'"),
    ({"op": "frame", "length": 25.5, "step": 10}, "'length'"),
    ({"op": "window", "kind": "blackman"}, "'kind'"),
    ({"op": "spectrogram", "power": -1}, "'power'"),
    ({"op": "mel", "bins": 0, "low": 0, "high": 1}, "'bins'"),
    ({"op": "mel", "bins": 4, "low": -1, "high": 1}, "'low'"),
    ({"op": "log", "kind": "log2"}, "'kind'"),
    ({"op": "log", "floor": -1}, "'floor'"),
    ({"op": "lowercase", "locale": "tr"}, "unknown field 'locale'"),
    ({"op": "normalize_unicode"}, "'form' is missing"),
    ({"op": "normalize_unicode", "form": "NFX"}, "'form'"),
    ({"op": "tokenize", "vocabulary": "v.txt", "kind": "unigram"}, "'kind'"),
    ({"op": "tokenize", "vocabulary": "", "kind": "bpe"}, "'vocabulary'"),
    ({"op": "tokenize", "vocabulary": "v.txt", "kind": "bpe", "prefix": 2}, "'prefix'"),
    ({"op": "pad"}, "'length' is missing"),
    ({"op": "pad", "length": 0}, "'length'"),
    ({"op": "pad", "length": 4, "values": 1}, "'values'.*'value'"),
    ({"op": "yuv_to_rgb", "matrix": "bt2020"}, "'matrix'"),
    ({"op": "yuv_to_rgb", "range": "limited"}, "'range'"),
    ({"op": "gamma"}, "'exponent' is missing"),
    ({"op": "gamma", "exponent": 0}, "'exponent'"),
    ({"size": [1, 1]}, "no field 'op'"),
    ("resize", "no field 'op'"),
]


def pipeline(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"schema": "windtunnel.pipeline/1", "steps": list(steps)}


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = schemas.load("pipeline")
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_format_s_example_comes_back(validator: jsonschema.Draft202012Validator) -> None:
    parsed = Pipeline.parse(FROM_THE_FORMAT)
    assert parsed.to_json() == FROM_THE_FORMAT
    validator.validate(FROM_THE_FORMAT)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step["op"])
def test_every_op_is_read_written_and_in_the_schema(
    step: dict[str, Any], validator: jsonschema.Draft202012Validator
) -> None:
    parsed = Pipeline.parse(pipeline(step))
    assert Pipeline.parse(json.loads(json.dumps(parsed.to_json()))) == parsed
    assert step.items() <= parsed.to_json()["steps"][0].items()
    validator.validate(pipeline(step))
    validator.validate(parsed.to_json())


@pytest.mark.parametrize(("step", "message"), BAD_STEPS)
def test_bad_steps_are_named(step: Any, message: str, validator: jsonschema.Draft202012Validator) -> None:
    good = {"op": "cast", "to": "float32"}
    with pytest.raises(InvalidInput, match=message) as caught:
        Pipeline.parse(pipeline(good, step))
    assert "step 1" in str(caught.value)
    assert not validator.is_valid(pipeline(good, step))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"steps": []}, "pipeline: field 'schema' is None (this version reads 'windtunnel.pipeline/1')"),
        (pipeline() | {"steps": {}}, "pipeline: field 'steps' must be a list, this is dict {}"),
        (pipeline() | {"task": 1}, "pipeline: field 'task' must be text, this is int 1"),
        (pipeline() | {"taks": "x"}, "pipeline: unknown field 'taks' (did you mean 'task'?)"),
        (pipeline({"op": "mirror"}, {}), "pipeline: step 1 has no field 'op' (for example"),
        (pipeline({"op": "miror"}), "pipeline: step 0: unknown op 'miror' (did you mean 'mirror'?)"),
        (pipeline({"op": "resize"}), "pipeline: step 0 (resize): field 'size' is missing"),
        (
            pipeline({"op": "resize", "size": [9, 99999]}),
            "pipeline: step 0 (resize): field 'size', item 1, must be a whole number from 1 to 16384, this is int",
        ),
        (
            pipeline({"op": "rotate", "degrees": 90.0}),
            "pipeline: step 0 (rotate): field 'degrees' must be 0, 90, 180 or 270, this is float 90.0",
        ),
        (
            pipeline({"op": "mirror"}, {"op": "log"}),
            "pipeline: step 1 (log) works on audio, step 0 on image (one pipeline works on one kind of sample)",
        ),
    ],
)
def test_messages_say_where_what_and_the_value(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Pipeline.parse(wrong)
    assert str(caught.value).startswith(words)


def test_numbers_stay_as_they_are_written() -> None:
    """A job's key is made from the text."""
    step = {"op": "normalize", "scale": [1, 2.0, 3], "offset": 1}
    assert json.dumps(Pipeline.parse(pipeline(step)).to_json()["steps"]) == json.dumps([step])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400])
def test_constants_are_finite(value: float) -> None:
    with pytest.raises(InvalidInput, match="finite"):
        Pipeline.parse(pipeline({"op": "normalize", "scale": value}))


@pytest.mark.parametrize(
    "obj",
    [
        [],
        {},
        {"steps": []},
        {"schema": "windtunnel.pipeline/2", "steps": []},
        {"schema": "windtunnel.pipeline/1"},
        {"schema": "windtunnel.pipeline/1", "steps": {}},
        {"schema": "windtunnel.pipeline/1", "steps": [], "taks": "audio"},
        {"schema": "windtunnel.pipeline/1", "steps": [], "task": 1},
        {"schema": "windtunnel.pipeline/1", "steps": [{"op": "mirror"}] * 101},
    ],
)
def test_what_is_no_pipeline_is_refused(obj: Any, validator: jsonschema.Draft202012Validator) -> None:
    with pytest.raises(InvalidInput):
        Pipeline.parse(obj)
    assert not validator.is_valid(obj)


def test_kinds_do_not_mix() -> None:
    with pytest.raises(InvalidInput, match="audio"):
        Pipeline.parse(pipeline({"op": "mirror"}, {"op": "mel", "bins": 2, "low": 0, "high": 1}))
    with pytest.raises(InvalidInput, match="audio"):
        Pipeline.parse({**pipeline({"op": "mirror"}), "task": "audio"})


def test_every_op_has_a_model_a_kind_and_a_computation() -> None:
    assert OPS.keys() == KINDS.keys() == COMPUTE.keys() | {"channel_order", "layout"}
    assert {step["op"] for step in STEPS} == OPS.keys()
