"""Our node data against what the package ai-edge-model-explorer 0.1.34 reads and writes (recorded by record.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.diagnoses import diagnosis_of_named_model, named_model
from windtunnel.cli.report.model_explorer import SETS, node_data
from windtunnel.tflite import ModelFacts, read_model

_SAMPLE = json.loads(Path(__file__).with_name("sample.json").read_text())
_FIGURES = [figure for _, figure in SETS]


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> ModelFacts:
    return read_model(named_model(tmp_path_factory.mktemp("model") / "model.tflite"))


def _shown_nodes(results: dict[str, Any], graph: dict[str, list[str]]) -> dict[str, list[Any]]:
    """Values by node, as Model Explorer's page assigns them: a key is an output tensor's name, or a node's id."""
    by_tensor = {name: node for node, names in graph.items() for name in names}
    shown: dict[str, list[Any]] = {}
    for key, result in results.items():
        node = by_tensor.get(key, key)
        assert node in graph, f"{key} is on no node"
        shown.setdefault(node, []).append(result["value"])
    return shown


@pytest.mark.parametrize("figure", _FIGURES)
def test_the_package_writes_the_same(facts: ModelFacts, figure: str) -> None:
    ours, theirs = node_data(diagnosis_of_named_model(), facts, figure), _SAMPLE["sets"][figure]
    assert ours.keys() == theirs.keys() == _SAMPLE["graphs"].keys()
    for graph, expected in theirs.items():
        stated = {key: value for key, value in expected.items() if value not in (False, [])}
        assert ours[graph] == stated


def test_every_figure_stands_on_the_node_of_its_op(facts: ModelFacts) -> None:
    document = diagnosis_of_named_model()
    (graph,) = _SAMPLE["graphs"]
    expected: dict[str, list[Any]] = {}
    for layer in document["layers"]:
        value = layer["problem"] or layer["nrmse"]
        expected.setdefault(str(layer["op_index"]), []).append(value)
    found = node_data(document, facts)[graph]["results"]
    assert _shown_nodes(found, _SAMPLE["graphs"][graph]) == expected


def test_the_cause_stands_on_the_culprit_alone(facts: ModelFacts) -> None:
    (graph,) = _SAMPLE["graphs"]
    found = node_data(diagnosis_of_named_model(), facts, "cause")[graph]["results"]
    assert _shown_nodes(found, _SAMPLE["graphs"][graph]) == {"0": ["quantization.parameters"]}
