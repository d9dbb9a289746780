"""What an app makes of the recorded outputs of a detector, against the pipeline's postprocessing of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from windtunnel.diagnosis.app_diagnosis.detection_slots import Floats, Found, Heads, detection_slots
from windtunnel.diagnosis.findings.causes import Cause
from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.findings.kinds.postprocessing import (
    DecodeFinding,
    DetectionLabelsFinding,
    PostprocessingFinding,
    SuppressionFinding,
    ThresholdFinding,
)
from windtunnel.diagnosis.playback.synthesis.chain_search import ChainSearch, Difference, Ending
from windtunnel.diagnosis.recording.edge_recording import Rows
from windtunnel.diagnosis.thresholds.apps.app_thresholds import DETECTION_TOLERANCE, FRAMES_POSTPROCESSED, PARTLY_ALIKE
from windtunnel.diagnosis.thresholds.confidences import REPLAYED_INPUT
from windtunnel.pipeline import SsdPostprocess
from windtunnel.pipeline.postprocess.ssd import read_anchors

_KINDS: Final[Mapping[CauseCode, type[PostprocessingFinding]]] = {
    CauseCode.POSTPROCESSING_DECODE: DecodeFinding,
    CauseCode.POSTPROCESSING_THRESHOLD: ThresholdFinding,
    CauseCode.POSTPROCESSING_NMS: SuppressionFinding,
    CauseCode.OUTPUT_LABELS: DetectionLabelsFinding,
}


def judge_postprocess(
    right: SsdPostprocess, outputs: Mapping[str, Sequence[Floats]], shown: Mapping[str, Rows]
) -> list[Cause]:
    """Judges the detections of an app.

    Args:
        right: the pipeline's postprocessing.
        outputs: of the device, real numbers by the names of the pipeline, an array per frame.
        shown: boxes, classes and scores of the app.

    Returns:
        Causes; none without the outputs or without detections of the app.

    Raises:
        InvalidInput: the anchors cannot be read.
    """
    if not {right.boxes, right.scores} <= set(outputs) or not {"boxes", "classes", "scores"} <= set(shown):
        return []
    anchors = read_anchors(Path(right.anchors))
    every = range(min(len(outputs[right.boxes]), FRAMES_POSTPROCESSED))
    deltas = np.stack([np.asarray(outputs[right.boxes][at]).reshape(len(anchors), 4) for at in every])
    scores = np.stack([np.asarray(outputs[right.scores][at]).reshape(len(anchors), -1) for at in every])
    app = [_shown(shown, at) for at in every]
    how = {"scales": list(right.scales), "score": right.score, "threshold": right.threshold, "iou": right.iou,
           "max": right.max}  # fmt: skip
    every_score = np.concatenate([one[2] for one in app])
    floor = 0.5 / max(1, sum(len(one[1]) for one in app))
    search: ChainSearch[Heads] = ChainSearch(
        detection_slots(right, every_score), Heads(deltas, scores, anchors, how), _Judge(app), floor
    )
    found = search.run()
    causes = []
    for one in sorted(found.differences, key=lambda one: (one.code, one.name)):
        finding = _KINDS[one.code](
            app=one.app,
            pipeline=one.pipeline,
            step=one.name,
            without=min(1.0, search.without(one, found)),
            explained=found.misfit,
            frames=len(app),
        )
        causes.append(Cause(finding, REPLAYED_INPUT, verified=found.misfit <= floor, rule="postprocess_replayed"))
    return causes


def _shown(shown: Mapping[str, Rows], at: int) -> Found:
    boxes, classes, scores = (np.asarray(shown[name][at]) for name in ("boxes", "classes", "scores"))
    used = np.rint(classes.reshape(-1)).astype(np.int64) >= 0
    return (boxes.reshape(-1, 4).astype(np.float64)[used], np.rint(classes.reshape(-1)).astype(np.int64)[used],
            scores.reshape(-1).astype(np.float64)[used])  # fmt: skip


class _Judge:
    """Compares detections with those of the app.

    Args:
        app: detections of each frame.
    """

    def __init__(self, app: Sequence[Found]) -> None:
        self._app = app

    def __call__(self, heads: Heads) -> Iterator[Ending]:
        """The detections as they are, and with the classes moved.

        Args:
            heads: with the detections of a hypothesis.

        Yields:
            The endings.
        """
        yield Ending(self._share(heads.found, 0))
        moves = Counter(
            int(right[1][0] - left[1][0])
            for left, right in zip(heads.found, self._app, strict=True)
            if len(left[1]) and len(right[1])
        )
        if moves and (shift := moves.most_common(1)[0][0]):
            words = f"classes are moved by {shift:+d}"
            moved = Difference("labels", CauseCode.OUTPUT_LABELS, words, "classes as the model numbers them")
            yield Ending(self._share(heads.found, shift), (moved,))

    def _share(self, found: Sequence[Found], shift: int) -> float:
        """The share of detections that differ; those that agree in part count in part."""
        alike = total = 0.0
        for left, right in zip(found, self._app, strict=True):
            total += len(left[1]) + len(right[1])
            if len(left[1]) and len(right[1]):
                boxes = (np.abs(left[0][:, None] - right[0][None]) <= DETECTION_TOLERANCE).all(axis=2)
                scores = np.abs(left[2][:, None] - right[2][None]) <= DETECTION_TOLERANCE
                both = boxes & scores & (left[1][:, None] + shift == right[1][None])
                alike += PARTLY_ALIKE * (_matches(boxes) + _matches(scores)) + (1 - 2 * PARTLY_ALIKE) * _matches(both)
        return 0.0 if total == 0 else float(1 - alike / total)


def _matches(alike: Any) -> float:
    """How many of both sides have one like them on the other side."""
    return float(alike.any(axis=0).sum() + alike.any(axis=1).sum())
