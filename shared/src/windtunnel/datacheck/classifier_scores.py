"""Scores of a classifier from its outputs; pure numpy, float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from windtunnel.datacheck import output_metrics
from windtunnel.errors import InvalidInput

OutputKind = Literal["probabilities", "logits"]

_PROBABILITY_SLACK = 1e-3


@dataclass(frozen=True, slots=True)
class Scores:
    """A classifier's figures over `count` samples, each in [0, 1] but `loss` (nats, mean)."""

    top1: float
    precision: float
    recall: float
    loss: float
    count: int


def score(outputs: NDArray[Any], labels: NDArray[Any] | None, *, kind: OutputKind | None = None) -> Scores | None:
    """Top-1 accuracy, macro precision and recall, and mean cross-entropy.

    Args:
        outputs: (N, C) probabilities or logits; (N, 1) or (N,) is a sigmoid's output or logit for class 1.
        labels: (N,) class indices, or (N, C) one-hot; None: there is nothing to score.
        kind: what the outputs are, if it is known; None: see `ScoreSums`.

    Returns:
        None without labels, and if labels are not classes (real-valued targets, another shape).

    Raises:
        InvalidInput: outputs are not finite, there are no samples, or labels are outside the classes.
    """
    scores = np.asarray(outputs, dtype=np.float64)
    scores = scores[:, None] if scores.ndim == 1 else scores
    if labels is None or scores.ndim != 2:
        return None
    classes = class_indices(np.asarray(labels), scores.shape[1])
    if classes is None or len(classes) != len(scores):
        return None
    sums = ScoreSums()
    sums.add(scores, classes)
    return sums.result(kind)


# More scores than any model has: what is counted by class stays below 1 GiB.
_MOST_COLUMNS: Final = 2**24


class ScoreSums:
    """Running figures of a classifier; a few numbers per sample are kept, never its outputs.

    Precision and recall are macro averages over the classes that occur among labels or predictions; one never
    predicted has precision 0, one without a sample has recall 0 (scikit-learn's zero_division=0).

    Outputs count as probabilities if all are in [0, 1] and every row sums to 1 within 1e-3. Otherwise they count as
    logits, through softmax. With one column, numbers in [0, 1] are probabilities, others logits through the sigmoid.
    A quantized softmax misses that sum by rounding: give the kind if the model states it. Probabilities are clipped
    to [1e-7, 1] before the logarithm, as in Keras, for both kinds.
    """

    def __init__(self) -> None:
        self.non_finite: list[int] = []
        self.count = 0
        self._columns = 0
        self._classes: list[NDArray[np.int64]] = []
        # Per sample: the predicted class, or with one column the output itself.
        self._decisions: list[NDArray[np.float64]] = []
        self._loss = {"probabilities": 0.0, "logits": 0.0}
        self._looks_like_probabilities = True

    def add(self, outputs: NDArray[Any], classes: NDArray[np.int64] | None) -> None:
        """Adds samples.

        Args:
            outputs: (B, C) scores.
            classes: (B,) as `class_indices` gives them; None: only `decisions` can be asked for.
        """
        scores = np.asarray(outputs, dtype=np.float64)
        bad = ~np.isfinite(scores).all(axis=1)
        self.non_finite.extend((self.count + np.flatnonzero(bad)).tolist())
        self.count += len(scores)
        scores = scores[~bad]
        if not len(scores):
            return
        self._columns = scores.shape[1]
        self._decisions.append(scores[:, 0] if self._columns == 1 else scores.argmax(axis=1).astype(np.float64))
        self._looks_like_probabilities &= _look_like_probabilities(scores)
        if classes is None:
            return
        classes = classes[~bad]
        self._classes.append(classes)
        self._loss["probabilities"] += output_metrics.cross_entropy(_from_probabilities(scores), classes)
        self._loss["logits"] += output_metrics.cross_entropy(_from_logits(scores), classes)

    def state(self) -> dict[str, NDArray[Any]]:
        """The sums as arrays, for `restore`; they grow by a few numbers per sample."""
        return {
            "numbers": np.array([self.count, self._columns, self._looks_like_probabilities], dtype=np.int64),
            "non_finite": np.array(self.non_finite, dtype=np.int64),
            "classes": np.concatenate([np.zeros(0, dtype=np.int64), *self._classes]),
            "decisions": np.concatenate([np.zeros(0), *self._decisions]),
            "loss": np.array([self._loss["probabilities"], self._loss["logits"]]),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Replaces the sums with those of another `state`.

        Args:
            state: arrays by name.

        Raises:
            KeyError: an array is missing.
            ValueError: an array does not have the right size.
        """
        self.count, self._columns, looks = (int(value) for value in state["numbers"])
        self._looks_like_probabilities = bool(looks)
        self.non_finite = [int(value) for value in state["non_finite"]]
        classes, decisions = state["classes"], state["decisions"]
        if any(one.ndim != 1 or one.dtype.kind not in "iuf" for one in (classes, decisions)):
            raise ValueError("decisions are not numbers in one row")
        self._require_possible(classes, decisions)
        self._classes = [classes] if len(classes) else []
        self._decisions = [decisions] if len(decisions) else []
        probabilities, logits = (float(value) for value in state["loss"])
        self._loss = {"probabilities": probabilities, "logits": logits}

    def _require_possible(self, classes: NDArray[Any], decisions: NDArray[Any]) -> None:
        """Checks a restored state; a huge class would take all memory.

        Args:
            classes: of the labels, (N,).
            decisions: of the outputs, (N,).

        Raises:
            ValueError: no samples can give this state.
        """
        if self.count != len(decisions) + len(self.non_finite) or len(classes) not in {0, len(decisions)}:
            raise ValueError("another number of decisions than of samples")
        if any(not 0 <= place < self.count for place in self.non_finite) or not np.isfinite(decisions).all():
            raise ValueError("a decision is not finite, or of a sample that does not exist")
        if not 0 <= self._columns <= _MOST_COLUMNS:
            raise ValueError(f"{self._columns} scores for each sample")
        rows = (classes, decisions) if self._columns > 1 else (classes,)
        if any(len(one) and not 0 <= one.min() <= one.max() < max(2, self._columns) for one in rows):
            raise ValueError("a class that the model does not have")

    def decisions(self, kind: OutputKind | None = None) -> NDArray[np.int64]:
        """The predicted class of every sample so far.

        Args:
            kind: of the outputs; it matters for one column only.

        Returns:
            (N,) class indices of the samples whose output is finite, in their order.
        """
        joined = np.concatenate(self._decisions) if self._decisions else np.zeros(0)
        if self._columns == 1:
            return (joined > (0.5 if self.kind(kind) == "probabilities" else 0.0)).astype(np.int64)
        return joined.astype(np.int64)

    def all_decisions(self, kind: OutputKind | None = None) -> NDArray[np.int64]:
        """The predicted class of every sample so far, also of those whose output is not finite.

        Args:
            kind: of the outputs; it matters for one column only.

        Returns:
            (N,) class indices, in the order of the samples; -1: the output is not finite.
        """
        decisions = np.full(self.count, -1, dtype=np.int64)
        finite = np.ones(self.count, dtype=bool)
        finite[self.non_finite] = False
        decisions[finite] = self.decisions(kind)
        return decisions

    def kind(self, known: OutputKind | None = None) -> OutputKind:
        """What the outputs are: as known, or as they look.

        Args:
            known: the kind that the caller knows; None: values decide.

        Returns:
            As known, or as the outputs look.
        """
        return known or ("probabilities" if self._looks_like_probabilities else "logits")

    def result(self, kind: OutputKind | None = None) -> Scores:
        """The figures over all samples.

        Args:
            kind: of the outputs; None: values decide.

        Returns:
            Shares from 0 to 1; the cross-entropy in nats.

        Raises:
            InvalidInput: outputs are not finite, or there are no samples.
        """
        if not self.count:
            raise InvalidInput("there are no samples to score")
        if self.non_finite:
            raise InvalidInput(
                f"the outputs of {len(self.non_finite)} of {self.count} samples hold NaN or infinity, the first "
                f"is sample {self.non_finite[0]}"
            )
        if not self._classes:
            raise InvalidInput("samples without labels cannot be scored")
        classes, predicted = np.concatenate(self._classes), self.decisions(kind)
        return Scores(
            top1=output_metrics.top1(predicted, classes),
            precision=output_metrics.precision(predicted, classes),
            recall=output_metrics.recall(predicted, classes),
            loss=self._loss[self.kind(kind)] / self.count,
            count=self.count,
        )


def agreement(first: NDArray[Any], second: NDArray[Any], *, kind: OutputKind | None = None) -> float:
    """Share of samples for which two classifiers name the same class.

    With one column: the same side of 0.5 (probabilities) or 0 (logits). A sample with a non-finite output names no
    class and never agrees.

    Args:
        first: (N, C) outputs.
        second: (N, C) outputs.
        kind: of the outputs; None: values decide.

    Returns:
        A share, 0 to 1.

    Raises:
        InvalidInput: shapes differ, or there are no samples.
    """
    a, b = (np.asarray(outputs, dtype=np.float64).reshape(len(outputs), -1) for outputs in (first, second))
    if a.shape != b.shape or not len(a):
        raise InvalidInput(f"outputs of the shapes {list(a.shape)} and {list(b.shape)} cannot be compared")
    sums = ScoreSums(), ScoreSums()
    for one, outputs in zip(sums, (a, b), strict=True):
        one.add(outputs, None)
    known = kind or ("probabilities" if all(one.kind() == "probabilities" for one in sums) else "logits")
    return output_metrics.agreement(*(one.all_decisions(known) for one in sums))


def class_columns(shape: Sequence[int]) -> int:
    """How many scores an output has for each sample: the one rule for which outputs may hold classes.

    Args:
        shape: of the output, with its batch axis; -1: any size.

    Returns:
        C of (1, C), also of (1, 1, 1, C); 1 of (1,) and (1, 1); 0: one sample's output is not one row of scores.
    """
    wide = [size for size in shape[1:] if size != 1]
    if not shape or shape[0] not in (-1, 1) or len(wide) > 1:
        return 0
    return wide[0] if wide else 1


def class_indices(labels: NDArray[Any], columns: int) -> NDArray[np.int64] | None:
    """Labels as class indices.

    For one column, classes are 0 and 1; other numbers are targets of a regression.

    Args:
        labels: class indices (N,) or (N, 1), or one-hot rows (N, columns).
        columns: of the outputs.

    Returns:
        (N,) class indices; None if the labels are not classes.

    Raises:
        InvalidInput: a label is outside the classes.
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind not in "iufb":
        return None
    if labels.ndim == 2 and labels.shape[1] == columns > 1:
        one_hot = np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all()
        return labels.argmax(axis=1).astype(np.int64) if one_hot else None
    whole = labels.dtype.kind != "f" or (np.isfinite(labels).all() and (labels == np.rint(labels)).all())
    if labels.ndim != 1 or not whole:
        return None
    classes = labels.astype(np.int64)
    outside = (classes < 0) | (classes >= max(2, columns))
    if not outside.any():
        return classes
    if columns == 1:
        return None
    raise InvalidInput(
        f"label {int(classes[outside][0])} is outside the model's {columns} classes (0 to {columns - 1})",
        hint="check the labels' numbering",
    )


def _look_like_probabilities(scores: NDArray[np.float64]) -> bool:
    within = bool(((scores >= 0.0) & (scores <= 1.0)).all())
    sums = scores.shape[1] == 1 or bool((np.abs(scores.sum(axis=1) - 1.0) <= _PROBABILITY_SLACK).all())
    return within and sums


def _from_probabilities(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, C) probabilities; one column becomes two (class 0, class 1)."""
    return np.concatenate([1.0 - scores, scores], axis=1) if scores.shape[1] == 1 else scores


def _from_logits(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Softmax of each row; one column: the sigmoid as two columns (class 0, class 1)."""
    if scores.shape[1] == 1:
        scores = np.concatenate([np.zeros_like(scores), scores], axis=1)
    exponents = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))
