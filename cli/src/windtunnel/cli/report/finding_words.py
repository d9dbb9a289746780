"""Findings in words, the same for the terminal and the page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from windtunnel.cli.report.formatting import clean, entries, figure, is_number, named, share


@dataclass(frozen=True, slots=True)
class FindingWords:
    """A finding: what was noticed, the pipelines that were tried, and what to do, as a sentence and as a pipeline."""

    code: str
    message: str
    tried: Sequence[str]
    fix: str
    pipeline: str


def shown_findings(findings: Sequence[Mapping[str, Any]]) -> list[FindingWords]:
    """The words of all findings of a document.

    Args:
        findings: the list `findings`.

    Returns:
        One for each, in the same order.
    """
    return [
        FindingWords(
            code=named(one.get("code")),
            message=named(one.get("message")),
            tried=tried_words(one),
            fix=clean(one.get("fix") or ""),
            pipeline=pipeline_words(one),
        )
        for one in findings
    ]


def tried_words(finding: Mapping[str, Any]) -> list[str]:
    """The pipelines that were tried, in words.

    Args:
        finding: of the list `findings`.

    Returns:
        One line for each, best first.
    """
    tried = entries(finding.get("evidence") or {}, "tried")
    words = []
    for one in tried[:6]:
        score = one.get("score")
        if is_number(score):
            shown = share(score) if 0 <= score <= 1 else figure(score)
            words.append(f"tried {named(one.get('what'))}: {named(one.get('measure'))} {shown}")
    return words


def pipeline_words(finding: Mapping[str, Any]) -> str:
    """The pipeline that a finding suggests, as JSON for a file.

    Args:
        finding: of the list `findings`.

    Returns:
        JSON text; empty if it suggests none.
    """
    pipeline = (finding.get("evidence") or {}).get("pipeline")
    return json.dumps(pipeline, ensure_ascii=True) if isinstance(pipeline, Mapping) else ""
