"""Metrics of numbers against targets."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def mean_absolute_error(outputs: NDArray[Any], targets: NDArray[Any]) -> float | None:
    """sum |output - target| / n, over all samples and elements.

    Args:
        outputs: (N, ...).
        targets: (N, ...), in the same shape.

    Returns:
        In the unit of the targets; None without samples.
    """
    return float(np.abs(outputs - targets).mean()) if targets.size else None


def root_mean_square_error(outputs: NDArray[Any], targets: NDArray[Any]) -> float | None:
    """sqrt(sum (output - target)^2 / n), over all samples and elements.

    Args:
        outputs: (N, ...).
        targets: (N, ...), in the same shape.

    Returns:
        In the unit of the targets; None without samples.
    """
    return float(np.sqrt(np.square(outputs - targets).mean())) if targets.size else None


def determination(outputs: NDArray[Any], targets: NDArray[Any]) -> float | None:
    """mean over elements of 1 - sum (output - target)^2 / sum (target - mean target)^2, the sums over samples.

    Args:
        outputs: (N, ...).
        targets: (N, ...), in the same shape.

    Returns:
        At most 1. An element whose target is constant counts as 1 if it has no error, as 0 otherwise. None for fewer
        than two samples.
    """
    if len(targets) < 2:
        return None
    outputs, targets = outputs.reshape(len(outputs), -1), targets.reshape(len(targets), -1)
    errors = np.square(outputs - targets).sum(axis=0)
    spread = np.square(targets - targets.mean(axis=0)).sum(axis=0)
    constant = np.where(errors > 0.0, 0.0, 1.0)
    shares = np.divide(errors, spread, out=1.0 - constant, where=spread > 0.0)
    return float((1.0 - shares).mean())
