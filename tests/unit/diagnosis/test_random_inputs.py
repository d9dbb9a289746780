"""Random inputs for two models: in the range that both take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.graphs import GraphWriter
from windtunnel.diagnosis.feeding.paired_inputs import feed, translate
from windtunnel.errors import InvalidInput
from windtunnel.tflite import ModelFacts, read_model
from windtunnel.tflite.paired_ends import pair_inputs


def quantized(path: Path, dtype: str, scale: float, zero: int, *, name: str = "image", op: bool = False) -> ModelFacts:
    """A model whose input, or what a QUANTIZE op makes of it, has this scale and zero point."""
    writer = GraphWriter()
    stored = writer.tensor("stored" if op else name, (1, 4), dtype, scales=[scale], zeros=[zero])
    source = writer.tensor(name, (1, 4)) if op else stored
    if op:
        writer.op("QUANTIZE", [source], [stored])
    output = writer.tensor("real", (1, 4))
    writer.op("DEQUANTIZE", [stored], [output])
    return read_model(writer.write(path, [source], [output]))


def floating(
    path: Path, *names: str, shapes: tuple[tuple[int, ...], ...] = ((1, 4),), signed: bool = True
) -> ModelFacts:
    writer = GraphWriter()
    sources = [writer.tensor(name, shape) for name, shape in zip(names, shapes * len(names), strict=False)]
    outputs = []
    for source, name in zip(sources, names, strict=True):
        outputs.append(writer.tensor(f"{name}/out", (1, 4)))
        writer.op("RELU", [source], [outputs[-1]])
    return read_model(writer.write(path, sources, outputs, signature=signed))


def extremes(reference: ModelFacts, candidate: ModelFacts) -> tuple[float, float]:
    values = np.concatenate([row["image"].ravel() for row in feed(None, None, reference, candidate)])
    assert values.dtype == np.float32
    assert len(np.unique(values)) > 32
    return float(values.min()), float(values.max())


@pytest.fixture
def plain(tmp_path: Path) -> ModelFacts:
    return floating(tmp_path / "plain.tflite", "image")


def test_between_minus_one_and_one_where_no_model_says(plain: ModelFacts) -> None:
    low, high = extremes(plain, plain)
    assert -1 <= low < -0.8
    assert 0.8 < high < 1


@pytest.mark.parametrize("op", [False, True])
@pytest.mark.parametrize(
    ("dtype", "scale", "zero", "expected"),
    [
        ("uint8", 2.0, 0, (0.0, 510.0)),
        ("int8", 1 / 255, -128, (0.0, 1.0)),
        ("int8", 0.5, 27, (-77.5, 50.0)),
        # Symmetric always: what lies below 0 may never have been calibrated.
        ("int16", 3 / 32767, 0, (0.0, 3.0)),
    ],
)
def test_what_a_quantized_input_holds(
    tmp_path: Path,
    plain: ModelFacts,
    op: bool,
    dtype: str,
    scale: float,
    zero: int,
    expected: tuple[float, float],
) -> None:
    candidate = quantized(tmp_path / "q.tflite", dtype, scale, zero, op=op)
    low, high = extremes(plain, candidate)
    width = expected[1] - expected[0]
    assert expected[0] - 1e-5 * width <= low < expected[0] + 0.1 * width
    assert expected[1] - 0.1 * width < high <= expected[1] + 1e-5 * width


def test_what_both_hold(tmp_path: Path) -> None:
    # [0, 127.5] and [-64, 63.5].
    reference, candidate = (
        quantized(tmp_path / "a.tflite", "uint8", 0.5, 0),
        quantized(tmp_path / "b.tflite", "int8", 0.5, 0),
    )
    low, high = extremes(reference, candidate)
    assert 0 <= low < 8
    assert 56 < high <= 63.5


def test_inputs_do_not_shrink_to_what_a_candidate_calibrated_far_too_narrow_holds(tmp_path: Path) -> None:
    # [0, 255] and [0, 12.75].
    reference = quantized(tmp_path / "a.tflite", "uint8", 1.0, 0)
    candidate = quantized(tmp_path / "b.tflite", "uint8", 0.05, 0)
    assert extremes(reference, candidate)[1] > 220
    # The other way round the candidate holds all that the reference does.
    assert extremes(candidate, reference)[1] <= 12.75


def test_where_the_two_have_nothing_in_common_the_reference_wins(tmp_path: Path) -> None:
    # [0, 255] and [-255, 0].
    reference = quantized(tmp_path / "a.tflite", "uint8", 1.0, 0)
    candidate = quantized(tmp_path / "b.tflite", "uint8", 1.0, 255)
    low, high = extremes(reference, candidate)
    assert 0 <= low < 32
    assert 220 < high <= 255


def test_the_range_goes_with_the_name_not_with_the_place(tmp_path: Path) -> None:
    reference = floating(tmp_path / "a.tflite", "mask", "image", signed=False)
    writer = GraphWriter()
    image = writer.tensor("image", (1, 4), "uint8", scales=[1.0], zeros=[0])
    mask = writer.tensor("mask", (1, 4))
    real = writer.tensor("real", (1, 4))
    writer.op("DEQUANTIZE", [image], [real])
    candidate = read_model(writer.write(tmp_path / "b.tflite", [image, mask], [real, mask], signature=False))
    pairs = [(own.name, mine.name) for own, mine in pair_inputs(reference, candidate)]
    assert pairs == [("image", "image"), ("mask", "mask")]
    rows = list(feed(None, None, reference, candidate))
    assert max(row["image"].max() for row in rows) > 200
    assert max(np.abs(row["mask"]).max() for row in rows) < 1


def test_integers_stored_by_the_reference_reach_the_candidate_as_real_numbers(
    tmp_path: Path, plain: ModelFacts
) -> None:
    reference = quantized(tmp_path / "a.tflite", "uint8", 0.5, 10)
    given = {"image": np.array([[0, 10, 12, 255]], np.uint8)}
    assert translate(given, reference, plain)["image"].tolist() == [[-5.0, 0.0, 1.0, 122.5]]


def test_models_with_other_inputs_cannot_be_compared(tmp_path: Path, plain: ModelFacts) -> None:
    two = floating(tmp_path / "two.tflite", "image", "mask")
    with pytest.raises(InvalidInput, match="takes 2 inputs"):
        feed(None, None, plain, two)
