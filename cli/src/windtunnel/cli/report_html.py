"""Reports as one self-contained page: no script, no request, nothing of the model unescaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from windtunnel.cli import page
from windtunnel.cli.drift_chart import Curve, curve, drift_chart
from windtunnel.cli.figures import (
    UNKNOWN,
    clean,
    elapsed,
    entries,
    gates_of,
    is_number,
    moment,
    named,
    part,
    shorten,
)
from windtunnel.cli.latency_chart import Row, latency_chart
from windtunnel.cli.markup import NOTHING, Html, tag
from windtunnel.cli.variant_table import variant_table
from windtunnel.thresholds import DEFAULT_THRESHOLD

_CELLS_SHOWN = 24


def report_html(report: dict[str, Any]) -> str:
    """The page of `windtunnel.report/1`."""
    model = part(report, "model")
    variants = entries(report, "variants")
    title = f"{named(model.get('name'))} {named(model.get('version'))}"
    return _page(
        title,
        _report_head(report, model),
        page.reasons(report.get("verdict"), entries(report, "reasons")),
        page.section("Variants", variant_table(variants)),
        _drift(_curves(variants)),
        _latency(variants),
        page.diagnoses(variants),
        page.conversion(part(report, "conversion")),
        page.facts(report),
    )


def diagnosis_html(diagnosis: dict[str, Any], *, reference: str, candidate: str) -> str:
    """The page of `windtunnel.diagnosis/1` of two models, by their names."""
    verdict = diagnosis.get("verdict")
    head = tag(
        "header",
        page.badge(verdict),
        tag("h1", shorten(clean(candidate), 120)),
        tag("div", tag("span", f"against {clean(reference)}"), *page.quality(diagnosis), class_="meta"),
    )
    one = curve(candidate, 0, diagnosis, DEFAULT_THRESHOLD)
    return _page(
        f"{clean(candidate)} against {clean(reference)}",
        head,
        page.reasons(verdict, entries(diagnosis, "reasons")),
        _drift([one]),
        page.section("Causes and coverage", page.diagnosis_body(diagnosis)),
        page.section("Settings", page.fact_list(part(diagnosis, "settings"))),
    )


def _page(title: str, *parts: Html) -> str:
    style = resources.files(__package__).joinpath("report.css").read_text(encoding="utf-8")
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("title", title),
        tag("style", Html(style)),
    )
    footer = tag("footer", f"Windtunnel. Figures are as measured; {UNKNOWN} is unknown.")
    body = tag("body", tag("main", *parts, footer))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _report_head(report: Mapping[str, Any], model: Mapping[str, Any]) -> Html:
    facts = [tag("span", "run ", tag("code", named(report.get("run_id"))))]
    facts.append(tag("span", f"started {moment(report.get('started_at'))}"))
    if report.get("ended_at"):
        facts.append(tag("span", f"took {elapsed(report.get('started_at'), report.get('ended_at'))}"))
    facts.append(tag("span", "sha256 ", tag("code", named(model.get("sha256")))))
    facts += [tag("span", f"{clean(key)}: {clean(value)}") for key, value in part(report, "labels").items()]
    return tag(
        "header",
        page.badge(report.get("verdict")),
        tag(
            "h1",
            shorten(named(model.get("name")), 120),
            " ",
            tag("span", shorten(named(model.get("version")), 80), class_="version"),
        ),
        tag("div", *facts, class_="meta"),
    )


def _curves(variants: Sequence[Mapping[str, Any]]) -> list[Curve]:
    return [
        curve(str(variant.get("name")), index, part(variant, "diagnosis"), DEFAULT_THRESHOLD)
        for index, variant in enumerate(variants)
    ]


def _drift(curves: Sequence[Curve]) -> Html:
    if not curves:
        return NOTHING
    chart = drift_chart(curves)
    if not chart:
        words = "No layer was compared."
        return page.section("Drift per layer", tag("p", words, class_="quiet"))
    note = (
        "nRMSE is the root mean square error over the range of both tensors, after dequantising. "
        "A ring marks the first layer over the threshold, a cross a layer without a figure (NaN, infinity). "
        "Point at a layer for its name and figures."
    )
    return page.section("Drift per layer", chart, tag("p", note, class_="key"), page.worst_layers(curves))


def _latency(variants: Sequence[Mapping[str, Any]]) -> Html:
    rows = [
        Row(str(variant.get("name")), f"v{index % 8}", cell, _limits(variant))
        for index, variant in enumerate(variants)
        for cell in entries(variant, "cells")
    ]
    if not rows:
        return NOTHING
    note = (
        "Line: minimum to maximum. Bar: p50 to p95. Dot: p50. Upright tick: the gate's limit, red where it is exceeded."
    )
    table = page.cell_table(rows)
    shown = table if len(rows) <= _CELLS_SHOWN else tag("details", tag("summary", f"{len(rows)} cells"), table)
    chart = [latency_chart(rows), tag("p", note, class_="key")] if any(row.figures for row in rows) else []
    return page.section("Latency on devices", *chart, shown)


def _limits(variant: Mapping[str, Any]) -> dict[str, float]:
    """Latency limits in ms by figure."""
    found = {}
    for entry, gate in zip(entries(variant, "gates"), gates_of(variant), strict=True):
        if gate.column in ("p50", "p95") and is_number(entry.get("limit")):
            found[gate.column] = float(entry["limit"])
    return found
