"""Parts of a report's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from windtunnel.cli.report.cell_bests import CellBests, cell_figure
from windtunnel.cli.report.finding_words import pipeline_words, tried_words
from windtunnel.cli.report.formatting import (
    BAD,
    GOOD,
    NOT_COMPARED,
    UNKNOWN,
    VERDICTS,
    clean,
    engine_of,
    entries,
    flat,
    is_number,
    measure,
    named,
    nodes_of,
    part,
    place_of,
    shorten,
    was_compared,
)
from windtunnel.cli.report.html.drift_chart import Curve
from windtunnel.cli.report.html.latency_chart import Row
from windtunnel.cli.report.html.markup import NOTHING, Html, tag
from windtunnel.cli.report.signatures import Signature
from windtunnel.input_shapes import shapes_words

_LAYERS_SHOWN = 12
_FACTS_SHOWN = 80
_SHOWN_ELSEWHERE = frozenset(
    {
        *("schema", "run_id", "model", "verdict", "reasons", "started_at", "ended_at"),
        *("variants", "conversion", "labels", "findings"),
    }
)
# Nodes belong to a model on a device, not to the device.
_NODE_COUNTS = frozenset({"nodes_delegated", "nodes_total"})
_VARIANT_FACTS = (
    "sha256",
    "size_bytes",
    "calibration_samples",
    "calibration_from_samples",
    "synthetic_samples",
    "tool_versions",
    "diagnosis_problem",
    "problems",
)


def tone(verdict: str | None) -> str:
    """The class that colours a verdict."""
    return "good" if verdict in GOOD else "bad" if verdict in BAD else "warn"


def badge(verdict: str | None, *, small: bool = False) -> Html:
    """The verdict as a coloured word."""
    mark, words = VERDICTS.get(verdict, ("?", clean(verdict)))
    return tag("span", f"{mark} {words.capitalize()}", class_=f"badge {tone(verdict)}{' small' if small else ''}")


def section(title: str, *children: Html) -> Html:
    """A block with a heading; nothing where there is nothing in it."""
    return tag("section", tag("h2", title), *children) if any(children) else NOTHING


def reasons(verdict: str | None, given: Sequence[object]) -> Html:
    """Why the verdict is what it is."""
    if not given:
        return NOTHING
    return tag(
        "section",
        tag("h2", "Why"),
        tag("ul", *(tag("li", clean(reason)) for reason in given)),
        class_=f"reasons {tone(verdict)}",
    )


def findings(given: Sequence[Mapping[str, Any]]) -> Html:
    """What was noticed about samples, labels and outputs, and what to do."""
    return section("Findings", tag("ul", *(_finding(one) for one in given))) if given else NOTHING


def _finding(one: Mapping[str, Any]) -> Html:
    pipeline = pipeline_words(one)
    return tag(
        "li",
        tag("b", named(one.get("code"))),
        f": {named(one.get('message'))}",
        *(tag("div", words, class_="sub") for words in tried_words(one)),
        tag("div", f"Fix: {clean(one['fix'])}") if one.get("fix") else None,
        tag("pre", pipeline) if pipeline else None,
    )


def worst_layers(curves: Sequence[Curve]) -> Html:
    """The layers that drift most, as a table for readers without a pointer."""
    peak: dict[tuple[str, int], float] = {}
    for one in curves:
        for key, layer in one.layers.items():
            value = layer.get("nrmse")
            peak[key] = max(peak.get(key, 0.0), value if is_number(value) else float("inf"))
    shown = sorted(peak, key=lambda key: peak[key], reverse=True)[:_LAYERS_SHOWN]
    heads = [tag("th", shorten(clean(one.name), 24), class_="number") for one in curves]
    rows = [_worst_row(key, curves) for key in shown]
    table = tag("table", tag("thead", tag("tr", tag("th", "Layer"), tag("th", "Op"), *heads)), tag("tbody", *rows))
    summary = tag("summary", f"Largest drift: {len(shown)} of {len(peak)} layers")
    return tag("details", summary, tag("div", table, class_="scroll", tabindex="0"))


def _worst_row(key: tuple[str, int], curves: Sequence[Curve]) -> Html:
    layer = next(one.layers[key] for one in curves if key in one.layers)
    return tag(
        "tr",
        tag("td", shorten(named(layer.get("name")), 160), class_="wide"),
        tag("td", named(layer.get("op"))),
        *(_worst_cell(one, one.layers.get(key)) for one in curves),
    )


def _worst_cell(one: Curve, layer: Mapping[str, Any] | None) -> Html:
    if layer is None:
        return tag("td", named(None), class_="number quiet")
    return tag("td", one.said(layer), class_=f"number{' bad' if one.is_over(layer) else ''}")


def cell_table(rows: Sequence[Row], bests: CellBests) -> Html:
    """Every cell with all that was measured on it; the best of all variants in each cell is marked."""
    figures = ("p50", "p95", "mean", "min", "max", "std", "n", "init", "MB", "tries")
    heads = [tag("th", name) for name in ("Variant", "Device", "Runs on", "Input", "Status")]
    heads += [tag("th", "nodes", class_="number", title="taken over by the accelerator, of all")]
    heads += [tag("th", name, class_="number") for name in figures]
    body = tag("tbody", *(_cell_row(row, bests) for row in rows))
    return tag("div", tag("table", tag("thead", tag("tr", *heads)), body), class_="scroll", tabindex="0")


def _cell_row(row: Row, bests: CellBests) -> Html:
    cell, latency = row.cell, part(row.cell, "latency_ms")
    shapes = part(cell, "input_shapes")

    def number(*path: str) -> Html:
        style = "best" if bests.is_best(cell, path) else None
        return tag("td", tag("span", measure(cell_figure(cell, path)), class_=style), class_="number")

    return tag(
        "tr",
        tag("td", tag("span", class_=f"chip {row.style}"), shorten(clean(row.variant), 40), class_="name"),
        tag("td", place_of(cell), class_="place"),
        tag("td", engine_of(cell), class_="place"),
        tag("td", clean(shapes_words(shapes)) if shapes else UNKNOWN, class_="place"),
        _cell_status(cell),
        tag("td", nodes_of(cell), class_="number"),
        *(number("latency_ms", key) for key in ("p50", "p95")),
        *(tag("td", measure(latency.get(key)), class_="number") for key in ("mean", "min", "max", "std")),
        tag("td", named(latency.get("samples")), class_="number"),
        tag("td", measure(cell.get("init_ms")), class_="number"),
        number("memory_mb"),
        tag("td", named(cell.get("attempts")), class_="number"),
    )


def _cell_status(cell: Mapping[str, Any]) -> Html:
    status, warnings = cell.get("status"), entries(cell, "warnings")
    style = {"measured": "good", "failed": "bad"}.get(str(status), "warn")
    notes = [tag("span", clean(cell["reason"]), class_="sub")] if cell.get("reason") else []
    notes += [tag("span", f"warning: {clean(text)}", class_="sub warn") for text in warnings]
    if cell.get("unstable"):
        status, style = "unstable", "warn"
    return tag("td", tag("span", named(status), class_=style), *notes, class_="wide" if notes else None)


def tensors(found: Sequence[Signature]) -> Html:
    """What goes into the variants and what comes out of them; nothing where it is not known."""
    if not found:
        return NOTHING
    heads = tag("tr", tag("th", "Variants"), tag("th", "Inputs"), tag("th", "Outputs"))
    rows = [
        tag(
            "tr",
            tag("td", ", ".join(one.variants), class_="name"),
            *(tag("td", *(tag("span", text, class_="sub") for text in side)) for side in (one.inputs, one.outputs)),
        )
        for one in found
    ]
    table = tag("table", tag("thead", heads), tag("tbody", *rows))
    return section("Inputs and outputs", tag("div", table, class_="scroll", tabindex="0"))


def conversion(check: Mapping[str, Any]) -> Html:
    """The converted model held against the original; nothing where there was no check yet."""
    passed = check.get("passed")
    if passed is None and not check.get("message"):
        return NOTHING
    state: Html | str = badge(None if passed is None else "passed" if passed else "failed", small=True)
    if not was_compared(check):
        state = NOT_COMPARED
    shown = {k: value for k, value in check.items() if k not in ("passed", "findings") and value not in (None, "")}
    return section("Conversion check", tag("p", state), fact_list(shown))


def facts(report: Mapping[str, Any]) -> Html:
    """Everything else that the report says: plan, tools, devices, hashes, how variants were calibrated."""
    other: dict[str, Any] = {key: value for key, value in report.items() if key not in _SHOWN_ELSEWHERE}
    variants = entries(report, "variants")
    for cell in (cell for variant in variants for cell in entries(variant, "cells")):
        found = part(cell, "device_facts").items()
        other[f"device {place_of(cell)}"] = {key: value for key, value in found if key not in _NODE_COUNTS}
    for variant in variants:
        known = {key: variant[key] for key in _VARIANT_FACTS if variant.get(key)}
        other[f"variant {clean(variant.get('name'))}"] = known
    return section("Environment and tools", fact_list(other))


def fact_list(value: Mapping[str, Any]) -> Html:
    """Fields and values whose meaning the page does not know, as far as there is room."""
    rows = [(key, words) for key, words in flat(value) if words]
    if len(rows) > _FACTS_SHOWN:
        rows = [*rows[:_FACTS_SHOWN], ("…", f"and {len(rows) - _FACTS_SHOWN} more")]
    return fact_rows(rows)


def fact_rows(rows: Sequence[tuple[str, str]]) -> Html:
    """Names and values; nothing where there are none."""
    if not rows:
        return NOTHING
    return tag("dl", *(tag(name, words) for key, value in rows for name, words in (("dt", key), ("dd", value))))
