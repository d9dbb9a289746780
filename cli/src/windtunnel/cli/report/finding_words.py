"""Findings in words, the same for the terminal and the page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from windtunnel.cli.report.formatting import entries, figure, is_number, named, share


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
