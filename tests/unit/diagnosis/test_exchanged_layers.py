"""Weights of two layers exchanged: the names of the layers show it, if these are known on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from support.layers import Layers, options, random_samples, random_weights
from windtunnel.diagnosis import Comparison, compare_models

NAMES = ("left", "right", "joined", "end")


def _branches(path: Path, *, exchanged: bool = False, turned: bool = False, names: Sequence[str] = NAMES) -> Path:
    """Two dense layers of one input, the second rectified, side by side; their weights exchanged, or their places."""
    net = Layers()
    source = net.tensor("input", (1, 8))
    weights = [random_weights((8, 8), seed=seed) for seed in ((2, 1) if exchanged else (1, 2))]
    biases = [random_weights((8,), seed=seed) for seed in ((4, 3) if exchanged else (3, 4))]
    left = net.fully_connected(names[0], source, weights[0], biases[0], 1)
    right = net.fully_connected(names[1], source, weights[1], biases[1], 1, "RELU")
    sides = [right, left] if turned else [left, right]
    joined = net.layer("CONCATENATION", names[2], sides, (1, 16), options("Concatenation", axis=1))
    end = net.fully_connected(names[3], joined, random_weights((4, 16), seed=5), np.zeros(4, np.float32), 1)
    return net.write(path, [source], [end])


def _compared(tmp_path: Path, candidate: Path) -> Comparison:
    return compare_models(_branches(tmp_path / "r.tflite"), candidate, random_samples(tmp_path / "s.npz", (8,)))


def _named(result: Comparison) -> set[tuple[str, str | None]]:
    return {(cause.code, cause.layer) for cause in result.causes}


def test_weights_of_two_layers_exchanged(tmp_path: Path) -> None:
    result = _compared(tmp_path, _branches(tmp_path / "c.tflite", exchanged=True))
    assert _named(result) == {("conversion.weights", "left"), ("conversion.weights", "right")}
    assert result.verdict != "healthy"


def test_places_of_two_layers_exchanged(tmp_path: Path) -> None:
    assert _named(_compared(tmp_path, _branches(tmp_path / "c.tflite", turned=True))) == {("conversion.op", "joined")}


@pytest.mark.parametrize("names", [("a", "b", "c", "d"), ("right", "left", "joined", "end")])
def test_names_alone_are_no_fault(tmp_path: Path, names: Sequence[str]) -> None:
    result = _compared(tmp_path, _branches(tmp_path / "c.tflite", names=names))
    assert (result.verdict, result.causes) == ("healthy", ())


def test_where_names_say_nothing_weights_tell_the_layers_apart(tmp_path: Path) -> None:
    """Activations on the other layer, and these in the other order: two ops, and no weights."""
    candidate = _branches(tmp_path / "c.tflite", exchanged=True, names=("a", "b", "c", "d"))
    assert {code for code, _ in _named(_compared(tmp_path, candidate))} == {"conversion.op"}


def _chain(path: Path, names: Sequence[str], *, clipped: int = -1) -> Path:
    """Four equal dense layers, one behind the other; `clipped` ends in RELU6."""
    net = Layers()
    source = at = net.tensor("input", (1, 8))
    for place, name in enumerate(names):
        activation = "RELU6" if place == clipped else "RELU"
        weights, bias = 3.0 * random_weights((8, 8), seed=place), random_weights((8,), seed=10 + place)
        at = net.fully_connected(name, at, weights, bias, 1, activation)
    return net.write(path, [source], [at])


def test_names_that_are_shifted_do_not_hide_an_op(tmp_path: Path) -> None:
    """As Keras counts on when a network is built once more."""
    reference = _chain(tmp_path / "r.tflite", ["d_1", "d_2", "d_3", "d_4"])
    bad = _chain(tmp_path / "c.tflite", ["d_2", "d_3", "d_4", "d_5"], clipped=1)
    result = compare_models(reference, bad, random_samples(tmp_path / "s.npz", (8,)))
    assert _named(result) == {("conversion.op", "d_3")}
