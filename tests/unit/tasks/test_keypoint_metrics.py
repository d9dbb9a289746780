"""Metrics of keypoints, counted by hand, and OKS compared with pycocotools."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools.cocoeval import COCOeval

from windtunnel.tasks.metrics import keypoints


def test_pck_by_hand() -> None:
    points = np.array([[[0.0, 0.0], [1.0, 0.5], [0.5, 0.5]]])
    visible = np.array([[True, True, False]])
    sizes = keypoints.extents(points, visible)
    assert sizes.tolist() == [[1.0, 0.5]]
    found = points + np.array([[[0.1, 0.0], [0.0, 0.3], [9.0, 9.0]]])
    assert keypoints.correct_keypoints(found, points, visible, sizes, 0.2) == 0.5
    assert keypoints.correct_keypoints(found, points, visible, sizes, 0.31) == 1.0
    assert keypoints.correct_keypoints(found, points, ~np.ones_like(visible), sizes, 0.3) is None


def test_oks_without_area_and_without_keypoints() -> None:
    points, visible = np.zeros((2, 1, 2)), np.array([[True], [False]])
    sizes, sigmas = np.zeros((2, 2)), np.array([0.05])
    assert keypoints.keypoint_similarity(points, points, visible, sizes, sigmas) == 1.0
    assert keypoints.keypoint_similarity(points + 0.1, points, visible, sizes, sigmas) == 0.0
    assert keypoints.keypoint_similarity(points, points, ~visible & visible, sizes, sigmas) is None


@pytest.mark.parametrize("seed", range(4))
def test_oks_is_that_of_pycocotools(seed: int) -> None:
    generator = np.random.default_rng(seed)
    points, visible = 200 * generator.random((1, 17, 2)), generator.random((1, 17)) < 0.7
    found = points + generator.normal(0.0, 8.0, points.shape)
    size = np.array([[220.0, 180.0]])
    evaluation = COCOeval(iouType="keypoints")
    evaluation._gts[1, 1] = [
        {"keypoints": _triples(points, visible), "bbox": [0, 0, 180, 220], "area": float(size.prod()), "ignore": 0}
    ]
    evaluation._dts[1, 1] = [{"keypoints": _triples(found, np.ones_like(visible)), "score": 1.0}]
    expected = evaluation.computeOks(1, 1)[0, 0]
    ours = keypoints.keypoint_similarity(found, points, visible, size, keypoints.COCO_SIGMAS)
    assert ours == pytest.approx(expected)


def _triples(points: np.ndarray, visible: np.ndarray) -> list[float]:
    return np.concatenate([points[0, :, ::-1], visible[0, :, None]], axis=1).reshape(-1).tolist()
