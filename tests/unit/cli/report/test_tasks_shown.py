"""Figures of tasks in the texts and pages of reports and diagnoses."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from support import reports
from windtunnel.cli.report.formatting import UNKNOWN
from windtunnel.cli.report.html.diagnosis_page import diagnosis_html
from windtunnel.cli.report.html.report_page import report_html
from windtunnel.cli.report.task_words import accuracy_words, task_words
from windtunnel.cli.report.text.diagnosis_text import render_diagnosis
from windtunnel.cli.report.text.report_text import render_report

TASK: dict[str, Any] = {
    "name": "detection",
    "metric": "map",
    "better": "higher",
    "declared": True,
    "reference": {"figures": {"ap50": 0.9, "map": 0.75}},
    "candidate": {"figures": {"ap50": 0.8, "map": None}},
    "drop": None,
}


def shown(render: Any, document: dict[str, Any]) -> str:
    out = io.StringIO()
    render(document, Console(file=out, width=120))
    return " ".join(out.getvalue().split())


def with_task(document: dict[str, Any], **fields: Any) -> dict[str, Any]:
    for variant in document["variants"]:
        variant.update(fields)
    return document


def test_the_main_figure_comes_first() -> None:
    assert task_words(TASK) == [f"mAP 0.7500 → {UNKNOWN}", "AP50 0.9000 → 0.8000"]
    assert task_words({}) == []


def test_a_classifier_whose_task_nobody_names_is_shown_as_ever() -> None:
    task = {**TASK, "name": "classification", "metric": "top1", "declared": False}
    assert task_words(task) == []
    assert task_words({**task, "declared": True})


def test_a_diagnosis_shows_the_figures() -> None:
    document = {**reports.diagnosis(), "task": TASK}
    assert f"mAP 0.7500 → {UNKNOWN}, AP50 0.9000 → 0.8000" in shown(render_diagnosis, document)
    page = diagnosis_html(document, reference="a.tflite", candidate="b.tflite")
    assert f"mAP 0.7500 → {UNKNOWN}" in page


def test_a_report_says_what_the_accuracy_is() -> None:
    fields = {"task": "detection", "metric": "map", "figures": {"map": 0.5, "ap50": 0.7}}
    document = with_task(reports.report(2), **fields)
    words = "detection: the accuracy is mAP (AP50 0.7000)"
    assert words in shown(render_report, document)
    assert words in report_html(document)


@pytest.mark.parametrize(("metric", "elements"), [("top1", None), (None, None)])
def test_the_share_of_right_samples_needs_no_words(metric: str | None, elements: float | None) -> None:
    assert accuracy_words({"metric": metric, "element_accuracy": elements, "task": "classification"}) is None


def test_the_least_error_is_the_best() -> None:
    document = reports.report(2)
    for variant, value in zip(document["variants"], (3.5, 2.5), strict=True):
        variant.update(task="regression", metric="mae", accuracy=value, figures={"mae": value}, gates=[])
    page = report_html(document)
    least, most = page.index("2.5000"), page.index("3.5000")
    assert "best" in page[least - 120 : least]
    assert "best" not in page[most - 120 : most]
