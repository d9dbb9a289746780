"""Outputs of a conversion are matched by name, then by value."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from support.graphs import GraphWriter
from windtunnel.converter.domain.conversion import Check
from windtunnel.converter.use_cases.check_conversion import check
from windtunnel.datacheck.findings import Finding

RNG = np.random.default_rng(5)
INPUTS = RNG.uniform(size=(6, 2)).astype(np.float32)
FIRST, SECOND, THIRD = (RNG.normal(size=(3, 2)).astype(np.float32) for _ in range(3))


def run(folder: Path, outputs: dict[str, NDArray[np.float32]], original: dict[str, NDArray[np.float32]]) -> Check:
    """Checks a model with `outputs` (weights by tensor name) against an original with others, in its own order."""
    graph = GraphWriter()
    source = graph.tensor("image", (1, 2))
    zeros = np.zeros(3, np.float32)
    made = [graph.dense(name, source, weights, zeros) for name, weights in outputs.items()]
    model = graph.write(folder / "model.tflite", [source], made, signature=False)
    np.savez(folder / "samples.npz", x=INPUTS, y=np.arange(6) % 3)
    paths = {}
    for number, (name, weights) in enumerate(original.items()):
        paths[name] = folder / f"{number}.npy"
        np.save(paths[name], INPUTS @ weights.T)
    return check(model, paths, folder / "samples.npz", None)


def order_of(result: Check) -> list[Finding]:
    return [one for one in result.findings if one.code == "conversion.output_order"]


def test_two_outputs_of_one_shape_and_other_names_are_matched_by_their_values(tmp_path: Path) -> None:
    result = run(tmp_path, {"Identity": SECOND, "Identity_1": FIRST}, {"boxes": FIRST, "scores": SECOND})
    assert result.passed, result.message
    assert result.output_nrmse is not None and result.output_nrmse < 1e-6


def test_another_order_is_said_and_passes(tmp_path: Path) -> None:
    result = run(tmp_path, {"b": SECOND, "a": FIRST, "c": THIRD}, {"a": FIRST, "b": SECOND, "c": THIRD})
    assert result.passed
    assert ["0: b, 1: a, 2: c" in one.message for one in order_of(result)] == [True]


def test_the_same_order_is_not_worth_a_word(tmp_path: Path) -> None:
    assert order_of(run(tmp_path, {"a": FIRST, "b": SECOND}, {"a": FIRST, "b": SECOND})) == []


def test_exchanged_names_fail_and_are_named(tmp_path: Path) -> None:
    result = run(tmp_path, {"a": SECOND, "b": FIRST, "c": THIRD}, {"a": FIRST, "b": SECOND, "c": THIRD})
    assert not result.passed
    assert "'a' holds what the original calls 'b', 'b' holds what the original calls 'a'" in result.message


def test_a_wrong_output_is_named_and_not_called_unmatched(tmp_path: Path) -> None:
    result = run(tmp_path, {"a": FIRST, "b": THIRD}, {"a": FIRST, "b": SECOND})
    assert not result.passed
    assert "output 'b' differs from the original's: nRMSE" in result.message


def test_a_wrong_output_without_a_name_is_compared_too(tmp_path: Path) -> None:
    result = run(tmp_path, {"Identity": FIRST, "Identity_1": THIRD}, {"a": FIRST, "b": SECOND})
    assert not result.passed
    assert "output 'Identity_1' differs from the original's: nRMSE" in result.message


def test_equal_outputs_keep_their_names(tmp_path: Path) -> None:
    result = run(tmp_path, {"a": FIRST, "b": FIRST}, {"a": FIRST, "b": FIRST})
    assert result.passed and order_of(result) == []


def test_a_missing_output_is_named(tmp_path: Path) -> None:
    result = run(tmp_path, {"a": FIRST}, {"a": FIRST, "b": SECOND})
    assert not result.passed
    assert "the original has 'b' (3,), the converted model no other" in result.message


def test_labels_say_nothing_of_one_of_several_outputs(tmp_path: Path) -> None:
    """Which of them holds the classes is not known: a top-1 of any would be a figure of chance."""
    result = run(tmp_path, {"a": FIRST, "b": SECOND}, {"a": FIRST, "b": SECOND})
    assert (result.original, result.converted, result.agreement) == (None, None, None)
    single = run(tmp_path, {"a": FIRST}, {"a": FIRST})
    assert single.original is not None and single.agreement == 1.0


def test_one_tensor_under_two_names_is_both(tmp_path: Path) -> None:
    graph = GraphWriter()
    source = graph.tensor("image", (1, 2))
    made = graph.dense("a", source, FIRST, np.zeros(3, np.float32))
    # The signature calls it out_0 and out_1.
    model = graph.write(tmp_path / "model.tflite", [source], [made, made])
    np.savez(tmp_path / "samples.npz", x=INPUTS)
    np.save(tmp_path / "0.npy", INPUTS @ FIRST.T)
    original = {"out_0": tmp_path / "0.npy", "out_1": tmp_path / "0.npy"}
    result = check(model, original, tmp_path / "samples.npz", None)
    assert result.passed, result.message
    np.save(tmp_path / "1.npy", INPUTS @ SECOND.T)
    wrong = check(model, {**original, "out_1": tmp_path / "1.npy"}, tmp_path / "samples.npz", None)
    assert not wrong.passed and "the original has 'out_1'" in wrong.message
