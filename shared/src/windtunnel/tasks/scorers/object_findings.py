"""Objects that are numbered or written differently from a model's detections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from windtunnel.datacheck.findings import LABELS_BOXES, LABELS_SHIFTED, Finding
from windtunnel.tasks.metrics import detection
from windtunnel.tasks.metrics.detection import Found, Truth

# At this overlap a detection is right. The other reading must find so many more objects, and twice as many.
_OVERLAP: Final = (0.5,)
_GAIN: Final = 0.2
_TIMES: Final = 2.0
# Fewer objects say little.
_FEWEST: Final = 10


def object_findings(truths: Sequence[Truth], found: Sequence[Found]) -> tuple[Finding, ...]:
    """Reports another reading of the objects under which the model finds far more of them.

    Readings: classes that count from 1 or from a background class, and boxes that begin with x.

    Args:
        truths: the objects of each image.
        found: the detections of each image, in the same order.

    Returns:
        One finding, or none.
    """
    if sum(len(one.classes) for one in truths) < _FEWEST:
        return ()
    before = _ap50(truths, found)
    readings = [(shift, False) for shift in (-1, 1)] + [(0, True), (-1, True), (1, True)]
    scores = {one: _ap50([_read(truth, *one) for truth in truths], found) for one in readings}
    (shift, swapped), after = max(scores.items(), key=lambda item: item[1])
    if after < max(before + _GAIN, _TIMES * before):
        return ()
    said = f"AP50 would be {after:.4g} instead of {before:.4g}"
    evidence = {"ap50": before, "ap50_then": after, "shift": shift, "x_first": swapped}
    if not swapped:
        fix = f"add {shift:+d} to every class; often one side has a background class 0 and the other does not"
        return (Finding(LABELS_SHIFTED, f"the classes look shifted: with {shift:+d} added {said}", fix, evidence),)
    more = f" and with {shift:+d} added to every class" if shift else ""
    message = f"the boxes look exchanged: read as xmin, ymin, xmax, ymax{more} {said}"
    return (Finding(LABELS_BOXES, message, "write boxes as ymin, xmin, ymax, xmax", evidence),)


def _read(truth: Truth, shift: int, swapped: bool) -> Truth:
    boxes = truth.boxes[:, [1, 0, 3, 2]] if swapped else truth.boxes
    return Truth(boxes, np.asarray(truth.classes) + shift, truth.crowd)


def _ap50(truths: Sequence[Truth], found: Sequence[Found]) -> float:
    return detection.mean_ap(detection.classes_ap(truths, found, _OVERLAP)) or 0.0
