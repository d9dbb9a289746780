"""The registry of metrics: zero denominators, and one more metric appears wherever metrics are shown."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import generate_schemas
import metrics_table
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import validate

from support.graphs import DenseWeights, dense_model
from windtunnel.cli.report.html.layer_table import layer_table
from windtunnel.cli.report.text.diagnosis_text import layer_heads
from windtunnel.datacheck import output_metrics
from windtunnel.diagnosis import compare_models
from windtunnel.diagnosis.numerics import metrics
from windtunnel.diagnosis.numerics.channel_sums import ChannelSums
from windtunnel.diagnosis.numerics.layer_sums import LayerSums
from windtunnel.diagnosis.numerics.layer_totals import CloseTotals, LayerTotals
from windtunnel.diagnosis.numerics.metric import Metric, SampleSums

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"


def _totals(count: float = 4.0, squares: float = 0.0, **close: Any) -> LayerTotals:
    return LayerTotals(1, count, squares, math.sqrt(squares), close=CloseTotals(1, count, squares=squares, **close))


@pytest.mark.parametrize(
    ("products", "reference", "candidate", "expected"),
    [
        (2.0, 4.0, 1.0, 1.0),
        (-2.0, 4.0, 1.0, -1.0),
        (0.0, 0.0, 0.0, 1.0),
        (0.0, 4.0, 0.0, 0.0),
        (0.0, 0.0, 4.0, 0.0),
        (1e300, 1e300, 1e300, 1.0),
        (0.0, 4.0, -1e-20, 0.0),
    ],
)
def test_cosine(products: float, reference: float, candidate: float, expected: float) -> None:
    found = metrics.cosine(_totals(products=products, reference=reference, candidate=candidate))
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("reference", "squares", "expected"),
    [
        (100.0, 1.0, 20.0),
        (1.0, 100.0, -20.0),
        (0.0, 1.0, None),
        (1.0, 0.0, None),
        (0.0, 0.0, None),
        (1e300, 1e-300, 6000.0),
    ],
)
def test_snr(reference: float, squares: float, expected: float | None) -> None:
    found = metrics.snr_db(_totals(squares=squares, reference=reference))
    assert found is None if expected is None else found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("squares", "ends", "expected"),
    [(1.0, (0.0, 2.0), 0.25), (0.0, (1.0, 1.0), 0.0), (1.0, (1.0, 1.0), None), (0.0, (0.0, 2.0), 0.0)],
)
def test_nrmse(squares: float, ends: tuple[float, float], expected: float | None) -> None:
    totals = LayerTotals(1, 4.0, squares, 1.0, ends, (1.0, 1.0))
    assert metrics.nrmse(totals) == expected


def test_channels_without_a_range_have_no_figure_or_none_to_have() -> None:
    channels = ChannelSums(4)
    channels.count = 1
    channels.squares = np.array([4.0, 0.0, 4.0, 1.0])
    channels.ends = np.array([[[0.0, 0.0, 0.0, 0.0], [4.0, 0.0, 0.0, 1.0]]] * 2)
    found = metrics.channel_nrmse(_totals(channels=channels))
    assert found == {"axis": -1, "worst": 3, "max": 1.0, "median": 0.5, "without": 1}
    channels.squares, channels.ends = channels.squares[2:3], channels.ends[:, :, 2:3]
    assert metrics.channel_nrmse(_totals(channels=channels)) is None


def test_a_layer_without_values_has_figures_as_the_rules_say() -> None:
    found = LayerSums().figures().values
    zero = {"nrmse", "rmse", "range", "max_abs"}
    assert {name: value for name, value in found.items() if value is not None} == dict.fromkeys(zero, 0.0)


@pytest.mark.heavy
@given(
    seed=st.integers(0, 10_000),
    scale=st.sampled_from([0.0, 1e-40, 1e-3, 1.0, 1e30]),
    other=st.sampled_from([0.0, 1e-40, 1.0, 1e30]),
    samples=st.integers(0, 3),
)
def test_no_metric_is_infinite_or_nan_and_each_fits_its_schema(
    seed: int, scale: float, other: float, samples: int
) -> None:
    draw, sums = np.random.default_rng(seed), LayerSums()
    for _ in range(samples):
        sums.add(draw.normal(size=(1, 2, 3)) * scale, draw.normal(size=(1, 2, 3)) * other)
    found = json.loads(json.dumps(sums.figures().values, allow_nan=False))
    for one in metrics.METRICS:
        validate(found[one.name], one.schema)
        assert one.shown(found[one.name]) is not None


def test_every_metric_says_what_it_is_and_has_a_name_of_its_own() -> None:
    names = [one.name for one in metrics.METRICS]
    assert len(set(names)) == len(names)
    for one in metrics.METRICS:
        assert one.formula.__doc__ and one.unit and one.zero and one.source
        assert bool(one.title) == bool(one.meaning), one.name
        assert one.title or not one.in_terminal, one.name
        assert metrics.metric(one.name) is one


def test_every_metric_of_outputs_says_what_it_is() -> None:
    names = [one.name for one in output_metrics.METRICS]
    assert len(set(names)) == len(names)
    for one in output_metrics.METRICS:
        assert one.formula.__doc__ and one.unit and one.zero and one.source
        formula = one.formula.__doc__.partition(".\n")[0]
        assert f"| `{one.name}` | {formula} |" in metrics_table.table()


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("top1", ([0, 1, 2, -1], [0, 1, 1, 0]), 0.5),
        ("precision", ([0, 0, 1], [0, 1, 1]), 0.75),
        ("recall", ([0, 0, 1], [0, 1, 1]), 0.75),
        ("agreement", ([0, 1, -1, 2], [0, 2, -1, 2]), 0.5),
        ("accuracy_drop", ([True, True, False, True], [True, False, False, True]), 0.25),
        ("element_accuracy", ([3, 1], [4, 4]), 0.5),
        ("element_accuracy", ([0, 0], [0, 0]), None),
    ],
)
def test_metrics_of_outputs(name: str, arguments: tuple[list[int], list[int]], expected: float | None) -> None:
    (metric,) = (one for one in output_metrics.METRICS if one.name == name)
    assert metric.formula(*map(np.array, arguments)) == expected


def test_a_class_without_decisions_or_samples_counts_as_zero() -> None:
    """As scikit-learn's macro averages with zero_division=0."""
    decisions, classes = np.array([0, 0, 2]), np.array([0, 1, 1])
    assert output_metrics.precision(decisions, classes) == pytest.approx((0.5 + 0.0 + 0.0) / 3)
    assert output_metrics.recall(decisions, classes) == pytest.approx((1.0 + 0.0 + 0.0) / 3)


@pytest.mark.parametrize("value", [None, True, "x", [], [1], {}, {"max": "x"}, math.nan, math.inf])
def test_a_value_of_a_foreign_document_is_shown_without_a_fault(value: Any) -> None:
    assert all(isinstance(one.shown(value), str) for one in metrics.METRICS)


def mean_absolute_error(totals: LayerTotals) -> float | None:
    """sum |d| / n"""
    (sum_of_errors,) = totals.close.further["mae"]
    return sum_of_errors / totals.close.count if totals.close.count else None


def psnr_db(totals: LayerTotals) -> float | None:
    """20 log10(range / rmse)"""
    error, span = metrics.rmse(totals), metrics.value_range(totals)
    return 20.0 * math.log10(span / error) if error > 0.0 and span > 0.0 else None


MAE = Metric(
    "mae",
    mean_absolute_error,
    unit="real units of the layer",
    better="lower",
    zero="null without values",
    source="mean absolute error",
    samples="close",
    title="MAE",
    meaning="mean absolute error",
    in_terminal=True,
    sums=SampleSums(lambda reference, candidate: (float(np.abs(candidate - reference).sum()),)),
    schema={"type": ["number", "null"], "minimum": 0},
)
PSNR = Metric("psnr_db", psnr_db, "dB", "higher", "null without an error or a range", "Hore and Ziou (2010)")


@pytest.fixture
def more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, MAE, PSNR))


@pytest.mark.usefixtures("more")
def test_one_more_metric_is_in_the_diagnosis_its_schema_the_tables_and_the_docs(
    tmp_path: Path, dense: Path, samples: Path
) -> None:
    weights = DenseWeights.random()
    candidate = dense_model(tmp_path / "c.tflite", replace(weights, first=weights.first * np.float32(1.02)))
    diagnosis = json.loads(json.dumps(compare_models(dense, candidate, samples).to_json()))
    layers = diagnosis["layers"]
    assert any(layer["mae"] > 0.0 for layer in layers)
    for layer in layers:
        assert layer["mae"] <= layer["rmse"] or layer["rmse"] == 0.0
        if layer["nrmse"]:
            assert layer["psnr_db"] == pytest.approx(-20.0 * math.log10(layer["nrmse"]))
    schema = json.loads(generate_schemas.texts()["diagnosis.schema.json"])
    assert schema["$defs"]["layer"]["properties"]["mae"] == MAE.schema
    validate(diagnosis, schema)
    page = str(layer_table(diagnosis))
    assert "MAE" in page and MAE.shown(layers[0]["mae"]) in page
    assert "MAE" in layer_heads() and "psnr_db" not in layer_heads()
    assert "`mae`" in metrics_table.table() and "sum \\|d\\| / n" in metrics_table.table()


@pytest.mark.usefixtures("more")
def test_further_sums_go_on_from_a_state_and_are_not_made_of_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(3)
    pairs = [draw.normal(size=(2, 1, 4, 3)) for _ in range(6)]
    whole, first, second = LayerSums(), LayerSums(), LayerSums()
    for number, pair in enumerate(pairs):
        whole.add(*pair)
        (first if number < 3 else second).add(*pair)
        if number == 2:
            second.restore(first.state())
    both = np.stack(pairs)
    assert whole.figures().values["mae"] == pytest.approx(np.abs(both[:, 1] - both[:, 0]).mean())
    assert second.figures() == whole.figures()
    state = {name: array for name, array in first.state().items() if not name.startswith("further/")}
    late = LayerSums()
    late.restore(state)
    late.add(*pairs[3])
    assert late.figures().values["mae"] is None


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == metrics_table.table(), "run: python tools/metrics_table.py > docs/metrics.md"
