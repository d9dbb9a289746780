"""The figures of a task, summed up sample by sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.datacheck.findings import Finding
from windtunnel.task_names import better, drop_of
from windtunnel.tasks.open_task import OpenTask, batch_free
from windtunnel.tasks.scorers.detections import DetectionScorer
from windtunnel.tasks.scorers.scorer import Outputs


@dataclass(frozen=True, slots=True)
class TaskFigures:
    """How well one model does its task.

    `metric`: the main one; empty: none is judged. `figures`: every metric of the task; None: it is not known.
    `per_class`: by metric and class. `confusion`: rows are the classes of samples, columns those decided for; empty
    if there are too many.
    """

    task: str
    metric: str
    samples: int
    figures: Mapping[str, float | None] = field(default_factory=dict)
    per_class: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    confusion: tuple[tuple[int, ...], ...] = ()

    @property
    def main(self) -> float | None:
        """The figure of the main metric."""
        return self.figures.get(self.metric)

    def to_json(self) -> dict[str, Any]:
        """The side of `task` in a diagnosis."""
        found: dict[str, Any] = {"figures": dict(self.figures)}
        if self.per_class:
            found["per_class"] = {name: dict(each) for name, each in self.per_class.items()}
        if self.confusion:
            found["confusion"] = [list(row) for row in self.confusion]
        return found


@dataclass(frozen=True, slots=True)
class TaskDiff:
    """How well two models do the same task on the same samples. `declared`: the plan or the samples name the task."""

    reference: TaskFigures
    candidate: TaskFigures
    declared: bool

    @property
    def drop(self) -> float | None:
        """By how much the candidate is worse in the main metric, absolute; None: not known."""
        return drop_of(self.reference.metric, self.reference.main, self.candidate.main)

    def to_json(self) -> dict[str, Any]:
        """`task` of a diagnosis."""
        metric = self.reference.metric
        return {
            "name": self.reference.task,
            "metric": metric or None,
            "better": better(metric),
            "declared": self.declared,
            "reference": self.reference.to_json(),
            "candidate": self.candidate.to_json(),
            "drop": self.drop,
        }


class TaskPair:
    """Takes the outputs of two models sample by sample.

    Args:
        task: with a scorer.
        names: of the second model's outputs by those of the first.
    """

    def __init__(self, task: OpenTask, names: Mapping[str, str]) -> None:
        self._declared, self._names = task.declared, names
        # Detections may be more or fewer; all other outputs have one shape.
        self._any_shape = isinstance(task.scorer, DetectionScorer)
        self.sides = TaskSums(task), TaskSums(task)

    def add(self, sample: int, first: Outputs, second: Outputs) -> None:
        """Adds the next sample. Once outputs of the two differ in shape, there are no figures of the second.

        Args:
            sample: its number.
            first: outputs of the first model, by its tensor names, with the batch.
            second: outputs of the second model, by its own.
        """
        same = {name: second[other] for name, other in self._names.items()}
        if self._any_shape or all(np.shape(value) == np.shape(first[name]) for name, value in same.items()):
            self.sides[1].add(sample, batch_free(same))
        self.sides[0].add(sample, batch_free(first))

    def result(self) -> TaskDiff:
        """The figures of both."""
        first, second = self.sides
        return TaskDiff(first.result(), second.result(first), self._declared)


class TaskSums:
    """Takes the outputs of one model sample by sample. What is kept grows by what the task needs of each sample.

    Args:
        task: with a scorer.
    """

    def __init__(self, task: OpenTask) -> None:
        assert task.scorer is not None and task.spec is not None
        self._name, self._main = task.spec.name, task.main
        self._scorer = task.scorer
        self.rows: list[NDArray[np.float64]] = []

    def add(self, sample: int, outputs: Outputs) -> None:
        """Adds the next sample.

        Args:
            sample: its number.
            outputs: real numbers without the batch, by the tensor names of the model that the task was opened with.
        """
        self.rows.append(self._scorer.read(sample, outputs))

    @property
    def finite(self) -> bool:
        """Whether all that counts is finite."""
        return all(bool(np.isfinite(row).all()) for row in self.rows)

    def findings(self) -> tuple[Finding, ...]:
        """What the outputs show of the samples: objects that are numbered or written differently."""
        return self._scorer.findings(self.rows) if isinstance(self._scorer, DetectionScorer) else ()

    def result(self, reference: TaskSums | None = None) -> TaskFigures:
        """The figures over all samples so far; all None where an output is not finite, or there are no samples.

        Args:
            reference: sums of the reference over the same samples; None: these are the reference's.

        Returns:
            The figures.
        """
        other = self if reference is None else reference
        name, metric, count = self._name, self._main, len(self.rows)
        if not count or not self.finite or not other.finite or len(other.rows) != count:
            return TaskFigures(name, metric, count, {metric: None} if metric else {})
        scored = self._scorer.figures(self.rows, other.rows)
        return TaskFigures(name, metric, count, scored.figures, scored.per_class, scored.confusion)

    def state(self) -> dict[str, NDArray[Any]]:
        """What was kept, as arrays for `restore`."""
        shapes = np.array([row.shape for row in self.rows], np.int64)
        return {"shapes": shapes, "values": np.concatenate([np.zeros(0), *(row.reshape(-1) for row in self.rows)])}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Replaces what was kept with that of another `state`.

        Args:
            state: arrays by name.

        Raises:
            KeyError: an array is missing.
            ValueError: an array does not have the right size.
        """
        shapes, values = state["shapes"], np.asarray(state["values"], np.float64)
        sizes = [int(np.prod(shape)) for shape in shapes]
        if (shapes.size and shapes.min() < 0) or sum(sizes) != len(values):
            raise ValueError("another number of values than the shapes say")
        parts = np.split(values, np.cumsum(sizes)[:-1]) if sizes else []
        self.rows = [part.reshape(tuple(map(int, shape))) for part, shape in zip(parts, shapes, strict=True)]
