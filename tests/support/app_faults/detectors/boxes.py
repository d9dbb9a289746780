"""A small detector of the SSD kind, and how an app makes boxes of its outputs: decoding, threshold, suppression."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from support.graphs import GraphWriter

Array = NDArray[Any]
SIDE, GRID, CLASSES = 32, 5, 4
_ASPECTS = ((0.35, 0.35), (0.5, 0.3), (0.3, 0.5))


def anchors() -> NDArray[np.float32]:
    """Center y, center x, height, width in 0..1: (A, 4)."""
    centers = (np.arange(GRID) + 0.5) / GRID
    rows = [(y, x, height, width) for y in centers for x in centers for height, width in _ASPECTS]
    return np.asarray(rows, np.float32)


def detector(path: Path) -> Path:
    """Writes a detector whose weights are drawn: image (1, 32, 32, 3) to boxes (1, A, 4) and scores (1, A, C).

    Args:
        path: of the .tflite.

    Returns:
        The path.
    """
    rng = np.random.default_rng(12)
    count = len(anchors())
    graph = GraphWriter()
    source = graph.tensor("image", (1, SIDE, SIDE, 3))
    pooled = graph.tensor("pooled", (1, 8, 8, 3))
    options = schema.Pool2DOptionsT()
    options.filterHeight = options.filterWidth = options.strideH = options.strideW = SIDE // 8
    options.padding = schema.Padding.VALID
    graph.op("AVERAGE_POOL_2D", [source], [pooled], options)
    flat = _reshaped(graph, "flat", pooled, (1, 192))
    hidden = graph.dense("hidden", flat, rng.normal(0, 0.35, (48, 192)), np.zeros(48), activation="RELU")
    outputs = []
    for name, size, spread, middle in (("boxes", 4, 0.35, 0.0), ("scores", CLASSES, 0.3, -1.6)):
        weights = rng.normal(0, spread, (count * size, 48))
        # The first class is the usual one, so that boxes of one class overlap.
        usual = np.where(np.arange(count * size) % size == 0, 1.5, 0.0) if name == "scores" else 0.0
        head = graph.dense(f"{name}_flat", hidden, weights, rng.normal(middle, 1.0, count * size) + usual)
        outputs.append(_reshaped(graph, name, head, (1, count, size)))
    return graph.write(path, [source], outputs)


def _reshaped(graph: GraphWriter, name: str, source: int, shape: tuple[int, ...]) -> int:
    at = graph.tensor(name, shape)
    size = graph.tensor(f"{name}_shape", (len(shape),), "int32", data=np.asarray(shape, np.int32))
    graph.op("RESHAPE", [source, size], [at])
    return at


@dataclass(frozen=True)
class BoxApp:
    """How an app makes boxes. A right one is as the defaults.

    Attributes:
        scales: by which deltas are divided.
        corner: the center is taken for the upper left corner.
        linear: the size is 1 + t, not exp(t).
        swapped: x before y.
        score: sigmoid, softmax or none.
        threshold: of scores.
        iou: above which a box is suppressed; None: none is.
        agnostic: boxes suppress those of other classes.
        most: boxes at most.
    """

    score: str = "sigmoid"
    scales: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    corner: bool = False
    linear: bool = False
    swapped: bool = False
    threshold: float = 0.5
    iou: float | None = 0.5
    agnostic: bool = False
    most: int = 40


def found(app: BoxApp, deltas: Array, scores: Array) -> tuple[Array, Array, Array]:
    """What an app makes of the outputs of one image.

    Args:
        app: the app.
        deltas: (A, 4).
        scores: (A, C).

    Returns:
        Boxes (most, 4), classes (most), -1 for none, and scores (most).
    """
    boxes, chances = _decoded(app, deltas.astype(np.float64)), _chances(app, scores.astype(np.float64))
    best, classes = chances.max(axis=1), chances.argmax(axis=1)
    kept: list[int] = []
    for at in np.argsort(-best, kind="stable"):
        if best[at] < app.threshold or len(kept) == app.most:
            break
        rivals = [other for other in kept if app.agnostic or classes[other] == classes[at]]
        if app.iou is None or all(_overlap(boxes[at], boxes[other]) <= app.iou for other in rivals):
            kept.append(int(at))
    result = np.zeros((app.most, 4), np.float32), np.full(app.most, -1, np.int32), np.zeros(app.most, np.float32)
    result[0][: len(kept)] = boxes[kept][:, [1, 0, 3, 2]] if app.swapped else boxes[kept]
    result[1][: len(kept)], result[2][: len(kept)] = classes[kept], best[kept]
    return result


def _decoded(app: BoxApp, deltas: Array) -> Array:
    known = anchors().astype(np.float64)
    center = deltas[:, :2] / app.scales[:2] * known[:, 2:] + known[:, :2]
    growth = deltas[:, 2:] / app.scales[2:]
    size = (1 + growth if app.linear else np.exp(growth)) * known[:, 2:]
    low = center if app.corner else center - size / 2
    return np.concatenate([low, low + size], axis=1)


def _chances(app: BoxApp, scores: Array) -> Array:
    if app.score == "sigmoid":
        return np.asarray(1 / (1 + np.exp(-scores)))
    if app.score == "softmax":
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))
    return scores


def _overlap(one: Array, other: Array) -> float:
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    shared = float(np.prod(np.clip(high - low, 0, None)))
    whole = sum(float(np.prod(np.clip(box[2:] - box[:2], 0, None))) for box in (one, other)) - shared
    return shared / whole if whole > 0 else 0.0
