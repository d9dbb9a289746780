"""The page of a report: everything is there, nothing is unescaped, nothing is fetched."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import jsonschema
import pytest

from support import reports
from windtunnel import schemas
from windtunnel.cli.report.html.diagnosis_page import diagnosis_html
from windtunnel.cli.report.html.drift_chart import drift_chart
from windtunnel.cli.report.html.drift_curves import curve
from windtunnel.cli.report.html.latency_chart import Row, latency_chart
from windtunnel.cli.report.html.report_page import report_html

HOSTILE = '"><script>alert(1)</script><img src="https://evil.example/x" onerror=alert(2)>\u202e\x1b[31m\x00'
_VOID = {"meta", "br"}


class _Page(HTMLParser):
    """Collects elements, and fails on one that is not closed in its turn."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.titles: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"{tag} has an attribute twice: {names}"
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)
        if self.open and self.open[-1] == "title":
            self.titles.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def count(self, tag: str, **attributes: str) -> int:
        return sum(name == tag and attributes.items() <= found.items() for name, found in self.tags)

    def of_class(self, name: str) -> int:
        return sum(name in (found.get("class") or "").split() for _, found in self.tags)


def _hostile(value: Any, key: str = "") -> Any:
    """The document with every free text replaced."""
    if isinstance(value, dict):
        return {name: _hostile(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_hostile(item, key) for item in value]
    fixed = key in ("schema", "verdict", "status", "gate", "problem", "started_at", "ended_at")
    return HOSTILE if isinstance(value, str) and not fixed else value


@pytest.mark.parametrize("document", [reports.report(6), reports.could_not_run()], ids=["six", "could_not_run"])
def test_the_documents_of_these_tests_are_real_ones(document: dict[str, Any]) -> None:
    jsonschema.validate(document, schemas.load("report"))
    for variant in document["variants"]:
        if variant["diagnosis"] is not None:
            jsonschema.validate(variant["diagnosis"], schemas.load("diagnosis"))


def test_the_page_tells_verdict_reasons_and_every_variant() -> None:
    document = reports.report(6)
    page = _Page(report_html(document))
    assert "✗ Failed" in page.text
    assert document["model"]["name"] in page.text
    assert document["model"]["sha256"] in page.text
    assert "2026-11-20 12:00:03 UTC" in page.text
    assert "took 1 min 42 s" in " ".join(page.text.split())
    for reason in document["reasons"]:
        assert reason in page.text
    for name in reports.VARIANTS:
        assert name in page.text
    assert "quantization.per_tensor" in page.text
    assert "Conversion check" in page.text
    assert "litert-quantizer" in page.text
    assert "AMD EPYC" in page.text
    assert "calibration_from_samples" in page.text


def test_gates_and_best_figures_are_marked() -> None:
    page = _Page(report_html(reports.report(6)))
    failed = {key for name, key in _gate_lines(page) if name == "bad"}
    assert failed == {
        "gate size_mb: 14.0, failed",
        "gate size_mb: 7.00, failed",
        "gate latency_ms_p50: 9.70, failed",
        "gate accuracy_drop: 0.0117, failed",
        "gate accuracy_drop: 0.0300, failed",
        "gate layer_nrmse: 0.1600, failed",
    }
    assert sum(name == "good" for name, _ in _gate_lines(page)) == 30 - 6
    # One in the line that explains the mark, two each where two variants are equal, and p50 and p95 of both cells.
    assert page.of_class("best") == 1 + 2 + 2 + 2 + 1 + 1 + 2 * 2


def _gate_lines(page: _Page) -> list[tuple[str, str]]:
    found = [(entry.get("class") or "", entry.get("title") or "") for _, entry in page.tags]
    return [(kind.split()[-1], title) for kind, title in found if kind.startswith("gate-line")]


def test_what_qualifies_a_figure_is_shown() -> None:
    document = reports.report(2)
    document["variants"][1]["cells"][0] |= {
        "nodes_delegated": 0,
        "nodes_total": 65,
        "input_shapes": {"image": [1, 48, 48, 3]},
        "unstable": True,
        "warnings": ["xnnpack ran 0 of 65 nodes", "the latency is unstable: <b>busy</b>"],
    }
    document["variants"][1]["gates"][1] |= {"passed": None, "why": "the latency is unstable"}
    page = _Page(report_html(document))
    for words in ("0/65", "1x48x48x3", "unstable", "warning: xnnpack ran 0 of 65 nodes", "<b>busy</b>"):
        assert words in page.text
    assert ("warn", "gate latency_ms_p50: 4.85, not judged: the latency is unstable") in _gate_lines(page)


def test_a_gate_against_an_earlier_run_and_a_fallback_are_shown() -> None:
    document = reports.report(2)
    document["variants"][1]["cells"][0] |= {"fell_back": True, "nodes_delegated": 6, "nodes_total": 476}
    document["variants"][1]["gates"].append(reports.compared_gate())
    page = _Page(report_html(document))
    for words in ("fell back", "6/476"):
        assert words in page.text
    said = "1.15 times run run-7, interval 1.080 to 1.220, 1 in 20 pairs of identical jobs differs by over 8.0%"
    assert ("bad", f"gate latency_vs: 1.15, failed: {said}") in _gate_lines(page)


def test_warnings_are_counted_where_the_cells_are_folded() -> None:
    document = reports.report(1)
    document["variants"][0]["cells"] = [reports.cell(2.0, threads=threads) for threads in range(1, 26)]
    assert "25 cells" in report_html(document) and "with warnings" not in report_html(document)
    document["variants"][0]["cells"][3]["warnings"] = ["xnnpack ran 0 of 65 nodes"]
    assert ", 1 with warnings" in _Page(report_html(document)).text


def test_a_single_variant_is_not_the_best_of_anything() -> None:
    assert _Page(report_html(reports.report(1))).of_class("best") == 0


def test_the_drift_chart_shows_every_layer_of_every_variant() -> None:
    page = _Page(report_html(reports.report(6, layers=28)))
    tips = [words for words in page.titles if "DEPTHWISE_CONV_2D" in words or "CONV_2D" in words]
    assert len(tips) == 28
    culprits = [words for words in tips if "cause: " in words]
    assert len(culprits) == 2
    assert all(len(words.splitlines()) == 7 + (words in culprits) for words in tips)
    assert page.of_class("ring") == 1
    assert page.of_class("limit") == 1
    assert "first diverges: block_3/conv_1/Conv2D;bias (int8_per_tensor)" in page.text
    assert "nRMSE, logarithmic" in page.text


def test_drift_of_one_size_is_drawn_linearly() -> None:
    document = reports.diagnosis(level=0.3, verdict="broken")
    page = _Page(diagnosis_html(document, reference="a.tflite", candidate="b.tflite"))
    assert "logarithmic" not in page.text


def test_five_hundred_layers_stay_small() -> None:
    page = report_html(reports.report(6, layers=500))
    assert len(page) < 400_000
    _Page(page)


def test_a_layer_without_a_figure_breaks_the_curve_and_is_marked() -> None:
    page = _Page(report_html(reports.could_not_run()))
    assert page.of_class("cross") == 1
    assert any("float32: non finite" in words for words in page.titles)


def test_unknown_is_a_dash_and_never_none() -> None:
    page = _Page(report_html(reports.could_not_run()))
    assert "Could not run" in page.text
    assert "None" not in page.text
    assert "\u2013" in page.text
    assert "not measured" in report_html(reports.could_not_run())
    assert "the process ended by signal 6 (SIGABRT)" in page.text
    assert "the local farm has cpu and xnnpack" in page.text


def test_the_latency_chart_marks_the_limit_that_is_exceeded() -> None:
    page = _Page(report_html(reports.report(1)))
    assert page.count("line", **{"class": "gate over"}) == 1
    assert page.count("line", **{"class": "gate"}) == 1
    assert page.count("circle", **{"class": "median"}) == 2


def test_a_run_that_goes_on_and_has_nothing_yet() -> None:
    empty: dict[str, Any] = {
        "schema": "windtunnel.report/1",
        "run_id": "r",
        "model": {"name": "m", "version": "1", "sha256": None},
    }
    document = empty | {"verdict": None, "reasons": [], "started_at": None, "ended_at": None, "variants": []}
    page = _Page(report_html(document))
    assert "Still running" in page.text
    assert "No variant was made." in page.text


@pytest.mark.parametrize("document", [reports.report(3), reports.could_not_run()], ids=["failed", "could_not_run"])
def test_hostile_names_are_shown_as_text(document: dict[str, Any]) -> None:
    made = report_html(_hostile(document))
    page = _Page(made)
    assert {"script", "img"}.isdisjoint(name for name, _ in page.tags)
    assert not any(key.startswith("on") or key in ("src", "href") for _, found in page.tags for key in found)
    assert "<script>alert(1)</script>" in page.text
    assert "\\u202e" in page.text
    assert "\u202e" not in made and "\x1b" not in made and "\x00" not in made


def test_hostile_diagnosis() -> None:
    page = _Page(diagnosis_html(_hostile(reports.diagnosis(causes=3)), reference=HOSTILE, candidate=HOSTILE))
    assert {"script", "img"}.isdisjoint(name for name, _ in page.tags)


def test_nothing_is_fetched() -> None:
    made = report_html(reports.report(6))
    assert re.findall(r"https?://|url\(|@import|//[a-z]", made) == []
    page = _Page(made)
    assert page.count("meta", content="default-src 'none'; img-src data:; style-src 'unsafe-inline'") == 1
    assert {"link", "script", "iframe", "object"}.isdisjoint(name for name, _ in page.tags)
    assert "prefers-color-scheme: dark" in made


def test_labels_of_charts_have_room() -> None:
    row = Row("int8", "v0", {"latency_ms": {"p50": 1234.5, "p95": 2345.6}, "unstable": True}, {})
    words = re.search(r'<text x="(\d+)"[^>]*class="name figures">([^<]*)', latency_chart([row]))
    assert words is not None and words[2].endswith("unstable")
    # The widest digit of the font of 12.5 pixels.
    assert int(words[1]) + 7.2 * len(words[2]) <= 1060
    diagnosed = reports.diagnosis(level=0.3, verdict="broken")
    chart = drift_chart([curve("int8", 0, diagnosed)])
    (title,) = re.findall(r'y="([\d.]+)" class="tick">nRMSE', chart)
    (first,) = re.findall(r'y="([\d.]+)" class="note \w+">first diverges', chart)
    assert float(first) - float(title) >= 14
