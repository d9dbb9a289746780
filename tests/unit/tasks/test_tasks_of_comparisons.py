"""Two models compared on samples of every task: real interpreters, small models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from numpy.typing import NDArray

from support.layers import Layers, random_weights
from support.ssd import CLASSES, SLOTS, detector
from windtunnel import schemas
from windtunnel.datacheck.findings import ACCURACY_UNKNOWN, LABELS_BOXES, LABELS_SHIFTED
from windtunnel.datacheck.labels import Reading
from windtunnel.diagnosis import compare_models
from windtunnel.diagnosis.comparison.run_archive import stored_run
from windtunnel.diagnosis.execution.checkpoint import Checkpoint
from windtunnel.diagnosis.findings.comparison import Comparison
from windtunnel.errors import InvalidInput
from windtunnel.pipeline.ground_truth import GroundTruth
from windtunnel.task_names import TaskSpec
from windtunnel.tasks.detection_outputs import DetectionOutputs, detection_outputs
from windtunnel.tasks.open_task import OpenTask
from windtunnel.tasks.scorers.detections import DetectionScorer
from windtunnel.tasks.task_sums import TaskSums
from windtunnel.tflite import Runner

COUNT, WIDTH = 24, 12


def _values(count: int = COUNT, seed: int = 4) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(-1.0, 1.0, (count, WIDTH)).astype(np.float32)


def _dense(path: Path, shape: tuple[int, ...], seed: int = 1, kind: str = "") -> Path:
    """One dense layer of the given output, without its batch; `kind`: an op at the end."""
    net = Layers()
    source, size = net.tensor("input", (1, WIDTH)), int(np.prod(shape))
    made = net.fully_connected("dense", source, random_weights((size, WIDTH), seed=seed, scale=0.5), None, 1)
    if len(shape) > 1:
        made = net.reshape("shaped", made, (1, *shape))
    if kind:
        made = net.layer(kind, "out", [made], (1, *shape))
    return net.write(path, [source], [made])


def _answers(model: Path, values: NDArray[np.float32]) -> NDArray[np.float64]:
    runner = Runner(model)
    name = runner.facts.outputs[0].name
    return np.stack([np.array(runner.run({runner.facts.inputs[0].name: row[None]})[name][0]) for row in values])


def _compared(folder: Path, models: tuple[Path, Path], task: TaskSpec | None = None, **arrays: Any) -> Comparison:
    np.savez(folder / "s.npz", x=_values(), **arrays)
    found = compare_models(*models, folder / "s.npz", task=task)
    jsonschema.validate(found.to_json(), schemas.load("diagnosis"))
    return found


def _figures(found: Comparison) -> tuple[dict[str, float | None], dict[str, float | None]]:
    assert found.task is not None
    return dict(found.task.reference.figures), dict(found.task.candidate.figures)


class TestDetection:
    def truth(self, model: Path) -> dict[str, Any]:
        """What the model itself detects, and so what is right for it."""
        runner, boxes = Runner(model), np.full((COUNT, SLOTS, 4), -1.0)
        classes = np.full((COUNT, SLOTS), -1)
        outputs = detection_outputs(runner.facts)
        assert outputs is not None
        for index, row in enumerate(_values()):
            found = outputs.read(runner.run({"input": row[None]}))
            boxes[index, : len(found.scores)] = found.boxes
            classes[index, : len(found.scores)] = found.classes
        return {"boxes": boxes, "classes": classes}

    def test_a_detector_against_its_own_detections(self, tmp_path: Path) -> None:
        models = detector(tmp_path / "r.tflite"), detector(tmp_path / "c.tflite", scores=3)
        found = _compared(tmp_path, models, **self.truth(models[0]))
        first, second = _figures(found)
        assert first == {"map": 1.0, "ap50": 1.0, "ap75": 1.0, "ar100": 1.0}
        assert second["map"] is not None and second["map"] < 0.5
        assert found.task is not None
        assert (found.task.reference.task, found.task.reference.metric) == ("detection", "map")
        assert found.task.drop == pytest.approx(1.0 - second["map"])
        assert set(found.task.reference.per_class["ap"]) <= {"0", "1", "2"}
        assert not [one for one in found.findings if one.code == ACCURACY_UNKNOWN]

    def test_class_names_name_the_figures(self, tmp_path: Path) -> None:
        model = detector(tmp_path / "r.tflite")
        found = _compared(tmp_path, (model, model), **self.truth(model), class_names=["cat", "dog", "cow"])
        assert found.task is not None
        assert set(found.task.reference.per_class["ap"]) <= {"cat", "dog", "cow"}

    @pytest.mark.parametrize(("shift", "swapped", "code"), [(1, False, LABELS_SHIFTED), (0, True, LABELS_BOXES)])
    def test_objects_that_are_numbered_or_written_differently(
        self, tmp_path: Path, shift: int, swapped: bool, code: str
    ) -> None:
        model = detector(tmp_path / "r.tflite")
        truth = self.truth(model)
        boxes = truth["boxes"][..., [1, 0, 3, 2]] if swapped else truth["boxes"]
        classes = np.where(truth["classes"] >= 0, truth["classes"] + shift, -1)
        found = _compared(tmp_path, (model, model), boxes=boxes, classes=classes)
        assert found.task is not None and (found.task.reference.main or 0.0) < 0.5
        (finding,) = [one for one in found.findings if one.code.startswith("labels.")]
        assert (finding.code, finding.evidence["ap50_then"]) == (code, 1.0)
        right = _compared(tmp_path, (model, model), **truth)
        assert not [one for one in right.findings if one.code.startswith("labels.")]

    def test_another_model_is_refused(self, tmp_path: Path) -> None:
        model = _dense(tmp_path / "m.tflite", (CLASSES,))
        boxes = np.tile([0.0, 0.0, 0.5, 0.5], (COUNT, 2, 1))
        truth: dict[str, Any] = {"boxes": boxes, "classes": np.zeros((COUNT, 2), int)}
        with pytest.raises(InvalidInput, match="the task is detection, and no outputs are detections"):
            _compared(tmp_path, (model, model), **truth)

    def test_without_boxes_the_accuracy_is_unknown(self, tmp_path: Path) -> None:
        model = detector(tmp_path / "r.tflite")
        found = _compared(tmp_path, (model, model), TaskSpec("detection"))
        assert found.task is None
        (said,) = [one.message for one in found.findings if one.code == ACCURACY_UNKNOWN]
        assert "the samples have no arrays boxes and classes" in said


def test_classes(tmp_path: Path) -> None:
    models = _dense(tmp_path / "r.tflite", (6,)), _dense(tmp_path / "c.tflite", (6,), seed=2)
    labels = _answers(models[0], _values()).argmax(axis=1)
    found = _compared(tmp_path, models, y=labels)
    first, second = _figures(found)
    assert found.output.candidate is not None and found.task is not None
    assert {name: second[name] for name in ("top1", "precision", "recall")} == {
        name: getattr(found.output.candidate, name) for name in ("top1", "precision", "recall")
    }
    assert (first["top1"], first["f1_macro"], second["f1_micro"]) == (1.0, 1.0, second["top1"])
    assert second["top_k"] is not None and second["top1"] is not None and second["top_k"] > second["top1"]
    assert sum(map(sum, found.task.candidate.confusion)) == COUNT
    assert (found.task.declared, found.task.reference.metric) == (False, "top1")


@pytest.mark.parametrize("kind", ["", "LOGISTIC"])
def test_several_classes(tmp_path: Path, kind: str) -> None:
    models = _dense(tmp_path / "r.tflite", (6,), kind=kind), _dense(tmp_path / "c.tflite", (6,), 2, kind)
    labels = (_answers(models[0], _values()) > (0.5 if kind else 0.0)).astype(np.int64)
    first, second = _figures(_compared(tmp_path, models, TaskSpec("audio"), y=labels))
    assert (first["map"], first["f1_macro"], first["precision"]) == (1.0, 1.0, 1.0)
    assert second["map"] is not None and second["map"] < 0.9


def test_masks(tmp_path: Path) -> None:
    models = _dense(tmp_path / "r.tflite", (4, 4, 3)), _dense(tmp_path / "c.tflite", (4, 4, 3), seed=2)
    masks = _answers(models[0], _values()).argmax(axis=-1)
    masks[:, 0, 0] = 255
    found = _compared(tmp_path, models, masks=masks.astype(np.uint8))
    first, second = _figures(found)
    assert first == {"miou": 1.0, "pixel_accuracy": 1.0}
    assert second["miou"] is not None and second["miou"] < 0.5
    assert second["pixel_accuracy"] == found.output.elements[1]
    assert found.task is not None and found.task.reference.metric == "miou"
    found = _compared(tmp_path, models, y=masks)
    assert found.task is not None
    assert (found.task.declared, found.task.reference.metric) == (False, "pixel_accuracy")


def test_binary_masks_of_logits(tmp_path: Path) -> None:
    models = _dense(tmp_path / "r.tflite", (4, 4, 1)), _dense(tmp_path / "c.tflite", (4, 4, 1), seed=2)
    masks = (_answers(models[0], _values())[..., 0] > 0.0).astype(np.uint8)
    found = _compared(tmp_path, models, TaskSpec("segmentation"), y=masks)
    first, second = _figures(found)
    assert first["miou"] == 1.0
    assert second["pixel_accuracy"] == found.output.elements[1]


def test_targets(tmp_path: Path) -> None:
    models = _dense(tmp_path / "r.tflite", (1,)), _dense(tmp_path / "c.tflite", (1,), seed=2)
    outputs = [_answers(model, _values())[:, 0] for model in models]
    found = _compared(tmp_path, models, targets=outputs[0] + 0.25)
    first, second = _figures(found)
    assert first["mae"] == pytest.approx(0.25) and first["rmse"] == pytest.approx(0.25)
    assert second["mae"] == pytest.approx(np.abs(outputs[1] - outputs[0] - 0.25).mean())
    assert found.task is not None and found.task.drop == pytest.approx((second["mae"] or 0.0) - 0.25)
    assert found.to_json()["task"]["better"] == "lower"


def test_whole_targets_are_not_classes(tmp_path: Path) -> None:
    model = _dense(tmp_path / "r.tflite", (1,))
    found = _compared(tmp_path, (model, model), TaskSpec("regression"), y=np.arange(COUNT) % 2)
    assert found.output.reference is None
    assert found.task is not None and found.task.reference.metric == "mae"


def test_embeddings(tmp_path: Path) -> None:
    models = _dense(tmp_path / "r.tflite", (8,)), _dense(tmp_path / "c.tflite", (8,), seed=2)
    # More labels than the output has places: they are not its classes.
    labels = np.arange(COUNT) // 2 + 100
    found = _compared(tmp_path, models, TaskSpec("embedding", k=3), y=labels)
    # The largest entry of an embedding is not a class.
    assert found.output.agreement is None
    first, second = _figures(found)
    assert first["neighbors_kept"] == 1.0 and first["recall_at_k"] is not None
    assert second["neighbors_kept"] is not None and second["neighbors_kept"] < 0.9
    kept = _compared(tmp_path, models, TaskSpec("embedding", "neighbors_kept", k=3))
    assert kept.task is not None and kept.task.drop == pytest.approx(1.0 - second["neighbors_kept"])


def test_keypoints(tmp_path: Path) -> None:
    models = _dense(tmp_path / "r.tflite", (1, 5, 3), kind="LOGISTIC"), _dense(tmp_path / "c.tflite", (1, 5, 3), seed=2)
    points = _answers(models[0], _values())[:, 0]
    found = _compared(tmp_path, models, keypoints=points)
    first, second = _figures(found)
    assert first == {"pck": 1.0, "oks": 1.0}
    assert second["pck"] is not None and second["pck"] < 0.5
    with pytest.raises(InvalidInput, match=r"sample 0 has 4 keypoints, and the model's output for it is \[1, 5, 3\]"):
        _compared(tmp_path, models, keypoints=points[:, :4])


def test_a_stored_run_keeps_its_task(tmp_path: Path) -> None:
    models = detector(tmp_path / "r.tflite"), detector(tmp_path / "c.tflite", scores=3)
    np.savez(tmp_path / "s.npz", x=_values(), **TestDetection().truth(models[0]))
    found = compare_models(*models, tmp_path / "s.npz", save=tmp_path / "run.wtr")
    with stored_run(tmp_path / "run.wtr") as stored:
        again = stored.judge()
    assert again.task == found.task is not None
    assert again.to_json()["task"] == found.to_json()["task"]


def test_stored_embeddings_are_judged_again(tmp_path: Path) -> None:
    model = _dense(tmp_path / "r.tflite", (8,))
    np.savez(tmp_path / "s.npz", x=_values(), y=np.arange(COUNT) // 2 + 100)
    spec = TaskSpec("embedding", k=2, classes=("a", "b"))
    found = compare_models(model, model, tmp_path / "s.npz", task=spec, save=tmp_path / "run.wtr")
    with stored_run(tmp_path / "run.wtr") as stored:
        assert stored.judge().task == found.task is not None


def test_an_output_that_is_not_finite_has_no_figures(tmp_path: Path) -> None:
    models = _dense(tmp_path / "r.tflite", (3,)), _dense(tmp_path / "c.tflite", (3,), kind="RSQRT")
    found = _compared(tmp_path, models, TaskSpec("regression"), y=np.zeros((COUNT, 3)))
    assert found.task is not None
    assert found.task.reference.main is not None
    assert (found.task.candidate.main, found.task.drop) == (None, None)


@pytest.mark.heavy
def test_an_interrupted_comparison_continues_with_its_task(tmp_path: Path) -> None:
    models = detector(tmp_path / "r.tflite"), detector(tmp_path / "c.tflite", scores=3)
    np.savez(tmp_path / "s.npz", x=_values(), **TestDetection().truth(models[0]))
    whole = compare_models(*models, tmp_path / "s.npz")
    checkpoint = Checkpoint(tmp_path / "c.npz", "key", every_s=0.0)
    compare_models(*models, tmp_path / "s.npz", max_samples=7, checkpoint=checkpoint)
    again = compare_models(*models, tmp_path / "s.npz", checkpoint=Checkpoint(tmp_path / "c.npz", "key"))
    assert again.task == whole.task is not None


@pytest.mark.parametrize(
    "rows", [[], [np.zeros((0, 6))] * 3, [np.ones((2, 6)), np.zeros((0, 6)), np.full((1, 6), 0.5)]]
)
def test_what_is_kept_of_samples_is_restored(rows: list[NDArray[np.float64]]) -> None:
    truth = GroundTruth("detection", np.zeros((3, 1, 4)), np.zeros((3, 1), np.int64), np.zeros((3, 1), bool))
    scorer = DetectionScorer(DetectionOutputs("", "", "").read, truth, ())
    task = OpenTask(TaskSpec("detection"), True, Reading(None), scorer)
    one, other = TaskSums(task), TaskSums(task)
    one.rows = list(rows)
    other.restore(one.state())
    assert [row.tolist() for row in other.rows] == [row.tolist() for row in rows]
    assert [row.shape for row in other.rows] == [row.shape for row in rows]
    assert other.result() == one.result()
    with pytest.raises(ValueError, match="another number of values"):
        other.restore({"shapes": np.array([[1, 6]]), "values": np.zeros(5)})
