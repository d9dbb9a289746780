"""Boxes: how much two of them overlap."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[Any]


def areas(boxes: Boxes) -> NDArray[np.float64]:
    """Height times width of each box; 0 for one that is upside down.

    Args:
        boxes: (n, 4): ymin, xmin, ymax, xmax.

    Returns:
        (n,) in the square of the boxes' unit.
    """
    sizes = np.maximum(np.asarray(boxes, np.float64)[:, 2:] - boxes[:, :2], 0.0)
    return np.asarray(sizes.prod(axis=1))


def intersections(first: Boxes, second: Boxes) -> NDArray[np.float64]:
    """The area that each pair of boxes shares.

    Args:
        first: (n, 4): ymin, xmin, ymax, xmax.
        second: (m, 4).

    Returns:
        (n, m).
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    return np.asarray(np.maximum(high - low, 0.0).prod(axis=-1))


def iou(first: Boxes, second: Boxes, crowd: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """(shared area) / (area of both together); for a crowd (shared area) / (area of the first box), as COCO does.

    Args:
        first: (n, 4): ymin, xmin, ymax, xmax.
        second: (m, 4).
        crowd: (m,) which of the second boxes hold many objects; None: none.

    Returns:
        (n, m) shares, 0 to 1; 0 where the denominator is 0.
    """
    shared = intersections(first, second)
    own, other = areas(first)[:, None], areas(second)[None, :]
    whole = own + other - shared
    if crowd is not None:
        whole = np.where(crowd[None, :], own, whole)
    return np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0.0)
