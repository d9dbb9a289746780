"""What an app makes of detections differently is found by making them again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from support.app_faults.detectors.boxes import BoxApp, anchors, found
from support.app_faults.detectors.cases import FAULTS
from windtunnel.diagnosis.app_diagnosis.judge_postprocess import judge_postprocess
from windtunnel.diagnosis.findings.causes import Cause
from windtunnel.pipeline import SsdPostprocess

pytestmark = pytest.mark.heavy
THRESHOLD = 0.5


def outputs() -> tuple[NDArray[Any], NDArray[Any]]:
    draw, count = np.random.default_rng(1), len(anchors())
    boxes = draw.normal(0, 2.5, (10, count, 4)).astype(np.float32)
    return boxes, (draw.normal(-1, 1.6, (10, count, 4)) + np.array([1.5, 0, 0, 0])).astype(np.float32)


def judged(faults: tuple[str, ...], folder: Path, shift: int = 0) -> list[Cause]:
    app = BoxApp(score="sigmoid", threshold=THRESHOLD)
    for fault in faults:
        app = FAULTS[fault][1](app)
    boxes, scores = outputs()
    rows = [found(app, one, other) for one, other in zip(boxes, scores, strict=True)]
    shown = {name: np.stack([row[at] for row in rows]) for at, name in enumerate(("boxes", "classes", "scores"))}
    shown["classes"] = np.where(shown["classes"] >= 0, shown["classes"] + shift, -1)
    np.save(folder / "anchors.npy", anchors())
    right = SsdPostprocess("b", "s", str(folder / "anchors.npy"), score="sigmoid", threshold=THRESHOLD, max=40)
    return judge_postprocess(right, {"b": list(boxes), "s": list(scores)}, shown)


def test_a_right_app_is_right(tmp_path: Path) -> None:
    assert judged((), tmp_path) == []


@pytest.mark.parametrize("fault", [one for one in FAULTS if one != "threshold_low"])
def test_a_fault_alone_is_named(fault: str, tmp_path: Path) -> None:
    (cause,) = judged((fault,), tmp_path)
    assert str(cause.code) == FAULTS[fault][0] and cause.verified
    assert all(cause.finding.words()) and cause.finding.fix().to_json()["action"]


@pytest.mark.parametrize(
    "faults", [("corner", "threshold_high"), ("swapped", "nms_none"), ("threshold_high", "nms_agnostic")]
)
def test_two_faults_are_each_named(faults: tuple[str, ...], tmp_path: Path) -> None:
    assert sorted(str(one.code) for one in judged(faults, tmp_path)) == sorted(FAULTS[one][0] for one in faults)


def test_classes_that_are_moved(tmp_path: Path) -> None:
    (cause,) = judged((), tmp_path, shift=1)
    assert str(cause.code) == "output.labels"
