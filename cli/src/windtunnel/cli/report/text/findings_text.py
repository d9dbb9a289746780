"""Findings for a terminal: what was noticed, what to do, and the pipelines that were tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from windtunnel.cli.report.finding_words import pipeline_words, tried_words
from windtunnel.cli.report.formatting import clean, named
from windtunnel.cli.report.text.layout import heading, line


def findings_text(findings: Sequence[Mapping[str, Any]], console: Console, title: str = "Findings") -> None:
    """Prints findings under a heading; nothing if there are none.

    Args:
        findings: the list `findings` of a document.
        console: where they are printed.
        title: the heading.
    """
    if not findings:
        return
    heading(console, title)
    findings_lines(findings, console)


def findings_lines(findings: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Prints findings without a heading.

    Args:
        findings: the list `findings` of a document.
        console: where they are printed.
    """
    for one in findings:
        line(console, f"{named(one.get('code'))}: {named(one.get('message'))}", style="yellow", indent=2)
        for words in tried_words(one):
            line(console, words, style="dim", indent=4)
        if one.get("fix"):
            line(console, f"fix: {clean(one['fix'])}", style="green", indent=4)
        pipeline = pipeline_words(one)
        if pipeline:
            # One line that can be copied as it is.
            console.print(pipeline, soft_wrap=True, markup=False, highlight=False)
