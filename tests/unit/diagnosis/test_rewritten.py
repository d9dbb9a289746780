"""The same network written differently: values inside differ, what reads them agrees; and faults that look the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from support.fault_runs import quantize, ranges
from support.layers import Layers, options, random_samples, random_weights
from support.quantized import calibrated, change_range, images, small_network
from windtunnel.diagnosis import Comparison, compare_models
from windtunnel.diagnosis.thresholds.confidences import UNEXPLAINED
from windtunnel.tflite import Quantization
from windtunnel.tflite.edit import Editor

Build = Callable[[Layers, int], int]
BIAS = random_weights((6,), seed=9)


def _compare(folder: Path, reference: Build, candidate: Build, shape: tuple[int, ...] = (1, 8)) -> Comparison:
    made = []
    for name, build in (("r", reference), ("c", candidate)):
        net = Layers()
        source = net.tensor("input", shape)
        made.append(net.write(folder / f"{name}.tflite", [source], [build(net, source)]))
    return compare_models(made[0], made[1], random_samples(folder / "s.npz", shape[1:]))


def _named(result: Comparison) -> list[tuple[str, str | None]]:
    return [(cause.code, cause.layer) for cause in result.causes]


def _sum(first: bool, last: bool) -> Build:
    """Two dense layers and their sum; the bias added with the first layer, after the sum, or not at all."""

    def build(net: Layers, source: int) -> int:
        a = net.fully_connected("a", source, random_weights((6, 8), seed=1), BIAS if first else None, 1)
        b = net.fully_connected("b", source, random_weights((6, 8), seed=2), None, 1)
        both = net.layer("ADD", "both", [a, b], (1, 6), options("Add"))
        both = net.with_constant("ADD", "shifted", both, BIAS, (1, 6)) if last else both
        return net.fully_connected("scores", both, random_weights((4, 6), seed=3), None, 1)

    return build


def test_a_bias_that_is_added_later_is_no_fault(tmp_path: Path) -> None:
    result = _compare(tmp_path, _sum(True, False), _sum(False, True))
    assert (result.verdict, result.causes) == ("healthy", ())
    reasons = {one.name: one.reason for one in result.coverage.unmatched}
    assert reasons["a"].startswith("its values differ, and everything that reads it agrees")
    assert "scores" in {layer.name for layer in result.layers}


def test_a_bias_that_is_added_nowhere_is_lost(tmp_path: Path) -> None:
    assert ("conversion.weights", "a") in _named(_compare(tmp_path, _sum(True, False), _sum(False, False)))


def _sigmoid(written_out: bool, factor: float = 0.5) -> Build:
    def build(net: Layers, source: int) -> int:
        x = net.fully_connected("x", source, random_weights((6, 8), seed=1), BIAS, 1)
        if not written_out:
            y = net.layer("LOGISTIC", "y", [x], (1, 6))
        else:
            half = np.array(factor, np.float32)
            y = net.layer("TANH", "t", [net.with_constant("MUL", "half", x, half, (1, 6))], (1, 6))
            halved = net.with_constant("MUL", "halved", y, np.array([0.5], np.float32), (1, 6))
            y = net.with_constant("ADD", "y", halved, np.array([0.5], np.float32), (1, 6))
        return net.fully_connected("scores", y, random_weights((4, 6), seed=3), None, 1)

    return build


def test_a_sigmoid_by_a_tangent_is_no_fault(tmp_path: Path) -> None:
    for folder, pair in (("there", (False, True)), ("back", (True, False))):
        (tmp_path / folder).mkdir()
        result = _compare(tmp_path / folder, _sigmoid(pair[0]), _sigmoid(pair[1]))
        assert (result.verdict, result.causes) == ("healthy", ())


def test_a_sigmoid_by_a_wrong_tangent_is_one(tmp_path: Path) -> None:
    result = _compare(tmp_path, _sigmoid(False), _sigmoid(True, factor=0.8))
    assert result.verdict == "degraded"
    assert _named(result)[0][0] == "conversion.op"


def _select(op: str) -> Build:
    """Indices below 0 count from the end: integers, which no copy of the layer can be fed with."""

    def build(net: Layers, source: int) -> int:
        whole, below, moved, chosen = (
            net.tensor(name, (1, 8), kind)
            for name, kind in (("whole", "int32"), ("below", "bool"), ("moved", "int32"), ("chosen", "int32"))
        )
        zero, count = (net.constant(name, np.full((1, 8), n, np.int32)) for name, n in (("zero", 0), ("count", 5)))
        net.op("CAST", [source], [whole], options("Cast"))
        net.op("LESS", [whole, zero], [below], options("Less"))
        net.op("ADD", [whole, count], [moved], options("Add"))
        net.op(op, [below, moved, whole], [chosen], options("Select" if op == "SELECT" else "SelectV2"))
        return net.layer("CAST", "back", [chosen], (1, 8), options("Cast"))

    return build


def test_both_versions_of_select_are_one_op(tmp_path: Path) -> None:
    result = _compare(tmp_path, _select("SELECT"), _select("SELECT_V2"))
    assert (result.verdict, result.causes) == ("healthy", ())


def test_an_activation_inside_a_dilated_convolution_is_named_at_the_convolution(tmp_path: Path) -> None:
    def build(activation: str) -> Build:
        def dilated(net: Layers, source: int) -> int:
            block, edges = (
                net.constant(name, np.array(values, np.int32))
                for name, values in (("block", [2, 2]), ("edges", [[2, 2], [2, 2]]))
            )
            spread = net.layer("SPACE_TO_BATCH_ND", "spread", [source, block, edges], (4, 6, 6, 2))
            weights, bias = random_weights((4, 3, 3, 2), seed=1), np.zeros(4, np.float32)
            inner = net.conv("inner", spread, weights, bias, (4, 4, 4, 4), padding="VALID", activation=activation)
            crops = net.constant("crops", np.zeros((2, 2), np.int32))
            return net.layer("BATCH_TO_SPACE_ND", "joined", [inner, block, crops], (1, 8, 8, 4))

        return dilated

    result = _compare(tmp_path, build("NONE"), build("RELU"), (1, 8, 8, 2))
    assert _named(result) == [("conversion.op", "inner")]


# Quantized


@pytest.fixture(scope="module")
def summed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a float32 and an int8 model in which a bounded tensor and a constant of -30 are multiplied."""
    folder = tmp_path_factory.mktemp("summed")
    net = Layers()
    source = net.tensor("input", (1, 16))
    dense = net.fully_connected("dense", source, random_weights((16, 16), seed=1), np.zeros(16, np.float32), 1)
    bounded = net.layer("TANH", "bounded", [dense], (1, 16))
    moved = net.with_constant("SUB", "moved", bounded, np.full(16, 0.25, np.float32), (1, 16))
    large = net.with_constant("MUL", "large", moved, np.full(16, -30.0, np.float32), (1, 16))
    net.write(folder / "r.tflite", [source], [large])
    rows = np.random.default_rng(5).normal(size=(32, 16)).astype(np.float32)
    np.savez(folder / "s.npz", x=rows)
    calibrated(folder / "r.tflite", folder / "int8.tflite", "int8", rows)
    return folder


def _with_range(folder: Path, target: Path, low: float, high: float) -> Comparison:
    editor = Editor(folder / "int8.tflite")
    index = next(one.index for one in editor.facts.tensors if one.name == "moved")
    scale = (high - low) / 255
    editor.set_quantization(index, Quantization((scale,), (round(-128 - low / scale),)))
    return compare_models(folder / "r.tflite", editor.write(target), folder / "s.npz")


def test_a_range_that_was_joined_with_that_of_the_other_operand_is_no_fault(summed: Path, tmp_path: Path) -> None:
    """TFLiteConverter gives a tensor the range of what it is multiplied with as well."""
    assert compare_models(summed / "r.tflite", summed / "int8.tflite", summed / "s.npz").causes == ()
    assert _with_range(summed, tmp_path / "c.tflite", -30.0, 0.75).causes == ()


def test_a_range_that_nothing_beside_it_has_is_one(summed: Path, tmp_path: Path) -> None:
    (cause,) = _with_range(summed, tmp_path / "c.tflite", -20.0, 0.75).causes
    assert (cause.code, cause.layer) == ("quantization.parameters", "moved")


def test_a_wrong_normalization_folded_before_quantizing_is_no_scale(tmp_path: Path) -> None:
    """Channels with factors of their own, in weights and bias."""
    clean = small_network(tmp_path / "r.tflite")
    editor = Editor(clean)
    conv = next(op for op in editor.facts.ops if editor.facts.tensors[op.outputs[0]].name == "conv_2")
    factors = np.linspace(0.5, 2.0, 8).astype(np.float32)
    for index in conv.inputs[1:3]:
        tensor = editor.facts.tensors[index]
        values = editor.facts.constant(tensor)
        editor.set_constant(index, values * factors.reshape(-1, *[1] * (values.ndim - 1)))
    bad = editor.write(tmp_path / "bad.tflite")
    rows = images(16, 2)
    np.savez(tmp_path / "s.npz", x=rows)
    result = compare_models(clean, calibrated(bad, tmp_path / "c.tflite", "int8", rows), tmp_path / "s.npz")
    assert _named(result)[0] == ("conversion.weights", "conv_2")


def test_a_range_that_cuts_values_off_is_told_from_another_op(tmp_path: Path) -> None:
    """Half of the counts lie above a range of three quarters: other samples explain it, and yet it is the reason."""
    net = Layers()
    source = net.tensor("mask", (1, 24))
    axis = net.constant("axis", np.array([1], np.int32))
    count = net.layer("SUM", "count", [source, axis], (1, 1), options("Reducer", keepDims=True))
    end = net.fully_connected("scores", count, np.ones((3, 1), np.float32), np.zeros(3, np.float32), 1)
    reference = net.write(tmp_path / "r.tflite", [source], [end])
    rows = np.array([[1.0] * ones + [0.0] * (24 - ones) for ones in (8, 12, 16, 20, 21, 21)], np.float32)
    np.savez(tmp_path / "s.npz", x=rows)
    clean = calibrated(reference, tmp_path / "clean.tflite", "int8", rows)
    bad = change_range(clean, tmp_path / "c.tflite", ("count",), factor=0.76)
    result = compare_models(reference, bad, tmp_path / "s.npz")
    (cause,) = result.causes
    assert (cause.code, cause.layer, cause.evidence["kind"]) == ("quantization.parameters", "count", "clipped")
    assert cause.confidence == UNEXPLAINED


def test_a_constant_that_several_layers_read_is_one_fault(tmp_path: Path) -> None:
    """Unrolled loops read the same weights at every step: the first of them is the place."""

    def steps(factor: float) -> Build:
        def build(net: Layers, source: int) -> int:
            weights = random_weights((8, 8), seed=1)
            weights[2] *= np.float32(factor)
            shared = net.constant("shared", weights)
            for number in range(3):
                made = options("FullyConnected")
                source = net.layer("FULLY_CONNECTED", f"step_{number}", [source, shared], (1, 8), made)
                source = net.layer("TANH", f"bounded_{number}", [source], (1, 8))
            return source

        return build

    assert _named(_compare(tmp_path, steps(1.0), steps(-1.0))) == [("conversion.weights", "step_0")]


def test_what_is_rounded_to_zero_has_no_logarithm(tmp_path: Path) -> None:
    """Not finite on any kernels: the precision before it is at fault."""
    net = Layers()
    source = net.tensor("input", (1, 8))
    factors = np.array([1e-4, *[1.0] * 7], np.float32)
    end = net.layer("LOG", "log", [net.with_constant("MUL", "some small", source, factors, (1, 8))], (1, 8))
    reference = net.write(tmp_path / "r.tflite", [source], [end])
    rows = np.random.default_rng(2).uniform(0.5, 1.0, (12, 8)).astype(np.float32)
    np.savez(tmp_path / "s.npz", x=rows)
    candidate = calibrated(reference, tmp_path / "c.tflite", "int8", rows)
    result = compare_models(reference, candidate, tmp_path / "s.npz")
    assert result.verdict == "broken"
    assert [(one.code, one.layer) for one in result.causes] == [("quantization.parameters", "log")]


def test_transposes_there_and_back_before_a_bias(tmp_path: Path) -> None:
    """What is between the convolution and the sum that makes its bias only moves values."""

    def build(moved: bool) -> Build:
        def inside(net: Layers, source: int) -> int:
            y = net.conv("conv", source, random_weights((4, 1, 1, 2), seed=1), np.zeros(4, np.float32), (1, 6, 6, 4))
            if moved:
                y = net.transpose("there", y, (0, 3, 1, 2), (1, 4, 6, 6))
                y = net.transpose("back", y, (0, 2, 3, 1), (1, 6, 6, 4))
            y = net.with_constant("ADD", "shifted", y, random_weights((4,), seed=2), (1, 6, 6, 4))
            return net.layer("TANH", "end", [y], (1, 6, 6, 4))

        return inside

    for folder, pair in (("there", (False, True)), ("back", (True, False))):
        (tmp_path / folder).mkdir()
        result = _compare(tmp_path / folder, build(pair[0]), build(pair[1]), (1, 6, 6, 2))
        assert (result.verdict, result.causes) == ("healthy", ())
        assert "end" in {layer.name for layer in result.layers}


def _two_dense(scale: bool, order: bool, flipped: bool = False) -> Build:
    """Two dense layers; the channels between them scaled, or in another order, which the second one makes up for."""

    def build(net: Layers, source: int) -> int:
        first, second = random_weights((6, 8), seed=1), random_weights((4, 6), seed=3)
        bias = BIAS
        if scale:
            factors = np.linspace(0.25, 4.0, 6).astype(np.float32)
            first, bias, second = first * factors[:, None], bias * factors, second / factors
        if order:
            turned = np.array([3, 5, 0, 4, 1, 2])
            first, bias, second = first[turned], bias[turned], second[:, turned]
        if flipped:
            second = -second
        hidden = net.fully_connected("hidden", source, first, bias, 1, "RELU")
        return net.fully_connected("scores", hidden, second, None, 1)

    return build


@pytest.mark.parametrize(("scale", "order"), [(True, False), (False, True), (True, True)])
def test_channels_that_the_next_layer_makes_up_for_are_no_fault(tmp_path: Path, scale: bool, order: bool) -> None:
    result = _compare(tmp_path, _two_dense(False, False), _two_dense(scale, order))
    assert (result.verdict, result.causes) == ("healthy", ())


def test_channels_that_the_next_layer_does_not_make_up_for(tmp_path: Path) -> None:
    result = _compare(tmp_path, _two_dense(False, False), _two_dense(False, True, flipped=True))
    assert result.verdict != "healthy"
    assert {code for code, _ in _named(result)} == {"conversion.weights"}


def _chosen(net: Layers, source: int) -> int:
    """The larger of values from 0 on and of values of either sign."""
    positive = net.fully_connected("positive", source, random_weights((6, 8), seed=1), np.abs(BIAS), 1, "RELU")
    either = net.fully_connected("either", source, random_weights((6, 8), seed=2), None, 1)
    larger = net.layer("MAXIMUM", "larger", [positive, either], (1, 6), options("MaximumMinimum"))
    return net.fully_connected("scores", larger, random_weights((4, 6), seed=3), None, 1)


def test_what_a_maximum_does_not_choose_may_be_cut_off(tmp_path: Path) -> None:
    """TFLiteConverter gives the range of the result to both operands."""
    net = Layers()
    source = net.tensor("input", (1, 8))
    reference = net.write(tmp_path / "r.tflite", [source], [_chosen(net, source)])
    samples = random_samples(tmp_path / "s.npz", (8,), count=24)
    rows = [{"": row[None]} for row in np.load(samples)["x"]]
    found = ranges(reference, rows)
    for name in ("positive", "either"):
        found[name] = found["larger"]
    clean = quantize(reference, tmp_path / "q.tflite", "int8", found)
    result = compare_models(reference, clean, samples)
    assert (result.verdict, result.causes) == ("healthy", ())


@pytest.mark.parametrize(("scale", "order"), [(True, False), (False, True)])
def test_channels_that_the_next_layer_makes_up_for_once_quantized(tmp_path: Path, scale: bool, order: bool) -> None:
    made = []
    for name, build in (("r", _two_dense(False, False)), ("c", _two_dense(scale, order))):
        net = Layers()
        source = net.tensor("input", (1, 8))
        made.append(net.write(tmp_path / f"{name}.tflite", [source], [build(net, source)]))
    samples = random_samples(tmp_path / "s.npz", (8,), count=24)
    found = ranges(made[1], [{"": row[None]} for row in np.load(samples)["x"]])
    result = compare_models(made[0], quantize(made[1], tmp_path / "q.tflite", "int8", found), samples)
    assert "conversion.weights" not in {code for code, _ in _named(result)}
