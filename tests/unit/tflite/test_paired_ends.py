"""Inputs and outputs of two models: by tensor name, by signature name, the rest in order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from support.graphs import GraphWriter
from windtunnel.errors import InvalidInput
from windtunnel.tflite import ModelFacts, SignatureFacts, read_model
from windtunnel.tflite.paired_ends import pair_inputs, pair_outputs

Names = list[tuple[str, str | None]]


def _model(path: Path, names: Names) -> ModelFacts:
    """A model with these inputs (tensor name, signature name), each of which goes to an output of that name."""
    writer = GraphWriter()
    inputs = [writer.tensor(tensor, (1, 2)) for tensor, _ in names]
    outputs = [writer.tensor(f"{tensor}_out", (1, 2)) for tensor, _ in names]
    for source, output in zip(inputs, outputs, strict=True):
        writer.op("RELU", [source], [output])
    facts = read_model(writer.write(path, inputs, outputs, signature=False))
    named = [
        {f"{name}{end}": index for (_, name), index in zip(names, side, strict=True) if name is not None}
        for side, end in ((inputs, ""), (outputs, "_out"))
    ]
    return replace(facts, signatures=(SignatureFacts("serve", 0, named[0], named[1]),))


@pytest.mark.parametrize(
    ("reference", "candidate", "expected"),
    [
        ([("a", None), ("b", None)], [("b", None), ("a", None)], ["b", "a"]),
        ([("a", None), ("b", None)], [("x", None), ("y", None)], ["a", "b"]),
        # One is known by its name: the other one is left.
        ([("a", None), ("b", None)], [("x", None), ("a", None)], ["b", "a"]),
        ([("a", "image"), ("b", "mask")], [("x", "mask"), ("y", "image")], ["b", "a"]),
        # The tensor name of one is the signature name of the other.
        ([("a", "image"), ("b", "mask")], [("mask", None), ("image", None)], ["b", "a"]),
        # The tensor's name comes first.
        ([("a", "b"), ("b", "a")], [("a", "a"), ("b", "b")], ["a", "b"]),
        ([("a", None), ("b", None), ("c", None)], [("c", None), ("x", None), ("y", None)], ["c", "a", "b"]),
    ],
)
def test_names_decide_and_the_rest_pairs_in_order(
    tmp_path: Path, reference: Names, candidate: Names, expected: list[str]
) -> None:
    models = _model(tmp_path / "a.tflite", reference), _model(tmp_path / "b.tflite", candidate)
    inputs = pair_inputs(*models)
    assert [one.name for one, _ in inputs] == expected
    assert [other for _, other in inputs] == list(models[1].inputs)
    outputs = pair_outputs(*models)
    assert [one for one, _ in outputs] == list(models[0].outputs)
    by_candidate = {other.name: one.name for one, other in outputs}
    assert [by_candidate[f"{tensor}_out"] for tensor, _ in candidate] == [f"{name}_out" for name in expected]


def test_models_with_other_ends_are_refused(tmp_path: Path) -> None:
    one, two = _model(tmp_path / "a.tflite", [("a", None)]), _model(tmp_path / "b.tflite", [("a", None), ("b", None)])
    with pytest.raises(InvalidInput, match=r"b\.tflite takes 2 inputs, a\.tflite 1"):
        pair_inputs(one, two)
    with pytest.raises(InvalidInput, match=r"b\.tflite has 2 outputs, a\.tflite 1"):
        pair_outputs(one, two)
