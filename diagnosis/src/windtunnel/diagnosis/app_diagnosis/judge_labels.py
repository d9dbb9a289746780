"""Labels: the model names the right class, and the app reads another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.datacheck.findings import LABELS_SHIFTED
from windtunnel.datacheck.label_order import label_order
from windtunnel.diagnosis.findings.causes import Cause
from windtunnel.diagnosis.findings.kinds.apps import LabelsMoved
from windtunnel.diagnosis.recording.edge_recording import ONLY, Rows
from windtunnel.diagnosis.thresholds.confidences import LABELS_RENUMBERED

# What apps call the class that they show.
_NAMES: Final = frozenset(
    {ONLY, "label", "labels", "class", "classes", "class_id", "class_index", "prediction", "top1"}
)


def judge_labels(
    labels: NDArray[np.int64] | None, decisions: NDArray[np.int64], classes: int, postprocessed: Mapping[str, Rows]
) -> list[Cause]:
    """Whether the classes of an app are numbered differently from the model's.

    Args:
        labels: the truth, class indices (N,); None: not known.
        decisions: classes that the model names when it is fed by the pipeline (N,).
        classes: how many the model has.
        postprocessed: what the app made of the outputs.

    Returns:
        One cause, or none.
    """
    shown = _shown(postprocessed, decisions)
    if shown is not None and (moved := _moved(decisions, shown, classes)) is not None:
        return [Cause(moved, LABELS_RENUMBERED, verified=True, rule="labels_shown")]
    if labels is None:
        return []
    found = label_order(labels, decisions, classes)
    if not found:
        return []
    evidence: Mapping[str, Any] = found[0].evidence
    # `label_order` maps the label to the model's class; the app reads the label for the class.
    mapping = {str(number): int(label) for label, number in evidence["mapping"].items()}
    shift = -int(evidence["shift"]) if found[0].code == LABELS_SHIFTED else None
    finding = LabelsMoved(
        mapping=mapping,
        shift=shift,
        accuracy=evidence["accuracy"],
        accuracy_renumbered=evidence["accuracy_renumbered"],
        how=found[0].fix,
    )
    return [Cause(finding, LABELS_RENUMBERED, verified=True, rule="labels_renumbered")]


def _shown(postprocessed: Mapping[str, Rows], decisions: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """The class that the app shows for each frame."""
    for name, rows in postprocessed.items():
        values = np.asarray(rows)
        if name.casefold() in _NAMES and values.size == len(decisions) and values.dtype.kind in "iuf":
            return values.reshape(-1).astype(np.int64)
    return None


def _moved(decisions: NDArray[np.int64], shown: NDArray[np.int64], classes: int) -> LabelsMoved | None:
    """A numbering that gives what the app shows, if it is one and not the model's own."""
    mapping: dict[int, int] = {}
    for decision, label in zip(decisions.tolist(), shown.tolist(), strict=True):
        if mapping.setdefault(decision, label) != label:
            return None
    moved = {key: value for key, value in mapping.items() if key != value}
    if not moved or len(set(mapping.values())) < len(mapping):
        return None
    shifts = {value - key for key, value in mapping.items()}
    around = {(value - key) % classes for key, value in mapping.items()}
    shift = shifts.pop() if len(shifts) == 1 else around.pop() if len(around) == 1 else None
    return LabelsMoved(mapping={str(key): value for key, value in moved.items()}, shift=shift)
