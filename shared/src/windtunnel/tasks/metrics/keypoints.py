"""Metrics of keypoints: one person or object in each sample."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

# COCO's 17 keypoints of a person, in COCO's order.
COCO_SIGMAS: Final = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000.0
# Of keypoints that are not COCO's.
SIGMA: Final = 0.05


def extents(points: NDArray[Any], visible: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Height and width of the box around the visible keypoints.

    Args:
        points: (N, K, 2): y, x.
        visible: (N, K).

    Returns:
        (N, 2) in the unit of the points; 0 without a visible keypoint.
    """
    low = np.where(visible[..., None], points, np.inf).min(axis=1)
    high = np.where(visible[..., None], points, -np.inf).max(axis=1)
    return np.where(np.any(visible, axis=1)[:, None], high - low, 0.0)


def correct_keypoints(
    found: NDArray[Any], points: NDArray[Any], visible: NDArray[np.bool_], sizes: NDArray[Any], alpha: float
) -> float | None:
    """(visible keypoints at most alpha * the larger side of their box away) / (visible keypoints).

    Args:
        found: (N, K, 2): y, x of the model.
        points: (N, K, 2) of the samples.
        visible: (N, K).
        sizes: (N, 2) height and width of each sample's box.
        alpha: share of the larger side.

    Returns:
        A share of keypoints, 0 to 1; None if none is visible.
    """
    distances = np.linalg.norm(found - points, axis=2)
    near = distances <= alpha * sizes.max(axis=1)[:, None]
    return float(near[visible].mean()) if visible.any() else None


def keypoint_similarity(
    found: NDArray[Any], points: NDArray[Any], visible: NDArray[np.bool_], sizes: NDArray[Any], sigmas: NDArray[Any]
) -> float | None:
    """mean over samples of the mean over visible keypoints of exp(-distance^2 / (8 area sigma^2)).

    Args:
        found: (N, K, 2): y, x of the model.
        points: (N, K, 2) of the samples.
        visible: (N, K).
        sizes: (N, 2) height and width of each sample's box; their product is the area.
        sigmas: (K,) how exactly people mark each keypoint.

    Returns:
        0 to 1; None if no sample has a visible keypoint. Samples whose box has no area count as 1 or 0: all visible
        keypoints are exact, or not.
    """
    counts = visible.sum(axis=1)
    if not counts.any():
        return None
    squares = np.square(found - points).sum(axis=2)
    scale = 8.0 * sizes.prod(axis=1)[:, None] * np.square(sigmas)[None, :]
    exponents = np.divide(squares, scale, out=np.where(squares > 0.0, np.inf, 0.0), where=scale > 0.0)
    each = np.where(visible, np.exp(-exponents), 0.0).sum(axis=1)
    return float((each[counts > 0] / counts[counts > 0]).mean())
