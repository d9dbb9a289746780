"""COCO's metrics of detections: average precision and average recall.

Source: the evaluation of COCO (cocodataset.org/#detection-eval), area range "all". Tests compare it with pycocotools.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.tasks.metrics.boxes import iou

# Matches count from 0.50 to 0.95 in steps of 0.05.
THRESHOLDS: Final[tuple[float, ...]] = tuple(np.linspace(0.5, 0.95, 10).tolist())
# So many detections of one class and image count.
MOST: Final = 100
# Precision is read at so many recalls from 0 to 1.
_RECALLS: Final = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True, slots=True)
class Truth:
    """The objects of one image: boxes (n, 4: ymin, xmin, ymax, xmax), classes (n,), crowd (n,).

    A crowd is a box with many objects: detections in it count neither as right nor as wrong.
    """

    boxes: NDArray[Any]
    classes: NDArray[Any]
    crowd: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Found:
    """The detections of one image: boxes (n, 4), classes (n,), scores (n,)."""

    boxes: NDArray[Any]
    classes: NDArray[Any]
    scores: NDArray[Any]


@dataclass(frozen=True, slots=True)
class ClassAp:
    """Of one class, at each threshold (T,): average precision, and recall of all detections that count."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]


def classes_ap(
    truths: Sequence[Truth], found: Sequence[Found], thresholds: Sequence[float] = THRESHOLDS
) -> dict[int, ClassAp]:
    """Average precision of every class that occurs.

    Args:
        truths: of each image.
        found: of each image, in the same order.
        thresholds: overlaps (IoU) at which a detection is right.

    Returns:
        By class; crowds alone do not make a class occur.
    """
    names = sorted({int(one) for truth in truths for one in truth.classes[~truth.crowd]})
    return {name: _class_ap(name, truths, found, thresholds) for name in names}


def mean_ap(each: dict[int, ClassAp], threshold: int | None = None) -> float | None:
    """mean over classes (and thresholds) of the average precision.

    Precision is made to fall with recall, and averaged at the recalls 0, 0.01, ... 1; where a recall is not reached it
    is 0.

    Args:
        each: of `classes_ap`.
        threshold: index of the one that counts; None: the mean over all.

    Returns:
        0 to 1; None without objects.
    """
    rows = [one.precision if threshold is None else one.precision[threshold] for one in each.values()]
    return float(np.mean(rows)) if rows else None


def mean_recall(each: dict[int, ClassAp]) -> float | None:
    """mean over classes and thresholds of (objects found) / objects, with 100 detections per class and image.

    Args:
        each: of `classes_ap`.

    Returns:
        0 to 1; None without objects.
    """
    return float(np.mean([one.recall for one in each.values()])) if each else None


def _class_ap(name: int, truths: Sequence[Truth], found: Sequence[Found], thresholds: Sequence[float]) -> ClassAp:
    scores, right, ignored, count = [], [], [], 0
    for truth, one in zip(truths, found, strict=True):
        own = one.classes == name
        order = np.argsort(-one.scores[own], kind="stable")[:MOST]
        mine = truth.classes == name
        # Crowds last: an object is preferred to them.
        last = np.argsort(truth.crowd[mine], kind="stable")
        crowd = truth.crowd[mine][last]
        overlaps = iou(one.boxes[own][order], truth.boxes[mine][last], crowd)
        marks = [_matched(overlaps, crowd, threshold) for threshold in thresholds]
        scores.append(one.scores[own][order])
        right.append(np.stack([mark[0] for mark in marks]))
        ignored.append(np.stack([mark[1] for mark in marks]))
        count += int((~crowd).sum())
    order = np.argsort(-np.concatenate(scores), kind="stable")
    sides = np.concatenate(right, axis=1)[:, order], np.concatenate(ignored, axis=1)[:, order]
    curves = [_curve(hits[~skip], count) for hits, skip in zip(*sides, strict=True)]
    return ClassAp(np.array([one[0] for one in curves]), np.array([one[1] for one in curves]))


def _matched(
    overlaps: NDArray[np.float64], crowd: NDArray[np.bool_], threshold: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which detections, best first, take an object, and which fall into a crowd and do not count."""
    right, ignored = np.zeros(len(overlaps), bool), np.zeros(len(overlaps), bool)
    taken = np.zeros(len(crowd), bool)
    for place, row in enumerate(overlaps):
        best, least = -1, min(threshold, 1.0 - 1e-10)
        for one, overlap in enumerate(row):
            if taken[one] and not crowd[one]:
                continue
            if best >= 0 and crowd[one] and not crowd[best]:
                break
            if overlap >= least:
                best, least = one, overlap
        if best >= 0:
            taken[best] = True
            ignored[place], right[place] = crowd[best], not crowd[best]
    return right, ignored


def _curve(hits: NDArray[np.bool_], count: int) -> tuple[float, float]:
    """Average precision, and the recall of all detections."""
    if not len(hits):
        return 0.0, 0.0
    found = np.cumsum(hits)
    recall, precision = found / count, found / np.arange(1, len(hits) + 1)
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, _RECALLS, side="left")
    read = np.where(places < len(hits), falling[np.minimum(places, len(hits) - 1)], 0.0)
    return float(read.mean()), float(recall[-1])
