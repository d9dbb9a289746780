"""Faults in small float models: the cause, the place, and no alarm on a clean pair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from support.graphs import DenseWeights, dense_model
from support.layers import Layers, random_samples, random_weights
from windtunnel.diagnosis import Comparison, compare_models
from windtunnel.tflite import read_model
from windtunnel.tflite.edit import Editor

Table = NDArray[np.float32]


def _named(result: Comparison) -> list[tuple[str, str | None, int | None]]:
    return [(cause.code, cause.layer, cause.op_index) for cause in result.causes]


def _noise(table: Table) -> Table:
    return table + np.random.default_rng(1).normal(0, 0.05, table.shape).astype(np.float32)


def _one_bit(table: Table) -> Table:
    bits = table.copy().view(np.uint32)
    bits[3, 2] ^= np.uint32(1 << 5)
    return bits.view(np.float32)


def _high_bit(table: Table) -> Table:
    bits = table.copy().view(np.uint32)
    bits[3, 2] ^= np.uint32(1 << 24)
    return bits.view(np.float32)


def _one_channel(table: Table) -> Table:
    changed = table.copy()
    changed[4] = 0
    return changed


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        (_noise, "noise"),
        (lambda table: -table, "sign"),
        (lambda table: table[::-1].copy(), "permuted_channels"),
        (lambda table: table[:, ::-1].copy(), "permuted_inputs"),
        (_one_channel, "zeroed"),
        (_one_bit, "one_bit"),
        (_high_bit, "few_values"),
    ],
)
def test_weights_of_one_layer(
    tmp_path: Path, dense: Path, samples: Path, change: Callable[[Table], Table], pattern: str
) -> None:
    weights = DenseWeights.random()
    bad = replace(weights, second=change(weights.second))
    result = compare_models(dense, dense_model(tmp_path / "c.tflite", bad, names=("p", "q", "r")), samples)
    assert _named(result) == [("conversion.weights", "q", 1)]
    assert result.causes[0].evidence["pattern"] == pattern
    assert result.verdict != "healthy"
    assert result.causes[0].verified


def test_two_faults_are_two_causes(tmp_path: Path, dense: Path, samples: Path) -> None:
    weights = DenseWeights.random()
    bad = replace(weights, first=_noise(weights.first), third=-weights.third)
    result = compare_models(dense, dense_model(tmp_path / "c.tflite", bad), samples)
    assert {(code, layer) for code, layer, _ in _named(result)} == {
        ("conversion.weights", "hidden_1"),
        ("conversion.weights", "logits"),
    }


def test_an_activation_that_is_lost(tmp_path: Path, dense: Path, samples: Path) -> None:
    editor = Editor(dense)
    editor.set_options(1, fused_activation_function="NONE")
    result = compare_models(dense, editor.write(tmp_path / "c.tflite"), samples)
    assert _named(result) == [("conversion.op", "hidden_2", 1)]
    assert result.causes[0].verified
    assert result.causes[0].evidence["activation"] == {"reference": "RELU", "candidate": "NONE"}


def test_a_lost_bias(tmp_path: Path, dense: Path, samples: Path) -> None:
    facts = read_model(dense)
    editor = Editor(dense)
    editor.set_constant(facts.ops[1].inputs[2], np.full(16, 0.3, np.float32))
    reference = editor.write(tmp_path / "r.tflite")
    lost = Editor(reference)
    lost.set_inputs(1, facts.ops[1].inputs[:2])
    result = compare_models(reference, lost.write(tmp_path / "c.tflite"), samples)
    assert _named(result) == [("conversion.weights", "hidden_2", 1)]
    assert result.causes[0].evidence["pattern"] == "missing"


def test_the_error_is_that_of_the_layer_that_makes_it(tmp_path: Path, dense: Path, samples: Path) -> None:
    weights = DenseWeights.random()
    bad = replace(weights, first=_noise(weights.first))
    result = compare_models(dense, dense_model(tmp_path / "c.tflite", bad), samples)
    own = [layer.local_nrmse for layer in result.layers]
    assert own[0] is not None
    assert own[0] > 0.01
    # What follows shows the error, and makes none.
    assert own[1:] == [0.0, 0.0, 0.0]
    assert all(layer.nrmse is not None and layer.nrmse > 1e-3 for layer in result.layers)


def test_renamed_and_untouched_is_healthy(tmp_path: Path, dense: Path, samples: Path) -> None:
    result = compare_models(dense, dense_model(tmp_path / "c.tflite", names=("p", "q", "r")), samples)
    assert result.verdict == "healthy"
    assert result.causes == ()
    assert {one.code for one in result.excluded} == {"conversion.weights", "conversion.op", "kernel"}


def _not_folded(path: Path, activation: str) -> Path:
    """A dense layer of which the normalization was not folded, and another one behind it."""
    net = Layers()
    source = net.tensor("input", (1, 8))
    first = net.fully_connected("first", source, random_weights((8, 8)), random_weights((8,)), 1, activation)
    scaled = net.with_constant("MUL", "scaled", first, np.linspace(0.5, 2.0, 8).astype(np.float32), (1, 8))
    shifted = net.with_constant("ADD", "shifted", scaled, random_weights((8,), seed=4), (1, 8))
    return net.write(path, [source], [net.fully_connected("end", shifted, random_weights((4, 8), seed=3), None, 1)])


@pytest.mark.parametrize("activation", ["RELU", "RELU6"])
def test_an_activation_before_a_normalization(tmp_path: Path, activation: str) -> None:
    reference, bad = _not_folded(tmp_path / "r.tflite", "NONE"), _not_folded(tmp_path / "c.tflite", activation)
    result = compare_models(reference, bad, random_samples(tmp_path / "s.npz", (8,)))
    assert _named(result) == [("conversion.op", "first", 0)]
    assert result.causes[0].evidence["activation"] == {"reference": "NONE", "candidate": activation}
    assert result.causes[0].verified
