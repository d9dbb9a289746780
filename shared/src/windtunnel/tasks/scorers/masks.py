"""The scorer of segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.datacheck.label_scores import require_fit
from windtunnel.datacheck.labels import Reading
from windtunnel.tasks.metrics import segmentation
from windtunnel.tasks.scorers.scorer import Outputs, Rows, Scored, class_name


class MaskScorer:
    """A row is (C, 3) of `class_counts`; of outputs with one score (2, 7): over 0.5, over 0, and whether in [0, 1].

    Args:
        reading: of the labels.
        names: of the classes.
    """

    main = "miou"

    def __init__(self, reading: Reading, names: Sequence[str]) -> None:
        assert reading.labels is not None
        self._reading, self._names, self._labels = reading, names, reading.labels

    def read(self, sample: int, outputs: Outputs) -> NDArray[np.float64]:
        """As `Scorer.read`.

        Args:
            sample: its number.
            outputs: of the model.

        Returns:
            As the class says.
        """
        scores, labels, axis = np.asarray(outputs[self._reading.output]), self._labels[sample], self._reading.class_axis
        require_fit(scores.shape, labels.shape, axis, sample)
        if scores.dtype.kind == "f" and not np.isfinite(scores).all():
            return np.full((1, 3), np.nan)
        if axis is not None:
            kept = scores.reshape([size for size in scores.shape if size != 1])
            return _counts(kept.argmax(axis=axis), labels, kept.shape[axis])
        flat = scores.reshape(labels.shape)
        if self._reading.is_class:
            return _counts(flat, labels, int(max(flat.max(), labels.max())) + 1)
        within = np.full((2, 1), float(((flat >= 0.0) & (flat <= 1.0)).all()))
        return np.concatenate([_counts(flat > 0.5, labels, 2), _counts(flat > 0.0, labels, 2), within], axis=1)

    def figures(self, rows: Rows, reference: Rows) -> Scored:
        """As `Scorer.figures`.

        Args:
            rows: of the model.
            reference: not used.

        Returns:
            The figures.
        """
        if rows[0].shape[1] == 7:
            logits = not all(row[0, 6] for row in rows)
            rows = [row[:, 3:6] if logits else row[:, :3] for row in rows]
        total = np.zeros((max(len(row) for row in rows), 3), np.int64)
        for row in rows:
            total[: len(row)] += row.astype(np.int64)
        each = {
            class_name(self._names, number): float(value)
            for number, value in enumerate(segmentation.class_iou(total))
            if np.isfinite(value)
        }
        figures = {"miou": segmentation.mean_iou(total), "pixel_accuracy": segmentation.pixel_accuracy(total)}
        return Scored(figures, {"iou": each})


def _counts(decided: NDArray[Any], labels: NDArray[Any], count: int) -> NDArray[np.float64]:
    return segmentation.class_counts(decided, labels, count).astype(np.float64)
