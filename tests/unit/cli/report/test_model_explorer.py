"""Node data of Model Explorer: files, graph ids, colors; and what `windtunnel diff --node-data` writes."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.diagnoses import FUSED, diagnosis_of_named_model, named_model
from windtunnel.cli.report.model_explorer import graph_id, node_data, node_data_files
from windtunnel.tflite import ModelFacts, read_model


@pytest.fixture
def facts(tmp_path: Path) -> ModelFacts:
    return read_model(named_model(tmp_path / "model.tflite"))


def _results(facts: ModelFacts, document: dict[str, Any], figure: str = "nrmse") -> dict[str, Any]:
    found: dict[str, Any] = node_data(document, facts, figure)["main"]["results"]
    return found


def test_each_set_has_its_own_file(facts: ModelFacts, tmp_path: Path) -> None:
    files = node_data_files(tmp_path / "nodes.json", diagnosis_of_named_model(), facts)
    assert [path.name for path in files] == ["nodes.json", "nodes.own.json", "nodes.cause.json"]
    names = [json.loads(content)["main"]["name"] for content in files.values()]
    assert names == ["nRMSE", "isolated nRMSE", "cause"]


def test_culprits_are_red_whatever_their_figure(facts: ModelFacts) -> None:
    for figure, value in (("nrmse", 0.2), ("local_nrmse", 0.21), ("cause", "quantization.parameters")):
        assert _results(facts, diagnosis_of_named_model(), figure)[FUSED] == {
            "value": value,
            "bgColor": "#b3261e",
            "textColor": "#ffffff",
        }


def test_a_layer_without_a_figure_says_why(facts: ModelFacts) -> None:
    found = _results(facts, diagnosis_of_named_model())
    assert found["4"]["value"] == "non_finite"
    document = diagnosis_of_named_model()
    document["layers"][1]["local_nrmse"] = None
    assert "half_0" not in _results(facts, document, "local_nrmse")


def test_colors_change_at_the_threshold_of_the_diagnosis(facts: ModelFacts) -> None:
    found = node_data(diagnosis_of_named_model() | {"threshold": 0.5}, facts)["main"]["thresholds"]
    assert [one["value"] for one in found] == [0.05, 0.15, 0.5, 1e30]


def test_figures_have_four_digits(facts: ModelFacts) -> None:
    document = diagnosis_of_named_model()
    document["layers"][1]["nrmse"] = 0.0123456789
    assert _results(facts, document)["half_0"]["value"] == 0.01235


def test_the_graph_is_called_as_model_explorer_calls_it(facts: ModelFacts) -> None:
    unnamed = replace(facts, graphs=(replace(facts.main, name=""),))
    assert graph_id(facts) == "main"
    assert graph_id(unnamed) == "serving_default"
    assert graph_id(replace(unnamed, signatures=())) == "main"


@pytest.mark.heavy
def test_diff_writes_it_and_replaces_nothing_unasked(tmp_path: Path) -> None:
    named_model(tmp_path / "a.tflite")
    command = [sys.executable, "-m", "windtunnel.cli", "diff", "a.tflite", "a.tflite", "--node-data", "nodes.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "nodes.json").read_text())
    assert {result["value"] for result in written["main"]["results"].values()} == {0.0}
    (tmp_path / "nodes.json").unlink()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "nodes.own.json already exists" in done.stderr
    assert not (tmp_path / "nodes.json").exists()
