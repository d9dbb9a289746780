"""What apps recorded in the cells of a run, the same for the terminal and the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from windtunnel.cli.report.evidence import proof_words
from windtunnel.cli.report.formatting import clean, engine_of, entries, figure, named, part, place_of, shorten


@dataclass(frozen=True, slots=True)
class AppCauseWords:
    """A cause in words: its code, where it is (empty: no single place), how sure it is, and what shows it."""

    code: str
    place: str
    proof: str
    confidence: str
    points: Sequence[str]


@dataclass(frozen=True, slots=True)
class RecordedApp:
    """What an app recorded in a cell, compared with its reference. `verdict` None: `problem` says why not."""

    variant: str
    place: str
    verdict: str | None
    problem: str
    causes: Sequence[AppCauseWords]
    frames: int
    gaps: Sequence[str]


def recorded_apps(variants: Sequence[Mapping[str, Any]]) -> list[RecordedApp]:
    """The apps of a run that recorded something.

    Args:
        variants: of a report.

    Returns:
        One for each cell with a diagnosis, in their order.
    """
    return [
        _app(variant, cell, found)
        for variant in variants
        for cell in entries(variant, "cells")
        if (found := cell.get("diagnosis")) is not None
    ]


def _app(variant: Mapping[str, Any], cell: Mapping[str, Any], found: Mapping[str, Any]) -> RecordedApp:
    return RecordedApp(
        variant=shorten(named(variant.get("name")), 40),
        place=f"{place_of(cell)}, {engine_of(cell)}",
        verdict=found.get("verdict"),
        problem=clean(found.get("problem") or ""),
        causes=[_cause(cause) for cause in entries(found, "causes")],
        frames=found.get("frames") or 0,
        gaps=[clean(gap) for gap in entries(found, "gaps")],
    )


def _cause(cause: Mapping[str, Any]) -> AppCauseWords:
    place = part(cause, "place")
    at = f"layer {named(place['layer'])}" if place.get("layer") else ""
    if at and place.get("op_index") is not None:
        at += f" (op {place['op_index']})"
    return AppCauseWords(
        code=named(cause.get("code")),
        place=at,
        proof=proof_words(cause),
        confidence=figure(cause.get("confidence"), ".2f"),
        points=[clean(point) for point in entries(cause, "words")],
    )
