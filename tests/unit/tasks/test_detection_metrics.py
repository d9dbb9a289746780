"""Metrics of detections: cases counted by hand, and pycocotools on random ones."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from windtunnel.tasks.metrics import boxes, detection
from windtunnel.tasks.metrics.detection import Found, Truth

SIDE = 256


def test_iou_by_hand() -> None:
    first = np.array([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
    second = np.array([[1.0, 1.0, 3.0, 3.0], [5.0, 5.0, 6.0, 6.0], [0.0, 0.0, 0.0, 0.0]])
    assert boxes.iou(first, second) == pytest.approx(np.array([[1 / 7, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    assert boxes.iou(first[:1], second[:1], np.array([True]))[0, 0] == pytest.approx(1 / 4)


def _image(*rows: tuple[list[float], int]) -> Truth:
    return Truth(
        np.array([row[0] for row in rows]).reshape(-1, 4),
        np.array([row[1] for row in rows], np.int64),
        np.zeros(len(rows), bool),
    )


def test_ap_by_hand() -> None:
    here, there = [0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]
    truths = [_image((here, 0), (there, 0))]
    found = [Found(np.array([here, [0.0, 0.5, 0.1, 0.6], there]), np.zeros(3), np.array([0.9, 0.8, 0.7]))]
    each = detection.classes_ap(truths, found)
    # Precision 1 up to recall 0.5 (51 of 101 points), 2/3 from there to 1.
    assert detection.mean_ap(each, 0) == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert detection.mean_recall(each) == 1.0
    assert detection.mean_ap({}) is None
    assert detection.mean_recall({}) is None


def test_a_class_without_detections_counts_as_0() -> None:
    box = [0.0, 0.0, 0.5, 0.5]
    truths = [_image((box, 0), (box, 3))]
    each = detection.classes_ap(truths, [Found(np.array([box]), np.zeros(1), np.ones(1))])
    assert {name: float(one.precision.mean()) for name, one in each.items()} == {0: 1.0, 3: 0.0}
    # Detections of a class that no sample has change nothing.
    more = Found(np.array([box, box]), np.array([0, 7]), np.ones(2))
    assert detection.mean_ap(detection.classes_ap(truths, [more])) == 0.5


@pytest.mark.parametrize(("seed", "crowds"), [(0, 0.0), (1, 0.0), (2, 0.0), (3, 0.2), (4, 0.2), (5, 0.5)])
def test_figures_are_those_of_pycocotools(seed: int, crowds: float) -> None:
    generator = np.random.default_rng(seed)
    truths, found = [], []
    for _ in range(30):
        count = int(generator.integers(0, 6))
        truth = Truth(
            _random_boxes(generator, count), generator.integers(0, 4, count), generator.random(count) < crowds
        )
        truths.append(truth)
        found.append(_detections(generator, truth))
    expected = _coco(truths, found)
    each = detection.classes_ap(truths, found)
    ours = (
        detection.mean_ap(each),
        detection.mean_ap(each, 0),
        detection.mean_ap(each, 5),
        detection.mean_recall(each),
    )
    assert ours == pytest.approx(tuple(expected[place] for place in (0, 1, 2, 8)), abs=1e-9)
    assert 0.05 < expected[0] < 0.95


def test_more_than_100_detections_count_as_in_pycocotools() -> None:
    generator = np.random.default_rng(7)
    truth = Truth(_random_boxes(generator, 120), np.zeros(120, np.int64), np.zeros(120, bool))
    one = Found(truth.boxes, np.zeros(120), generator.random(120))
    expected = _coco([truth], [one])
    each = detection.classes_ap([truth], [one])
    assert (detection.mean_ap(each), detection.mean_recall(each)) == pytest.approx((expected[0], expected[8]))


def _random_boxes(generator: np.random.Generator, count: int) -> np.ndarray:
    corners = generator.integers(0, SIDE - 64, (count, 2))
    return np.concatenate([corners, corners + generator.integers(8, 64, (count, 2))], axis=1) / SIDE


def _detections(generator: np.random.Generator, truth: Truth) -> Found:
    """Most objects, moved a little, some with another class, some twice, and some from nowhere."""
    kept = np.repeat(np.flatnonzero(generator.random(len(truth.classes)) < 0.8), 2)
    moved = truth.boxes[kept] + generator.integers(-3, 4, (len(kept), 4)) / SIDE
    stray = _random_boxes(generator, 3)
    rows = np.concatenate([moved, stray])
    classes = np.concatenate([truth.classes[kept], generator.integers(0, 4, 3)])
    other = generator.random(len(classes)) < 0.1
    classes = np.where(other, generator.integers(0, 4, len(classes)), classes)
    # Rounded, so that some scores are equal.
    return Found(rows, classes.astype(float), np.round(generator.random(len(rows)), 1))


def _coco(truths: list[Truth], found: list[Found]) -> Any:
    """What pycocotools says, in the order of its summary."""
    annotations = [
        {
            "id": 0,
            "image_id": image,
            "category_id": int(name),
            "bbox": _xywh(box),
            "area": float(np.prod((box[2:] - box[:2]) * SIDE)),
            "iscrowd": int(crowd),
        }
        for image, truth in enumerate(truths, start=1)
        for box, name, crowd in zip(truth.boxes, truth.classes, truth.crowd, strict=True)
    ]
    annotations = [{**one, "id": number} for number, one in enumerate(annotations, start=1)]
    results = [
        {"image_id": image, "category_id": int(name), "bbox": _xywh(box), "score": float(score)}
        for image, one in enumerate(found, start=1)
        for box, name, score in zip(one.boxes, one.classes, one.scores, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": image, "height": SIDE, "width": SIDE} for image in range(1, len(truths) + 1)],
            "categories": [{"id": one, "name": str(one)} for one in range(4)],
            "annotations": annotations,
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


def _xywh(box: np.ndarray) -> list[float]:
    top, left, bottom, right = (float(side) * SIDE for side in box)
    return [left, top, right - left, bottom - top]
