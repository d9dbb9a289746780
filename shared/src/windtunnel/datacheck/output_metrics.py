"""The metrics of a classifier's outputs and of masks: all of them, each a pure function.

docs/metrics.md lists them. Decisions are class indices, -1 for a sample without one (an output that is not finite).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

Classes = NDArray[np.int64]
# Probabilities below this count as this much.
LEAST_PROBABILITY: Final = 1e-7


@dataclass(frozen=True, slots=True)
class OutputMetric:
    """A metric of outputs.

    Args:
        name: the field in documents.
        formula: a pure function; its docstring states the formula.
        unit: the unit of the value.
        better: which values are good.
        zero: what the value is if a denominator is zero.
        source: where the formula comes from.
    """

    name: str
    formula: Callable[..., float | None]
    unit: str
    better: Literal["lower", "higher"]
    zero: str
    source: str


def agree(first: Classes, second: Classes) -> NDArray[np.bool_]:
    """On which samples two classifiers name the same class.

    Args:
        first: (N,) decisions.
        second: (N,) decisions of the other classifier.

    Returns:
        (N,); a sample without a decision never agrees.
    """
    return np.asarray((first == second) & (first >= 0))


def top1(decisions: Classes, classes: Classes) -> float:
    """(samples whose decision is their class) / samples.

    Args:
        decisions: (N,) decisions.
        classes: (N,) the class of each sample.

    Returns:
        A share of samples, 0 to 1.
    """
    return float((decisions == classes).mean())


def precision(decisions: Classes, classes: Classes) -> float:
    """mean over classes of (samples rightly decided for it) / (samples decided for it).

    Args:
        decisions: (N,) decisions.
        classes: (N,) the class of each sample.

    Returns:
        A share, 0 to 1.
    """
    right, decided, _, occurs = _counts(decisions, classes)
    return float((right / np.maximum(decided, 1))[occurs].mean())


def recall(decisions: Classes, classes: Classes) -> float:
    """mean over classes of (samples rightly decided for it) / (samples of it).

    Args:
        decisions: (N,) decisions.
        classes: (N,) the class of each sample.

    Returns:
        A share, 0 to 1.
    """
    right, _, true, occurs = _counts(decisions, classes)
    return float((right / np.maximum(true, 1))[occurs].mean())


def cross_entropy(probabilities: NDArray[np.float64], classes: Classes) -> float:
    """sum of -ln p(class of the sample); `loss` is its mean over samples.

    Args:
        probabilities: (N, C).
        classes: (N,) the class of each sample.

    Returns:
        Nats, at least 0.
    """
    of_class = np.clip(probabilities[np.arange(len(classes)), classes], LEAST_PROBABILITY, 1.0)
    return float(-np.log(of_class).sum())


def agreement(first: Classes, second: Classes) -> float:
    """(samples on which both models decide for the same class) / samples.

    Args:
        first: (N,) decisions of one model.
        second: (N,) decisions of the other.

    Returns:
        A share of samples, 0 to 1.
    """
    return float(agree(first, second).mean())


def accuracy_drop(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> float:
    """(right samples of the reference - right samples of the candidate) / samples.

    Args:
        before: (N,) which decisions of the reference are right.
        after: (N,) which decisions of the candidate are right.

    Returns:
        A share of samples, -1 to 1.
    """
    # A difference of counts: 95 % less 94 % in floating point is more than a gate of 0.01.
    return (int(before.sum()) - int(after.sum())) / len(after)


def element_accuracy(right: NDArray[np.int64], counted: NDArray[np.int64]) -> float | None:
    """(right elements) / (elements that count), over all samples.

    Args:
        right: (N,) how many elements of each sample are right.
        counted: (N,) how many of each sample count.

    Returns:
        A share of elements, 0 to 1; None if no element counts.
    """
    return float(right.sum() / counted.sum()) if counted.sum() else None


def _counts(decisions: Classes, classes: Classes) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    """By class: right decisions, decisions, samples; and whether it is decided for or occurs."""
    count = int(max(classes.max(), decisions.max())) + 1
    right = np.bincount(classes[classes == decisions], minlength=count)
    decided, true = np.bincount(decisions, minlength=count), np.bincount(classes, minlength=count)
    return right, decided, true, (decided + true) > 0


_CLASS_MEAN: Final = "0 for a class that is never decided for or does not occur; classes with neither do not count"
METRICS: Final = (
    OutputMetric("top1", top1, "share of samples", "higher", "null without samples", "accuracy"),
    OutputMetric("precision", precision, "share", "higher", _CLASS_MEAN, "macro average"),
    OutputMetric("recall", recall, "share", "higher", _CLASS_MEAN, "macro average"),
    OutputMetric("loss", cross_entropy, "nats", "lower", "a probability counts as at least 1e-7", "cross-entropy"),
    OutputMetric("agreement", agreement, "share of samples", "higher", "null without samples", "top-1 of two models"),
    OutputMetric("accuracy_drop", accuracy_drop, "share of samples", "lower", "null without samples", "difference"),
    OutputMetric(
        "element_accuracy",
        element_accuracy,
        "share of elements",
        "higher",
        "null without elements that count",
        "pixel accuracy",
    ),
)
