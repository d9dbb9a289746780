"""Every task with its metrics; docs/metrics.md and docs/tasks.md describe them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from windtunnel.datacheck import output_metrics
from windtunnel.datacheck.output_metrics import OutputMetric
from windtunnel.task_names import TASK_METRICS, TASK_NAMES
from windtunnel.tasks.metrics import classification, detection, embedding, keypoints, regression, segmentation

_SHARE: Final = "share"
_COCO: Final = "COCO detection evaluation; compared with pycocotools"
_SKLEARN: Final = "compared with scikit-learn"
_NO_OBJECTS: Final = "null without objects; a class without objects does not count"
_NO_SAMPLES: Final = "null without samples"


@dataclass(frozen=True, slots=True)
class Task:
    """A task. `metrics`: the main one first, unless a plan says another; `truth`: what samples need for it."""

    name: str
    metrics: tuple[OutputMetric, ...]
    truth: str

    @property
    def main(self) -> OutputMetric:
        """The metric that gates on the accuracy judge."""
        return self.metrics[0]


def _higher(name: str, formula: object, zero: str, source: str, unit: str = _SHARE) -> OutputMetric:
    return OutputMetric(name, formula, unit, "higher", zero, source)  # type: ignore[arg-type]


_KNOWN: Final = {one.name: one for one in output_metrics.METRICS}
_OF_CLASSES: Final = (
    _KNOWN["top1"],
    _higher("top_k", classification.top_k, "null without samples, and for a model with one score", "top-k accuracy"),
    _KNOWN["precision"],
    _KNOWN["recall"],
    _higher(
        "f1_macro", classification.f1_macro, "a class that neither occurs nor is decided for does not count", _SKLEARN
    ),
    _higher("f1_micro", classification.f1_micro, _NO_SAMPLES, _SKLEARN),
    _higher(
        "map",
        classification.mean_average_precision,
        "null if no class occurs; for samples with several classes (y of 0 and 1) only",
        _SKLEARN,
    ),
)
_CLASSES_TRUTH: Final = "`y` (N,) class indices; (N, C) of 0 and 1 where a sample has several classes"
_METRICS: Final[Mapping[str, tuple[tuple[OutputMetric, ...], str]]] = {
    "classification": (_OF_CLASSES, _CLASSES_TRUTH),
    "audio": (_OF_CLASSES, _CLASSES_TRUTH),
    "text": (_OF_CLASSES, _CLASSES_TRUTH),
    "detection": (
        (
            _higher("map", detection.mean_ap, _NO_OBJECTS, f"{_COCO}; mean over IoU 0.50 to 0.95"),
            _higher("ap50", detection.mean_ap, _NO_OBJECTS, f"{_COCO}; at IoU 0.50"),
            _higher("ap75", detection.mean_ap, _NO_OBJECTS, f"{_COCO}; at IoU 0.75"),
            _higher("ar100", detection.mean_recall, _NO_OBJECTS, _COCO),
        ),
        "`boxes` (N, M, 4), `classes` (N, M), optionally `counts` (N,) and `crowd` (N, M)",
    ),
    "segmentation": (
        (
            _higher(
                "miou", segmentation.mean_iou, "a class that neither occurs nor is decided for does not count", "IoU"
            ),
            _higher(
                "pixel_accuracy", segmentation.pixel_accuracy, "null without elements that count", "pixel accuracy"
            ),
        ),
        "`masks` (N, H, W) class indices; -1 and 255 do not count. `y` is taken too",
    ),
    "embedding": (
        (
            _higher("recall_at_k", embedding.recall_at_k, "null if no two samples have the same label", "retrieval"),
            _higher("neighbors_kept", embedding.neighbors_kept, "null for fewer than two samples", "overlap of k-NN"),
        ),
        "`y` (N,) which samples belong together; none for neighbors_kept",
    ),
    "regression": (
        (
            OutputMetric("mae", regression.mean_absolute_error, "of targets", "lower", _NO_SAMPLES, _SKLEARN),
            OutputMetric("rmse", regression.root_mean_square_error, "of targets", "lower", _NO_SAMPLES, _SKLEARN),
            _higher(
                "r2", regression.determination, "a constant target: 1 without an error, 0 with one", _SKLEARN, "none"
            ),
        ),
        "`targets` or `y`, (N, ...) in the shape of the output",
    ),
    "keypoints": (
        (
            _higher("pck", keypoints.correct_keypoints, "null without visible keypoints", "Yang and Ramanan 2013"),
            _higher("oks", keypoints.keypoint_similarity, "null without visible keypoints", "COCO keypoint evaluation"),
        ),
        "`keypoints` (N, K, 2) or (N, K, 3), optionally `boxes` (N, 4)",
    ),
}
TASKS: Final[Mapping[str, Task]] = {name: Task(name, *_METRICS[name]) for name in TASK_NAMES}
assert all(tuple(one.name for one in task.metrics) == TASK_METRICS[name].choices for name, task in TASKS.items())
