"""Graphs as trainings leave them become the network for inference, and the result says what was changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.training_graphs import KINDS, training_graphs
from windtunnel.converter.convert import convert
from windtunnel.converter.domain.conversion import Converted
from windtunnel.errors import InvalidInput
from windtunnel.isolation import ChildPool
from windtunnel.pipeline import load_samples
from windtunnel.tflite import Runner

pytestmark = [pytest.mark.heavy, pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return training_graphs(tmp_path_factory.mktemp("graphs"))


def answers(converted: Converted, graphs: Path) -> np.ndarray:
    runner = Runner(converted.model)
    source, target = runner.facts.inputs[0].name, runner.facts.outputs[0].name
    rows = load_samples(graphs / "samples.npz").inputs["x"]
    return np.concatenate([runner.run({source: np.asarray(row)[None]})[target] for row in rows])


def said(converted: Converted, code: str) -> str:
    return next((one.message for one in converted.check.findings if one.code == code), "")


@pytest.mark.parametrize("kind", KINDS)
async def test_it_computes_what_the_network_for_inference_computes(
    kind: str, graphs: Path, pool: ChildPool, tmp_path: Path
) -> None:
    converted = await convert(graphs / kind, tmp_path, pool, samples=graphs / "samples.npz")
    assert converted.check.passed, converted.check.message
    np.testing.assert_allclose(answers(converted, graphs), np.load(graphs / f"{kind}.npy"), atol=1e-5)
    words = said(converted, "conversion.inference_mode")
    assert words.startswith(f"{kind} is the graph of a training")
    if kind.startswith("switch"):
        assert f"{'phase_train' if kind == 'switch_with_default' else 'is_training'} is False" in words
    else:
        norms = 3 if kind == "moments" else 2
        assert f"{norms} batch normalizations in training mode use their moving averages, 1 dropouts are off" in words
    assert [converted.facts.output_name(tensor) for tensor in converted.facts.outputs] == ["classes"]


async def test_candidates_are_what_a_model_may_answer(graphs: Path, pool: ChildPool, tmp_path: Path) -> None:
    """Gradients, updates and the loss are named by nobody as an output."""
    with pytest.raises(InvalidInput, match="no tensor 'class'") as caught:
        await convert(graphs / "always", tmp_path / "a", pool, outputs=("class",))
    assert caught.value.hint.startswith("did you mean 'classes'?") and "--output" in caught.value.hint
    converted = await convert(graphs / "always", tmp_path / "b", pool, inputs=("image",), outputs=("Mean",))
    assert converted.check.passed
    # The dropout follows that output.
    assert "dropout" not in said(converted, "conversion.inference_mode")


async def test_what_else_must_be_fed_is_named(graphs: Path, pool: ChildPool, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"always also needs a value for 'labels:0'") as caught:
        await convert(graphs / "always", tmp_path, pool, inputs=("image",), outputs=("loss",))
    assert caught.value.code == "training_graph"


async def test_an_archive_is_named_as_it_was_given(graphs: Path, pool: ChildPool, tmp_path: Path) -> None:
    import shutil

    shutil.make_archive(str(tmp_path / "made"), "zip", graphs / "always")
    with pytest.raises(InvalidInput, match=r"made\.zip has no tensor 'nothing'"):
        await convert(tmp_path / "made.zip", tmp_path / "work", pool, outputs=("nothing",))
