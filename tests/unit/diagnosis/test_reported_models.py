"""Mistakes of conversions that people reported in public, each rebuilt small: named at the right op, also quantized.

The source of a case is the repository and the number of the report.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from support import reported_models as made
from support.fault_runs import quantize, ranges, samples_of
from support.layers import random_samples
from windtunnel.diagnosis import Comparison, compare_models
from windtunnel.tflite import read_model

Writer = Callable[[Path], Path]


@dataclass(frozen=True)
class Report:
    """A right model, the wrong one, and what is wrong: the cause's code, its layer and words that say it.

    `quantized`: the litert-quantizer can quantize it.
    """

    source: str
    right: Writer
    wrong: Writer
    code: str
    layer: str
    words: str
    quantized: bool = True


def _case(source: str, write: Callable[..., Path], code: str, layer: str, words: str, **more: bool) -> Report:
    return Report(source, write, partial(write, wrong=True), code, layer, words, **more)


REPORTS = [
    _case(
        "tensorflow/model-optimization#771",
        made.transposed_convolution,
        "conversion.weights",
        "up",
        "weights up/weights are zero in channels 1, 2, 3, 4",
    ),
    _case(
        "tensorflow/tflite-micro#1646",
        made.padded_dilation,
        "conversion.op",
        "padded",
        "padding value is 1.5",
    ),
    Report(
        "tensorflow/tflite-micro#2319",
        made.dilated,
        partial(made.padded_dilation, wrong=True),
        "conversion.op",
        "padded",
        "padding value is 1.5",
    ),
    _case(
        "google-ai-edge/litert-torch#1238",
        made.constant_in_memory_order,
        "conversion.weights",
        "scaled",
        "operand scaled/constant ",
    ),
    _case("tensorflow/tensorflow#62585", made.mirrored, "conversion.op", "mirrored", "mode is 1 instead of 0"),
    Report(
        "PINTO0309/onnx2tf#91",
        made.shuffled_pixels,
        partial(made.depth_to_space, wrong=True),
        "conversion.op",
        "pixels",
        "DEPTH_TO_SPACE instead of RESHAPE, TRANSPOSE, RESHAPE",
    ),
    _case("PINTO0309/openvino2tensorflow#86", made.largest, "conversion.op", "largest", "pads is"),
    _case("tensorflow/tensorflow#45579", made.averaged, "conversion.op", "mean", "pads is"),
    _case(
        "tensorflow/tensorflow#41804",
        made.gathered,
        "conversion.op",
        "taken",
        "batch_dims is 0 instead of 1",
        quantized=False,
    ),
    _case(
        "microsoft/MMdnn#250",
        made.flattened,
        "conversion.op",
        "flat",
        "are RESHAPE instead of TRANSPOSE, RESHAPE",
    ),
    _case(
        "apache/tvm#9078",
        made.softmax_over_channels,
        "conversion.op",
        "likely",
        "are TRANSPOSE instead of nothing",
    ),
    _case(
        "tensorflow/tflite-micro#1209",
        made.recurrent,
        "conversion.weights",
        "lstm",
        "other constants of the op differ too: w_f",
        quantized=False,
    ),
    _case(
        "google-ai-edge/LiteRT#128",
        made.detector,
        "conversion.op",
        "TFLite_Detection_PostProcess",
        "h_scale, w_scale, x_scale, y_scale is 1, 1, 1, 1 instead of 5, 5, 10, 10",
    ),
    _case(
        "tensorflow/tflite-support#451",
        made.classifier,
        "conversion.op",
        "logits",
        "SOFTMAX likely is missing after this layer",
    ),
    Report(
        "tensorflow/tflite-support#450",
        made.classifier,
        partial(made.classifier, twice=True),
        "conversion.op",
        "likely/again",
        "an op that the reference does not have: SOFTMAX likely/again",
    ),
    _case(
        "microsoft/onnxruntime#26451",
        made.rounded,
        "conversion.op",
        "whole",
        "ROUND rounded is missing before this layer",
    ),
    _case("tensorflow/tensorflow#33588", made.averaged_channels, "conversion.op", "mean", "axis is 2 instead of 3"),
    _case("google-ai-edge/LiteRT#6518", made.attention, "conversion.op", "scores", "adj_y is False instead of True"),
    _case("PINTO0309/onnx2tf#588", made.gated, "conversion.op", "gated", "it reads"),
    _case("PINTO0309/onnx2tf#492", made.broadcast, "conversion.op", "scaled", "another result"),
]
SAME = [
    pytest.param(made.dilated, made.padded_dilation, id="zeros of PADV2 before the batch trick"),
    pytest.param(made.shuffled_pixels, made.depth_to_space, id="reordered channels before DEPTH_TO_SPACE"),
    pytest.param(made.flattened, partial(made.flattened, ordered=True), id="weights in the order of channels last"),
    pytest.param(made.detector, made.detector, id="a detector"),
    pytest.param(partial(made.classifier, kept=True), made.classifier, id="a last RELU that changed nothing"),
    pytest.param(made.classifier, partial(made.classifier, kept=True), id="a RELU that changes nothing"),
]


def _samples(model: Path) -> Path:
    shape = read_model(model).inputs[0].shape
    return random_samples(model.with_suffix(".npz"), shape if shape[0] > 1 else shape[1:])


def _compare(folder: Path, reference: Writer, candidate: Writer, *, quantized: bool) -> Comparison:
    models = reference(folder / "reference.tflite"), candidate(folder / "candidate.tflite")
    samples = _samples(models[0])
    if quantized:
        found = ranges(models[1], samples_of(samples))
        models = models[0], quantize(models[1], folder / "int8.tflite", "int8", found)
    return compare_models(*models, samples)


@pytest.mark.parametrize(
    ("report", "quantized"),
    [(one, how) for one in REPORTS for how in ((False, True) if one.quantized else (False,))],
    ids=lambda one: one.source if isinstance(one, Report) else "int8" if one else "float32",
)
def test_a_reported_mistake_is_named_at_its_op(report: Report, quantized: bool, tmp_path: Path) -> None:
    result = _compare(tmp_path, report.right, report.wrong, quantized=quantized)
    causes = {(str(one.code), one.layer): one for one in result.causes}
    assert result.verdict != "healthy"
    assert (report.code, report.layer) in causes
    assert len({one.op_index for one in result.causes}) <= (2 if report.layer == "gated" else 1)
    assert report.words in "; ".join(causes[report.code, report.layer].words())


@pytest.mark.parametrize("quantized", [False, True], ids=["float32", "int8"])
@pytest.mark.parametrize(("reference", "candidate"), SAME)
def test_the_same_written_differently_is_healthy(
    reference: Writer, candidate: Writer, quantized: bool, tmp_path: Path
) -> None:
    result = _compare(tmp_path, reference, candidate, quantized=quantized)
    assert (result.verdict, result.causes) == ("healthy", ())


def test_steps_of_weights_that_are_zero_are_not_said(tmp_path: Path) -> None:
    """The scale of a channel of zeros may be any number."""
    wrong = partial(made.transposed_convolution, wrong=True)
    result = _compare(tmp_path, made.transposed_convolution, wrong, quantized=True)
    assert "quantization steps" not in "; ".join(result.causes[0].words())


def _half(folder: Path, write: Callable[..., Path], second: np.ndarray | None = None) -> Comparison:
    models = write(folder / "reference.tflite"), write(folder / "candidate.tflite", half=True)
    x = np.random.default_rng(3).normal(size=(8, 8)).astype(np.float32)
    x[3] = 0.0
    arrays = {"x": x} if second is None else {"x/input": x, "x/mask": second}
    np.savez(folder / "samples.npz", **arrays)
    return compare_models(*models, folder / "samples.npz")


def test_a_mask_beyond_float16_makes_nan(tmp_path: Path) -> None:
    """tensorflow/tensorflow#43719: infinity times 0."""
    excluded = (np.random.default_rng(4).uniform(size=(8, 6)) > 0.6).astype(np.float32)
    result = _half(tmp_path, made.masked, excluded)
    (cause,) = result.causes
    assert (result.verdict, str(cause.code), cause.layer) == ("broken", "conversion.weights", "away")
    assert "float16 ends at 65504" in cause.fix["action"]


def test_an_epsilon_that_is_zero_in_float16_makes_nan(tmp_path: Path) -> None:
    """pytorch/pytorch#32137: a row of zeros is divided by its norm."""
    result = _half(tmp_path, made.normalized)
    (cause,) = result.causes
    assert (result.verdict, str(cause.code), cause.layer) == ("broken", "conversion.weights", "safe")
    assert "epsilon is 1e-12 in the reference and 0 as float16" in "; ".join(cause.words())
    assert "6e-8" in cause.fix["action"]
    finding = next(one for one in result.findings if one.code == "output.non_finite")
    assert "scale its inputs down" not in finding.fix


def test_an_epsilon_that_float16_holds_is_no_fault(tmp_path: Path) -> None:
    result = _half(tmp_path, partial(made.normalized, epsilon=1e-5))
    assert (result.verdict, result.causes) == ("healthy", ())
