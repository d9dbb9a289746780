"""Runs of models with subgraphs, state, text and random numbers, judged again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support import wild_models
from windtunnel.diagnosis import compare_models
from windtunnel.diagnosis.comparison.run_archive import stored_run
from windtunnel.tflite import read_model


def _faulty(model: Path, folder: Path) -> Path:
    """A copy with negated weights in a subgraph if there are some; the model if not."""
    for number, graph in enumerate(read_model(model).graphs):
        for op in graph.ops:
            if number and op.name == "FULLY_CONNECTED" and graph.tensors[op.inputs[1]].is_constant:
                return wild_models.negated(model, folder / "bad.tflite", op.index, number)[0]
    return model


@pytest.mark.parametrize("name", wild_models.BY_TENSORFLOW)
def test_the_same_threshold_gives_the_same_document(tmp_path: Path, name: str) -> None:
    model = wild_models.make_all() / f"{name}.tflite"
    samples = wild_models.samples(model, tmp_path / "x.npz")
    live = compare_models(model, _faulty(model, tmp_path), samples, look=True, save=tmp_path / "run.wtr")
    with stored_run(tmp_path / "run.wtr") as stored:
        assert json.dumps(stored.judge().to_json()) == json.dumps(live.to_json())
