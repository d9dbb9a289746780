"""The evidence of a cause as sentences, the same for the terminal and the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from windtunnel.cli.report.formatting import clean, entries, named, part
from windtunnel.diagnosis.findings.cause_finding import CauseFinding
from windtunnel.diagnosis.findings.fixes import fix_words
from windtunnel.diagnosis.findings.kinds.layers import RangeUnexplained
from windtunnel.diagnosis.findings.kinds.ranges import RangeFinding
from windtunnel.diagnosis.findings.kinds.reading import finding_of
from windtunnel.diagnosis.findings.kinds.scales import PerTensorTooCoarse

# By kind of a layer's note: the findings that say the same.
_RANGES: Final = (RangeFinding, RangeUnexplained)
_SAME: Final[Mapping[str, tuple[type[CauseFinding], ...]]] = {
    "clipped": _RANGES,
    "wide": _RANGES,
    "per_tensor": (PerTensorTooCoarse,),
}


def evidence_words(cause: Mapping[str, Any]) -> list[str]:
    """What shows a cause, in words; fields that no kind of finding has are listed in short.

    Args:
        cause: of `windtunnel.diagnosis/1`.

    Returns:
        One text for each point.
    """
    return list(finding_of(cause).words())


def remedy_words(cause: Mapping[str, Any]) -> str:
    """The fix as a sentence: what to do and with which figures.

    Args:
        cause: of `windtunnel.diagnosis/1`.

    Returns:
        The sentence; empty if no fix is known.
    """
    return fix_words(dict(part(cause, "fix")), part(cause, "place").get("layer"))


def proof_words(cause: Mapping[str, Any]) -> str:
    """Says whether a run confirmed the cause.

    Args:
        cause: of `windtunnel.diagnosis/1`.

    Returns:
        Two or three words.
    """
    return "verified by running" if cause.get("verified") else "not verified"


def ruled_out(excluded: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Codes of ruled-out causes by reason.

    Args:
        excluded: the list `excluded` of a diagnosis.

    Returns:
        The codes under each reason, in the order of the list.
    """
    found: dict[str, list[str]] = {}
    for one in excluded:
        found.setdefault(named(one.get("why")), []).append(named(one.get("code")))
    return found


def unjudged(diagnosis: Mapping[str, Any]) -> list[str]:
    """What could not be judged, and why.

    Args:
        diagnosis: a `windtunnel.diagnosis/1`.

    Returns:
        One text for each point.
    """
    settings = part(diagnosis, "settings")
    subjects = (("local_problem", "isolated errors of layers"), ("calibration_problem", "calibration"))
    return [f"{subject}: {clean(settings[key])}" for key, subject in subjects if settings.get(key)]


def caveat(diagnosis: Mapping[str, Any]) -> str:
    """What a healthy verdict did not judge, for its headline.

    Args:
        diagnosis: a `windtunnel.diagnosis/1`.

    Returns:
        The words; empty if it judged everything.
    """
    is_open = diagnosis.get("verdict") == "healthy" and part(diagnosis, "settings").get("calibration_problem")
    return "calibration not judged" if is_open else ""


def notes_of(layer: Mapping[str, Any], cause: Mapping[str, Any] | None = None) -> list[str]:
    """The sentences that explain a layer's error.

    Args:
        layer: an entry of `layers`.
        cause: of that layer, if one is shown; the sentences that its own words say are left out.

    Returns:
        The sentences.
    """
    finding = None if cause is None else finding_of(cause).finding
    notes = [note for note in entries(layer, "why") if isinstance(note, Mapping) and note.get("text")]
    return [clean(note["text"]) for note in notes if not isinstance(finding, _SAME.get(str(note.get("kind")), ()))]


def culprit_codes(diagnosis: Mapping[str, Any]) -> dict[int, list[str]]:
    """The layers that are the place of a cause.

    Args:
        diagnosis: a `windtunnel.diagnosis/1`.

    Returns:
        Codes of causes by the number of their layer among `layers`.
    """
    layers = entries(diagnosis, "layers")
    found: dict[int, list[str]] = {}
    for cause in entries(diagnosis, "causes"):
        number = place_among(layers, part(cause, "place"))
        if number is not None:
            found.setdefault(number, []).append(named(cause.get("code")))
    return found


def place_among(layers: Sequence[Mapping[str, Any]], place: Mapping[str, Any]) -> int | None:
    """Finds the layer that a cause's place names: by its tensor, otherwise by its op.

    Args:
        layers: the list `layers` of a diagnosis.
        place: the object `place` of a cause.

    Returns:
        The number of the layer; None if there is none.
    """
    name, op = place.get("layer"), place.get("op_index")
    if name is None and op is None:
        return None
    named_so = [number for number, layer in enumerate(layers) if layer.get("name") == name]
    exact = [number for number in named_so if layers[number].get("op_index") == op]
    made = [
        number
        for number, layer in enumerate(layers)
        if op is not None and (layer.get("op_index") == op or op in entries(layer, "members"))
    ]
    return next(iter((*exact, *named_so, *made)), None)
