"""The order in which a remedy keeps layers in float."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from support.graphs import DenseWeights, dense_model
from windtunnel.diagnosis.findings.layer_diff import LayerDiff
from windtunnel.diagnosis.remedy.candidate_builder import Models
from windtunnel.diagnosis.remedy.rank_layers import RankByComparison, rank_layers
from windtunnel.isolation import InlinePool


def layer(name: str, nrmse: float | None, isolated: float | None) -> LayerDiff:
    return LayerDiff(name, "CONV_2D", 0, name, {"nrmse": nrmse}, local_nrmse=isolated)


def test_layers_are_ranked_by_the_error_that_they_add() -> None:
    layers = [layer("a", 0.02, None), layer("b", 0.30, 0.01), layer("c", 0.31, 0.15), layer("d", None, None)]
    reads = {"a": ("in",), "b": ("a",), "c": ("b", "a"), "d": ("c",)}
    found = rank_layers(layers, reads)
    assert [name for name, _ in found] == ["d", "b", "c", "a"]
    assert [weight for _, weight in found] == pytest.approx([0.69, 0.28, 0.15, 0.02])


async def test_a_comparison_ranks_the_layer_whose_weights_differ_first(tmp_path: Path) -> None:
    weights = DenseWeights.random()
    reference = dense_model(tmp_path / "r.tflite", weights)
    candidate = dense_model(tmp_path / "c.tflite", replace(weights, second=-weights.second))
    np.savez(tmp_path / "calibration.npz", x=np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32))
    notes: list[str] = []
    rank = RankByComparison(Models(reference, candidate), InlinePool(), notes.append)
    ranking = await rank(tmp_path / "calibration.npz")
    assert ranking[0][1] > 0.2
    assert all(weight < 0.05 for _, weight in ranking[1:])
    assert notes == []


async def test_models_that_cannot_be_compared_give_no_ranking_and_a_note(tmp_path: Path) -> None:
    model = dense_model(tmp_path / "r.tflite")
    np.savez(tmp_path / "calibration.npz", x=np.zeros((4, 5), np.float32))
    notes: list[str] = []
    rank = RankByComparison(Models(model, model), InlinePool(), notes.append)
    assert list(await rank(tmp_path / "calibration.npz")) == []
    assert len(notes) == 1
    assert notes[0].startswith("the layers could not be compared (")
