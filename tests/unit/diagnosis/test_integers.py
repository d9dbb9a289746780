"""Constants stored as integers: whether the numbers or their scale are wrong, and which scale a fixed one has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.layers import Layers, options, random_weights
from support.quantized import calibrated, images, written
from windtunnel.diagnosis import Comparison, compare_models
from windtunnel.diagnosis.graph.constants import Constant
from windtunnel.diagnosis.static.patches import put_constant
from windtunnel.tflite import Quantization, TensorFacts, read_model
from windtunnel.tflite.edit import Editor

LAYER = "conv_2"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with float32.tflite, int8.tflite and samples.npz."""
    return written(tmp_path_factory.mktemp("integers"))


def _weights(model: Path) -> tuple[TensorFacts, Quantization]:
    facts = read_model(model)
    op = next(op for op in facts.ops if facts.tensors[op.outputs[0]].name == LAYER)
    tensor = facts.tensors[op.inputs[1]]
    assert tensor.quantization is not None
    return tensor, tensor.quantization


def _compare(models: Path, candidate: Path) -> Comparison:
    return compare_models(models / "float32.tflite", candidate, models / "samples.npz")


def _named(result: Comparison) -> list[tuple[str, str | None]]:
    return [(cause.code, cause.layer) for cause in result.causes]


@pytest.mark.parametrize("channels", [[3], list(range(8))])
def test_integers_that_do_not_fill_their_scale_are_wrong(models: Path, tmp_path: Path, channels: list[int]) -> None:
    """The scale is the one that the reference's values ask for: a quantizer would have filled it."""
    tensor, _ = _weights(models / "int8.tflite")
    editor = Editor(models / "int8.tflite")
    stored = np.array(editor.facts.constant(tensor))
    stored[channels] = np.rint(stored[channels] * 0.25)
    editor.set_constant(tensor.index, stored)
    result = _compare(models, editor.write(tmp_path / "c.tflite"))
    assert _named(result) == [("conversion.weights", LAYER)]
    assert result.causes[0].verified


@pytest.mark.parametrize("channels", [[3], list(range(8))])
def test_a_scale_that_the_integers_fill_is_wrong(models: Path, tmp_path: Path, channels: list[int]) -> None:
    tensor, old = _weights(models / "int8.tflite")
    editor = Editor(models / "int8.tflite")
    scales = tuple(scale * (2.0 if place in channels else 1.0) for place, scale in enumerate(old.scales))
    editor.set_quantization(tensor.index, Quantization(scales, old.zero_points, old.axis))
    result = _compare(models, editor.write(tmp_path / "c.tflite"))
    assert _named(result) == [("quantization.parameters", LAYER)]
    assert result.causes[0].verified


def _scaled(path: Path) -> Path:
    """An image times a number that is not a power of two, and a layer after it."""
    net = Layers()
    source = net.tensor("image", (1, 8, 8, 2))
    scaled = net.with_constant("MUL", "scaled", source, np.array([0.7], np.float32), (1, 8, 8, 2))
    flat = net.reshape("flat", scaled, (1, 128))
    end = net.fully_connected("end", flat, random_weights((5, 128), seed=5, scale=0.2), np.zeros(5, np.float32), 1)
    return net.write(path, [source], [end])


def test_a_single_number_is_a_wrong_number(tmp_path: Path) -> None:
    """Its integer is the largest there is, whatever it is: nothing shows a wrong scale."""
    reference = _scaled(tmp_path / "r.tflite")
    np.savez(tmp_path / "x.npz", x=images(16, 2))
    editor = Editor(calibrated(reference, tmp_path / "q.tflite", "int8", images(16, 2)))
    op = next(op for op in editor.facts.ops if op.name == "MUL")
    (number,) = (editor.facts.tensors[index] for index in op.inputs if editor.facts.tensors[index].is_constant)
    assert number.quantization is not None
    wrong = Quantization((number.quantization.scales[0] * 1.5,), number.quantization.zero_points)
    editor.set_quantization(number.index, wrong)
    result = compare_models(reference, editor.write(tmp_path / "c.tflite"), tmp_path / "x.npz")
    assert _named(result) == [("conversion.weights", "scaled")]


@pytest.mark.parametrize(("new", "factor"), [(False, 4.0), (True, 4.0), (False, 0.5)])
def test_a_mended_constant_keeps_a_scale_that_holds_it(tmp_path: Path, new: bool, factor: float) -> None:
    """What a GATHER picks from a table has the table's scale: another tensor may be bound to it, and make it coarse."""
    values = random_weights((50, 8), seed=1).astype(np.float64)
    scale = factor * float(values.max() - values.min()) / 255
    old = Quantization((scale,), (round(-128 - values.min() / scale),))
    net = Layers()
    source = net.tensor("ids", (1, 4), "int32")
    table = net.tensor(
        "table", (50, 8), "int8", data=np.zeros((50, 8), np.int8), scales=old.scales, zeros=old.zero_points
    )
    rows = net.layer("GATHER", "rows", [table, source], (1, 4, 8), options("Gather", axis=0))
    model = net.write(tmp_path / "m.tflite", [source], [rows])
    facts = read_model(model)
    patch = put_constant(Constant(facts.tensors[table], facts.tensors[table]), values, new_scale=new)
    assert patch is not None
    editor = Editor(facts.path)
    patch(editor)
    mended = read_model(editor.write(tmp_path / "mended.tflite"))
    found = mended.tensors[table].quantization
    assert found is not None
    assert (found == facts.tensors[table].quantization) == (not new and factor > 1.0)
    real = (np.array(mended.constant(mended.tensors[table]), np.float64) - found.zero_points[0]) * found.scales[0]
    assert np.abs(real - values).max() <= 0.51 * found.scales[0]
