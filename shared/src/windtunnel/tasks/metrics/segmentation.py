"""Metrics of masks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def class_counts(decided: NDArray[Any], truth: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Of every class: right elements, elements decided for it, and elements of it.

    Args:
        decided: the class of every element, 0 to count - 1.
        truth: the right class, in the same shape; -1 where an element does not count.
        count: of the classes.

    Returns:
        (count, 3).
    """
    counts = truth >= 0
    decided, truth = np.asarray(decided)[counts].astype(np.int64), truth[counts].astype(np.int64)
    columns = (truth[truth == decided], decided, truth)
    return np.stack([np.bincount(one, minlength=count)[:count] for one in columns], axis=1)


def class_iou(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """right / (decided + true - right) of every class: the overlap of its elements with the right ones (IoU).

    Args:
        counts: of `class_counts`, summed over samples.

    Returns:
        (C,) 0 to 1; NaN for a class that neither occurs nor is decided for.
    """
    right, decided, true = counts.T
    union = decided + true - right
    return np.asarray(np.divide(right, union, out=np.full(len(counts), np.nan), where=union > 0))


def mean_iou(counts: NDArray[np.int64]) -> float | None:
    """mean over classes of right / (decided + true - right), elements counted over all samples.

    Args:
        counts: of `class_counts`, summed over samples.

    Returns:
        0 to 1; None without elements that count.
    """
    each = class_iou(counts)
    return float(np.nanmean(each)) if np.isfinite(each).any() else None


def pixel_accuracy(counts: NDArray[np.int64]) -> float | None:
    """(right elements) / (elements that count), over all samples.

    Args:
        counts: of `class_counts`, summed over samples.

    Returns:
        0 to 1; None without elements that count.
    """
    total = int(counts[:, 2].sum())
    return float(counts[:, 0].sum() / total) if total else None
