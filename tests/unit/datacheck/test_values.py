"""Samples in another range or channel order than the model was trained on, with the real interpreter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from support.graphs import GraphWriter
from support.linear_digits import TEST, digits, linear_model
from windtunnel.converter.domain.conversion import Check
from windtunnel.converter.use_cases.check_conversion import check
from windtunnel.pipeline import Pipeline

Feed = Callable[[NDArray[np.uint8]], NDArray[Any]]
SIGNED, UNIT, RAW, INVERTED = (1 / 127.5, -1.0), (1 / 255, 0.0), (1.0, 0.0), (-1 / 255, 1.0)
IMAGENET = (
    [1 / 255 / std for std in (0.229, 0.224, 0.225)],
    [-mean / std for mean, std in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))],
)


def signed(raw: NDArray[np.uint8]) -> NDArray[np.float32]:
    return (raw / 127.5 - 1.0).astype(np.float32)


def unit(raw: NDArray[np.uint8]) -> NDArray[np.float32]:
    return (raw / 255.0).astype(np.float32)


def swapped(raw: NDArray[np.uint8]) -> NDArray[np.float32]:
    return signed(np.flip(raw, axis=-1))


def as_is(raw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return raw


def fewer_steps(raw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Scikit-learn's own: 0 to 16."""
    steps: NDArray[np.uint8] = np.rint(raw * 16.0 / 255.0).astype(np.uint8)
    return steps


def checked(
    folder: Path,
    trained: tuple[Any, Any],
    feed: Feed,
    *,
    channels: int = 1,
    leading: bool = False,
    pipeline: Any = None,
    labeled: bool = True,
) -> Check:
    """The check of a model `trained` on raw * scale + offset that is given what `feed` makes of the raw images."""
    model = linear_model(folder, *trained, channels=channels, leading=leading)
    found = digits(channels)
    if labeled:
        np.savez(folder / "samples.npz", x=feed(found.raw[TEST]), y=found.y[TEST])
    else:
        np.savez(folder / "samples.npz", x=feed(found.raw[TEST]))
    return check(model, {}, folder / "samples.npz", pipeline)


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("trained", "feed", "channels", "code", "what"),
    [
        (SIGNED, unit, 1, "input.range", "values from -1 to 1"),
        (UNIT, signed, 1, "input.range", "values from 0 to 1"),
        (RAW, unit, 1, "input.range", "values from 0 to 255"),
        (INVERTED, unit, 1, "input.range", "inverted, values from 1 to 0"),
        (INVERTED, as_is, 1, "input.integer_cast", "inverted, values from 1 to 0"),
        (INVERTED, fewer_steps, 1, "input.integer_cast", "inverted, values from 1 to 0"),
        (IMAGENET, unit, 3, "input.range", "mean and standard deviation of ImageNet (PyTorch)"),
        (SIGNED, swapped, 3, "input.channel_order", "BGR, values as they are"),
    ],
)
def test_the_pipeline_that_fits_is_found_and_offered(
    trained: tuple[Any, Any], feed: Feed, channels: int, code: str, what: str, tmp_path: Path
) -> None:
    wrong = checked(tmp_path, trained, feed, channels=channels)

    finding = next(one for one in wrong.findings if one.code == code)
    tried = finding.evidence["tried"]
    assert tried[0]["what"] == what and tried[0]["score"] > tried[0]["as_given"] + 0.3
    assert f"{tried[0]['score']:.4g}" in finding.message

    pipeline = Pipeline.parse(finding.evidence["pipeline"]).to_json()
    right = checked(tmp_path, trained, feed, channels=channels, pipeline=pipeline)
    assert right.converted is not None and wrong.converted is not None
    assert right.converted.top1 > wrong.converted.top1 + 0.3
    assert not [one for one in right.findings if one.code.startswith("input.")]


@pytest.mark.parametrize(
    ("trained", "feed", "leading"),
    [
        (SIGNED, signed, False),
        (UNIT, unit, False),
        # Values of 0 to 255 are right for these.
        (RAW, as_is, False),
        (SIGNED, as_is, True),
    ],
)
def test_no_alarm_where_the_samples_are_right(
    trained: tuple[Any, Any], feed: Feed, leading: bool, tmp_path: Path
) -> None:
    assert checked(tmp_path, trained, feed, leading=leading).findings == ()


def test_a_leading_rescaling_says_what_is_right_without_labels(tmp_path: Path) -> None:
    right = checked(tmp_path, SIGNED, as_is, leading=True, labeled=False)
    wrong = checked(tmp_path, SIGNED, unit, leading=True, labeled=False)

    assert [one.code for one in right.findings] == ["accuracy.unknown"]
    finding = next(one for one in wrong.findings if one.code == "input.range")
    assert "made for 0 to 255" in finding.message and finding.evidence["expected"] == [0.0, 255.0]
    assert finding.evidence["pipeline"]["steps"] == [{"op": "normalize", "scale": 255.0, "offset": 0.0}]


def test_integers_are_not_cast_in_silence(tmp_path: Path) -> None:
    found = checked(tmp_path, SIGNED, as_is, labeled=False).findings

    finding = next(one for one in found if one.code == "input.integer_cast")
    assert "integers (0 to 255)" in finding.message and "preprocessing" in finding.fix


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ([{"op": "normalize", "scale": 1 / 255, "offset": 0.0}], "input.range"),
        (
            [{"op": "channel_order", "to": "BGR"}, {"op": "normalize", "scale": 1 / 127.5, "offset": -1.0}],
            "input.channel_order",
        ),
    ],
)
def test_a_wrong_pipeline_is_replaced_at_its_end(steps: list[dict[str, Any]], code: str, tmp_path: Path) -> None:
    before = {"op": "central_crop", "size": [8, 8]}
    pipeline = {"schema": "windtunnel.pipeline/1", "task": "classification", "steps": [before, *steps]}

    found = checked(tmp_path, SIGNED, as_is, channels=3, pipeline=pipeline).findings

    offered = next(one for one in found if one.code == code).evidence["pipeline"]
    assert offered["steps"][0] == before and offered["task"] == "classification"
    assert offered["steps"][1:] == [{"op": "normalize", "scale": pytest.approx(1 / 127.5), "offset": -1.0}]


def test_accuracy_at_chance_is_said(tmp_path: Path) -> None:
    found = checked(tmp_path, RAW, unit).findings

    finding = next(one for one in found if one.code == "accuracy.chance")
    assert finding.evidence["samples"] == 600
    more = finding.evidence["accuracy"] > finding.evidence["guessing"]
    assert ("600 samples are too few to distinguish it from guessing" in finding.message) == more
    assert ("is no more than chance" in finding.message) != more
    assert finding.fix.startswith("give more samples") == more


def test_of_pipelines_that_fit_as_well_the_simplest_is_taken(tmp_path: Path) -> None:
    """Which of red and blue is larger, by far: no scale and no usual offset matters."""
    graph = GraphWriter()
    source = graph.tensor("image", (1, 2, 2, 3))
    flat = graph.tensor("flat", (1, 12))
    graph.op("RESHAPE", [source, graph.tensor("size", (2,), "int32", data=np.asarray([1, 12], np.int32))], [flat])
    weights = np.tile(np.asarray([[1, 0, 0], [0, 0, 1]], np.float32), (1, 4))
    out = graph.dense("scores", flat, weights, np.zeros(2, np.float32))
    model = graph.write(tmp_path / "model.tflite", [source], [out])
    labels = np.arange(64) % 2
    raw = np.random.default_rng(4).integers(0, 64, (64, 2, 2, 3)).astype(np.float32)
    raw[labels == 1, ..., 0] += 128
    raw[labels == 0, ..., 2] += 128
    np.savez(tmp_path / "samples.npz", x=raw, y=labels)

    findings = check(model, {}, tmp_path / "samples.npz", None).findings

    finding = next(one for one in findings if one.code == "input.channel_order")
    assert finding.evidence["tried"][0]["what"] == "BGR, values as they are"
    assert finding.evidence["pipeline"]["steps"] == [{"op": "channel_order", "to": "BGR"}]
    assert "as good, and less simple or usual: BGR" in finding.message


@pytest.mark.parametrize("labeled", [True, False])
def test_integers_that_a_quantized_input_stores_reach_it_as_they_are(labeled: bool, tmp_path: Path) -> None:
    """Bytes for a uint8 input that stands for values from 0 to 1."""
    graph = GraphWriter()
    source = graph.tensor("image", (1, 8, 8, 1), "uint8", scales=[1 / 255])
    real = graph.tensor("real", (1, 8, 8, 1))
    graph.op("DEQUANTIZE", [source], [real])
    model, found = linear_model(tmp_path, *UNIT, before=(graph, source, real)), digits()
    arrays: dict[str, Any] = {"y": found.y[TEST]} if labeled else {}
    np.savez(tmp_path / "bytes.npz", x=found.raw[TEST], **arrays)
    np.savez(tmp_path / "real.npz", x=unit(found.raw[TEST]), **arrays)

    stored, wanted = (check(model, {}, tmp_path / name, None) for name in ("bytes.npz", "real.npz"))

    assert stored.converted == wanted.converted and stored.findings == wanted.findings
    assert not [one for one in stored.findings if one.code.startswith("input.")]
