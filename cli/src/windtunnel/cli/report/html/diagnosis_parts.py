"""Parts of a page that tell of a diagnosis: causes, evidence, distributions, what was ruled out and not compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from windtunnel.cli.report.evidence import (
    accounts,
    notes_of,
    place_among,
    proof_words,
    remedy_words,
    ruled_out,
    unjudged,
)
from windtunnel.cli.report.formatting import (
    clean,
    drift,
    entries,
    figure,
    flat,
    named,
    part,
    samples_words,
    share,
    shorten,
)
from windtunnel.cli.report.html.histogram_chart import histogram_chart
from windtunnel.cli.report.html.markup import NOTHING, Html, joined, tag
from windtunnel.cli.report.html.page_parts import badge, fact_rows, section
from windtunnel.cli.report.layer_names import layer_title

_NAMES_SHOWN = 40
_HISTOGRAMS_SHOWN = 6


def diagnoses(variants: Sequence[Mapping[str, Any]]) -> Html:
    """What the comparison found in each variant."""
    blocks = []
    for variant in variants:
        diagnosis = variant.get("diagnosis")
        verdict = NOTHING if diagnosis is None else badge(diagnosis.get("verdict"), small=True)
        blocks.append(tag("h3", shorten(named(variant.get("name")), 80), " ", verdict))
        if diagnosis is None:
            why = variant.get("diagnosis_problem") or "It was not compared with the reference."
            blocks.append(tag("p", clean(why), class_="quiet"))
            continue
        blocks += [tag("p", clean(reason), class_="reason") for reason in entries(diagnosis, "reasons")]
        facts = quality(diagnosis)
        blocks.append(tag("div", *facts, class_="meta") if facts else NOTHING)
        blocks += [causes(diagnosis), _folded_distributions(diagnosis), folded(diagnosis)]
    return section("Diagnosis", *blocks)


def quality(diagnosis: Mapping[str, Any]) -> list[Html]:
    """Figures of a comparison, one `span` for each."""
    accuracy = part(diagnosis, "accuracy")
    facts = []
    if accuracy.get("candidate") is not None:
        before, after = part(accuracy, "reference").get("top1"), part(accuracy, "candidate").get("top1")
        facts.append(f"top-1 {share(before)} → {share(after)}")
    if diagnosis.get("agreement") is not None:
        facts.append(f"agreement {share(diagnosis['agreement'])}")
    if diagnosis.get("output_nrmse") is not None:
        facts.append(f"output nRMSE {drift(diagnosis['output_nrmse'])}")
    if (samples := samples_words(diagnosis)) is not None:
        facts.append(samples)
    return [tag("span", fact) for fact in facts]


def causes(diagnosis: Mapping[str, Any]) -> Html:
    """The causes, most likely first, each with what shows it and what mends it."""
    layers = entries(diagnosis, "layers")
    return joined(_cause(number, cause, layers) for number, cause in enumerate(entries(diagnosis, "causes"), start=1))


def _cause(number: int, cause: Mapping[str, Any], layers: Sequence[Mapping[str, Any]]) -> Html:
    place = part(cause, "place")
    at = place_among(layers, place)
    points = [*accounts(cause), *([] if at is None else notes_of(layers[at], part(cause, "evidence")))]
    fix = remedy_words(cause)
    proof = tag("span", proof_words(cause), class_=f"badge small {'good' if cause.get('verified') else 'warn'}")
    rows = [(f"evidence: {key}", value) for key, value in flat(part(cause, "evidence"))]
    rows += [(f"fix: {key}", value) for key, value in flat(part(cause, "fix"))]
    fields = tag("details", tag("summary", "All fields"), fact_rows(rows)) if rows else NOTHING
    return tag(
        "div",
        tag("p", tag("b", str(number), class_="rank"), tag("b", named(cause.get("code"))), " ", proof, class_="head"),
        _place(place, None if at is None else layers[at]),
        tag("p", f"Confidence {figure(cause.get('confidence'), '.2f')}", class_="quiet"),
        tag("ul", *(tag("li", point) for point in points)) if points else NOTHING,
        tag("p", tag("b", "Fix "), fix, class_="fix") if fix else NOTHING,
        fields,
        class_="cause",
    )


def _place(place: Mapping[str, Any], layer: Mapping[str, Any] | None) -> Html:
    if not place.get("layer"):
        return NOTHING
    kind = "" if layer is None else f", {named(layer.get('op'))}"
    title = tag("code", layer_title(place["layer"], 120), title=clean(place["layer"]))
    return tag("p", "at ", title, f" (op {named(place.get('op_index'))}{kind})")


def distributions(diagnosis: Mapping[str, Any]) -> Html:
    """Histograms of the culprits' values; nothing where there are none."""
    found = part(diagnosis, "histograms")
    shown = []
    for name, data in list(found.items())[:_HISTOGRAMS_SHOWN]:
        chart = histogram_chart(data, _held(diagnosis, name)) if isinstance(data, Mapping) else NOTHING
        if chart:
            shown.append(tag("figure", tag("figcaption", layer_title(name, 90)), chart))
    return tag("div", *shown, class_="pair") if shown else NOTHING


def _folded_distributions(diagnosis: Mapping[str, Any]) -> Html:
    shown = distributions(diagnosis)
    return tag("details", tag("summary", "Values of the culprits"), shown) if shown else NOTHING


def _held(diagnosis: Mapping[str, Any], layer: str) -> list[float]:
    """The ends of the range that the layer's own tensor holds, where a cause or a note of the layer tells of them.

    A cause for many ranges tells of the first one, which may be that of the model's input.
    """
    for cause in entries(diagnosis, "causes"):
        evidence = part(cause, "evidence")
        one = part(evidence, "first") or evidence
        is_own = layer in one.get("tensors", [layer])
        if is_own and part(cause, "place").get("layer") == layer and isinstance(one.get("held"), list):
            return list(one["held"])
    notes = (note for one in entries(diagnosis, "layers") if one.get("name") == layer for note in entries(one, "why"))
    return next((list(note["held"]) for note in notes if isinstance(note.get("held"), list)), [])


def excluded(diagnosis: Mapping[str, Any]) -> Html:
    """Causes that were looked for, and how it is known that they are none; then what could not be judged."""
    items = [
        tag("li", *(joined([tag("code", code), " "]) for code in codes), tag("span", why, class_="quiet"))
        for why, codes in ruled_out(entries(diagnosis, "excluded")).items()
    ]
    items += [tag("li", f"not judged: {words}", class_="quiet") for words in unjudged(diagnosis)]
    return tag("ul", *items, class_="plain") if items else NOTHING


def coverage(diagnosis: Mapping[str, Any]) -> Html:
    """How many layers were compared, and why others were not."""
    given = part(diagnosis, "coverage")
    if not given:
        return NOTHING
    words = f"{named(given.get('compared'))} of {named(given.get('total'))} layers were compared."
    known = {one.get("name"): one for one in entries(given, "unmatched_layers")}
    items = [_missing(known.get(name, {"name": name}), "not compared: ") for name in entries(given, "unmatched")]
    items += [_missing(one, "only in the reference: ") for one in entries(given, "unmatched_reference")]
    if len(items) > _NAMES_SHOWN:
        items = [*items[:_NAMES_SHOWN], tag("li", f"and {len(items) - _NAMES_SHOWN} more layers")]
    return joined([tag("p", words, class_="quiet"), tag("ul", *items) if items else NOTHING])


def folded(diagnosis: Mapping[str, Any]) -> Html:
    """Coverage and what was ruled out, behind a line that counts them."""
    given = part(diagnosis, "coverage")
    counts = [
        _counted(len(entries(given, "unmatched")), "layer", "not compared"),
        _counted(len(entries(diagnosis, "excluded")), "cause", "ruled out"),
    ]
    parts = [coverage(diagnosis), excluded(diagnosis)]
    if not any(counts):
        return joined(parts)
    return tag("details", tag("summary", ", ".join(filter(None, counts))), *parts)


def _missing(layer: Mapping[str, Any], how: str) -> Html:
    why = f": {clean(layer['reason'])}" if layer.get("reason") else None
    op = f" ({named(layer.get('op'))})" if layer.get("op") else None
    return tag("li", how, tag("code", shorten(clean(layer.get("name")), 200)), op, why)


def _counted(count: int, what: str, how: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'} {how}" if count else ""
