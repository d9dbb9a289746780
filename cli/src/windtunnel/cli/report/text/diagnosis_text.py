"""A diagnosis for the terminal: causes with their evidence, what was ruled out, the worst layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from windtunnel.cli.report.evidence import (
    caveat,
    culprit_codes,
    evidence_words,
    notes_of,
    place_among,
    proof_words,
    remedy_words,
    ruled_out,
    unjudged,
)
from windtunnel.cli.report.formatting import (
    clean,
    entries,
    figure,
    is_number,
    named,
    nrmse_text,
    part,
    samples_words,
    share,
    shorten,
)
from windtunnel.cli.report.layer_names import common_folder, layer_title
from windtunnel.cli.report.task_words import task_words
from windtunnel.cli.report.text.findings_text import findings_lines
from windtunnel.cli.report.text.layout import bullets, heading, line, new_table, room_beside, verdict_words
from windtunnel.diagnosis.findings.divergence import NRMSE, Limit, entry_diverges, limit_of
from windtunnel.diagnosis.numerics import metrics
from windtunnel.diagnosis.numerics.metric import Metric

_LAYERS_SHOWN = 10
_NAMES_SHOWN = 8
_LONG_NAME = 120
# Narrower terminals have room for one metric.
_WIDE = 100
_OP_WIDTH = 18


def render_diagnosis(diagnosis: dict[str, Any], console: Console) -> None:
    """Prints a diagnosis with its verdict.

    Args:
        diagnosis: a `windtunnel.diagnosis/1`.
        console: where it is printed.
    """
    verdict, without = verdict_words(diagnosis.get("verdict")), caveat(diagnosis)
    console.print(verdict.append(f", {without}", style="not bold yellow") if without else verdict)
    diagnosis_body(diagnosis, console)
    _worst_layers(diagnosis, console)


def diagnosis_body(diagnosis: Mapping[str, Any], console: Console) -> None:
    """Prints reasons and figures, causes, what was ruled out, and what was not compared.

    Args:
        diagnosis: a `windtunnel.diagnosis/1`.
        console: where it is printed.
    """
    bullets(entries(diagnosis, "reasons"), console)
    _quality(diagnosis, console)
    findings_lines(entries(diagnosis, "findings"), console)
    causes = entries(diagnosis, "causes")
    layers = entries(diagnosis, "layers")
    for number, cause in enumerate(causes, start=1):
        _cause(cause, f"{number}. " if len(causes) > 1 else "", layers, console)
    for why, codes in ruled_out(entries(diagnosis, "excluded")).items():
        line(console, f"ruled out: {', '.join(codes)}: {why}", style="dim", indent=2)
    for words in unjudged(diagnosis):
        line(console, f"not judged: {words}", style="dim", indent=2)
    _coverage(part(diagnosis, "coverage"), console)


def _quality(diagnosis: Mapping[str, Any], console: Console) -> None:
    accuracy = part(diagnosis, "accuracy")
    facts = []
    if accuracy.get("candidate") is not None:
        before, after = part(accuracy, "reference").get("top1"), part(accuracy, "candidate").get("top1")
        facts.append(f"top-1 {share(before)} → {share(after)}")
    elements = part(diagnosis, "element_accuracy")
    if elements.get("candidate") is not None:
        facts.append(f"element accuracy {share(elements.get('reference'))} → {share(elements['candidate'])}")
    facts += task_words(part(diagnosis, "task"))
    for key, label in (("agreement", "agreement"), ("output_nrmse", "output nRMSE")):
        if diagnosis.get(key) is not None:
            facts.append(f"{label} {nrmse_text(diagnosis[key])}")
    if (samples := samples_words(diagnosis)) is not None:
        facts.append(samples)
    if facts:
        line(console, ", ".join(facts), indent=2)


def _cause(cause: Mapping[str, Any], rank: str, layers: Sequence[Mapping[str, Any]], console: Console) -> None:
    place = part(cause, "place")
    text = Text(f"{rank}{named(cause.get('code'))}", style="bold red")
    if place.get("layer"):
        text.append(f" at {clean(place['layer'])} (op {named(place.get('op_index'))})", style="not bold not red")
    said = f", confidence {figure(cause.get('confidence'), '.2f')}, {proof_words(cause)}"
    text.append(said, style="not bold not red dim")
    console.print(Padding(text, (0, 0, 0, 2), expand=False))
    number = place_among(layers, place)
    notes = [] if number is None else notes_of(layers[number], cause)
    for words in (*evidence_words(cause), *notes):
        line(console, words, indent=4)
    fix = remedy_words(cause)
    if fix:
        line(console, f"fix: {fix}", style="green", indent=4)


def _coverage(coverage: Mapping[str, Any], console: Console) -> None:
    if not coverage:
        return
    compared, total = named(coverage.get("compared")), named(coverage.get("total"))
    line(console, f"{compared} of {total} layers were compared", indent=2)
    reasons = {one.get("name"): one.get("reason") for one in entries(coverage, "unmatched_layers")}
    missing = [(name, reasons.get(name), "not compared") for name in entries(coverage, "unmatched")]
    missing += [
        (one.get("name"), one.get("reason"), "only in the reference")
        for one in entries(coverage, "unmatched_reference")
    ]
    for name, reason, how in missing[:_NAMES_SHOWN]:
        why = f": {clean(reason)}" if reason else ""
        line(console, f"{how}: {layer_title(name, _LONG_NAME)}{why}", style="dim", indent=4)
    if len(missing) > _NAMES_SHOWN:
        line(console, f"and {len(missing) - _NAMES_SHOWN} more", style="dim", indent=4)


def _worst_layers(diagnosis: Mapping[str, Any], console: Console) -> None:
    """The layers with the largest isolated error; with the largest accumulated error if isolated errors are unknown."""
    layers = entries(diagnosis, "layers")
    if not layers:
        return
    key = "local_nrmse" if any(is_number(one.get("local_nrmse")) for one in layers) else "nrmse"
    order = sorted(range(len(layers)), key=lambda number: _badness(layers[number], key), reverse=True)[:_LAYERS_SHOWN]
    limit = limit_of(diagnosis)
    title = "Largest isolated error" if key == "local_nrmse" else "Largest error"
    heading(console, f"{title} ({len(order)} of {len(layers)} layers, {_limit_words(limit)})")
    codes = culprit_codes(diagnosis)
    rows = [_cells(layers[number], limit, culprit=number in codes) for number in order]
    heads = layer_heads()
    if console.width < _WIDE:
        heads, rows = (*heads[:4], ""), [(*row[:4], row[-1]) for row in rows]
    room = room_beside(console.width, *zip(heads, *rows, strict=True))
    folder = common_folder([layer.get("name") for layer in layers])
    table = new_table(heads[0], "Layer", *heads[1:], words=("Layer", "Op", ""))
    for number, (index, op, own, *figures, marks) in zip(order, rows, strict=True):
        name = layer_title(named(layers[number].get("name")), room, folder=folder)
        over = "red" if entry_diverges(layers[number], limit) else ""
        nrmse = Text(figures[0], style=over)
        table.add_row(index, Text(name), Text(op), own, nrmse, *figures[1:], Text(marks, style="red"))
    console.print(table)


def _limit_words(limit: Limit) -> str:
    return f"threshold {limit.threshold:g}" if limit.metric == NRMSE else f"diverging: {limit.words()}"


def layer_heads() -> tuple[str, ...]:
    """The heads of the table of layers: index and op, isolated error, the metrics for terminals, marks."""
    return ("#", "Op", "isolated", *(one.title for one in _shown_metrics()), "")


def _shown_metrics() -> tuple[Metric, ...]:
    return tuple(one for one in metrics.METRICS if one.in_terminal)


def _cells(layer: Mapping[str, Any], limit: Limit, *, culprit: bool) -> tuple[str, ...]:
    """A layer's op, figures and marks."""
    problem = clean(layer.get("problem") or ("diverges" if entry_diverges(layer, limit) else "")).replace("_", " ")
    return (
        named(layer.get("op_index")),
        shorten(named(layer.get("op")), _OP_WIDTH),
        nrmse_text(layer.get("local_nrmse")),
        *(one.shown(layer.get(one.name)) for one in _shown_metrics()),
        ", ".join(filter(None, (problem, "at fault" if culprit else ""))),
    )


def _badness(layer: Mapping[str, Any], key: str) -> float:
    value = layer.get(key)
    if is_number(value):
        return float(value)
    return float("inf") if layer.get("problem") or key == "nrmse" else -1.0
