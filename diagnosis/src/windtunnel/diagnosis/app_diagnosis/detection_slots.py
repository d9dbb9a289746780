"""What an app may do with the outputs of a detector differently than its pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.playback.synthesis.chain_search import Slot, Way
from windtunnel.pipeline import SsdPostprocess
from windtunnel.pipeline.postprocess.ssd import overlap

Floats = NDArray[np.float64]
_SCALES: Final = (
    (1.0, 1.0, 1.0, 1.0),
    (10.0, 10.0, 10.0, 10.0),
    (10.0, 10.0, 5.0, 5.0),
    (5.0, 5.0, 10.0, 10.0),
    (5.0, 5.0, 5.0, 5.0),
    (100.0, 100.0, 50.0, 50.0),
    (0.1, 0.1, 0.2, 0.2),
)
# For each frame: boxes (n, 4), classes (n,), scores (n,).
Found = tuple[Floats, NDArray[np.int64], Floats]


@dataclass(frozen=True, slots=True)
class Heads:
    """Outputs of a detector: deltas (N, A, 4), scores (N, A, classes), and anchors (A, 4); how they are treated."""

    deltas: Floats
    scores: Floats
    anchors: Floats
    how: Mapping[str, Any]
    found: tuple[Found, ...] = ()


def detection_slots(right: SsdPostprocess, shown: Floats) -> list[Slot[Heads]]:
    """The slots of a postprocessing.

    Args:
        right: of the pipeline.
        shown: scores that the app shows.

    Returns:
        The slots, in the order in which they run.
    """
    decode, nms = CauseCode.POSTPROCESSING_DECODE, CauseCode.POSTPROCESSING_NMS
    scales = [list(one) for one in _SCALES if list(one) != list(right.scales)]
    scores = [one for one in ("sigmoid", "softmax", "none") if one != right.score]
    least = float(np.floor(shown.min() * 1000) / 1000) if shown.size else right.threshold
    limits = [one for one in dict.fromkeys((0.0, 0.01, 0.05, 0.1, *np.arange(2, 19) / 20, 0.99, least))
              if abs(one - right.threshold) > 1e-9]  # fmt: skip
    overlaps = [one for one in (*np.arange(1, 20) / 20, 1.0) if abs(one - right.iou) > 1e-9]
    most = [one for one in dict.fromkeys((1, 3, 5, 10, 20, 25, 50, 100, right.max // 2)) if 0 < one < right.max]
    suppressed = [_way("none", "no boxes are suppressed", iou=None)]
    suppressed += [
        _way(f"{one:g}", f"boxes are suppressed above an IoU of {one:g}", iou=float(one)) for one in overlaps
    ]
    return [
        _slot("scales", decode, f"deltas are divided by {list(right.scales)}",
              *(_way(str(one), f"deltas are divided by {one}", scales=one) for one in scales)),
        _slot("order", decode, "y before x", _way("swapped", "x and y are exchanged", swapped=True),
              _way("deltas", "x and y of the deltas are exchanged", swapped_deltas=True)),
        _slot("size", decode, "the size is exp(t) times that of the anchor",
              _way("linear", "the size is 1 + t times that of the anchor", size="linear"),
              _way("plain", "the size is t times that of the anchor", size="plain")),
        _slot("anchors", decode, "anchors are centers and sizes",
              _way("corners", "the center is taken for the upper left corner", corner=True),
              _way("reversed", "anchors are in the reversed order", anchors="reversed"),
              _way("none", "anchors are left out", anchors="none")),
        _slot("score", decode, f"scores by {right.score}",
              *(_way(one, f"scores by {one}" if one != "none" else "scores as the model gives them", score=one)
                for one in scores)),
        _slot("threshold", CauseCode.POSTPROCESSING_THRESHOLD, f"scores of at least {right.threshold:g}",
              *(_way(f"{one:g}", f"scores of at least {one:g}", threshold=float(one)) for one in limits)),
        _slot("iou", nms, f"boxes are suppressed above an IoU of {right.iou:g}", *suppressed),
        _slot("classes", nms, "boxes suppress those of their class",
              _way("agnostic", "boxes suppress those of all classes", agnostic=True)),
        _slot("max", nms, f"at most {right.max} detections",
              *(_way(str(one), f"at most {one} detections", max=one) for one in most)),
        Slot("detections", nms, Way("own", "detections", _detected), ()),
    ]  # fmt: skip


def _slot(name: str, code: CauseCode, words: str, *others: Way[Heads]) -> Slot[Heads]:
    return Slot(name, code, Way("own", words, lambda heads: heads), others)


def _way(name: str, words: str, **how: Any) -> Way[Heads]:
    return Way(name, words, _changing(how))


def _changing(how: Mapping[str, Any]) -> Callable[[Heads], Heads]:
    return lambda heads: replace(heads, how={**heads.how, **how})


def _detected(heads: Heads) -> Heads:
    boxes, scores = _boxes(heads), _scores(heads)
    found = tuple(_of_frame(one, other, heads.how) for one, other in zip(boxes, scores, strict=True))
    return replace(heads, found=found)


def _boxes(heads: Heads) -> Floats:
    how, anchors, deltas = heads.how, heads.anchors, heads.deltas
    if how.get("anchors") == "reversed":
        anchors = anchors[::-1]
    elif how.get("anchors") == "none":
        anchors = np.tile([0.0, 0.0, 1.0, 1.0], (len(anchors), 1))
    if how.get("swapped_deltas"):
        deltas = deltas[..., [1, 0, 3, 2]]
    scaled = deltas / np.asarray(how["scales"])
    center = scaled[..., :2] * anchors[:, 2:] + anchors[:, :2]
    raw = scaled[..., 2:]
    with np.errstate(over="ignore"):
        size = {"linear": 1 + raw, "plain": raw}.get(how.get("size", ""), np.exp(np.minimum(raw, 60))) * anchors[:, 2:]
    low, high = (center, center + size) if how.get("corner") else (center - size / 2, center + size / 2)
    result = np.concatenate([low, high], axis=-1)
    return np.asarray(result[..., [1, 0, 3, 2]] if how.get("swapped") else result)


def _scores(heads: Heads) -> Floats:
    raw, kind = heads.scores, heads.how["score"]
    if kind == "sigmoid":
        return np.asarray(1 / (1 + np.exp(-np.clip(raw, -500, 500))))
    if kind == "softmax":
        grown = np.exp(raw - raw.max(axis=-1, keepdims=True))
        return np.asarray(grown / grown.sum(axis=-1, keepdims=True))
    return raw


def _of_frame(boxes: Floats, scores: Floats, how: Mapping[str, Any]) -> Found:
    classes, best = scores.argmax(axis=1), scores.max(axis=1)
    order = np.argsort(-best, kind="stable")
    order = order[best[order] >= how["threshold"]]
    kept: list[int] = []
    alive = np.ones(len(order), bool)
    for place in range(len(order)):
        if not alive[place]:
            continue
        kept.append(place)
        if len(kept) == how["max"]:
            break
        if how["iou"] is not None:
            near = overlap(boxes[order[place]], boxes[order]) > how["iou"]
            alive &= ~near if how.get("agnostic") else ~(near & (classes[order] == classes[order[place]]))
    chosen = order[kept]
    return boxes[chosen], classes[chosen].astype(np.int64), best[chosen]
