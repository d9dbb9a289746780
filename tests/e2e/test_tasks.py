"""A detector and a segmenter, made with Keras, from their announcement to the verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from support import task_models
from support.system import System
from windtunnel import schemas

pytestmark = pytest.mark.heavy

SCALED = {"op": "normalize", "scale": 1 / 255, "offset": 0.0}
POSTPROCESS = {
    **{"kind": "ssd", "boxes": "boxes", "scores": "scores", "anchors": "anchors.npy", "scales": task_models.SCALES},
    **{"score": "sigmoid", "threshold": 0.05, "iou": 0.5, "max": 10},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tasks")
    task_models.make(path)
    for name, more in (("detector", {"postprocess": POSTPROCESS}), ("segmenter", {})):
        pipeline = {"schema": "windtunnel.pipeline/1", "steps": [SCALED], **more}
        (path / f"{name}.json").write_text(json.dumps(pipeline))
    return path


def submitted(system: System, folder: Path, model: str, data: dict[str, Any], **more: Any) -> tuple[int, Any]:
    """Exit code and report of a run of float32 and int8 on no device."""
    plan = {"apiVersion": "windtunnel/v1", "data": data, "preprocessing": f"{model}.json", "devices": []}
    path = folder / "plan.yaml"
    path.write_text(json.dumps({**plan, "variants": ["float32", "int8"], **more}))
    result = system.cli("submit", str(folder / f"{model}.keras"), "--plan", str(path), "--wait", "--json")
    report = json.loads(result.stdout)
    jsonschema.validate(report, schemas.load("report"))
    return result.returncode, report


def test_a_detector_is_judged_by_its_map(system: System, folder: Path) -> None:
    gates = {"accuracy": {"min": 0.6}, "accuracy_drop": 0.05}
    data = {"samples": "boxes.npz", "task": "detection"}
    code, report = submitted(system, folder, "detector", data, gates=gates, expected_accuracy=0.77)
    assert (code, report["verdict"], report["reasons"]) == (0, "passed", [])
    trained = report["conversion"]["original"]["figures"]["map"]
    for variant in report["variants"]:
        assert (variant["task"], variant["metric"]) == ("detection", "map")
        assert variant["accuracy"] == variant["figures"]["map"] > 0.6
        assert variant["accuracy_drop"] == pytest.approx(trained - variant["accuracy"])
        assert {gate["gate"]: gate["measured"] for gate in variant["gates"]}["accuracy_min"] == variant["accuracy"]
        assert set(variant["diagnosis"]["task"]["candidate"]["per_class"]["ap"]) == set(task_models.NAMES)
    shown = system.cli("report", report["run_id"]).stdout
    assert "detection: the accuracy is mAP (AP50" in " ".join(shown.split())


def test_a_detector_that_is_not_good_enough_fails(system: System, folder: Path) -> None:
    # The arrays say that it is a detector.
    code, report = submitted(
        system, folder, "detector", {"samples": "boxes.npz"}, gates={"accuracy": {"min": 0.99}}, variants=["float32"]
    )
    (variant,) = report["variants"]
    assert (code, report["verdict"]) == (1, "failed")
    assert report["reasons"] == [f"gate accuracy_min of variant float32: {variant['accuracy']:.3g} is under 0.99"]


def test_another_metric_may_judge(system: System, folder: Path) -> None:
    data = {"samples": "boxes.npz", "task": {"name": "detection", "metric": "ap50"}}
    code, report = submitted(system, folder, "detector", data, gates={"accuracy": {"min": 0.9}}, variants=["float32"])
    (variant,) = report["variants"]
    assert (code, variant["metric"]) == (0, "ap50")
    assert variant["accuracy"] == variant["figures"]["ap50"]


def test_a_segmenter_is_judged_by_its_miou(system: System, folder: Path) -> None:
    gates = {"accuracy": {"min": 0.9}, "accuracy_drop": 0.05}
    code, report = submitted(system, folder, "segmenter", {"samples": "masks.npz"}, gates=gates)
    assert (code, report["verdict"], report["reasons"]) == (0, "passed", [])
    for variant in report["variants"]:
        assert (variant["task"], variant["metric"]) == ("segmentation", "miou")
        assert variant["accuracy"] == variant["figures"]["miou"] > 0.9
        assert variant["element_accuracy"] == variant["figures"]["pixel_accuracy"]


def test_samples_that_do_not_fit_the_task_are_named(system: System, folder: Path) -> None:
    code, report = submitted(
        system, folder, "segmenter", {"samples": "boxes.npz"}, gates={"accuracy": {"min": 0.9}}, variants=["float32"]
    )
    assert code == 2
    assert "the task is detection, and no outputs are detections" in " ".join(report["reasons"])
