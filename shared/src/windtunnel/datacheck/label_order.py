"""Labels that are numbered differently from the model's outputs: shifted by one, or permuted."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.datacheck.chance import ALPHA, better_by_luck
from windtunnel.datacheck.findings import LABELS_PERMUTED, LABELS_SHIFTED, Finding

# A numbering that is made to fit the answers always fits a little better.
_GAIN: Final = 0.1
# A class with fewer samples says nothing of its own.
_FEWEST: Final = 3
# So many entries of a numbering show what it is.
_LISTED: Final = 200


def label_order(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int, names: tuple[str, ...] | None = None
) -> list[Finding]:
    """Reports another numbering of the same labels under which the model is right far more often.

    Each label's class is the one that the model names most often for it. Three conditions make that another numbering.
    No two labels have the same class. The accuracy under it is higher by 0.1. This is more than luck, by McNemar's
    test: each half of the samples is judged under the numbering that fits the other half. Classes with fewer than 3
    samples keep their number.

    Args:
        labels: (N,) class indices.
        predicted: (N,) class indices.
        classes: how many the model knows.
        names: of the labels' classes, if folders name them.

    Returns:
        One finding, or none.
    """
    mapping = _mapping(labels, predicted)
    renamed = np.array([mapping.get(int(label), int(label)) for label in labels])
    now, then = labels == predicted, renamed == predicted
    moved = {label: number for label, number in mapping.items() if label != number}
    if not moved or len(set(mapping.values())) < len(mapping) or _luck(labels, predicted, moved) >= ALPHA:
        return []
    before, after = float(now.mean()), float(then.mean())
    if after - before < _GAIN:
        return []
    shifts = {(number - label) % classes for label, number in mapping.items()}
    evidence: dict[str, Any] = {"accuracy": before, "accuracy_renumbered": after, "mapping": _text_keys(moved)}
    if len(moved) > _LISTED:
        evidence["mapping_left_out"] = len(moved) - _LISTED
    said = f"the accuracy would be {after:.4g} instead of {before:.4g}"
    if len(shifts) == 1:
        shift = shifts.pop()
        shift = shift - classes if shift > classes // 2 else shift
        message = f"the labels look shifted: with {shift:+d} added to every label {said}"
        around = f", modulo {classes}" if _wraps(labels, shift, classes) else ""
        fix = f"add {shift:+d} to every label{around}; often one side has a background class 0 and the other does not"
        return [Finding(LABELS_SHIFTED, message, fix, evidence | {"shift": shift})]
    shown = ", ".join(
        f"{_named(label, names)} is the model's class {number}" for label, number in list(moved.items())[:5]
    )
    more = ", ..." if len(moved) > 5 else ""
    fix = "number the labels as the model's outputs are; class folders are numbered by the order of their names as text"
    return [Finding(LABELS_PERMUTED, f"the labels look permuted: {said} if {shown}{more}", fix, evidence)]


def _luck(labels: NDArray[np.int64], predicted: NDArray[np.int64], moved: Mapping[int, int]) -> float:
    """P(so many gains by luck) of a numbering; no sample is judged by a numbering that was fitted to it.

    Of each label every second sample is in the same half.
    """
    half = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        half[np.flatnonzero(labels == label)[::2]] = True
    gained = lost = 0
    for fitted, judged in ((half, ~half), (~half, half)):
        found = _mapping(labels[fitted], predicted[fitted], fewest=1)
        renamed = np.array([found.get(int(one), int(one)) if int(one) in moved else int(one) for one in labels[judged]])
        now, then = labels[judged] == predicted[judged], renamed == predicted[judged]
        gained, lost = gained + int((then & ~now).sum()), lost + int((now & ~then).sum())
    return better_by_luck(gained, lost)


def _wraps(labels: NDArray[np.int64], shift: int, classes: int) -> bool:
    """Whether a shifted label is outside the classes, so that it counts from the other end."""
    return bool(((labels + shift < 0) | (labels + shift >= classes)).any())


def _mapping(labels: NDArray[np.int64], predicted: NDArray[np.int64], fewest: int = _FEWEST) -> dict[int, int]:
    """For each label with enough samples the class that is predicted most often; a tie goes to the label itself."""
    mapping = {}
    for label in np.unique(labels):
        counts = np.bincount(predicted[labels == label])
        if counts.sum() >= fewest:
            own = label < len(counts) and counts[label] == counts.max()
            mapping[int(label)] = int(label) if own else int(counts.argmax())
    return mapping


def _named(label: int, names: tuple[str, ...] | None) -> str:
    return f"{names[label]!r} (label {label})" if names is not None and label < len(names) else f"label {label}"


def _text_keys(mapping: dict[int, int]) -> dict[str, int]:
    return {str(label): number for label, number in islice(mapping.items(), _LISTED)}
