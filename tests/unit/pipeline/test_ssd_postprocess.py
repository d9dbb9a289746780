"""From the raw heads of a detector to detections, compared with an implementation box by box and with OpenCV."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from windtunnel.errors import InvalidInput
from windtunnel.pipeline import Pipeline, SsdPostprocess

Array = npt.NDArray[Any]


@pytest.fixture
def anchors(tmp_path: Path) -> Path:
    draw = np.random.default_rng(1)
    values = np.concatenate([draw.uniform(0.1, 0.9, (60, 2)), draw.uniform(0.2, 0.5, (60, 2))], 1)
    np.save(tmp_path / "anchors.npy", values.astype(np.float32))
    return tmp_path / "anchors.npy"


def parsed(anchors: Path, **fields: Any) -> SsdPostprocess:
    after = {"kind": "ssd", "boxes": "b", "scores": "s", "anchors": str(anchors), **fields}
    pipeline = Pipeline.parse({"schema": "windtunnel.pipeline/1", "steps": [], "postprocess": after})
    assert Pipeline.parse(pipeline.to_json()) == pipeline
    assert pipeline.postprocess is not None
    return pipeline.postprocess


def heads(seed: int, classes: int = 3) -> dict[str, Array]:
    draw = np.random.default_rng(seed)
    boxes, scores = draw.normal(0, 2, (2, 60, 4)), draw.normal(-1, 2, (2, 60, classes))
    return {"b": boxes.astype(np.float32), "s": scores.astype(np.float32)}


def by_hand(outputs: dict[str, Array], anchors: Array, scales: Any, score: str, threshold: float, iou: float) -> Any:
    """One box after the other; all that stay, for each sample."""
    found = []
    for deltas, raw in zip(outputs["b"].astype(float), outputs["s"].astype(float), strict=True):
        boxes = []
        for (ty, tx, th, tw), values, (cy, cx, h, w) in zip(deltas, raw, anchors.astype(float), strict=True):
            y, x = ty / scales[0] * h + cy, tx / scales[1] * w + cx
            height, width = math.exp(th / scales[2]) * h, math.exp(tw / scales[3]) * w
            scores = _scored(list(values), score)
            best = max(scores)
            box = (y - height / 2, x - width / 2, y + height / 2, x + width / 2)
            if best >= threshold:
                boxes.append((best, scores.index(best), box))
        boxes.sort(key=lambda one: -one[0])
        kept: list[Any] = []
        for one in boxes:
            if all(other[1] != one[1] or _iou(other[2], one[2]) <= iou for other in kept):
                kept.append(one)
        found.append(kept)
    return found


def _scored(values: list[float], score: str) -> list[float]:
    if score == "sigmoid":
        return [1 / (1 + math.exp(-one)) for one in values]
    return [math.exp(one) / sum(map(math.exp, values)) for one in values] if score == "softmax" else values


def _iou(a: Any, b: Any) -> float:
    height, width = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(height, 0) * max(width, 0)
    return float(both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both))


@pytest.mark.parametrize("score", ["sigmoid", "softmax", "none"])
@pytest.mark.parametrize(("threshold", "iou", "scales"), [(0.5, 0.5, [10, 10, 5, 5]), (0.2, 0.1, [4, 8, 2, 3])])
def test_as_box_by_box(anchors: Path, score: str, threshold: float, iou: float, scales: list[float]) -> None:
    outputs = heads(7)
    found = parsed(anchors, score=score, threshold=threshold, iou=iou, scales=scales, max=100).apply(outputs)
    expected = by_hand(outputs, np.load(anchors), scales, score, threshold, iou)
    assert found.boxes.shape == (2, 100, 4)
    for sample, boxes in enumerate(expected):
        assert 3 < len(boxes) < 60
        count = len(boxes)
        np.testing.assert_allclose(found.scores[sample, :count], [one[0] for one in boxes])
        assert found.classes[sample, :count].tolist() == [one[1] for one in boxes]
        np.testing.assert_allclose(found.boxes[sample, :count], [one[2] for one in boxes], rtol=1e-9, atol=1e-12)
        assert (found.classes[sample, count:] == -1).all()
        assert (found.scores[sample, count:] == 0).all()


def test_the_best_are_kept_where_there_is_no_room(anchors: Path) -> None:
    outputs = heads(8)
    few, many = parsed(anchors, threshold=0.1, max=3).apply(outputs), parsed(anchors, threshold=0.1).apply(outputs)
    assert (few.scores == many.scores[:, :3]).all()
    assert (few.boxes == many.boxes[:, :3]).all()


def test_suppression_as_opencv_has_it(anchors: Path) -> None:
    outputs = heads(9, classes=1)
    found = parsed(anchors, threshold=0.3, iou=0.4, max=60).apply(outputs)
    everything = parsed(anchors, threshold=0, iou=1, max=60).apply(outputs)
    corners = everything.boxes[0]
    sized = np.stack([corners[:, 1], corners[:, 0], *(corners[:, [3, 2]] - corners[:, [1, 0]]).T], 1)
    kept = cv2.dnn.NMSBoxes(sized.tolist(), everything.scores[0].tolist(), 0.3, 0.4)
    assert found.scores[0, : len(kept)].tolist() == everything.scores[0][np.asarray(kept).ravel()].tolist()
    assert found.classes[0, len(kept)] == -1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "yolo"}, "pipeline: postprocess: field 'kind' must be 'ssd', this is str 'yolo'"),
        ({"boxes": None}, "pipeline: postprocess: field 'boxes' must be text"),
        ({"score": "relu"}, "pipeline: postprocess: field 'score'"),
        ({"threshold": 1.5}, "pipeline: postprocess: field 'threshold' must be a number from 0 to 1"),
        ({"scales": [10, 10]}, "pipeline: postprocess: field 'scales'"),
        ({"max": 0}, "pipeline: postprocess: field 'max' must be a whole number from 1"),
        ({"maximum": 1}, "pipeline: postprocess: unknown field 'maximum'"),
    ],
)
def test_wrong_fields_are_named(fields: dict[str, Any], words: str, anchors: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        parsed(anchors, **fields)
    assert str(caught.value).startswith(words)


def test_what_does_not_fit_is_named(anchors: Path, tmp_path: Path) -> None:
    outputs = heads(7)
    np.save(tmp_path / "flat.npy", np.zeros(4))
    np.save(tmp_path / "empty.npy", np.zeros((3, 4)))
    (tmp_path / "text.npy").write_text("no")
    for file, given, words in (
        ("none.npy", outputs, "there is no file"),
        ("text.npy", outputs, "not a .npy file"),
        ("flat.npy", outputs, r"holds float64 \[4\]"),
        ("empty.npy", outputs, "without a size above 0"),
        ("anchors.npy", {"b": outputs["b"]}, "'scores' names the output 's', which the model does not have"),
        ("anchors.npy", outputs | {"b": outputs["b"][:, :5]}, r"output 'b' is \[2, 5, 4\]; 60 anchors"),
        ("anchors.npy", outputs | {"s": outputs["s"] * np.nan}, "'s' holds NaN"),
    ):
        with pytest.raises(InvalidInput, match=words):
            parsed(tmp_path / file).apply(given)
