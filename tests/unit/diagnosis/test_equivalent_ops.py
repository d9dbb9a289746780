"""Ops that compute the same with other attributes are healthy, and what looks the same but is not is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from support.layers import Layers, options, random_samples
from support.quantized import calibrated, images, small_network
from windtunnel.diagnosis import Comparison, compare_models
from windtunnel.diagnosis.graph.model_precision import is_quantized
from windtunnel.tflite import Quantization, read_model
from windtunnel.tflite.edit import Editor

SHAPE = (1, 4, 6)
Build = Callable[[Layers, int], int]


def _integers(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.array(values, np.int32)


def _slice(*size: int) -> Build:
    def build(net: Layers, source: int) -> int:
        inputs = [source, net.constant("begin", _integers(0, 0, 1)), net.constant("size", _integers(*size))]
        return net.layer("SLICE", "cut", inputs, (1, 4, 5), options("Slice"))

    return build


def _strided(end: tuple[int, int, int], end_mask: int, begin: int = 0) -> Build:
    def build(net: Layers, source: int) -> int:
        ends = [net.constant("begin", _integers(0, 0, begin)), net.constant("end", _integers(*end))]
        made = options("StridedSlice", endMask=end_mask)
        inputs = [source, *ends, net.constant("steps", _integers(1, 1, 1))]
        return net.layer("STRIDED_SLICE", "cut", inputs, (1, 4, 6 - begin), made)

    return build


def _reversed(axis: int) -> Build:
    return lambda net, source: net.layer(
        "REVERSE_V2", "cut", [source, net.constant("axis", _integers(axis))], SHAPE, options("ReverseV2")
    )


def _compare(folder: Path, one: Build, other: Build) -> Comparison:
    made = []
    for name, build in (("r", one), ("c", other)):
        net = Layers()
        source = net.tensor("input", SHAPE)
        cut = build(net, net.layer("TANH", "bounded", [source], SHAPE))
        made.append(net.write(folder / f"{name}.tflite", [source], [cut]))
    return compare_models(made[0], made[1], random_samples(folder / "s.npz", SHAPE[1:]))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(_slice(1, 4, 5), _slice(-1, -1, 5), id="the rest of a dimension"),
        pytest.param(_strided((1, 4, 6), 0), _strided((0, 0, 6), 3), id="ends left open"),
        pytest.param(_reversed(2), _reversed(-1), id="an axis from the other side"),
    ],
)
def test_the_same_in_other_words(tmp_path: Path, one: Build, other: Build) -> None:
    for folder, pair in (("there", (one, other)), ("back", (other, one))):
        (tmp_path / folder).mkdir()
        result = _compare(tmp_path / folder, *pair)
        assert (result.verdict, result.causes) == ("healthy", ())


def test_another_axis_is_another_op(tmp_path: Path) -> None:
    result = _compare(tmp_path, _reversed(2), _reversed(1))
    assert [(cause.code, cause.layer) for cause in result.causes] == [("conversion.op", "cut")]


def _gelu(approximate: bool) -> Build:
    def build(net: Layers, source: int) -> int:
        return net.layer("GELU", "cut", [source], SHAPE, options("Gelu", approximate=approximate))

    return build


def test_two_ways_to_compute_a_gelu_are_a_note(tmp_path: Path) -> None:
    result = _compare(tmp_path, _gelu(approximate=False), _gelu(approximate=True))
    assert (result.verdict, result.causes) == ("healthy", ())
    (note,) = [one for one in result.findings if one.code == "difference.without_effect"]
    assert note.evidence["place"] == {"layer": "cut", "op_index": 1}


def test_another_activation_is_a_fault(tmp_path: Path) -> None:
    result = _compare(tmp_path, _gelu(approximate=False), lambda net, source: net.layer("RELU", "cut", [source], SHAPE))
    assert result.verdict != "healthy"


def test_weights_of_a_loop_tell_the_precision(tmp_path: Path) -> None:
    """A quantized loop has its integers in a graph of its own."""
    facts = read_model(small_network(tmp_path / "r.tflite"))
    assert not is_quantized(facts)
    weights = replace(facts.tensors[0], dtype="int8", quantization=Quantization((0.1,), (0,)))
    body = replace(facts.main, tensors=(weights, *facts.tensors[1:]))
    assert is_quantized(replace(facts, graphs=(facts.main, body)))


def test_a_scale_of_zero_is_named(tmp_path: Path) -> None:
    reference = small_network(tmp_path / "r.tflite")
    clean = calibrated(reference, tmp_path / "clean.tflite", "int8", images(16, 2))
    np.savez(tmp_path / "s.npz", x=images(16, 2))
    conv = next(tensor for tensor in read_model(clean).tensors if tensor.name == "conv_2")
    editor = Editor(clean)
    editor.set_quantization(conv.index, Quantization((0.0,), (0,)))
    result = compare_models(reference, editor.write(tmp_path / "c.tflite"), tmp_path / "s.npz")
    assert result.verdict != "healthy"
    assert ("quantization.parameters", "conv_2") in [(cause.code, cause.layer) for cause in result.causes]


def test_ranges_around_zero_are_no_fault(tmp_path: Path) -> None:
    """A quantizer that knows only symmetric activations wastes half of every rectified range."""
    reference = small_network(tmp_path / "r.tflite")
    clean = calibrated(reference, tmp_path / "clean.tflite", "int8", images(16, 2))
    np.savez(tmp_path / "s.npz", x=images(16, 2))
    editor = Editor(clean)
    facts = read_model(clean)
    # The kernel prescribes the range of a softmax.
    prescribed = {index for op in facts.ops if op.name == "SOFTMAX" for index in op.outputs}
    for tensor in facts.tensors:
        if tensor.index in prescribed:
            continue
        if tensor.dtype == "int8" and tensor.quantization is not None and not tensor.is_constant:
            low, high = (
                (end - tensor.quantization.zero_points[0]) * tensor.quantization.scales[0] for end in (-128, 127)
            )
            editor.set_quantization(tensor.index, Quantization((max(-low, high) / 127,), (0,)))
    made = editor.write(tmp_path / "c.tflite")
    result = compare_models(reference, _with_biases(clean, made, tmp_path / "d.tflite"), tmp_path / "s.npz")
    assert [cause.code for cause in result.causes] == []


def _with_biases(before: Path, after: Path, target: Path) -> Path:
    """The model with biases that mean what they did before the scales of their inputs changed."""
    old, new = read_model(before), read_model(after)
    editor = Editor(after)
    for op in new.ops:
        if op.name not in ("CONV_2D", "FULLY_CONNECTED") or len(op.inputs) < 3:
            continue
        bias, source = new.tensors[op.inputs[2]], op.inputs[0]
        one, other = old.tensors[source].quantization, new.tensors[source].quantization
        assert one is not None
        assert other is not None
        assert bias.quantization is not None
        factor = other.scales[0] / one.scales[0]
        editor.set_constant(bias.index, np.rint(new.constant(bias) / factor).astype(np.int32))
        scales = tuple(scale * factor for scale in bias.quantization.scales)
        editor.set_quantization(bias.index, Quantization(scales, bias.quantization.zero_points, bias.quantization.axis))
    return editor.write(target)
