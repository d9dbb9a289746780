"""Scorers of classifiers: one class for each sample, or several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.datacheck import output_metrics
from windtunnel.datacheck.labels import Reading
from windtunnel.task_names import TaskSpec
from windtunnel.tasks.metrics import classification
from windtunnel.tasks.scorers.scorer import Outputs, Rows, Scored, class_name

# Larger tables say little, and make documents large.
_MOST_IN_TABLE: Final = 50


class ClassScorer:
    """One class for each sample. A row is the decision and the rank of the right class; or the only score.

    Args:
        spec: of the task.
        reading: of the labels.
        names: of the classes.
    """

    main = "top1"

    def __init__(self, spec: TaskSpec, reading: Reading, names: Sequence[str]) -> None:
        assert reading.labels is not None
        self._spec, self._reading, self._names = spec, reading, names
        self._labels = np.asarray(reading.labels, np.int64).reshape(len(reading.labels))
        self._columns = 0

    def read(self, sample: int, outputs: Outputs) -> NDArray[np.float64]:
        """As `Scorer.read`.

        Args:
            sample: its number.
            outputs: of the model.

        Returns:
            (2,) decision and rank, NaN where an output is not finite; (1,) of a model with one score.
        """
        scores = np.asarray(outputs[self._reading.output], np.float64).reshape(1, -1)
        self._columns = max(self._columns, scores.shape[1])
        if scores.shape[1] == 1:
            return scores.reshape(1)
        if not np.isfinite(scores).all():
            return np.full(2, np.nan)
        rank = classification.ranks(scores, self._labels[sample : sample + 1])[0]
        return np.array([scores.argmax(), rank], np.float64)

    def figures(self, rows: Rows, reference: Rows) -> Scored:
        """As `Scorer.figures`.

        Args:
            rows: of the model.
            reference: of the reference, whose values say whether single scores are probabilities or logits.

        Returns:
            The figures.
        """
        decisions, places = self._decisions(np.stack(rows), np.stack(reference))
        labels = self._labels[: len(rows)]
        count = int(max(decisions.max(), labels.max())) + 1
        table = classification.confusion(decisions, labels, count)
        figures = {
            "top1": output_metrics.top1(decisions, labels),
            "top_k": None if places is None else classification.top_k(places, self._spec.k),
            "precision": output_metrics.precision(decisions, labels),
            "recall": output_metrics.recall(decisions, labels),
            "f1_macro": classification.f1_macro(table),
            "f1_micro": classification.f1_micro(table),
        }
        each = {
            class_name(self._names, number): float(value)
            for number, value in enumerate(classification.f1_of_classes(table))
            if np.isfinite(value)
        }
        shown = tuple(map(tuple, table.tolist())) if count <= _MOST_IN_TABLE else ()
        return Scored(figures, {"f1": each}, shown)

    def _decisions(
        self, rows: NDArray[np.float64], reference: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
        if rows.shape[1] == 2:
            return rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64)
        if self._reading.is_class:
            return rows[:, 0].astype(np.int64), None
        within = bool(((reference >= 0.0) & (reference <= 1.0)).all())
        return (rows[:, 0] > (0.5 if within else 0.0)).astype(np.int64), None


class SeveralClassesScorer:
    """Several classes for each sample, yes or no for each. A row is the scores.

    Args:
        reading: of the labels, (N, C).
        names: of the classes.
    """

    main = "map"

    def __init__(self, reading: Reading, names: Sequence[str]) -> None:
        assert reading.labels is not None
        self._reading, self._names = reading, names
        self._positive = np.asarray(reading.labels) > 0

    def read(self, sample: int, outputs: Outputs) -> NDArray[np.float64]:
        """As `Scorer.read`.

        Args:
            sample: its number.
            outputs: of the model.

        Returns:
            (C,) scores.
        """
        return np.asarray(outputs[self._reading.output], np.float64).reshape(-1)

    def figures(self, rows: Rows, reference: Rows) -> Scored:
        """As `Scorer.figures`.

        Args:
            rows: of the model.
            reference: of the reference, whose values say whether scores are probabilities or logits.

        Returns:
            The figures.
        """
        scores, positive = np.stack(rows), self._positive[: len(rows)]
        within = all(bool(((row >= 0.0) & (row <= 1.0)).all()) for row in reference)
        counts = classification.counts_of_labels(scores > (0.5 if within else 0.0), positive)
        right, wrong, missed = (counts[:, column].astype(np.float64) for column in range(3))
        occurs = (right + wrong + missed) > 0
        f1 = np.divide(2 * right, 2 * right + wrong + missed, out=np.zeros_like(right), where=occurs)
        found = [classification.average_precision(scores[:, one], positive[:, one]) for one in range(scores.shape[1])]
        each = {class_name(self._names, number): value for number, value in enumerate(found) if value is not None}
        return Scored(
            {
                "map": classification.mean_average_precision(scores, positive),
                "precision": _mean(right, right + wrong, occurs),
                "recall": _mean(right, right + missed, occurs),
                "f1_macro": float(f1[occurs].mean()) if occurs.any() else None,
                "f1_micro": float(2 * right.sum() / (2 * right + wrong + missed).sum()) if occurs.any() else None,
            },
            {"ap": each},
        )


def _mean(right: NDArray[np.float64], whole: NDArray[np.float64], occurs: NDArray[np.bool_]) -> float | None:
    """Mean over the classes that occur or are decided for; 0 for one without a denominator."""
    each = np.divide(right, whole, out=np.zeros_like(right), where=whole > 0)
    return float(each[occurs].mean()) if occurs.any() else None
