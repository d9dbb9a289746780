"""The check of a conversion: what it must not let pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.graphs import GraphWriter
from windtunnel.converter.service import _check as check_to_proto
from windtunnel.converter.use_cases.check_conversion import check

WEIGHTS = np.asarray([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, 0.0]], np.float32)
INPUTS = np.random.default_rng(5).uniform(size=(6, 2)).astype(np.float32)


def model_with(bias: float, folder: Path) -> Path:
    """A model of two inputs and four outputs: the weights above, and `bias` on the last output."""
    graph = GraphWriter()
    source = graph.tensor("image", (1, 2))
    out = graph.dense("logits", source, WEIGHTS, np.asarray([0, 0, 0, bias], np.float32))
    return graph.write(folder / "model.tflite", [source], [out], signature=False)


def samples(folder: Path, *, labeled: bool) -> Path:
    path = folder / "samples.npz"
    if labeled:
        np.savez(path, x=INPUTS, y=np.zeros(len(INPUTS), np.int64))
    else:
        np.savez(path, x=INPUTS)
    return path


def original(folder: Path, shape: tuple[int, ...] = (4,)) -> dict[str, Path]:
    np.save(folder / "original.npy", (INPUTS @ WEIGHTS.T).reshape(len(INPUTS), *shape))
    return {"logits": folder / "original.npy"}


def test_the_same_outputs_pass(tmp_path: Path) -> None:
    result = check(model_with(0.0, tmp_path), original(tmp_path), samples(tmp_path, labeled=True), None)
    assert result.passed, result.message
    assert result.converted is not None


@pytest.mark.parametrize("labeled", [False, True])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_outputs_that_are_not_finite_fail_the_check(value: float, labeled: bool, tmp_path: Path) -> None:
    result = check(model_with(value, tmp_path), original(tmp_path), samples(tmp_path, labeled=labeled), None)
    assert not result.passed
    assert "'logits' (6 values)" in result.message
    assert result.converted is None
    assert result.output_nrmse is None


def test_a_tflite_with_outputs_that_are_not_finite_fails_the_check(tmp_path: Path) -> None:
    result = check(model_with(float("nan"), tmp_path), {}, None, None)
    assert not result.passed
    assert "'logits'" in result.message


@pytest.mark.parametrize("labeled", [False, True])
def test_outputs_of_another_shape_do_not_match(labeled: bool, tmp_path: Path) -> None:
    """As many numbers in another arrangement are another output."""
    result = check(model_with(0.0, tmp_path), original(tmp_path, (2, 2)), samples(tmp_path, labeled=labeled), None)
    assert not result.passed
    assert "the original has 'logits' (2, 2)" in result.message
    assert "the converted model 'logits' (4,)" in result.message


def test_how_much_samples_differ_reaches_the_event(tmp_path: Path) -> None:
    """Several classes for a sample: the accuracy is a share of elements."""
    labels = np.random.default_rng(6).integers(0, 2, (len(INPUTS), 4))
    np.savez(tmp_path / "samples.npz", x=INPUTS, y=labels)

    taken = check(model_with(0.0, tmp_path), {}, tmp_path / "samples.npz", None)
    compared = check(model_with(0.0, tmp_path), original(tmp_path), tmp_path / "samples.npz", None)

    right = ((INPUTS @ WEIGHTS.T > 0.0) == labels).mean(axis=1)
    assert right.std() > 0.05
    assert taken.elements[0] is None and taken.elements[1] == pytest.approx(right.mean())
    assert taken.spreads[0] is None and taken.spreads[1] == pytest.approx(right.std(ddof=1))
    sent = check_to_proto(compared)
    for figures in (sent.original, sent.converted):
        assert figures.element_accuracy == pytest.approx(right.mean())
        assert figures.element_spread == pytest.approx(right.std(ddof=1))
