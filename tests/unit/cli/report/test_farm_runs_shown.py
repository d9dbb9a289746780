"""What carried the cells of a report and what they cost, on the terminal and on the page."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from support import reports
from windtunnel.cli.report.farm_runs import dollars, web_link
from windtunnel.cli.report.html.report_page import report_html
from windtunnel.cli.report.text.report_text import render_report

URL = "https://console.firebase.google.com/matrix?a=1&b=2"


def report(**of_cell: Any) -> dict[str, Any]:
    found = reports.report(1)
    found["cost_usd"] = 1.2502
    found["variants"][0]["cells"][0] |= of_cell
    return found


def text(found: dict[str, Any]) -> str:
    console = Console(file=StringIO(), width=200)
    render_report(found, console)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_the_farm_run_its_cost_and_its_page_are_shown() -> None:
    found = report(farm_run="matrix-1k2", url=URL, cost_usd=0.0834, run_as="app", reused=False)
    page, words = report_html(found), text(found)
    assert 'href="https://console.firebase.google.com/matrix?a=1&amp;b=2"' in page
    assert "farm run matrix-1k2, run as an app</a>" in page and "cost 0.0834 USD" in page
    assert f"farm run matrix-1k2, run as an app, cost 0.0834 USD, {URL}" in words
    assert "cost 1.2502 USD" in words


def test_a_failure_is_shown_with_its_kind() -> None:
    found = report(status="failed", reason="no minutes left", failure={"kind": "quota", "message": "no minutes left"})
    assert "failed (quota)" in report_html(found) and "failed (quota)" in text(found)


def test_a_reused_measurement_is_shown_as_such() -> None:
    found = report(reused=True, farm_run="old")
    assert "an earlier measurement was reused" in report_html(found) and "was reused" in text(found)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)", "JAVASCRIPT:alert(1)", "data:text/html,x", "file:///etc/passwd", "//evil.example/x",
        "https:evil", "https://", "http://[", " https://evil.example", "java\nscript:alert(1)", "", None, 7,
        "https://evil.example/\u202ex",
    ],
)  # fmt: skip
def test_only_web_addresses_are_linked(url: Any) -> None:
    assert web_link(url) == ""
    assert "href" not in report_html(report(farm_run='"><script>alert(1)</script>', url=url)).lower()


def test_names_of_farms_are_text() -> None:
    page = report_html(report(farm_run='"><script>alert(1)</script>', url='https://farm/"><script>alert(2)</script>'))
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page


@pytest.mark.parametrize(
    ("cost", "words"),
    [(0, "0.00 USD"), (0.17, "0.17 USD"), (12.5, "12.50 USD"), (0.000001, "0.000001 USD"), (None, "")],
)
def test_costs_have_cents_and_what_is_below(cost: Any, words: str) -> None:
    assert dollars(cost) == words
