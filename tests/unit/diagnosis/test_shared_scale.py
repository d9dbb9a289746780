"""A part of a tensor that the scale does not resolve is named; parts that keep their resolution are left alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from support.fault_runs import quantize, ranges
from support.layers import Layers, options, random_weights
from windtunnel.diagnosis import Comparison, compare_models
from windtunnel.diagnosis.execution.trials import ValueSums
from windtunnel.diagnosis.feeding.paired_inputs import feed
from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.graph import match_layers
from windtunnel.diagnosis.minimal import minimal_case
from windtunnel.diagnosis.rules.effect_on_outputs import Ends
from windtunnel.diagnosis.rules.shared_scale import shared_scales
from windtunnel.errors import NotFound
from windtunnel.tflite import Quantization, Runner, read_model
from windtunnel.tflite.edit import Editor

LEAST = float(np.finfo(np.float32).min)
ROWS = np.random.default_rng(5).normal(size=(16, 12)).astype(np.float32)


def _compare(folder: Path, model: Path, variant: str = "int8", rows: NDArray[np.float32] = ROWS) -> Comparison:
    candidate = quantize(model, folder / "c.tflite", variant, ranges(model, [{"": one[None]} for one in rows]))
    np.savez(folder / "s.npz", x=rows)
    return compare_models(model, candidate, folder / "s.npz")


def _detector(path: Path, pixels: float, *, first: bool = False, normal: bool = True) -> Path:
    """Boxes of 6 anchors, up to `pixels`, and 3 sigmoid scores each, joined in one output.

    `first`: channels come before anchors. `normal` False: scores that no sample brings above 0.01.
    """
    net = Layers()
    source = net.tensor("input", (1, 12))
    hidden = net.fully_connected("hidden", source, random_weights((16, 12), seed=1), None, 1, "RELU")
    boxes = net.fully_connected("boxes", hidden, random_weights((24, 16), seed=2), None, 1)
    boxes = net.with_constant("MUL", "scaled", boxes, np.array(pixels, np.float32), (1, 24))
    bias = np.full(18, 0.0 if normal else -9.0, np.float32)
    scores = net.fully_connected("scores", hidden, random_weights((18, 16), seed=3), bias, 1)
    scores = net.layer("LOGISTIC", "sigmoid", [scores], (1, 18))
    shapes = ((1, 4, 6), (1, 3, 6)) if first else ((1, 6, 4), (1, 6, 3))
    parts = [
        net.reshape(f"part_{k}", one, shape) for k, (one, shape) in enumerate(zip((boxes, scores), shapes, strict=True))
    ]
    joint = net.layer(
        "CONCATENATION",
        "joint",
        parts,
        (1, 7, 6) if first else (1, 6, 7),
        options("Concatenation", axis=1 if first else 2),
    )
    return net.write(path, [source], [joint])


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("variant", ["int8"])
def test_scores_beside_boxes_in_pixels_are_lost(tmp_path: Path, variant: str, first: bool) -> None:
    result = _compare(tmp_path, _detector(tmp_path / "r.tflite", 100.0, first=first), variant)
    assert result.verdict == "degraded"
    (cause,) = result.causes
    assert (cause.code, cause.layer) == (CauseCode.SHARED_SCALE, "joint")
    (lost,) = cause.evidence["lost"]
    assert (lost["channels"], lost["constant"], lost["value"]) == ([4, 6], True, 0.0)
    assert "calibrating again does not help" in cause.fix["action"]
    # The figure of the whole tensor hardly shows it.
    assert result.output.nrmse is not None and result.output.nrmse < 0.03


@pytest.mark.parametrize(
    ("pixels", "variant", "normal"),
    [
        pytest.param(0.2, "int8", True, id="boxes of the size of the scores"),
        pytest.param(2.0, "int8", True, id="boxes some times as large"),
        pytest.param(100.0, "int16x8", True, id="16 bits resolve both"),
        pytest.param(0.2, "int8", False, id="scores that no sample brings up"),
    ],
)
def test_parts_that_keep_their_resolution_are_no_fault(
    tmp_path: Path, pixels: float, variant: str, normal: bool
) -> None:
    result = _compare(tmp_path, _detector(tmp_path / "r.tflite", pixels, normal=normal), variant)
    assert (result.verdict, result.causes) == ("healthy", ())


@pytest.mark.parametrize(("scale", "found"), [(None, 1), (0.0, 0), (math.inf, 0)])
def test_a_damaged_scale_of_a_joint_resolves_nothing(tmp_path: Path, scale: float | None, found: int) -> None:
    """No candidate with such a scale runs on all kernels, so only the reference does here."""
    model = _detector(tmp_path / "r.tflite", 100.0)
    whole = quantize(model, tmp_path / "w.tflite", "int8", ranges(model, [{"": one[None]} for one in ROWS]))
    editor = Editor(whole)
    (joint,) = (one for one in editor.facts.tensors if one.name == "joint")
    if scale is not None:
        editor.set_quantization(joint.index, Quantization((scale,), (0,)))
    damaged = editor.write(tmp_path / "c.tflite")
    np.savez(tmp_path / "s.npz", x=ROWS)
    ours, theirs = read_model(model), read_model(damaged)
    given = feed(tmp_path / "s.npz", None, ours, theirs)
    runner = Runner(model, preserve_all=True)

    def observe(sums: Mapping[str, ValueSums], samples: int) -> None:
        for sample in islice(given, samples):
            runner.run(sample)
            for one in sums.values():
                one.add(np.array(runner.view(one.tensor), np.float64))

    shared = shared_scales(match_layers(ours, theirs), observe, cast("Ends", None))
    assert len(shared.outputs) == found


def _regression(path: Path, factors: NDArray[np.float32]) -> Path:
    """A head with one channel per factor, which scales its weights."""
    net = Layers()
    source = net.tensor("input", (1, 12))
    hidden = net.fully_connected("hidden", source, random_weights((16, 12), seed=1), None, 1, "RELU")
    weights = random_weights((len(factors), 16), seed=4) * factors[:, None]
    return net.write(path, [source], [net.fully_connected("head", hidden, weights, None, 1)])


def test_channels_of_one_head_in_other_units(tmp_path: Path) -> None:
    factors = np.array([500.0, 500.0, 1.0, 400.0, 0.5], np.float32)
    result = _compare(tmp_path, _regression(tmp_path / "r.tflite", factors))
    (cause,) = result.causes
    assert (cause.code, cause.layer, cause.evidence["kind"]) == (CauseCode.SHARED_SCALE, "head", "channels")
    assert [one["channels"][0] for one in cause.evidence["lost"]] == [2, 4]


def test_channels_in_like_units_are_no_fault(tmp_path: Path) -> None:
    factors = np.array([5.0, 4.0, 1.0, 2.0, 0.8], np.float32)
    result = _compare(tmp_path, _regression(tmp_path / "r.tflite", factors))
    assert (result.verdict, result.causes) == ("healthy", ())


def _attention(path: Path, mask: float, how: str, *, beside: bool = False, stored: type = np.float32) -> Path:
    """Scores of 8 places with each other, causally masked before their softmax.

    `beside`: the output hardly depends on them. `stored`: the type of a mask that is multiplied.
    """
    net = Layers()
    source = net.tensor("input", (1, 12))
    wide = net.fully_connected("wide", source, random_weights((128, 12), seed=1, scale=0.5), None, 1)
    rows = net.reshape("rows", wide, (1, 8, 16))
    scores = net.layer("BATCH_MATMUL", "scores", [rows, rows], (1, 8, 8), options("BatchMatMul", adjY=True))
    scores = net.with_constant("MUL", "halved", scores, np.array(0.1, np.float32), (1, 8, 8))
    ahead = np.triu(np.ones((1, 8, 8), bool), 1)
    if how == "added":
        values = np.where(ahead, np.float32(mask), np.float32(0.0))
        masked = net.with_constant("ADD", "masked", scores, values, (1, 8, 8))
    elif how == "multiplied":
        applies = net.with_constant("MUL", "big", scores, np.zeros((1, 8, 8), np.float32), (1, 8, 8))
        applies = net.with_constant("ADD", "applies", applies, ahead.astype(np.float32), (1, 8, 8))
        if stored is np.float16:
            half = np.array(np.clip(mask, -65504, 65504), np.float16)
            size = net.layer("DEQUANTIZE", "size", [net.tensor("size/half", (), "float16", data=half)], ())
        else:
            size = net.constant("size", np.array(mask, np.float32))
        applies = net.layer("MUL", "mask", [applies, size], (1, 8, 8), options("Mul"))
        masked = net.layer("ADD", "masked", [scores, applies], (1, 8, 8), options("Add"))
    else:
        given = net.tensor("ahead", (1, 8, 8), "bool", data=ahead)
        low = net.constant("low", np.full((1, 8, 8), mask, np.float32))
        masked = net.layer("SELECT_V2", "masked", [given, low, scores], (1, 8, 8), options("SelectV2"))
    shares = net.layer("SOFTMAX", "shares", [masked], (1, 8, 8), options("Softmax", beta=1.0))
    context = net.layer("BATCH_MATMUL", "context", [shares, rows], (1, 8, 16), options("BatchMatMul"))
    flat = net.reshape("flat", context, (1, 128))
    head = net.fully_connected("head", flat, random_weights((4, 128), seed=3), None, 1)
    if beside:
        small = net.with_constant("MUL", "small", head, np.array(1e-3, np.float32), (1, 4))
        plain = net.fully_connected("plain", source, random_weights((4, 12), seed=6), None, 1)
        head = net.layer("ADD", "end", [small, plain], (1, 4), options("Add"))
    return net.write(path, [source], [head])


@pytest.mark.parametrize("how", ["added", "selected"])
@pytest.mark.parametrize(("mask", "variant"), [(-1e9, "int8"), (-65504.0, "int8"), (-1e9, "int16x8")])
def test_a_mask_that_sets_the_scale_is_named(tmp_path: Path, mask: float, variant: str, how: str) -> None:
    result = _compare(tmp_path, _attention(tmp_path / "r.tflite", mask, how), variant)
    cause = result.causes[0]
    assert (cause.code, cause.layer, cause.evidence["kind"]) == (CauseCode.SHARED_SCALE, "masked", "mask_constant")
    assert "quantization.accumulated" not in {one.code for one in result.causes}
    assert cause.verified
    assert cause.evidence["output_nrmse_mended"] < cause.evidence["output_nrmse"]


@pytest.mark.parametrize("how", ["added", "multiplied"])
@pytest.mark.parametrize("variant", ["int8", "int16x8"])
def test_a_mask_whose_scale_ends_the_process_is_named(tmp_path: Path, variant: str, how: str) -> None:
    result = _compare(tmp_path, _attention(tmp_path / "r.tflite", LEAST, how), variant)
    (cause,) = result.causes
    assert (cause.code, cause.layer, cause.evidence["kind"]) == (CauseCode.SHARED_SCALE, "masked", "mask_constant")
    assert cause.evidence["mask"]["size"] == pytest.approx(-LEAST)
    assert (result.verdict, cause.verified) == ("degraded", False)
    assert any("ADD 'masked'" in reason and "too large" in reason for reason in result.reasons)
    assert result.coverage.compared > 0
    with pytest.raises(NotFound, match="ADD 'masked'"):
        minimal_case(tmp_path / "r.tflite", tmp_path / "c.tflite", cause, tmp_path / "s.npz")


def test_a_scale_that_ends_the_process_in_both_models_is_said(tmp_path: Path) -> None:
    model = _attention(tmp_path / "r.tflite", LEAST, "added")
    both = quantize(model, tmp_path / "c.tflite", "int8", ranges(model, [{"": one[None]} for one in ROWS]))
    np.savez(tmp_path / "s.npz", x=ROWS)
    result = compare_models(both, both, tmp_path / "s.npz")
    assert result.causes == ()
    reasons = {one.name: one.reason for one in result.coverage.unmatched}
    assert "too large" in reasons["masked"]


@pytest.mark.parametrize(("mask", "variant"), [(-30.0, "int8"), (-1e4, "int16x8"), (-1e9, "float16")])
def test_a_mask_that_leaves_room_is_no_fault(tmp_path: Path, mask: float, variant: str) -> None:
    result = _compare(tmp_path, _attention(tmp_path / "r.tflite", mask, "added"), variant)
    assert (result.verdict, result.causes) == ("healthy", ())


@pytest.mark.parametrize(("mask", "verdict"), [(-1e9, "healthy"), (1e9, "degraded")])
def test_a_mask_that_float16_cuts_off_is_no_fault(tmp_path: Path, mask: float, verdict: str) -> None:
    """float16 ends at 65504, which a softmax takes for the same; a mask of the other sign it does not."""
    reference = _attention(tmp_path / "r.tflite", -1e9, "multiplied")
    candidate = _attention(tmp_path / "c.tflite", mask, "multiplied", stored=np.float16)
    np.savez(tmp_path / "s.npz", x=ROWS)
    result = compare_models(reference, candidate, tmp_path / "s.npz")
    assert result.verdict == verdict
    assert bool(result.causes) is (verdict == "degraded")


@pytest.mark.parametrize(("threshold", "named"), [(0.1, True), (0.9, False)])
def test_a_mask_that_no_output_shows_counts_where_a_layer_is_over_the_threshold_given(
    tmp_path: Path, threshold: float, named: bool
) -> None:
    model = _attention(tmp_path / "r.tflite", -1e9, "added", beside=True)
    candidate = quantize(model, tmp_path / "c.tflite", "int8", ranges(model, [{"": one[None]} for one in ROWS]))
    np.savez(tmp_path / "s.npz", x=ROWS)
    result = compare_models(model, candidate, tmp_path / "s.npz", threshold=threshold)
    assert result.output.nrmse is not None and result.output.nrmse < 0.02
    assert any(0.1 < (layer.nrmse or 0.0) < 0.9 for layer in result.layers)
    assert (CauseCode.SHARED_SCALE in {cause.code for cause in result.causes}) is named
