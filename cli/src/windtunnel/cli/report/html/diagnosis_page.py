"""The page of two models that were compared: `windtunnel diff --html`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from windtunnel.cli.report.evidence import caveat
from windtunnel.cli.report.finding_words import shown_findings
from windtunnel.cli.report.formatting import clean, entries, part
from windtunnel.cli.report.html import diagnosis_parts
from windtunnel.cli.report.html.drift_section import drift_of_one
from windtunnel.cli.report.html.facts import fact_rows
from windtunnel.cli.report.html.layer_table import layer_table
from windtunnel.cli.report.html.rendering import render


def diagnosis_html(diagnosis: dict[str, Any], *, reference: str, candidate: str) -> str:
    """The page of a `windtunnel.diagnosis/1`.

    Args:
        diagnosis: the document.
        reference: name of the reference.
        candidate: name of the candidate.

    Returns:
        The page as HTML.
    """
    return render(
        "diagnosis.html.j2",
        title=f"{clean(candidate)} compared with {clean(reference)}",
        verdict=diagnosis.get("verdict"),
        caveat=caveat(diagnosis),
        candidate=clean(candidate),
        reference=reference,
        quality=diagnosis_parts.quality(diagnosis),
        reasons=entries(diagnosis, "reasons"),
        findings=shown_findings(entries(diagnosis, "findings")),
        causes=diagnosis_parts.causes(diagnosis),
        drift=drift_of_one(diagnosis),
        histograms=diagnosis_parts.histograms(diagnosis),
        layer_table=layer_table(diagnosis),
        excluded=diagnosis_parts.excluded(diagnosis),
        coverage=diagnosis_parts.coverage(diagnosis),
        settings=fact_rows(part(diagnosis, "settings")),
    )


def variant_diagnosis(diagnosis: Mapping[str, Any]) -> Markup:
    """What the comparison found in a variant of a run, as a part of the run's page.

    Args:
        diagnosis: the variant's `windtunnel.diagnosis/1`.

    Returns:
        The markup.
    """
    return render(
        "variant_diagnosis.html.j2",
        reasons=entries(diagnosis, "reasons"),
        quality=diagnosis_parts.quality(diagnosis),
        causes=diagnosis_parts.causes(diagnosis),
        histograms=diagnosis_parts.histograms(diagnosis),
        counts=diagnosis_parts.counts(diagnosis),
        coverage=diagnosis_parts.coverage(diagnosis),
        excluded=diagnosis_parts.excluded(diagnosis),
    )
