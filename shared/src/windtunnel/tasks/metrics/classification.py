"""Metrics of classifiers beyond those of `windtunnel.datacheck.output_metrics`; and of models with several labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Classes = NDArray[np.int64]


def ranks(scores: NDArray[Any], classes: Classes) -> NDArray[np.int64]:
    """The place of each sample's class in the order of its scores, 0 for the largest.

    Of equal scores the lower class comes first, as with argmax.

    Args:
        scores: (N, C).
        classes: (N,) the class of each sample.

    Returns:
        (N,) places.
    """
    own = scores[np.arange(len(scores)), classes][:, None]
    before = (scores > own) | ((scores == own) & (np.arange(scores.shape[1]) < classes[:, None]))
    return np.asarray(before.sum(axis=1), np.int64)


def top_k(places: NDArray[np.int64], k: int) -> float | None:
    """(samples whose class is among the k largest scores) / samples.

    Args:
        places: (N,) of `ranks`.
        k: how many scores count.

    Returns:
        A share of samples, 0 to 1; None without samples.
    """
    return float((places < k).mean()) if len(places) else None


def confusion(decisions: Classes, classes: Classes, count: int) -> NDArray[np.int64]:
    """How often a sample of class i (row) is decided to be of class j (column).

    Args:
        decisions: (N,) decisions, 0 to count - 1.
        classes: (N,) the class of each sample, 0 to count - 1.
        count: of the classes.

    Returns:
        (count, count) samples.
    """
    return np.bincount(classes * count + decisions, minlength=count * count).reshape(count, count)


def f1_of_classes(table: NDArray[np.int64]) -> NDArray[np.float64]:
    """2 TP / (2 TP + FP + FN) of every class.

    Args:
        table: of `confusion`.

    Returns:
        (C,) 0 to 1; NaN for a class that neither occurs nor is decided for.
    """
    right = np.diag(table).astype(np.float64)
    both = table.sum(axis=0) + table.sum(axis=1)
    return np.asarray(np.divide(2.0 * right, both, out=np.full(len(table), np.nan), where=both > 0))


def f1_macro(table: NDArray[np.int64]) -> float | None:
    """mean over classes of 2 TP / (2 TP + FP + FN).

    Args:
        table: of `confusion`.

    Returns:
        0 to 1; None without samples.
    """
    each = f1_of_classes(table)
    return float(np.nanmean(each)) if table.sum() else None


def f1_micro(table: NDArray[np.int64]) -> float | None:
    """2 sum TP / (2 sum TP + sum FP + sum FN), the sums over classes; with one class per sample it equals top1.

    Args:
        table: of `confusion`.

    Returns:
        0 to 1; None without samples.
    """
    total = int(table.sum())
    return float(np.trace(table) / total) if total else None


def average_precision(scores: NDArray[Any], positive: NDArray[np.bool_]) -> float | None:
    """sum over thresholds n of (recall_n - recall_(n-1)) * precision_n, thresholds being the distinct scores.

    Args:
        scores: (N,) of one class.
        positive: (N,) which samples have the class.

    Returns:
        0 to 1; None if no sample has the class.
    """
    if not positive.any():
        return None
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(positive[order])
    # Samples of equal score pass the threshold together.
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    precision, recall = hits[last] / (last + 1), hits[last] / hits[-1]
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def mean_average_precision(scores: NDArray[Any], positive: NDArray[np.bool_]) -> float | None:
    """mean of the average precision of the classes that occur.

    Args:
        scores: (N, C).
        positive: (N, C) which classes each sample has.

    Returns:
        0 to 1; None if no class occurs.
    """
    found = [average_precision(scores[:, one], positive[:, one]) for one in range(scores.shape[1])]
    known = [one for one in found if one is not None]
    return float(np.mean(known)) if known else None


def counts_of_labels(decided: NDArray[np.bool_], positive: NDArray[np.bool_]) -> NDArray[np.int64]:
    """TP, FP and FN of every class of samples with several classes.

    Args:
        decided: (N, C) which classes the model names.
        positive: (N, C) which classes each sample has.

    Returns:
        (C, 3).
    """
    right = (decided & positive).sum(axis=0)
    return np.stack([right, decided.sum(axis=0) - right, positive.sum(axis=0) - right], axis=1).astype(np.int64)
