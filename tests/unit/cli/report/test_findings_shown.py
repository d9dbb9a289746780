"""Findings, and why an accuracy is missing, for the terminal and on the page."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console

from support.reports import gate, report
from windtunnel.cli.report.html.diagnosis_page import diagnosis_html
from windtunnel.cli.report.html.report_page import report_html
from windtunnel.cli.report.text.report_text import render_report

PIPELINE = {"schema": "windtunnel.pipeline/1", "steps": [{"op": "normalize", "scale": 0.5, "offset": -1.0}]}
FINDING: dict[str, Any] = {
    "code": "input.range",
    "message": "input <b>'image'</b> gets values from 0 to 255",
    "fix": "use this pipeline",
    "evidence": {
        "pipeline": PIPELINE,
        "tried": [{"what": "values from -1 to 1", "measure": "accuracy", "score": 0.94, "as_given": 0.12}],
    },
}


def found() -> dict[str, Any]:
    document = report(1)
    document["findings"] = [FINDING]
    variant = document["variants"][0]
    variant["accuracy"], variant["accuracy_reason"] = None, "the samples have no labels"
    least = gate("accuracy_min", 0.9, 0.5) | {"bound": "at_least", "passed": False}
    variant["gates"] = [least]
    return document


def text(document: dict[str, Any]) -> str:
    console = Console(width=100, record=True, color_system=None)
    with console.capture() as captured:
        render_report(document, console)
    return captured.get()


def test_the_terminal_shows_findings_and_a_pipeline_that_can_be_copied() -> None:
    shown = text(found())
    assert "input.range: input <b>'image'</b> gets values from 0 to 255" in shown
    assert "tried values from -1 to 1: accuracy 0.9400" in shown and "fix: use this pipeline" in shown
    assert json.dumps(PIPELINE) in shown.splitlines()


def test_a_missing_accuracy_and_a_lower_bound_are_explained() -> None:
    shown = text(found())
    assert "no accuracy: the samples have no labels" in shown
    assert "≥ 0.9" in shown and "≤ 0.9" not in shown


def test_the_page_shows_them_as_text() -> None:
    page = report_html(found())
    assert "input &lt;b&gt;" in page and "<b>'image'" not in page
    assert "the samples have no labels" in page and "values from -1 to 1: accuracy 0.9400" in page
    assert "≥ 0.9" in page
    assert "Findings" in diagnosis_html({"findings": [FINDING]}, reference="a", candidate="b")


def test_nothing_is_said_where_nothing_was_found() -> None:
    document = report(1)
    assert "Findings" not in text(document) and "Findings" not in report_html(document)


def test_a_long_reason_in_the_table_of_variants_wraps() -> None:
    document = found()
    document["variants"][0]["accuracy_reason"] = "output 'y' holds NaN or infinity, " * 12
    page = report_html(document)
    cell = page[: page.index("output &#39;y&#39; holds")].rsplit("<td", 1)[1]
    assert 'class="number unknown"' in cell
    rule = next(line for line in page.splitlines() if line.startswith("td.number.unknown"))
    assert "white-space: normal" in rule and "max-width" in rule
