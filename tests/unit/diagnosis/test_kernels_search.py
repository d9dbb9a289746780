"""The prefix bisect on black boxes that are wrong at one op."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.kernel_models import long_model
from support.wrong_kernels import changed, rectify
from windtunnel.diagnosis.kernels import agree_within, bisect
from windtunnel.errors import InvalidInput
from windtunnel.tflite import ModelFacts, Runner, read_model

OPS = 60
SAMPLES = [{"x": np.random.default_rng(seed).normal(size=(1, 16)).astype(np.float32)} for seed in range(3)]
AGREE = agree_within(1e-5)


async def trusted(path: Path, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    return Runner(path, accelerator="none").run(inputs)


def wrong_at(layer: str, when: Callable[[ModelFacts], bool] = lambda facts: True) -> Any:
    """An accelerator that rectifies one layer, in the models that `when` takes."""

    async def run(path: Path, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        model = changed(path, rectify(layer)) if when(read_model(path)) else path
        return Runner(model, accelerator="none").run(inputs)

    return run


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return long_model(tmp_path_factory.mktemp("long") / "long.tflite", OPS)


@pytest.mark.heavy
@pytest.mark.parametrize("culprit", [0, 1, 2, 3, 17, 30, 31, 58, 59])
async def test_the_op_is_found_within_the_builds_that_are_promised(model: Path, tmp_path: Path, culprit: int) -> None:
    found = await bisect(model, wrong_at(f"op_{culprit}"), trusted, SAMPLES, AGREE, workdir=tmp_path)
    assert (found.op_index, found.layer, found.problem) == (culprit, f"op_{culprit}", "")
    assert found.builds <= math.ceil(math.log2(OPS)) + 1


@pytest.mark.heavy
@pytest.mark.parametrize("residual", [True, False])
async def test_every_op_of_a_long_model_is_found(tmp_path: Path, residual: bool) -> None:
    model = long_model(tmp_path / "long.tflite", OPS, residual=residual)
    for culprit in range(OPS):
        found = await bisect(model, wrong_at(f"op_{culprit}"), trusted, SAMPLES[:1], AGREE, workdir=tmp_path)
        assert (found.op_index, found.problem) == (culprit, "")
        assert found.builds <= math.ceil(math.log2(OPS)) + 1


async def test_a_right_accelerator_has_no_culprit_and_costs_no_build(model: Path, tmp_path: Path) -> None:
    found = await bisect(model, trusted, trusted, SAMPLES, AGREE, workdir=tmp_path)
    assert found.op_index is None and found.layer is None
    assert (found.builds, found.runs) == (0, 1)


async def test_a_fault_of_one_sample_alone_is_found(model: Path, tmp_path: Path) -> None:
    async def run(path: Path, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        is_last = np.array_equal(inputs["x"], SAMPLES[-1]["x"])
        return await (wrong_at("op_21") if is_last else trusted)(path, inputs)

    found = await bisect(model, run, trusted, SAMPLES, AGREE, workdir=tmp_path)
    assert found.op_index == 21


async def test_a_fault_that_no_cut_shows_is_said_to_be_changed_by_cutting(model: Path, tmp_path: Path) -> None:
    run = wrong_at("op_20", when=lambda facts: len(facts.ops) == OPS and len(facts.outputs) == 1)
    found = await bisect(model, run, trusted, SAMPLES, AGREE, workdir=tmp_path)
    assert found.problem.startswith("cutting changed the result")


async def test_a_fault_of_two_fused_ops_is_said_to_be_changed_by_cutting(model: Path, tmp_path: Path) -> None:
    def fused(facts: ModelFacts) -> bool:
        return "op_20" not in {tensor.name for tensor in facts.outputs}

    found = await bisect(model, wrong_at("op_21", when=fused), trusted, SAMPLES, AGREE, workdir=tmp_path)
    assert found.op_index == 21
    assert "agrees" in found.problem and found.problem.startswith("cutting changed the result")


async def test_without_samples_and_with_other_outputs_it_is_refused(model: Path, tmp_path: Path) -> None:
    async def renamed(path: Path, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        (values,) = (await trusted(path, inputs)).values()
        return {"other": values}

    with pytest.raises(InvalidInput, match="samples"):
        await bisect(model, trusted, trusted, [], AGREE, workdir=tmp_path)
    with pytest.raises(InvalidInput, match="other"):
        await bisect(model, renamed, trusted, SAMPLES, AGREE, workdir=tmp_path)
