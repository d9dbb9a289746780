"""Reports as one self-contained page: no script, no request, nothing of the model unescaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from windtunnel.cli.report.cell_bests import CellBests
from windtunnel.cli.report.evidence import caveat
from windtunnel.cli.report.formatting import (
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
from windtunnel.cli.report.html import diagnosis_parts, page_parts
from windtunnel.cli.report.html.drift_chart import ACCUMULATED, OWN, Curve, curve, drift_chart
from windtunnel.cli.report.html.latency_chart import Row, latency_chart
from windtunnel.cli.report.html.layer_table import layer_table
from windtunnel.cli.report.html.markup import NOTHING, Html, tag
from windtunnel.cli.report.html.variant_table import variant_table
from windtunnel.cli.report.signatures import signatures
from windtunnel.thresholds import DEFAULT_THRESHOLD

_CELLS_SHOWN = 24
_DRIFT_TITLE = "Drift per layer"
_DRIFT_KEY = (
    "nRMSE is the root mean square error over the range of both tensors, after dequantising. "
    "A ring marks the first layer over the threshold, a cross a layer without a figure (NaN, infinity), "
    "a diamond the layer where a cause has its place. Point at a layer for its name and figures."
)
_OWN_KEY = "The own error of a layer is its nRMSE when it is run by itself on the reference's inputs."


def report_html(report: dict[str, Any]) -> str:
    """The page of `windtunnel.report/1`."""
    model = part(report, "model")
    variants = entries(report, "variants")
    title = f"{named(model.get('name'))} {named(model.get('version'))}"
    return _page(
        title,
        _report_head(report, model),
        page_parts.reasons(report.get("verdict"), entries(report, "reasons")),
        page_parts.findings(entries(report, "findings")),
        page_parts.section("Variants", variant_table(variants)),
        _drift(variants),
        _latency(variants),
        page_parts.tensors(signatures(variants)),
        diagnosis_parts.diagnoses(variants),
        page_parts.conversion(part(report, "conversion")),
        page_parts.facts(report),
    )


def diagnosis_html(diagnosis: dict[str, Any], *, reference: str, candidate: str) -> str:
    """The page of `windtunnel.diagnosis/1` of two models, by their names."""
    verdict, without = diagnosis.get("verdict"), caveat(diagnosis)
    head = tag(
        "header",
        page_parts.badge(verdict),
        tag("span", f" {without}", class_="warn") if without else NOTHING,
        tag("h1", shorten(clean(candidate), 120)),
        tag("div", tag("span", f"against {clean(reference)}"), *diagnosis_parts.quality(diagnosis), class_="meta"),
    )
    return _page(
        f"{clean(candidate)} against {clean(reference)}",
        head,
        page_parts.reasons(verdict, entries(diagnosis, "reasons")),
        page_parts.findings(entries(diagnosis, "findings")),
        page_parts.section("Causes", diagnosis_parts.causes(diagnosis)),
        _drift_of_one(diagnosis),
        page_parts.section("Values of the culprit", diagnosis_parts.distributions(diagnosis)),
        page_parts.section("Layers, largest own error first", layer_table(diagnosis)),
        page_parts.section("Ruled out", diagnosis_parts.excluded(diagnosis)),
        page_parts.section("Coverage", diagnosis_parts.coverage(diagnosis)),
        page_parts.section("Settings", page_parts.fact_list(part(diagnosis, "settings"))),
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
        page_parts.badge(report.get("verdict")),
        tag(
            "h1",
            shorten(named(model.get("name")), 120),
            " ",
            tag("span", shorten(named(model.get("version")), 80), class_="version"),
        ),
        tag("div", *facts, class_="meta"),
    )


def _curves(variants: Sequence[Mapping[str, Any]], figure: str = ACCUMULATED) -> list[Curve]:
    return [
        curve(str(variant.get("name")), index, part(variant, "diagnosis"), DEFAULT_THRESHOLD, figure)
        for index, variant in enumerate(variants)
    ]


def _drift(variants: Sequence[Mapping[str, Any]]) -> Html:
    """Curves of all variants over the layers of the reference; own errors in a chart below."""
    curves = _curves(variants)
    if not curves:
        return NOTHING
    chart = drift_chart(curves)
    if not chart:
        return page_parts.section(_DRIFT_TITLE, tag("p", "No layer was compared.", class_="quiet"))
    own = [one for one in _curves(variants, OWN) if one.values]
    below = [tag("h3", "Own error per layer"), drift_chart(own), _key(_OWN_KEY)] if own else []
    return page_parts.section(_DRIFT_TITLE, chart, _key(_DRIFT_KEY), *below, page_parts.worst_layers(curves))


def _drift_of_one(diagnosis: Mapping[str, Any]) -> Html:
    """Accumulated and own error of one candidate in one chart."""
    both = [
        curve("accumulated", 0, diagnosis, DEFAULT_THRESHOLD),
        curve("own error", 1, diagnosis, DEFAULT_THRESHOLD, OWN),
    ]
    chart = drift_chart([one for one in both if one.values or one.figure == ACCUMULATED])
    if not chart:
        return page_parts.section(_DRIFT_TITLE, tag("p", "No layer was compared.", class_="quiet"))
    words = f"{_DRIFT_KEY} {_OWN_KEY}" if both[1].values else _DRIFT_KEY
    return page_parts.section(_DRIFT_TITLE, chart, _key(words))


def _key(words: str) -> Html:
    return tag("p", words, class_="key")


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
    table = page_parts.cell_table(rows, CellBests(variants))
    warned = sum(bool(entries(row.cell, "warnings")) for row in rows)
    summary = tag(
        "summary", f"{len(rows)} cells", tag("span", f", {warned} with warnings", class_="warn") if warned else ""
    )
    shown = table if len(rows) <= _CELLS_SHOWN else tag("details", summary, table)
    chart = [latency_chart(rows), tag("p", note, class_="key")] if any(row.figures for row in rows) else []
    return page_parts.section("Latency on devices", *chart, shown)


def _limits(variant: Mapping[str, Any]) -> dict[str, float]:
    """Latency limits in ms by figure."""
    found = {}
    for entry, gate in zip(entries(variant, "gates"), gates_of(variant), strict=True):
        if gate.column in ("p50", "p95") and is_number(entry.get("limit")):
            found[gate.column] = float(entry["limit"])
    return found
