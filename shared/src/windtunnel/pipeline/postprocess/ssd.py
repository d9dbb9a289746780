"""From the raw heads of an SSD detector to its detections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.errors import InvalidInput

Array = NDArray[Any]
Floats = NDArray[np.float64]
# The class of a place without a detection.
UNUSED: Final = -1


@dataclass(frozen=True, slots=True)
class Detections:
    """What was found in N samples, by score.

    Attributes:
        boxes: (N, max, 4) ymin, xmin, ymax, xmax, as parts of the image, not clipped; 0 where unused.
        classes: (N, max), UNUSED if there is none.
        scores: (N, max), 0 where unused.
    """

    boxes: Floats
    classes: NDArray[np.int64]
    scores: Floats


@dataclass(frozen=True, slots=True)
class SsdPostprocess:
    """What follows a detector, as pipeline.json says it."""

    boxes: str
    scores: str
    anchors: str
    scales: Sequence[float] = (10.0, 10.0, 5.0, 5.0)
    score: str = "sigmoid"
    threshold: float = 0.5
    iou: float = 0.5
    max: int = 10

    def apply(self, outputs: Mapping[str, Array]) -> Detections:
        """The detections in the outputs of a model.

        Args:
            outputs: real numbers by name: boxes (N, anchors, 4) and scores (N, anchors, classes).

        Returns:
            The detections.

        Raises:
            InvalidInput: an output is missing or does not fit the anchors, or these cannot be read.
        """
        anchors = read_anchors(Path(self.anchors))
        deltas, raw = (
            _output(outputs, name, field) for name, field in ((self.boxes, "boxes"), (self.scores, "scores"))
        )
        raw = raw[..., None] if raw.ndim == 2 else raw
        for found, name, wanted in ((deltas, self.boxes, (len(anchors), 4)), (raw, self.scores, (len(anchors), -1))):
            if found.ndim != 3 or found.shape[1] != wanted[0] or wanted[1] not in (-1, found.shape[2]):
                raise InvalidInput(
                    f"postprocess: output {name!r} is {list(found.shape)}; {len(anchors)} anchors ask for "
                    f"[N, {wanted[0]}, {4 if wanted[1] == 4 else 'classes'}]",
                    hint="check the names of the outputs and the anchors file",
                )
        rows = [
            self._of_one(boxes, scores)
            for boxes, scores in zip(decoded(deltas, anchors, self.scales), _scored(raw, self.score), strict=True)
        ]
        return Detections(*(np.stack(column) for column in zip(*rows, strict=True)))

    def _of_one(self, boxes: Floats, scores: Floats) -> tuple[Floats, NDArray[np.int64], Floats]:
        classes, best = scores.argmax(axis=1), scores.max(axis=1)
        order = np.argsort(-best, kind="stable")
        order = order[best[order] >= self.threshold]
        kept = _suppressed(boxes[order], classes[order], self.iou, self.max)
        chosen = order[kept]
        result = (np.zeros((self.max, 4)), np.full(self.max, UNUSED, np.int64), np.zeros(self.max))
        for target, source in zip(result, (boxes, classes, best), strict=True):
            target[: len(chosen)] = source[chosen]
        return result


def decoded(deltas: Array, anchors: Floats, scales: Sequence[float]) -> Floats:
    """Boxes from what a model says relative to its anchors.

    Args:
        deltas: ty, tx, th, tw (N, anchors, 4).
        anchors: center y, center x, height, width (anchors, 4).
        scales: by which ty, tx, th and tw are divided.

    Returns:
        ymin, xmin, ymax, xmax (N, anchors, 4).
    """
    scaled = deltas.astype(np.float64) / np.asarray(scales, np.float64)
    center = scaled[..., :2] * anchors[:, 2:] + anchors[:, :2]
    with np.errstate(over="ignore"):
        half = np.exp(scaled[..., 2:]) * anchors[:, 2:] / 2
    return np.concatenate([center - half, center + half], axis=-1)


def overlap(box: Floats, others: Floats) -> Floats:
    """Intersection over union.

    Args:
        box: ymin, xmin, ymax, xmax (4,).
        others: (n, 4).

    Returns:
        (n,), 0 where both are empty.
    """
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    both = np.maximum(sides, 0.0).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - both
    result: Floats = np.divide(both, union, out=np.zeros(len(others)), where=union > 0)
    return result


def _suppressed(boxes: Floats, classes: NDArray[np.int64], iou: float, most: int) -> list[int]:
    """Greedy NMS within each class: the places that stay, in order of score, at most `most`."""
    kept: list[int] = []
    alive = np.ones(len(boxes), bool)
    for place in range(len(boxes)):
        if not alive[place]:
            continue
        kept.append(place)
        if len(kept) == most:
            break
        alive &= (classes != classes[place]) | (overlap(boxes[place], boxes) <= iou)
    return kept


def _scored(raw: Array, score: str) -> Floats:
    values = raw.astype(np.float64)
    if score == "sigmoid":
        # Without overflow on either side.
        small = np.exp(-np.abs(values))
        result: Floats = np.where(values >= 0, 1.0, small) / (1.0 + small)
        return result
    if score == "softmax":
        grown = np.exp(values - values.max(axis=-1, keepdims=True))
        shares: Floats = grown / grown.sum(axis=-1, keepdims=True)
        return shares
    return values


def _output(outputs: Mapping[str, Array], name: str, field: str) -> Array:
    if name not in outputs:
        raise InvalidInput(
            f"postprocess: field {field!r} names the output {name!r}, which the model does not have",
            hint=f"its outputs are {', '.join(map(repr, outputs))}",
        )
    if not np.isfinite(outputs[name]).all():
        raise InvalidInput(f"postprocess: output {name!r} holds NaN or infinity")
    return outputs[name]


def read_anchors(path: Path) -> Floats:
    """The anchors of a detector.

    Args:
        path: a .npy file.

    Returns:
        center y, center x, height, width (anchors, 4).

    Raises:
        InvalidInput: there is no such file, or it holds something else.
    """
    try:
        with path.open("rb") as file:
            anchors = np.lib.format.read_array(file, allow_pickle=False)
    except FileNotFoundError:
        raise InvalidInput(
            f"postprocess: field 'anchors': there is no file {path}", hint="the path is relative to the pipeline.json"
        ) from None
    except (OSError, ValueError, EOFError) as error:
        raise InvalidInput(
            f"postprocess: field 'anchors': {path} is not a .npy file: {str(error)[:120]}",
            hint="write it with numpy.save",
        ) from None
    if anchors.dtype.kind not in "fiu" or anchors.ndim != 2 or anchors.shape[1] != 4 or not len(anchors):
        raise InvalidInput(
            f"postprocess: field 'anchors': {path} holds {anchors.dtype} {list(anchors.shape)}",
            hint="numbers (anchors, 4): center y, center x, height, width",
        )
    result: Floats = anchors.astype(np.float64)
    if not np.isfinite(result).all() or result[:, 2:].min() <= 0:
        raise InvalidInput(f"postprocess: field 'anchors': {path} has an anchor without a size above 0")
    return result
