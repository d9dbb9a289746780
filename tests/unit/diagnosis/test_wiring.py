"""Which layer reads which: inputs in another order, and layers that only their weights or their place distinguish."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from support.fault_runs import quantize, ranges
from support.layers import Layers, options, random_samples, random_weights
from windtunnel.diagnosis import Comparison, compare_models
from windtunnel.diagnosis.graph import match_layers
from windtunnel.tflite import read_model
from windtunnel.tflite.edit import Editor

ZEROS = np.zeros(8, np.float32)


def _named(result: Comparison) -> list[tuple[str, str | None]]:
    return [(cause.code, cause.layer) for cause in result.causes]


def _branches(path: Path, op: str, *, names: Sequence[str] = ("left", "right", "joined")) -> Path:
    """Two dense layers of one input, joined by `op`, and a dense layer after it."""
    net = Layers()
    source = net.tensor("input", (1, 8))
    left = net.fully_connected(names[0], source, random_weights((8, 8), seed=1), ZEROS, 1)
    right = net.fully_connected(names[1], source, random_weights((8, 8), seed=2), ZEROS, 1, "RELU")
    kind, width = {"CONCATENATION": "Concatenation", "SUB": "Sub", "ADD": "Add", "MAXIMUM": "MaximumMinimum"}[op], 8
    made = options(kind)
    if op == "CONCATENATION":
        made.axis, width = 1, 16
    joined = net.layer(op, names[2], [left, right], (1, width), made)
    end = net.fully_connected("end", joined, random_weights((4, width), seed=3), ZEROS[:4], 1)
    return net.write(path, [source], [end])


def _swapped(source: Path, target: Path, op: int) -> Path:
    editor = Editor(source)
    editor.set_inputs(op, editor.facts.ops[op].inputs[::-1])
    return editor.write(target)


@pytest.mark.parametrize("names", [("left", "right", "joined"), ("x/1", "x/2", "x/3")])
@pytest.mark.parametrize("op", ["CONCATENATION", "SUB"])
def test_inputs_in_another_order(tmp_path: Path, op: str, names: tuple[str, str, str]) -> None:
    reference = _branches(tmp_path / "r.tflite", op)
    bad = _swapped(_branches(tmp_path / "n.tflite", op, names=names), tmp_path / "c.tflite", 2)
    result = compare_models(reference, bad, random_samples(tmp_path / "s.npz", (8,)))
    assert _named(result) == [("conversion.op", names[2])]
    cause = result.causes[0]
    assert (cause.op_index, cause.verified) == (2, True)
    assert cause.evidence["inputs"] == {"reference": ["left", "right"], "candidate": ["right", "left"]}
    assert cause.evidence["output_nrmse"] > 0.01
    assert cause.evidence["output_nrmse_mended"] == 0.0


@pytest.mark.parametrize("op", ["ADD", "MAXIMUM"])
def test_an_order_that_means_nothing(tmp_path: Path, op: str) -> None:
    reference = _branches(tmp_path / "r.tflite", op)
    other = _swapped(reference, tmp_path / "c.tflite", 2)
    result = compare_models(reference, other, random_samples(tmp_path / "s.npz", (8,)))
    assert (result.verdict, result.causes) == ("healthy", ())


@pytest.mark.parametrize("form", ["int8", "int16x8", "dynamic_range", "float16"])
@pytest.mark.parametrize("op", ["CONCATENATION", "SUB"])
def test_inputs_in_another_order_once_quantized(tmp_path: Path, op: str, form: str) -> None:
    """Also where each input has a scale of its own."""
    reference = _branches(tmp_path / "r.tflite", op)
    samples = random_samples(tmp_path / "s.npz", (8,))
    rows = [{"": row[None]} for row in np.load(samples)["x"]]
    clean = quantize(reference, tmp_path / "q.tflite", form, ranges(reference, rows))
    assert compare_models(reference, clean, samples).causes == ()
    place = next(one.index for one in read_model(clean).ops if one.name == op)
    result = compare_models(reference, _swapped(clean, tmp_path / "c.tflite", place), samples)
    assert _named(result) == [("conversion.op", "joined")]
    assert (result.causes[0].op_index, result.causes[0].verified) == (place, True)


@pytest.mark.parametrize(
    "order", [(1, 2, 0), (2, 1, 0), (0, 1, 1)], ids=("turned", "exchanged", "one twice, one not at all")
)
def test_the_inputs_of_a_concatenation_of_three(tmp_path: Path, order: tuple[int, ...]) -> None:
    net = Layers()
    source = net.tensor("input", (1, 8))
    parts = [
        net.fully_connected(f"part_{place}", source, random_weights((8, 8), seed=place), ZEROS, 1) for place in range(3)
    ]
    joined = net.layer("CONCATENATION", "joined", parts, (1, 24), options("Concatenation", axis=1))
    end = net.fully_connected("end", joined, random_weights((4, 24), seed=3), ZEROS[:4], 1)
    reference = net.write(tmp_path / "r.tflite", [source], [end])
    editor = Editor(reference)
    editor.set_inputs(3, [parts[place] for place in order])
    result = compare_models(reference, editor.write(tmp_path / "c.tflite"), random_samples(tmp_path / "s.npz", (8,)))
    assert _named(result) == [("conversion.op", "joined")]
    assert result.causes[0].evidence["inputs"]["candidate"] == [f"part_{place}" for place in order]


def test_a_constant_before_what_it_is_joined_to(tmp_path: Path) -> None:
    net = Layers()
    source = net.tensor("input", (1, 8))
    dense = net.fully_connected("dense", source, random_weights((8, 8)), random_weights((8,)), 1)
    row = net.constant("row", random_weights((1, 8), seed=4))
    joined = net.layer("CONCATENATION", "joined", [dense, row], (1, 16), options("Concatenation", axis=1))
    end = net.fully_connected("end", joined, random_weights((4, 16), seed=3), ZEROS[:4], 1)
    reference = net.write(tmp_path / "r.tflite", [source], [end])
    bad = _swapped(reference, tmp_path / "c.tflite", 1)
    result = compare_models(reference, bad, random_samples(tmp_path / "s.npz", (8,)))
    assert _named(result) == [("conversion.op", "joined")]
    cause = result.causes[0]
    assert cause.verified
    assert cause.evidence["inputs"] == {"reference": ["dense", "row"], "candidate": ["row", "dense"]}


@pytest.mark.parametrize("op", ["SUB", "DIV"])
def test_a_constant_on_the_wrong_side(tmp_path: Path, op: str) -> None:
    """c - x where it was x - c."""
    net = Layers()
    source = net.tensor("input", (1, 8))
    dense = net.fully_connected("dense", source, random_weights((8, 8)), random_weights((8,)), 1)
    joined = net.with_constant(op, "joined", dense, np.linspace(0.5, 1.5, 8).astype(np.float32), (1, 8))
    end = net.fully_connected("end", joined, random_weights((4, 8), seed=3), ZEROS[:4], 1)
    reference = net.write(tmp_path / "r.tflite", [source], [end])
    bad = _swapped(reference, tmp_path / "c.tflite", 1)
    result = compare_models(reference, bad, random_samples(tmp_path / "s.npz", (8,)))
    assert _named(result) == [("conversion.op", "joined")]


@pytest.mark.parametrize(
    ("op", "change", "place"),
    [
        (3, {0: 2, 1: 2}, "joined"),
        (3, {1: -1}, "joined"),
        (1, {0: -1}, "dense_1"),
        (2, {0: 0}, "dense_2"),
    ],
    ids=("itself twice", "the model's input", "skips a layer", "skips the layer before"),
)
def test_a_layer_read_at_the_wrong_place(tmp_path: Path, op: int, change: dict[int, int], place: str) -> None:
    """Inputs by position: which dense layer's output is read there, -1 for the model's input."""
    net = Layers()
    source = at = net.tensor("input", (1, 8))
    made = {-1: source}
    for number in range(3):
        at = net.fully_connected(f"dense_{number}", at, random_weights((8, 8), seed=number), ZEROS, 1, "RELU")
        made[number] = at
    joined = net.layer("ADD", "joined", [made[2], made[0]], (1, 8), options("Add"))
    end = net.fully_connected("end", joined, random_weights((4, 8), seed=3), ZEROS[:4], 1)
    reference = net.write(tmp_path / "r.tflite", [source], [end])
    editor = Editor(reference)
    inputs = list(editor.facts.ops[op].inputs)
    for position, layer in change.items():
        inputs[position] = made[layer]
    editor.set_inputs(op, inputs)
    result = compare_models(reference, editor.write(tmp_path / "c.tflite"), random_samples(tmp_path / "s.npz", (8,)))
    assert _named(result) == [("conversion.op", place)]


@pytest.mark.parametrize("kind", ["exchanged", "transposed"])
def test_factors_of_a_product_of_matrices(tmp_path: Path, kind: str) -> None:
    net = Layers()
    source = net.tensor("input", (8, 8))
    left, right = (net.fully_connected(n, source, random_weights((8, 8), seed=len(n)), ZEROS, 8) for n in ("a", "bc"))
    product = net.layer("BATCH_MATMUL", "product", [left, right], (8, 8), options("BatchMatMul"))
    end = net.fully_connected("end", product, random_weights((4, 8), seed=3), ZEROS[:4], 8)
    reference = net.write(tmp_path / "r.tflite", [source], [end])
    editor = Editor(reference)
    if kind == "exchanged":
        editor.set_inputs(2, [right, left])
    else:
        editor.set_options(2, adj_y=True)
    result = compare_models(reference, editor.write(tmp_path / "c.tflite"), random_samples(tmp_path / "s.npz", (8, 8)))
    assert _named(result) == [("conversion.op", "product")]
    assert result.causes[0].verified


def test_an_op_that_reads_another_layer(tmp_path: Path) -> None:
    """A residual connection from a layer too early: every op and constant is the same."""
    net = Layers()
    source = at = net.tensor("input", (1, 8))
    outputs = []
    for number in range(3):
        weights = random_weights((8, 8), seed=number)
        at = net.fully_connected(f"dense_{number}", at, weights, ZEROS, 1, "RELU")
        outputs.append(at)
    joined = net.layer("ADD", "joined", [outputs[2], outputs[1]], (1, 8), options("Add"))
    end = net.fully_connected("end", joined, random_weights((4, 8), seed=3), ZEROS[:4], 1)
    reference = net.write(tmp_path / "r.tflite", [source], [end])
    editor = Editor(reference)
    editor.set_inputs(3, [outputs[2], outputs[0]])
    result = compare_models(reference, editor.write(tmp_path / "c.tflite"), random_samples(tmp_path / "s.npz", (8,)))
    assert _named(result) == [("conversion.op", "joined")]
    inputs = result.causes[0].evidence["inputs"]
    assert inputs["reference"] == ["dense_2", "dense_1"]
    assert inputs["candidate"] == ["dense_2", "dense_0"]


def _attention(path: Path, names: Sequence[str], *, order: Sequence[int] = (0, 1, 2), shuffled: int = -1) -> Path:
    """One head of attention over 6 rows; `order` is that in which the file holds query, key and value.

    The rows of the weights of `shuffled` are permuted.
    """
    net = Layers()
    source = net.tensor("input", (6, 8))
    made: dict[int, int] = {}
    for place in order:
        weights = random_weights((8, 8), seed=10 + place)
        weights = np.roll(weights, 3, axis=0) if place == shuffled else weights
        made[place] = net.fully_connected(names[place], source, weights, random_weights((8,), seed=place), 6)
    query, key, value = (made[place] for place in range(3))
    scores = net.layer("BATCH_MATMUL", names[3], [query, key], (6, 6), options("BatchMatMul", adjY=True))
    share = net.layer("SOFTMAX", names[4], [scores], (6, 6), options("Softmax", beta=1.0))
    mixed = net.layer("BATCH_MATMUL", names[5], [share, value], (6, 8), options("BatchMatMul"))
    return net.write(path, [source], [mixed])


_NAMES = ("query", "key", "value", "scores", "share", "mixed")
_OTHERS = ("a", "b", "c", "d", "e", "f")


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("shuffled", [0, 1, 2])
def test_siblings_of_one_input_are_told_apart(tmp_path: Path, order: tuple[int, ...], shuffled: int) -> None:
    """Query, key and value have one shape and one input; the permuted one is named, and no other."""
    reference = _attention(tmp_path / "r.tflite", _NAMES)
    bad = _attention(tmp_path / "c.tflite", _OTHERS, order=order, shuffled=shuffled)
    pairs = match_layers(read_model(reference), read_model(bad)).pairs
    expected = dict(zip(_OTHERS, _NAMES, strict=True))
    assert {pair.candidate.tensor.name: pair.reference.tensor.name for pair in pairs} == expected
    result = compare_models(reference, bad, random_samples(tmp_path / "s.npz", (6, 8)))
    assert _named(result) == [("conversion.weights", _OTHERS[shuffled])]
    assert result.causes[0].evidence["pattern"] == "permuted_channels"
    assert result.causes[0].verified


def test_siblings_in_another_order_are_healthy(tmp_path: Path) -> None:
    reference = _attention(tmp_path / "r.tflite", _NAMES)
    other = _attention(tmp_path / "c.tflite", _OTHERS, order=(2, 1, 0))
    result = compare_models(reference, other, random_samples(tmp_path / "s.npz", (6, 8)))
    assert (result.verdict, result.causes) == ("healthy", ())


@pytest.mark.parametrize("changed", [0, 1])
def test_siblings_with_the_same_weights(tmp_path: Path, changed: int) -> None:
    """Only their places distinguish them; which of them feeds what makes no difference until one changes."""
    net = Layers()
    source = net.tensor("input", (1, 8))
    twins = [net.fully_connected(name, source, random_weights((8, 8)), ZEROS, 1) for name in ("one", "two")]
    joined = net.layer("CONCATENATION", "joined", twins, (1, 16), options("Concatenation", axis=1))
    end = net.fully_connected("end", joined, random_weights((4, 16), seed=3), ZEROS[:4], 1)
    reference = net.write(tmp_path / "r.tflite", [source], [end])
    samples = random_samples(tmp_path / "s.npz", (8,))
    same = compare_models(reference, _swapped(reference, tmp_path / "same.tflite", 2), samples)
    assert (same.verdict, same.causes) == ("healthy", ())
    editor = Editor(reference)
    editor.set_constant(editor.facts.ops[changed].inputs[1], -random_weights((8, 8)))
    result = compare_models(reference, editor.write(tmp_path / "c.tflite"), samples)
    assert _named(result) == [("conversion.weights", ("one", "two")[changed])]
    assert result.causes[0].evidence["pattern"] == "sign"


def _heads(path: Path, names: Sequence[str], outputs: Sequence[int]) -> Path:
    """A body with three heads of one size: a class, a box, a score."""
    net = Layers()
    source = net.tensor("input", (1, 8))
    body = net.fully_connected("body", source, random_weights((8, 8)), ZEROS, 1, "RELU")
    heads = [
        net.fully_connected(name, body, random_weights((4, 8), seed=20 + place), ZEROS[:4], 1)
        for place, name in enumerate(names)
    ]
    heads[2] = net.layer("LOGISTIC", f"{names[2]}/sigmoid", [heads[2]], (1, 4))
    return net.write(path, [source], [heads[place] for place in outputs])


@pytest.mark.parametrize("outputs", [(2, 1, 0), (1, 2, 0)])
def test_outputs_in_another_order_with_other_names(tmp_path: Path, outputs: tuple[int, ...]) -> None:
    reference = _heads(tmp_path / "r.tflite", ("kind", "box", "score"), (0, 1, 2))
    # The names that the other model has for other heads: a pairing by name would be wrong.
    other = _heads(tmp_path / "c.tflite", ("box", "score", "kind"), outputs)
    result = compare_models(reference, other, random_samples(tmp_path / "s.npz", (8,)))
    # The heads are paired with what they are; that a caller finds others in their places is the one cause.
    assert ([cause.code for cause in result.causes], result.output.nrmse) == (["conversion.outputs"], 0.0)
    matching = match_layers(read_model(reference), read_model(other))
    names = [{t.index: t.name for t in read_model(path).tensors} for path in (reference, tmp_path / "c.tflite")]
    same = {names[1][mine]: names[0][own] for mine, own in matching.same_outputs().items()}
    assert same == {"box": "kind", "score": "box", "kind/sigmoid": "score/sigmoid"}


def test_a_sibling_that_got_the_weights_of_another(tmp_path: Path) -> None:
    """Two heads with one head's weights: place and name show which of them is right."""
    reference = _heads(tmp_path / "r.tflite", ("kind", "box", "score"), (0, 1, 2))
    editor = Editor(reference)
    kind, box = editor.facts.ops[1], editor.facts.ops[2]
    editor.set_inputs(1, [kind.inputs[0], box.inputs[1], kind.inputs[2]])
    result = compare_models(reference, editor.write(tmp_path / "c.tflite"), random_samples(tmp_path / "s.npz", (8,)))
    assert _named(result) == [("conversion.weights", "kind")]
