"""Runs side by side, and figures by their paths."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonschema
import pytest

from windtunnel import schemas
from windtunnel.client.comparison import Comparison, Row, compare_reports
from windtunnel.client.figures import Missing, figure_at, parse_path
from windtunnel.errors import InvalidInput


def cell(id: str = "c-1", **changes: Any) -> dict[str, Any]:
    made = {
        "id": id,
        "farm": "local",
        "device": "host",
        "platform": "host",
        "os_version": "12",
        "accelerator": "xnnpack",
        "threads": 1,
        "status": "measured",
        "latency_ms": {"p50": 2.0, "p95": 3.0},
        "init_ms": 1.0,
        "memory_mb": 10.0,
        "input_shapes": {"image": [1, 32, 32, 3]},
    }
    return made | changes


def report(run_id: str, *cells: dict[str, Any], **changes: Any) -> dict[str, Any]:
    variant = {
        "name": "int8",
        "accuracy": 0.9,
        "accuracy_drop": 0.01,
        "loss": 0.2,
        "agreement": 0.99,
        "size_bytes": 1000,
        "samples": 100,
        "layers": {"max_nrmse": 0.05},
        "cells": list(cells or [cell()]),
        "gates": [{"gate": "size_mb", "measured": 0.001}],
    }
    return {
        "run_id": run_id,
        "model": {"name": "ssd", "version": "3"},
        "verdict": "passed",
        "started_at": "2026-11-20T12:00:00Z",
        "plan_sha256": "p",
        "labels": {"team": "edge"},
        "variants": [variant | changes],
    }


def row_of(comparison: Comparison, figure: str) -> Row:
    (found,) = (row for row in comparison.rows if row.figure == figure)
    return found


def test_figures_are_compared_with_the_first_run() -> None:
    found = compare_reports(
        [
            report("a"),
            report("b", cell("c-2", latency_ms={"p50": 3.0, "p95": 3.0}), accuracy=0.8),
            report("c", loss=None),
        ]
    )
    assert [run.run_id for run in found.runs] == ["a", "b", "c"] and found.notes == []
    accuracy = row_of(found, "variants[int8].accuracy")
    assert accuracy.values == [0.9, 0.8, 0.9] and accuracy.more_is_better is True
    assert accuracy.differences == [None, pytest.approx(-0.1), 0.0]
    assert row_of(found, "variants[int8].loss").values == [0.2, 0.2, None]
    assert row_of(found, "variants[int8].loss").differences == [None, 0.0, None]
    # Ids differ between runs, and the cell is still the same one.
    p50 = row_of(found, "variants[int8].cells[local/host/12/xnnpack/1].latency_ms.p50")
    assert p50.values == [2.0, 3.0, 2.0] and p50.ratios == [None, 1.5, 1.0] and p50.more_is_better is False
    assert p50.cell is not None and p50.cell["threads"] == 1
    jsonschema.validate(json.loads(json.dumps(found.to_json(), allow_nan=False)), schemas.load("comparison"))


@pytest.mark.parametrize("change", [{"threads": 4}, {"accelerator": "cpu"}, {"os_version": "13"}, {"device": "pixel"}])
def test_other_cells_are_not_mixed(change: dict[str, Any]) -> None:
    found = compare_reports([report("a"), report("b", cell(**change))])
    rows = [row for row in found.rows if row.name == "latency_ms.p50"]
    assert [row.values for row in rows] == [[2.0, None], [None, 2.0]]
    assert all(row.differences == [None, None] for row in rows)


def test_latency_at_other_input_shapes_is_another_figure() -> None:
    larger = cell(input_shapes={"image": [1, 224, 224, 3]}, latency_ms={"p50": 50.0, "p95": 60.0})
    found = compare_reports([report("a"), report("b", larger)])
    assert [row.values for row in found.rows if row.name == "latency_ms.p50"] == [[2.0, None], [None, 50.0]]


def test_a_latency_has_the_spread_of_its_times() -> None:
    judged = cell(conditions={"spread": 0.04}, latency_ms={"p50": 2.0, "p95": 3.0, "std": 1.0})
    printed = cell(latency_ms={"p50": 2.0, "p95": 3.0, "std": 0.5})
    found = compare_reports([report("a", judged), report("b", printed), report("c")])
    assert [row.spreads for row in found.rows if row.name == "latency_ms.p50"] == [[0.04, 0.25, None]]
    assert [list(row.spreads) for row in found.rows if row.name in ("init_ms", "accuracy")] == [[], []]


def test_inputs_of_other_names_but_the_same_sizes_are_the_same_cell() -> None:
    first = cell(input_shapes={"serving_default_keras_tensor:0": [1, 8], "mask": [1, 4]})
    second = cell(input_shapes={"mask_1": [1, 4], "serving_default_keras_tensor_7:0": [1, 8]})
    found = compare_reports([report("a", first), report("b", second)])
    assert [row.values for row in found.rows if row.name == "latency_ms.p50"] == [[2.0, 2.0]]
    assert found.notes == []


def test_figures_at_an_unknown_input_shape_are_kept_and_noted() -> None:
    larger = cell(input_shapes={"image": [1, 224, 224, 3]}, latency_ms={"p50": 50.0, "p95": 60.0})
    unknown = cell(latency_ms={"p50": 7.0, "p95": 8.0})
    del unknown["input_shapes"]
    found = compare_reports([report("a"), report("b", larger), report("c", unknown)])
    values = [row.values for row in found.rows if row.name == "latency_ms.p50"]
    assert values == [[2.0, None, None], [None, 50.0, None], [None, None, 7.0]]
    assert "not every run has the input shape" in "\n".join(found.notes)


def test_a_cell_without_figures_is_matched_all_the_same() -> None:
    failed = cell(status="failed", latency_ms={"p50": None, "p95": None}, input_shapes=None)
    found = compare_reports([report("a"), report("b", failed), report("c", cell(unstable=True))])
    (row,) = (row for row in found.rows if row.name == "latency_ms.p50")
    assert row.values == [2.0, None, 2.0] and row.unstable == [False, False, True]
    (memory,) = (row for row in found.rows if row.name == "memory_mb")
    assert memory.unstable == [False, False, False]


def test_what_is_missing_in_the_first_run_has_no_difference() -> None:
    other = report("b", name="float16")
    found = compare_reports([report("a"), other])
    assert row_of(found, "variants[float16].accuracy").values == [None, 0.9]
    assert row_of(found, "variants[float16].accuracy").differences == [None, None]
    zero = compare_reports([report("a", loss=0.0), report("b", loss=0.5)])
    assert row_of(zero, "variants[int8].loss").ratios == [None, None]


def test_what_makes_figures_hard_to_compare_is_said() -> None:
    other = report("b", samples=50, synthetic_samples=True)
    other |= {"plan_sha256": "q", "verdict": None, "model": {"name": "other", "version": "1"}}
    notes = "\n".join(compare_reports([report("a"), other]).notes)
    for words in ("different plans", "run b is still running", "different models", "50, 100", "random inputs"):
        assert words in notes


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("variants[int8].accuracy", 0.9),
        ("variants[int8].layers.max_nrmse", 0.05),
        ("variants[int8].cells[c-1].latency_ms.p50", 2.0),
        ("variants[int8].cells[local/host/12/xnnpack/1].latency_ms.p95", 3.0),
        ("variants[int8].gates[size_mb].measured", 0.001),
    ],
)
def test_a_figure_by_its_path(path: str, value: float) -> None:
    assert figure_at(report("a"), parse_path(path)) == value


def test_a_figure_that_is_not_known_and_one_that_is_not_there() -> None:
    unknown = copy.deepcopy(report("a", accuracy=None))
    assert figure_at(unknown, parse_path("variants[int8].accuracy")) is None
    for path in ("variants[int16].accuracy", "variants[int8].acuracy", "variants[int8]", "verdict", "run_id.x"):
        with pytest.raises(Missing):
            figure_at(unknown, parse_path(path))


@pytest.mark.parametrize("path", ["", "variants[", "variants[]", "a b", "variants[int8]..x", "[x"])
def test_a_path_that_cannot_be_read(path: str) -> None:
    with pytest.raises(InvalidInput):
        parse_path(path)


def test_a_run_without_figures_is_said() -> None:
    well = report("r-1")
    none = report("r-2") | {"verdict": "could_not_run", "variants": []}
    notes = compare_reports([well, none]).notes
    assert any(note.startswith("run r-2 could not run and has no figures") for note in notes)
    measured = report("r-3") | {"verdict": "could_not_run"}
    assert not any("no figures" in note for note in compare_reports([well, measured]).notes)
