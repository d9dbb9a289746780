"""The sweep over thresholds changes what it says it changes, and its file fits the thresholds."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from threshold_spans import Side, Span, read_spans, value_text, write_spans

import windtunnel.diagnosis
from benchmarks.diagnosis.changed_thresholds import (
    changed,
    executed,
    known_thresholds,
    load_everything,
    names_in,
    readers,
    values_beside,
)
from benchmarks.diagnosis.judged_again import Answer, OpenCase
from benchmarks.diagnosis.stored_cases import StoredCase
from benchmarks.diagnosis.sweep_command import Sweep
from support.faults import Case, Spec
from support.graphs import DenseWeights, dense_model
from support.layers import random_samples
from windtunnel.diagnosis import compare_models
from windtunnel.diagnosis.static.value_patterns import describe
from windtunnel.diagnosis.thresholds.threshold import threshold_modules, thresholds_of

ROOT = Path(windtunnel.diagnosis.__path__[0])
# Read when their modules are imported: `changed` does not reach these readers.
READ_AT_IMPORT = {
    ("split_samples.py", "SPLIT_FEWEST"),
    ("non_finite_causes.py", "BY_ELIMINATION"),
    ("non_finite_causes.py", "NON_FINITE"),
}


@pytest.fixture(scope="module", autouse=True)
def everything_loaded() -> None:
    load_everything()


def _imported(path: Path) -> set[str]:
    """The thresholds that a module imports, by the names that it gives them."""
    return {
        alias.asname or alias.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("windtunnel.diagnosis.thresholds.")
        for alias in node.names
    }


def _read_at_import(path: Path) -> set[str]:
    """The names that a module reads outside of the bodies of its functions: defaults, tables, fields of classes."""
    tree = ast.parse(path.read_text())
    bodies = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for statement in node.body
        for part in ast.walk(statement)
    }
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in bodies}


@pytest.mark.heavy
def test_a_change_reaches_every_reader_and_is_undone() -> None:
    importers: dict[str, int] = {}
    for path in ROOT.rglob("*.py"):
        for name in _imported(path):
            importers[name] = importers.get(name, 0) + 1
    for name, value in known_thresholds().items():
        modules = readers(name, value)
        assert len(modules) == 1 + importers.get(name, 0), name
        with changed(name, value, object()):
            assert readers(name, value) == []
        assert readers(name, value) == modules


@pytest.mark.heavy
def test_only_these_are_read_at_import() -> None:
    names = {name for module in threshold_modules() for name, _, _ in thresholds_of(module)}
    found = {
        (path.name, name)
        for path in ROOT.rglob("*.py")
        if path.parent.name != "thresholds"
        for name in _imported(path) & _read_at_import(path) & names
    }
    assert found == READ_AT_IMPORT


def test_a_name_that_means_something_else_is_left_alone() -> None:
    with pytest.raises(LookupError), changed("SAME_SCALE", 123.0, 1.0):
        pass


def test_values_beside() -> None:
    assert [value for _, value in values_beside(3, up=True)] == [4, 6, 12, 30]
    assert [value for _, value in values_beside(3, up=False)] == [2, 1]
    assert [value for _, value in values_beside(0.98, up=True)][-1] == pytest.approx(0.8)
    assert values_beside({"a": 2.0, "b": 4.0}, up=False)[-1] == (0.1, {"a": 0.2, "b": 0.4})
    assert values_beside(1, up=False) == []


def test_executed_code_tells_the_thresholds() -> None:
    one = np.ones((2, 3))
    _, codes = executed(lambda: describe(one, 2.0 * one, 0.01 * one, np.ones((2, 3), bool)))
    names = names_in(codes, known_thresholds())
    assert "PATTERN_FACTOR" in names and "RANGE_WIDE" not in names


@pytest.fixture
def case(tmp_path: Path) -> Iterator[OpenCase]:
    """A pair whose second layer has smaller weights."""
    weights = DenseWeights.random()
    reference = dense_model(tmp_path / "r.tflite", weights)
    candidate = dense_model(tmp_path / "c.tflite", replace(weights, second=np.float32(0.7) * weights.second))
    samples = random_samples(tmp_path / "s.npz", (8,))
    document = compare_models(reference, candidate, samples, save=tmp_path / "run.wtr").to_json()
    place = document["causes"][0]["place"]
    expected = Case(
        Spec("dense", "float32", "scaled", "after"),
        reference,
        candidate,
        samples,
        (document["causes"][0]["code"],),
        frozenset({place["layer"]}),
        frozenset({place["op_index"]}),
        "",
        1.0,
        0.0,
    )

    class _Here(StoredCase):
        @property
        def samples(self) -> Path:
            return samples

    with ExitStack() as stack:
        yield OpenCase(_Here(expected, tmp_path / "run.wtr"), stack)


def test_a_stored_run_answers_as_a_run_does(case: OpenCase) -> None:
    assert case.recorded.grade == 2 and not case.recorded.missing
    assert case.judge().said == case.run().said == case.recorded.said


def test_the_span_of_a_threshold_ends_where_the_answer_gets_worse(case: OpenCase) -> None:
    sweep = Sweep([case], known_thresholds())
    sweep.trace()
    span = sweep.measure("BROKEN_OUTPUT")
    assert span.up == Side(10.0) and span.down is not None
    assert span.down.case == case.name and "then broken" in span.down.how
    value = known_thresholds()["BROKEN_OUTPUT"]
    for factor, verdict in ((span.down.factor, "degraded"), (span.down.factor * 0.4, "broken")):
        with changed("BROKEN_OUTPUT", value, value * factor):
            outcome = case.judge().outcome
            assert outcome is not None and outcome.verdict == verdict
    assert case.judge().said == case.recorded.said


def test_what_the_run_does_not_hold_is_run_again(case: OpenCase) -> None:
    value = known_thresholds()["ISOLATED_SAMPLES"]
    with changed("ISOLATED_SAMPLES", value, value - 1):
        assert case.judge().missing
    sweep = Sweep([case], known_thresholds())
    sweep.trace()
    assert sweep.measure("ISOLATED_SAMPLES").run_again == 1


def test_worse() -> None:
    def answer(code: str | None, verdict: str = "degraded") -> Answer:
        outcome = StoredCase(_CASE, Path()).outcome(
            {
                "verdict": verdict,
                "causes": []
                if code is None
                else [{"code": code, "place": {"layer": "a", "op_index": 1}, "confidence": 0.9}],
            }
        )
        return Answer(outcome, ())

    right = answer("conversion.op")
    assert answer("conversion.weights").is_worse(right) and answer(None, "healthy").is_worse(right)
    assert answer("conversion.op", "broken").is_worse(right)
    assert Answer(None, (), error="ZeroDivisionError").is_worse(right)
    assert not right.is_worse(answer("conversion.weights", "broken")) and not right.is_worse(right)


_CASE = Case(
    Spec("dense", "float32", "sign", "after"),
    Path(),
    Path(),
    Path(),
    ("conversion.op",),
    frozenset({"a"}),
    frozenset({1}),
    "",
    1.0,
    0.0,
)


def test_the_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    spans = {"A": Span("1.5", 3, 1, 0, 2, False, Side(0.5, "a/b/c/d/0", "healthy; then broken"), None)}
    write_spans(spans, 3, tmp_path / "spans.json")
    assert read_spans(tmp_path / "spans.json") == spans


def test_the_measurement_fits_the_thresholds() -> None:
    measured = {name: span.value for name, span in read_spans().items()}
    values = {name: value_text(value) for name, value in known_thresholds().items()}
    changed_since = sorted(name for name in values.keys() | measured.keys() if values.get(name) != measured.get(name))
    assert changed_since == [], (
        "measure these again: python benchmarks/diagnosis/threshold_sweep.py; "
        "python tools/thresholds_table.py > docs/thresholds.md"
    )
