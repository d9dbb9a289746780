"""Which layer of the reference a layer of the candidate is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ai_edge_litert import schema_py_generated as schema

from support.graphs import DenseWeights, GraphWriter, dense_model
from windtunnel.diagnosis.graph import Matching, match_layers
from windtunnel.tflite import read_model

Chain = Sequence[tuple[str, str, tuple[int, ...]]]


def _chain(path: Path, ops: Chain) -> Path:
    """A chain of unary ops: (op, output name, output shape)."""
    writer = GraphWriter()
    source = at = writer.tensor("input", (1, 4))
    for op, name, shape in ops:
        made = writer.tensor(name, shape)
        writer.op(op, [at], [made])
        at = made
    return writer.write(path, [source], [at])


def _match(folder: Path, reference: Chain, candidate: Chain) -> Matching:
    return match_layers(
        read_model(_chain(folder / "r.tflite", reference)), read_model(_chain(folder / "c.tflite", candidate))
    )


def _pairs(matching: Matching) -> list[tuple[str, str]]:
    return [(pair.reference.tensor.name, pair.candidate.tensor.name) for pair in matching.pairs]


S = (1, 4)


def test_equal_names(tmp_path: Path) -> None:
    ops = [("RELU", "a", S), ("TANH", "b", S)]
    matching = _match(tmp_path, ops, ops)
    assert _pairs(matching) == [("a", "a"), ("b", "b")]
    assert (matching.unmatched, matching.unmatched_reference) == ((), ())


def test_structure_goes_before_names(tmp_path: Path) -> None:
    matching = _match(
        tmp_path,
        [("RELU", "x/Relu;x/bn;x/conv", S), ("RELU", "y/Relu;y/bn", S)],
        [("RELU", "y/Relu_quantized;y/bn", S), ("RELU", "x/conv;x/Relu;x/bn", S)],
    )
    assert _pairs(matching) == [
        ("x/Relu;x/bn;x/conv", "y/Relu_quantized;y/bn"),
        ("y/Relu;y/bn", "x/conv;x/Relu;x/bn"),
    ]


def test_quantize_and_dequantize_are_seen_through(tmp_path: Path) -> None:
    matching = _match(
        tmp_path,
        [("RELU", "a", S), ("SOFTMAX", "out:0", S)],
        [
            ("QUANTIZE", "tfl.quantize", S),
            ("RELU", "a", S),
            ("QUANTIZE", "a2", S),
            ("SOFTMAX", "out:01", S),
            ("DEQUANTIZE", "out:0", S),
        ],
    )
    assert _pairs(matching) == [("a", "a"), ("out:0", "out:01")]
    assert matching.unmatched == ()


def test_other_names_match_by_structure(tmp_path: Path) -> None:
    matching = _match(
        tmp_path,
        [("RELU", "a", S), ("TANH", "b", S), ("RELU", "c", S), ("SOFTMAX", "d", S)],
        [("RELU", "1", S), ("TANH", "2", S), ("LOGISTIC", "new", S), ("RELU", "3", S), ("SOFTMAX", "4", S)],
    )
    assert _pairs(matching) == [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]
    (extra,) = matching.unmatched
    assert (extra.name, extra.op, extra.op_index) == ("new", "LOGISTIC", 2)
    assert "no LOGISTIC" in extra.reason


def test_structure_stays_between_named_layers(tmp_path: Path) -> None:
    matching = _match(
        tmp_path,
        [("RELU", "r1", S), ("TANH", "same", S), ("RELU", "r2", S)],
        [("TANH", "same", S), ("RELU", "c1", S)],
    )
    assert _pairs(matching) == [("same", "same"), ("r2", "c1")]
    assert [layer.name for layer in matching.unmatched_reference] == ["r1"]


def test_names_that_occur_twice_do_not_decide(tmp_path: Path) -> None:
    matching = _match(
        tmp_path,
        [("RELU", "same", S), ("TANH", "same", S)],
        [("RELU", "same", S), ("TANH", "same", S)],
    )
    assert [(p.reference.op, p.candidate.op) for p in matching.pairs] == [("RELU", "RELU"), ("TANH", "TANH")]


def test_another_shape_is_told(tmp_path: Path) -> None:
    matching = _match(tmp_path, [("RELU", "a", S)], [("RELU", "a", (1, 5))])
    assert matching.pairs == ()
    assert matching.unmatched[0].reason == "its shape [1, 5] is [1, 4] in the reference"
    assert matching.unmatched_reference[0].reason == "its shape [1, 4] is [1, 5] in the candidate"


def test_fully_renamed_model(tmp_path: Path) -> None:
    reference = dense_model(tmp_path / "r.tflite")
    candidate = dense_model(tmp_path / "c.tflite", DenseWeights.random(5), names=("p", "q", "r"))
    matching = match_layers(read_model(reference), read_model(candidate))
    assert _pairs(matching)[:3] == [("hidden_1", "p"), ("hidden_2", "q"), ("logits", "r")]


def test_constant_ops_are_no_layers(tmp_path: Path) -> None:
    writer = GraphWriter()
    half = writer.tensor("half", S, "float16", data=b"\0" * 8)
    full, source, output = (writer.tensor(name, S) for name in ("full", "x", "y"))
    writer.op("DEQUANTIZE", [half], [full])
    writer.op("ADD", [source, full], [output], schema.AddOptionsT())
    facts = read_model(writer.write(tmp_path / "m.tflite", [source], [output]))
    assert _pairs(match_layers(facts, facts)) == [("y", "y")]
