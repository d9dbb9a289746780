"""The page of a run: self-contained, without scripts and requests, and with all names escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from windtunnel.cli.report.finding_words import shown_findings
from windtunnel.cli.report.formatting import (
    NOT_COMPARED,
    elapsed,
    entries,
    moment,
    named,
    part,
    shorten,
    was_compared,
)
from windtunnel.cli.report.html.diagnosis_page import variant_diagnosis
from windtunnel.cli.report.html.drift_section import drift_of_variants
from windtunnel.cli.report.html.facts import fact_rows, other_facts
from windtunnel.cli.report.html.latency_section import latency
from windtunnel.cli.report.html.rendering import render
from windtunnel.cli.report.html.variant_table import variant_table
from windtunnel.cli.report.recorded_apps import recorded_apps
from windtunnel.cli.report.signatures import signatures


@dataclass(frozen=True, slots=True)
class Head:
    """Which run this is."""

    model: str
    version: str
    run_id: str
    started: str
    took: str
    sha256: str
    labels: Sequence[tuple[str, object]]


@dataclass(frozen=True, slots=True)
class VariantDiagnosis:
    """What the comparison found in a variant, or why there was none."""

    variant: str
    verdict: str | None
    body: Markup
    why_not: str | None = None


@dataclass(frozen=True, slots=True)
class Conversion:
    """The check of the converted model; `words` instead of a verdict if nothing was compared."""

    was_compared: bool
    verdict: str | None
    words: str
    facts: Sequence[tuple[str, str]]


def report_html(report: dict[str, Any]) -> str:
    """The page of a run.

    Args:
        report: a `windtunnel.report/1`.

    Returns:
        The page as HTML.
    """
    model = part(report, "model")
    variants = entries(report, "variants")
    return render(
        "report.html.j2",
        title=f"{named(model.get('name'))} {named(model.get('version'))}",
        verdict=report.get("verdict"),
        head=_head(report, model),
        reasons=entries(report, "reasons"),
        findings=shown_findings(entries(report, "findings")),
        variant_table=variant_table(variants),
        drift=drift_of_variants(variants),
        latency=latency(variants),
        apps=recorded_apps(variants),
        signatures=signatures(variants),
        diagnoses=[_diagnosis(variant) for variant in variants],
        conversion=conversion(part(report, "conversion")),
        facts=other_facts(report),
    )


def _head(report: Mapping[str, Any], model: Mapping[str, Any]) -> Head:
    ended = report.get("ended_at")
    return Head(
        model=shorten(named(model.get("name")), 120),
        version=shorten(named(model.get("version")), 80),
        run_id=named(report.get("run_id")),
        started=moment(report.get("started_at")),
        took=elapsed(report.get("started_at"), ended) if ended else "",
        sha256=named(model.get("sha256")),
        labels=list(part(report, "labels").items()),
    )


def _diagnosis(variant: Mapping[str, Any]) -> VariantDiagnosis:
    name, found = shorten(named(variant.get("name")), 80), variant.get("diagnosis")
    if found is None:
        why = variant.get("diagnosis_problem") or "It was not compared with the reference."
        return VariantDiagnosis(name, None, Markup(), why)
    return VariantDiagnosis(name, found.get("verdict"), variant_diagnosis(found))


def conversion(check: Mapping[str, Any]) -> Conversion | None:
    """The check of the converted model against the original.

    Args:
        check: the object `check` of a document.

    Returns:
        The check in words; None if there was none yet.
    """
    passed = check.get("passed")
    if passed is None and not check.get("message"):
        return None
    shown = {k: value for k, value in check.items() if k not in ("passed", "findings") and value not in (None, "")}
    verdict = None if passed is None else "passed" if passed else "failed"
    return Conversion(was_compared(check), verdict, NOT_COMPARED, fact_rows(shown))
