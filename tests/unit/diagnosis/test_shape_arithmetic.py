"""What follows from shapes alone is not a choice; if most could not be judged, a healthy comparison reports it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from support.fault_runs import quantize, ranges
from support.layers import Layers, options, random_weights
from windtunnel.diagnosis import Comparison, compare_models
from windtunnel.diagnosis.findings.coverage import Coverage, Unmatched
from windtunnel.diagnosis.findings.layer_diff import LayerDiff
from windtunnel.diagnosis.findings.output_diff import OutputDiff
from windtunnel.diagnosis.rules.verdict import left_open
from windtunnel.tflite.edit import Editor

ROWS = np.abs(np.random.default_rng(5).normal(size=(8, 16))).astype(np.float32) + np.float32(0.1)


def _integer(net: Layers, op: str, name: str, inputs: list[int], shape: tuple[int, ...], made: object) -> int:
    output = net.tensor(name, shape, "int32")
    net.op(op, inputs, [output], made)
    return output


def _framed(path: Path) -> Path:
    """Every second value of the input, found by RANGE; its end comes from the input's shape."""
    net = Layers()
    source = net.tensor("input", (1, 16), signature=(1, -1))
    start, one, two = (net.constant(name, np.array([n], np.int32)) for name, n in (("at", 1), ("one", 1), ("two", 2)))
    shape = _integer(net, "SHAPE", "shape", [source], (2,), options("Shape", outType=schema.TensorType.INT32))
    made = options("StridedSlice", shrinkAxisMask=1)
    count = _integer(net, "STRIDED_SLICE", "count", [shape, start, two, one], (), made)
    zero, step = (net.constant(name, np.array(n, np.int32)) for name, n in (("zero", 0), ("step", 2)))
    places = net.tensor("places", (8,), "int32", signature=(-1,))
    net.op("RANGE", [zero, count, step], [places], options("Range"))
    picked = net.tensor("picked", (1, 8), signature=(1, -1))
    net.op("GATHER", [source, places], [picked], options("Gather", axis=1))
    head = net.fully_connected("head", picked, random_weights((4, 8), seed=1), None, 1, "RELU")
    return net.write(path, [source], [net.fully_connected("scores", head, random_weights((3, 4), seed=2), None, 1)])


def _compare(folder: Path, model: Path, variant: str) -> Comparison:
    candidate = quantize(model, folder / "c.tflite", variant, ranges(model, [{"": one[None]} for one in ROWS]))
    np.savez(folder / "s.npz", x=ROWS)
    return compare_models(model, candidate, folder / "s.npz")


@pytest.mark.parametrize("variant", ["dynamic_range", "int8"])
def test_places_from_shapes_are_no_choice(tmp_path: Path, variant: str) -> None:
    result = _compare(tmp_path, _framed(tmp_path / "r.tflite"), variant)
    assert (result.verdict, result.reasons) == ("healthy", ())
    assert [layer.name for layer in result.layers if layer.is_choice] == []
    assert result.output.nrmse is not None
    assert result.output.agreement is not None


def test_a_fault_behind_places_from_shapes_is_named(tmp_path: Path) -> None:
    model = _framed(tmp_path / "r.tflite")
    good = quantize(model, tmp_path / "g.tflite", "dynamic_range", {})
    editor = Editor(good)
    weights = next(one for one in editor.facts.tensors if one.name == "head/weights")
    editor.set_constant(weights.index, np.negative(editor.facts.constant(weights)))
    np.savez(tmp_path / "s.npz", x=ROWS)
    result = compare_models(model, editor.write(tmp_path / "b.tflite"), tmp_path / "s.npz")
    assert ("conversion.weights", "head") in [(cause.code, cause.layer) for cause in result.causes]


def _layer(*, is_choice: bool) -> LayerDiff:
    return LayerDiff("y", "ADD", 0, "y", {"nrmse": 0.0}, is_choice=is_choice)


def test_what_is_left_open_is_said() -> None:
    output = OutputDiff(None, None, None, 0.01)
    some = [_layer(is_choice=False), *(_layer(is_choice=True) for _ in range(3))]
    (said,) = left_open(some, output, Coverage(4, 4))
    assert said.startswith("only 1 of 4 layers could be judged")
    assert left_open(some[:2], output, Coverage(2, 2)) == ()
    parts = tuple(Unmatched("a", "MINIMUM", 0, "inside", inside=True) for _ in range(9))
    assert left_open(some[:1], output, Coverage(1, 10, parts)) == ()
    assert left_open(some[:1], OutputDiff(None, None, None, None, judged=0), Coverage(1, 1)) == (
        "no output could be judged: accuracy, agreement and nRMSE are unknown",
    )
