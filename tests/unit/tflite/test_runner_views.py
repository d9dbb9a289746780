"""Looking at layers without copying them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.graphs import dense_model
from windtunnel.errors import InvalidInput
from windtunnel.tflite import Runner


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(dense_model(tmp_path / "m.tflite"), preserve_all=True)


def test_a_view_is_the_layer_of_the_last_run(runner: Runner) -> None:
    draw = np.random.default_rng(1)
    for _ in range(3):
        x = draw.normal(size=(1, 8)).astype(np.float32)
        runner.run({"input": x})
        assert {index: array.tolist() for index, array in runner.fed.items()} == {0: x.tolist()}
        for layer in runner.layers():
            assert np.array_equal(runner.view(layer.tensor.index), layer.array)


def test_a_view_that_is_held_stops_the_next_run(runner: Runner) -> None:
    x = np.ones((1, 8), np.float32)
    runner.run({"input": x})
    held = runner.view(runner.facts.outputs[0].index)
    with pytest.raises(InvalidInput, match="reference to internal data"):
        runner.run({"input": x})
    del held
    runner.run({"input": x})


def test_views_need_kept_layers(tmp_path: Path) -> None:
    runner = Runner(dense_model(tmp_path / "m.tflite"))
    runner.run({"input": np.ones((1, 8), np.float32)})
    with pytest.raises(InvalidInput, match="not kept"):
        runner.view(runner.facts.outputs[0].index)
