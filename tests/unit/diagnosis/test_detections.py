"""Detections of TFLite_Detection_PostProcess: filled slots only, in any order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from support.layers import random_samples
from support.ssd import NAMES, SLOTS, detector
from windtunnel.diagnosis import compare_models
from windtunnel.diagnosis.execution.detection_slots import Detections
from windtunnel.tflite import read_model


def test_a_detector_is_healthy_against_itself(tmp_path: Path) -> None:
    """Slots that the op does not fill have what was in memory."""
    one, other = detector(tmp_path / "r.tflite"), detector(tmp_path / "c.tflite")
    result = compare_models(one, other, random_samples(tmp_path / "s.npz", (12,)))
    assert (result.verdict, result.causes, result.output.nrmse) == ("healthy", (), 0.0)


@pytest.mark.parametrize("changed", [{"scores": 3}, {"threshold": 0.95}])
def test_other_detections_are_a_fault(tmp_path: Path, changed: dict[str, Any]) -> None:
    one, other = detector(tmp_path / "r.tflite"), detector(tmp_path / "c.tflite", **changed)
    result = compare_models(one, other, random_samples(tmp_path / "s.npz", (12,)))
    assert result.verdict != "healthy"
    assert result.output.nrmse is not None and result.output.nrmse > 0.05
    assert result.causes


def _outputs(*found: tuple[float, int, float]) -> dict[str, NDArray[np.float64]]:
    """Detections given as (left end of the box, class, score); unset slots hold NaN."""
    made = [np.full(shape, np.nan) for shape in ((1, SLOTS, 4), (1, SLOTS), (1, SLOTS))]
    for slot, (left, kind, score) in enumerate(found):
        made[0][0, slot], made[1][0, slot], made[2][0, slot] = (0.0, left, 0.2, left + 0.2), kind, score
    return dict(zip(NAMES, (*made, np.array([float(len(found))])), strict=True))


@pytest.fixture
def detections(tmp_path: Path) -> Detections:
    facts = read_model(detector(tmp_path / "r.tflite", threshold=0.3))
    return Detections(facts, facts, {name: name for name in NAMES})


def _largest(detections: Detections, first: dict[str, NDArray[np.float64]], second: Any) -> list[float]:
    """The largest difference of boxes, classes, scores and counts."""
    one, other = detections.aligned(first, second)
    return [float(np.abs(one[name] - other[name]).max(initial=0.0)) for name in NAMES]


def test_near_equal_scores_change_places(detections: Detections) -> None:
    first, second = _outputs((0.0, 1, 0.91), (0.5, 2, 0.90)), _outputs((0.5, 2, 0.92), (0.0, 1, 0.91))
    assert _largest(detections, first, second) == pytest.approx([0.0, 0.0, 0.02, 0.0])


@pytest.mark.parametrize("swapped", [False, True])
def test_a_detection_at_the_threshold_comes_and_goes(detections: Detections, swapped: bool) -> None:
    pair = _outputs((0.0, 1, 0.9), (0.5, 2, 0.31)), _outputs((0.0, 1, 0.9))
    assert _largest(detections, *(pair[::-1] if swapped else pair)) == pytest.approx([0.0, 0.0, 0.01, 0.0])


@pytest.mark.parametrize("other", [(), ((0.0, 2, 0.9),), ((0.6, 1, 0.9),)], ids=["none", "class", "place"])
def test_a_sure_detection_that_is_lost_shows(
    detections: Detections, other: tuple[tuple[float, int, float], ...]
) -> None:
    assert _largest(detections, _outputs((0.0, 1, 0.9)), _outputs(*other))[2] == pytest.approx(0.6)
