"""The scorer of detection."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from windtunnel.datacheck.findings import Finding
from windtunnel.pipeline.ground_truth import GroundTruth
from windtunnel.tasks.metrics import detection
from windtunnel.tasks.metrics.detection import Found, Truth
from windtunnel.tasks.scorers.object_findings import object_findings
from windtunnel.tasks.scorers.scorer import Outputs, Rows, Scored, class_name


class DetectionScorer:
    """A row is (n, 6): ymin, xmin, ymax, xmax, class and score of every detection.

    Args:
        read: the detections of one sample's outputs.
        truth: the objects of the samples.
        names: of the classes.
    """

    main = "map"

    def __init__(self, read: Callable[[Outputs], Found], truth: GroundTruth, names: Sequence[str]) -> None:
        self._read, self._names = read, names
        self._truths = truths_of(truth)

    def read(self, sample: int, outputs: Outputs) -> NDArray[np.float64]:
        """As `Scorer.read`.

        Args:
            sample: its number.
            outputs: of the model.

        Returns:
            As the class says.
        """
        found = self._read(outputs)
        return np.concatenate([found.boxes, found.classes[:, None], found.scores[:, None]], axis=1).astype(np.float64)

    def figures(self, rows: Rows, reference: Rows) -> Scored:
        """As `Scorer.figures`.

        Args:
            rows: of the model.
            reference: not used.

        Returns:
            The figures.
        """
        found = [Found(row[:, :4], row[:, 4], row[:, 5]) for row in rows]
        each = detection.classes_ap(self._truths[: len(rows)], found)
        figures = {
            "map": detection.mean_ap(each),
            "ap50": detection.mean_ap(each, detection.THRESHOLDS.index(0.5)),
            "ap75": detection.mean_ap(each, 5),
            "ar100": detection.mean_recall(each),
        }
        per_class = {class_name(self._names, one): float(ap.precision.mean()) for one, ap in each.items()}
        return Scored(figures, {"ap": per_class})

    def findings(self, rows: Rows) -> tuple[Finding, ...]:
        """What the detections show of the samples.

        Args:
            rows: of the reference.

        Returns:
            Nothing where detections are not finite.
        """
        if not all(np.isfinite(row).all() for row in rows):
            return ()
        found = [Found(row[:, :4], row[:, 4], row[:, 5]) for row in rows]
        return object_findings(self._truths[: len(rows)], found)


def truths_of(truth: GroundTruth) -> list[Truth]:
    """The objects of every sample.

    Args:
        truth: with boxes.

    Returns:
        Without the rows that are not used.
    """
    assert truth.boxes is not None and truth.classes is not None and truth.crowd is not None
    used = truth.classes >= 0
    rows = zip(truth.boxes, truth.classes, truth.crowd, used, strict=True)
    return [Truth(boxes[keep], classes[keep], crowd[keep]) for boxes, classes, crowd, keep in rows]
