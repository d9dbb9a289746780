"""Changing .tflite files: what is written runs, and computes what it should."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.graphs import DenseWeights, GraphWriter, dense_model
from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.tflite import Quantization, Runner, layer_tensors, read_model
from windtunnel.tflite.constants import decode, encode
from windtunnel.tflite.edit import FED, Editor

X = np.linspace(-1, 1, 8, dtype=np.float32)[None]


@pytest.fixture
def dense(tmp_path: Path) -> Path:
    return dense_model(tmp_path / "dense.tflite")


def _output(path: Path, **inputs: np.ndarray) -> np.ndarray:
    runner = Runner(path, accelerator="none")
    (found,) = runner.run(inputs).values()
    return found


def test_written_again_it_is_the_same_model(tmp_path: Path, dense: Path) -> None:
    again = Editor(dense).write(tmp_path / "again.tflite")
    assert np.array_equal(_output(again, input=X), _output(dense, input=X))
    assert [op.options for op in read_model(again).ops] == [op.options for op in read_model(dense).ops]


def test_constants_behind_the_flatbuffer_are_pulled_in(tmp_path: Path) -> None:
    writer = GraphWriter(outside=True)
    source = writer.tensor("input", (1, 8))
    output = writer.dense("out", source, DenseWeights.random().first, np.arange(16.0))
    path = writer.write(tmp_path / "outside.tflite", [source], [output])
    assert np.array_equal(_output(Editor(path).write(tmp_path / "c.tflite"), input=X), _output(path, input=X))


def test_a_constant_of_its_own(tmp_path: Path, dense: Path) -> None:
    editor = Editor(dense)
    weights = editor.facts.ops[0].inputs[1]
    editor.set_constant(weights, np.zeros((16, 8), np.float32))
    changed = read_model(editor.write(tmp_path / "c.tflite"))
    assert not changed.constant(changed.tensors[weights]).any()
    with pytest.raises(InvalidInput, match=r"is \[16, 8\], not \[8, 16\]"):
        editor.set_constant(weights, np.zeros((8, 16), np.float32))


def test_scales_and_options(tmp_path: Path, dense: Path) -> None:
    editor = Editor(dense)
    editor.set_quantization(0, Quantization((0.5,), (3,)))
    editor.set_options(0, fused_activation_function="RELU6")
    with pytest.raises(InvalidInput, match="has no option 'stride_w'"):
        editor.set_options(0, stride_w=2)
    with pytest.raises(Unsupported, match="has no fused_activation_function RELU_0_TO_1"):
        editor.set_options(0, fused_activation_function="RELU_0_TO_1")
    changed = read_model(editor.write(tmp_path / "c.tflite"))
    assert changed.tensors[0].quantization == Quantization((0.5,), (3,))
    assert changed.ops[0].fused_activation == "RELU6"


def test_a_cut_computes_what_the_whole_does(tmp_path: Path, dense: Path) -> None:
    whole = Runner(dense, accelerator="none", preserve_all=True)
    expected = next(iter(whole.run({"input": X}).values()))
    middle = {layer.name: layer.array for layer in whole.layers()}["hidden_1"]
    editor = Editor(dense)
    editor.cut([editor.facts.ops[0].outputs[0]], editor.facts.main.output_indices)
    path = editor.write(tmp_path / "cut.tflite")
    assert np.array_equal(_output(path, hidden_1=middle), expected)
    facts = read_model(path)
    assert len(facts.ops) == 3
    assert "hidden_1/weights" not in {tensor.name for tensor in facts.tensors}
    assert path.stat().st_size < dense.stat().st_size


def test_a_cut_that_misses_an_input_is_refused(dense: Path) -> None:
    editor = Editor(dense)
    with pytest.raises(InvalidInput, match="also depend on 'input'"):
        editor.cut([], editor.facts.main.output_indices)


def test_free_tensors_are_fed_and_computed(tmp_path: Path, dense: Path) -> None:
    whole = Runner(dense, accelerator="none", preserve_all=True)
    whole.run({"input": X})
    values = {layer.name: layer.array for layer in whole.layers()}
    editor = Editor(dense)
    editor.free([tensor.index for _, tensor in layer_tensors(editor.facts)])
    freed = Runner(editor.write(tmp_path / "free.tflite"), accelerator="none")
    fed = {name + FED: values[name] for name in ("hidden_1", "hidden_2", "logits")}
    assert {tensor.name for tensor in freed.facts.inputs} == {"input", *fed}
    made = freed.run({"input": X, **fed})
    assert all(np.array_equal(made[name], values[name]) for name in values)
    other = freed.run({"input": X, **fed, "hidden_1" + FED: np.zeros((1, 16), np.float32)})
    assert np.array_equal(other["hidden_1"], values["hidden_1"])
    assert not np.array_equal(other["hidden_2"], values["hidden_2"])


@pytest.mark.parametrize("dtype", ["int4", "uint4", "int2", "int8", "int32", "int64", "float16", "float32", "bfloat16"])
def test_encode_is_the_inverse_of_decode(dtype: str) -> None:
    values = np.array([[0, 1, 1], [1, 0, 1], [0, 1, 1]], np.int64)
    if dtype.startswith("int"):
        values[0, 0] = -1
    array = values.astype(np.float32) * 0.5 if "float" in dtype else values
    assert np.array_equal(decode(encode(array, "c", dtype), "c", dtype, (3, 3)), array)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InvalidInput, match="holds -8 to 7, not 0 to 8"):
        encode(np.array([0, 8]), "c", "int4")
