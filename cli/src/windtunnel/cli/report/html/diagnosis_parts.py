"""What a diagnosis says, as the templates show it: causes, histograms, what was ruled out and not compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from windtunnel.cli.report.evidence import (
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
    flat,
    named,
    nrmse_text,
    part,
    samples_words,
    share,
    shorten,
)
from windtunnel.cli.report.html.histogram_chart import histogram_chart
from windtunnel.cli.report.task_words import task_words
from windtunnel.diagnosis.findings.kinds.layers import RangeUnexplained
from windtunnel.diagnosis.findings.kinds.ranges import CalibrationFinding, RangeFinding
from windtunnel.diagnosis.findings.kinds.reading import finding_of

_NAMES_SHOWN = 40
_HISTOGRAMS_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Place:
    """The layer where a cause is. `op`: its kind, None if the layer was not compared."""

    layer: str
    op_index: str
    op: str | None


@dataclass(frozen=True, slots=True)
class Cause:
    """A cause with its evidence and its fix.

    `rule` is the rule that decided; empty in older documents. `fields`: evidence and fix with all their fields.
    """

    code: str
    place: Place | None
    confidence: str
    rule: str
    verified: bool
    proof: str
    points: Sequence[str]
    fix: str
    fields: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Histogram:
    """The values of a layer in both models."""

    layer: str
    chart: Markup


@dataclass(frozen=True, slots=True)
class Excluded:
    """Codes of causes that were ruled out, by the reason, and what could not be judged."""

    ruled_out: Sequence[tuple[str, Sequence[str]]]
    not_judged: Sequence[str]


@dataclass(frozen=True, slots=True)
class NotCompared:
    """A layer that has no figure, and why."""

    how: str
    layer: str
    op: str
    reason: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many layers were compared, and which were not. `left_out`: how many more there are."""

    compared: str
    total: str
    missing: Sequence[NotCompared]
    left_out: int


def quality(diagnosis: Mapping[str, Any]) -> list[str]:
    """Figures of a comparison: accuracy, agreement, the output's error, samples.

    Args:
        diagnosis: a `windtunnel.diagnosis/1`.

    Returns:
        One text for each figure that is known.
    """
    accuracy = part(diagnosis, "accuracy")
    facts = []
    if accuracy.get("candidate") is not None:
        before, after = part(accuracy, "reference").get("top1"), part(accuracy, "candidate").get("top1")
        facts.append(f"top-1 {share(before)} → {share(after)}")
    facts += task_words(part(diagnosis, "task"))
    if diagnosis.get("agreement") is not None:
        facts.append(f"agreement {share(diagnosis['agreement'])}")
    if diagnosis.get("output_nrmse") is not None:
        facts.append(f"output nRMSE {nrmse_text(diagnosis['output_nrmse'])}")
    if (samples := samples_words(diagnosis)) is not None:
        facts.append(samples)
    return facts


def causes(diagnosis: Mapping[str, Any]) -> list[Cause]:
    """The causes of a diagnosis.

    Args:
        diagnosis: a `windtunnel.diagnosis/1`.

    Returns:
        Most likely first.
    """
    layers = entries(diagnosis, "layers")
    return [_cause(cause, layers) for cause in entries(diagnosis, "causes")]


def _cause(cause: Mapping[str, Any], layers: Sequence[Mapping[str, Any]]) -> Cause:
    at = place_among(layers, part(cause, "place"))
    layer = None if at is None else layers[at]
    fields = [(f"evidence: {key}", value) for key, value in flat(part(cause, "evidence"))]
    return Cause(
        code=named(cause.get("code")),
        place=_place(part(cause, "place"), layer),
        confidence=figure(cause.get("confidence"), ".2f"),
        rule=str(cause.get("rule") or ""),
        verified=bool(cause.get("verified")),
        proof=proof_words(cause),
        points=[*evidence_words(cause), *([] if layer is None else notes_of(layer, cause))],
        fix=remedy_words(cause),
        fields=fields + [(f"fix: {key}", value) for key, value in flat(part(cause, "fix"))],
    )


def _place(place: Mapping[str, Any], layer: Mapping[str, Any] | None) -> Place | None:
    if not place.get("layer"):
        return None
    return Place(place["layer"], named(place.get("op_index")), None if layer is None else named(layer.get("op")))


def histograms(diagnosis: Mapping[str, Any]) -> list[Histogram]:
    """The values of the culprits in both models.

    Args:
        diagnosis: a `windtunnel.diagnosis/1`.

    Returns:
        The first few that can be drawn.
    """
    found = list(part(diagnosis, "histograms").items())[:_HISTOGRAMS_SHOWN]
    drawn = [
        Histogram(name, histogram_chart(data, _range_of(diagnosis, name)))
        for name, data in found
        if isinstance(data, Mapping)
    ]
    return [one for one in drawn if one.chart]


def _range_of(diagnosis: Mapping[str, Any], layer: str) -> list[float]:
    """The quantization range of the layer's tensor, if a cause or a note of the layer has it; otherwise empty.

    A cause for many ranges has the first one, which may be the range of the model's input.
    """
    for cause in entries(diagnosis, "causes"):
        finding = finding_of(cause).finding
        one = finding.first if isinstance(finding, CalibrationFinding) else finding
        is_own = not isinstance(one, RangeFinding) or layer in one.tensors
        if is_own and part(cause, "place").get("layer") == layer and isinstance(one, RangeFinding | RangeUnexplained):
            return list(one.held)
    notes = (note for one in entries(diagnosis, "layers") if one.get("name") == layer for note in entries(one, "why"))
    return next((list(note["held"]) for note in notes if isinstance(note.get("held"), list)), [])


def excluded(diagnosis: Mapping[str, Any]) -> Excluded:
    """Causes that were ruled out and why, then what could not be judged.

    Args:
        diagnosis: a `windtunnel.diagnosis/1`.

    Returns:
        Both lists; they may be empty.
    """
    return Excluded(list(ruled_out(entries(diagnosis, "excluded")).items()), unjudged(diagnosis))


def coverage(diagnosis: Mapping[str, Any]) -> Coverage | None:
    """Which layers were not compared.

    Args:
        diagnosis: a `windtunnel.diagnosis/1`.

    Returns:
        The layers and their counts; None if the document does not say.
    """
    given = part(diagnosis, "coverage")
    if not given:
        return None
    known = {one.get("name"): one for one in entries(given, "unmatched_layers")}
    missing = [_not_compared(known.get(name, {"name": name}), "not compared") for name in entries(given, "unmatched")]
    missing += [_not_compared(one, "only in the reference") for one in entries(given, "unmatched_reference")]
    shown = missing[:_NAMES_SHOWN]
    return Coverage(named(given.get("compared")), named(given.get("total")), shown, len(missing) - len(shown))


def _not_compared(layer: Mapping[str, Any], how: str) -> NotCompared:
    op = named(layer.get("op")) if layer.get("op") else ""
    return NotCompared(how, shorten(clean(layer.get("name")), 200), op, clean(layer.get("reason") or ""))


def counts(diagnosis: Mapping[str, Any]) -> str:
    """The line that counts layers not compared and causes ruled out.

    Args:
        diagnosis: a `windtunnel.diagnosis/1`.

    Returns:
        The line; empty if there are none.
    """
    found = (
        _counted(len(entries(part(diagnosis, "coverage"), "unmatched")), "layer", "not compared"),
        _counted(len(entries(diagnosis, "excluded")), "cause", "ruled out"),
    )
    return ", ".join(filter(None, found))


def _counted(count: int, what: str, how: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'} {how}" if count else ""
