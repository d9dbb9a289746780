"""The tasks that a model may have, the names of their metrics, and which of them is the main one.

The formulas are in `windtunnel.tasks`; who only reads or checks a name needs no more than this.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

Better = Literal["higher", "lower"]
TaskName = Literal[
    "classification", "detection", "segmentation", "embedding", "audio", "text", "regression", "keypoints"
]
TASK_NAMES: Final[tuple[str, ...]] = get_args(TaskName)
# Metrics of which less is better; of all others more is.
LOWER: Final = frozenset({"mae", "rmse", "loss"})


@dataclass(frozen=True, slots=True)
class TaskMetrics:
    """The names of a task's metrics. `choices`: those that may be the main one, the default first."""

    choices: tuple[str, ...]

    @property
    def main(self) -> str:
        """The metric that gates on the accuracy judge, unless the plan says another."""
        return self.choices[0]


_OF_CLASSES: Final = TaskMetrics(("top1", "top_k", "precision", "recall", "f1_macro", "f1_micro", "map"))
TASK_METRICS: Final[Mapping[str, TaskMetrics]] = MappingProxyType(
    {
        "classification": _OF_CLASSES,
        "detection": TaskMetrics(("map", "ap50", "ap75", "ar100")),
        "segmentation": TaskMetrics(("miou", "pixel_accuracy")),
        "embedding": TaskMetrics(("recall_at_k", "neighbors_kept")),
        "audio": _OF_CLASSES,
        "text": _OF_CLASSES,
        "regression": TaskMetrics(("mae", "rmse", "r2")),
        "keypoints": TaskMetrics(("pck", "oks")),
    }
)


def better(metric: str) -> Better:
    """Which values of a metric are good.

    Args:
        metric: its name.

    Returns:
        "lower" for errors, "higher" for everything else.
    """
    return "lower" if metric in LOWER else "higher"


def drop_of(metric: str, before: float | None, after: float | None) -> float | None:
    """By how much a figure became worse, absolute; below zero: it became better.

    Rounded to 12 decimals: 0.98 - 0.97 in binary exceeds 0.01 by 1e-17.

    Args:
        metric: its name; empty: that of the accuracy.
        before: of the reference.
        after: of the candidate.

    Returns:
        None if one is not known.
    """
    if before is None or after is None:
        return None
    return round(after - before if better(metric) == "lower" else before - after, 12)


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """What a plan says of a model's task.

    `metric`: the main one; None: the task's default. `k`: of top_k, recall_at_k and neighbors_kept. `classes`: names of
    the classes, for the figures of single classes. `output`: the output that is judged, where a model has several.
    `alpha`: of pck.
    """

    name: TaskName
    metric: str | None = None
    k: int = 5
    classes: tuple[str, ...] = ()
    output: str | None = None
    alpha: float = 0.2

    @property
    def main(self) -> str:
        """The metric that gates on the accuracy judge."""
        return self.metric or TASK_METRICS[self.name].main

    def to_json(self) -> str | dict[str, Any]:
        """`data.task` of a plan: the name alone if nothing else is given."""
        default = TaskSpec(self.name)
        given = {
            field.name: list(value) if isinstance(value, tuple) else value
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) != getattr(default, field.name)
        }
        return {"name": self.name, **given} if given else self.name
