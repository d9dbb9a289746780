"""Findings for a terminal: what was noticed, what to do, and the pipelines that were tried."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from windtunnel.cli.figures import clean, entries, figure, is_number, named, share
from windtunnel.cli.terminal import heading, line


def findings_text(findings: Sequence[Mapping[str, Any]], console: Console, title: str = "Findings") -> None:
    """Prints findings under a heading; nothing where there are none."""
    if not findings:
        return
    heading(console, title)
    findings_lines(findings, console)


def findings_lines(findings: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Prints findings without a heading."""
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


def tried_words(finding: Mapping[str, Any]) -> list[str]:
    """The pipelines that were tried, best first, in words."""
    tried = entries(finding.get("evidence") or {}, "tried")
    words = []
    for one in tried[:6]:
        score = one.get("score")
        if is_number(score):
            shown = share(score) if 0 <= score <= 1 else figure(score)
            words.append(f"tried {named(one.get('what'))}: {named(one.get('measure'))} {shown}")
    return words


def pipeline_words(finding: Mapping[str, Any]) -> str:
    """The pipeline that a finding offers, as JSON for a file; empty where it offers none."""
    pipeline = (finding.get("evidence") or {}).get("pipeline")
    return json.dumps(pipeline, ensure_ascii=True) if isinstance(pipeline, Mapping) else ""
