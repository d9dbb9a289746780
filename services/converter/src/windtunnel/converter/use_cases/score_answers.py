"""What the converted model and the original answer on labeled samples, and what that says of samples and labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel import isolation
from windtunnel.converter.domain.conversion import FirstNorm
from windtunnel.datacheck.check import Given, data_findings
from windtunnel.datacheck.classifier_scores import OutputKind, Scores, ScoreSums, agreement, score
from windtunnel.datacheck.findings import ACCURACY_UNKNOWN, Finding
from windtunnel.datacheck.label_scores import ElementSums, Error, ValueSums, target_errors_finding
from windtunnel.datacheck.labels import outputs_of
from windtunnel.datacheck.model_judge import ModelJudge, decisions
from windtunnel.datacheck.norm import NORM_SAMPLES, NormJudge
from windtunnel.datacheck.trials import spread
from windtunnel.errors import InvalidInput
from windtunnel.pipeline import Feed, Samples
from windtunnel.pipeline.feed import SampledFeed
from windtunnel.tasks.open_task import NOTHING_ASKED, Asked, open_task
from windtunnel.tasks.task_sums import TaskFigures, TaskSums
from windtunnel.tflite import ModelFacts, Runner, input_specs


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of one model: of classes, of the elements of masks, or against targets, by how labels are read.

    `task`: those of its task; None: it is not known.
    """

    scores: Scores | None = None
    elements: float | None = None
    spread: float | None = None
    error: Error | None = None
    task: TaskFigures | None = None


class Answers:
    """Keeps what labels and agreement need of the outputs: scores of classes, and sums of everything else.

    `output` is the tensor that labels are compared with, or the only output where it may hold scores of classes; None:
    there is none. `reading` says how labels are read. Raises InvalidInput for labels outside the model's classes.

    Args:
        model: facts of the converted model.
        labels: of the samples; None: there are none.
        asked: what is known of the task.
    """

    def __init__(self, model: ModelFacts, labels: NDArray[Any] | None, asked: Asked = NOTHING_ASKED) -> None:
        self._task = open_task(asked, labels, model)
        self._task_sums = None if self._task.scorer is None else TaskSums(self._task)
        self.reading = self._task.reading
        self.output = self.reading.output or _only_row(model)
        self.columns = 0
        self._rows: list[NDArray[np.float64]] = []
        self._elements = ElementSums(self.reading)
        self._values = ValueSums(self.reading)

    def add(self, sample: int, outputs: Mapping[str, NDArray[Any]]) -> None:
        """Adds one sample.

        Args:
            sample: its number.
            outputs: of the converted model, real numbers without the batch.
        """
        if self._task_sums is not None:
            self._task_sums.add(sample, outputs)
        if self.output is None:
            return
        value = outputs[self.output]
        if self.reading.metric == "elements":
            self._elements.add(sample, value)
        elif self.reading.metric == "values":
            self._values.add(sample, value)
        else:
            self._rows.append(np.asarray(value, np.float64).reshape(-1))

    def converted(self) -> Figures:
        """Figures of the converted model, but for those of its task."""
        if self.reading.metric == "classes":
            return Figures(score(np.stack(self._rows), self.reading.labels))
        return Figures(None, self._elements.result(), self._elements.spread(), self._values.result())

    def task_figures(
        self, original: Mapping[str, NDArray[Any]], count: int
    ) -> tuple[TaskFigures | None, TaskFigures | None]:
        """How well the original and the converted model do their task.

        Args:
            original: outputs of the original, (N, ...), by the converted model's tensor names.
            count: how many samples there are.

        Returns:
            None if it is not known; that of the original also if an output has no counterpart.
        """
        if self._task_sums is None:
            return None, None
        sums = TaskSums(self._task)
        try:
            for sample in range(count):
                sums.add(sample, {name: np.asarray(values[sample]) for name, values in original.items()})
        except (KeyError, InvalidInput):
            # What the task needs is not among the outputs that have a counterpart, or has another shape there.
            return None, self._task_sums.result()
        return sums.result(), self._task_sums.result(sums)

    def original(self, outputs: NDArray[Any]) -> Figures:
        """Figures of the original, but for those of its task.

        Args:
            outputs: (N, ...).

        Returns:
            The figures.
        """
        if self.reading.metric == "classes":
            return Figures(score(_as_rows(outputs), self.reading.labels))
        elements, values = self._sums_of(outputs)
        return Figures(None, elements.result(), elements.spread(), values.result())

    def agreement(self, outputs: NDArray[Any]) -> float | None:
        """Share of samples for which both models name the same class.

        Args:
            outputs: of the original, (N, ...).

        Returns:
            0 to 1; None if the output has no classes.
        """
        return agreement(np.stack(self._rows), _as_rows(outputs)) if self._rows else None

    def findings(
        self,
        runner: Runner,
        feed: Feed,
        pipeline: Mapping[str, Any] | None,
        original: NDArray[Any] | None,
        norm: FirstNorm | None = None,
    ) -> tuple[Finding, ...]:
        """What the answers say of samples, labels and preprocessing.

        Args:
            runner: of the converted model.
            feed: what the models were fed.
            pipeline: content of a pipeline.json; None: samples as they are.
            original: output of the original; None: not known.
            norm: first batch norm of the original; None: there is none.

        Returns:
            The findings.
        """
        found = [*self.reading.findings, *(() if self._task_sums is None else self._task_sums.findings())]
        if not isinstance(feed, SampledFeed):
            return tuple(found)
        if self._task.reason or (self.reading.metric is None and not found and self._task.scorer is None):
            found.append(Finding(ACCURACY_UNKNOWN, self._task.reason or self.reading.reason))
        first = None if original is None else self.original(original).error
        finding = target_errors_finding(self.reading, first, self.converted_error(), ("original", "converted"))
        # Gates judge the errors of a task that somebody names.
        found += [] if finding is None or self._task.declared else [finding]
        given = self._given(runner.facts, feed.samples, pipeline, original)
        judge = ModelJudge(runner, given, self._kind(original)) if given.right is not None else None
        isolation.progress(0.99, "looking at samples and labels")
        return (*found, *data_findings(given, judge, None if norm is None else _norm_judge(norm, given)))

    def converted_error(self) -> Error | None:
        """Errors of the converted model against targets."""
        return self._values.result()

    def _given(
        self, model: ModelFacts, samples: Samples, pipeline: Mapping[str, Any] | None, original: NDArray[Any] | None
    ) -> Given:
        specs = tuple(input_specs(model))
        given = Given(model, specs, samples, pipeline, self.reading)
        if self.reading.metric == "classes":
            assert self.reading.labels is not None
            rows = np.stack(self._rows) if original is None else _as_rows(original)
            predicted = decisions(rows, self._kind(original))
            right = (predicted == self.reading.labels).astype(np.float64)
            return replace(given, right=right, predicted=predicted, columns=rows.shape[1])
        if self.reading.metric == "elements":
            sums = self._elements if original is None else self._sums_of(original)[0]
            return replace(given, right=sums.shares())
        return given

    def _kind(self, original: NDArray[Any] | None) -> OutputKind | None:
        if self.reading.metric != "classes":
            return None
        sums = ScoreSums()
        sums.add(np.stack(self._rows) if original is None else _as_rows(original), None)
        return sums.kind()

    def _sums_of(self, outputs: NDArray[Any]) -> tuple[ElementSums, ValueSums]:
        elements, values = ElementSums(self.reading), ValueSums(self.reading)
        for sample, output in enumerate(outputs):
            if self.reading.metric == "elements":
                elements.add(sample, output)
            elif self.reading.metric == "values":
                values.add(sample, output)
        return elements, values


def _norm_judge(norm: FirstNorm, given: Given) -> NormJudge:
    runner = Runner(norm.model)
    few = given.samples.take(spread(given.samples.count, NORM_SAMPLES))
    specs = tuple(input_specs(runner.facts))
    return NormJudge(runner, few, specs, np.array(norm.mean), np.array(norm.variance))


def _as_rows(outputs: NDArray[Any]) -> NDArray[np.float64]:
    rows: NDArray[np.float64] = np.asarray(outputs, np.float64).reshape(len(outputs), -1)
    return rows


def _only_row(model: ModelFacts) -> str | None:
    """The only output, where one sample's is a row of scores."""
    outputs = outputs_of(model)
    is_row = len(outputs) == 1 and len([size for size in outputs[0].shape if size != 1]) <= 1
    return outputs[0].name if is_row else None
