"""Variables that nothing sets are noticed, whoever reads them; state that a model keeps is none of that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from support.graphs import GraphWriter
from windtunnel.diagnosis.comparison.compare_models import compare_models
from windtunnel.diagnosis.kernels.kernel_jobs import prepare
from windtunnel.diagnosis.latency.op_profile import profile_model, time_op
from windtunnel.errors import InvalidInput
from windtunnel.farm_dispatcher.adapters.benchmark.measurement import NO_PATIENCE
from windtunnel.farm_dispatcher.adapters.host.local_farm import LocalFarm
from windtunnel.isolation import InlinePool
from windtunnel.tflite import Runner, read_model, require_values
from windtunnel.tflite.variables import unset_variables


def handle(graph: GraphWriter, name: str) -> int:
    options = schema.VarHandleOptionsT()
    options.container, options.sharedName = "", name
    found = graph.tensor(f"{name}/handle", (1,), "resource")
    graph.op("VAR_HANDLE", [], [found], options)
    return found


def model(path: Path, *, assigned: bool) -> Path:
    graph = GraphWriter()
    source = graph.tensor("in", (1, 4))
    if assigned:
        graph.op("ASSIGN_VARIABLE", [handle(graph, "dense/kernel"), source], [], schema.AssignVariableOptionsT())
    value, out = graph.tensor("value", (1, 4)), graph.tensor("out", (1, 4))
    graph.op("READ_VARIABLE", [handle(graph, "dense/kernel")], [value], schema.ReadVariableOptionsT())
    graph.op("ADD", [source, value], [out], schema.AddOptionsT())
    return graph.write(path, [source], [out])


def test_a_variable_without_a_value_is_named(tmp_path: Path) -> None:
    facts = read_model(model(tmp_path / "m.tflite", assigned=False))
    assert unset_variables(facts) == ["dense/kernel"]
    with pytest.raises(InvalidInput, match=r"variables of m\.tflite have no values: it reads dense/kernel") as caught:
        require_values(facts)
    assert "model.export" in caught.value.hint


def test_a_variable_that_the_model_sets_has_a_value(tmp_path: Path) -> None:
    require_values(read_model(model(tmp_path / "m.tflite", assigned=True)))


@pytest.mark.parametrize(
    "runs",
    [
        pytest.param(Runner, id="runner"),
        pytest.param(lambda path: profile_model(path, accelerator="xnnpack"), id="ops"),
        pytest.param(lambda path: time_op(path, 0, accelerator="xnnpack"), id="one op"),
        pytest.param(lambda path: prepare(path, None, None, 1, path.parent), id="kernels"),
    ],
)
def test_nothing_runs_it(tmp_path: Path, runs: Callable[[Path], Any]) -> None:
    with pytest.raises(InvalidInput, match="have no values"):
        runs(model(tmp_path / "m.tflite", assigned=False))


async def test_nothing_is_compared_or_measured(tmp_path: Path) -> None:
    path = model(tmp_path / "m.tflite", assigned=False)
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 4), np.float32))
    with pytest.raises(InvalidInput, match="have no values"):
        compare_models(path, path, tmp_path / "x.npz", None)
    with pytest.raises(InvalidInput, match="have no values"):
        await LocalFarm(InlinePool(), tmp_path / "lock", NO_PATIENCE).measure(path, "cpu", 1)
