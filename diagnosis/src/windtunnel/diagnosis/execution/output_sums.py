"""Running comparison of two models' outputs: accuracy, agreement and errors."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.datacheck.classifier_scores import OutputKind, ScoreSums, class_columns
from windtunnel.datacheck.findings import ACCURACY_UNKNOWN, Finding
from windtunnel.datacheck.label_scores import ElementSums, ValueSums, target_errors_finding
from windtunnel.datacheck.output_metrics import agreement
from windtunnel.diagnosis.execution.detection_slots import Detections
from windtunnel.diagnosis.findings.layer_diff import SHAPE_DIFFERS
from windtunnel.diagnosis.findings.output_diff import Accuracy, OutputDiff, OutputFailure
from windtunnel.diagnosis.numerics.block_sums import Tensor, Workspace
from windtunnel.diagnosis.numerics.layer_sums import LayerFigures, LayerSums, Look
from windtunnel.diagnosis.thresholds.execution_thresholds import CLEAR_CLASS
from windtunnel.tasks.open_task import NOTHING_ASKED, Asked, OpenTask, open_task
from windtunnel.tasks.task_sums import TaskDiff, TaskPair, TaskSums
from windtunnel.tflite import ModelFacts, TensorFacts
from windtunnel.tflite.op_kinds import PROBABILITIES, maker_of
from windtunnel.tflite.paired_ends import pair_outputs


@dataclass(frozen=True, slots=True)
class OutputLook:
    """What one sample adds to the figures of the outputs.

    That is the errors of every pair, the output that is scored, and all outputs, of both sides.
    """

    drift: tuple[Look, ...]
    scored: tuple[NDArray[Any], NDArray[Any]] | None
    outputs: tuple[Mapping[str, NDArray[Any]], Mapping[str, NDArray[Any]]]


class OutputSums:
    """Takes the outputs of both models sample by sample.

    The output that labels belong to (`read_labels`) is scored. Without labels an output of the shape (1, C) may be a
    classifier's: its argmax is compared. It certainly is one if a softmax or sigmoid makes it; an embedding's argmax
    says nothing about its health. Of other outputs only the error is reported. Outputs pair as their layers do; without
    that, by tensor or signature name, or by position.

    Args:
        reference: facts of the model.
        candidate: facts of the model.
        labels: of the samples; None: there are none.
        same: the reference's tensors by the candidate's, by index.
        no_figure: tensors of the reference and of the candidate that are left out.
        asked: what is known of the task.
    """

    def __init__(
        self,
        reference: ModelFacts,
        candidate: ModelFacts,
        labels: NDArray[Any] | None,
        same: Mapping[int, int] | None = None,
        no_figure: tuple[Collection[int], Collection[int]] = ((), ()),
        asked: Asked = NOTHING_ASKED,
    ) -> None:
        self._pairs = [
            (reference_output, candidate_output)
            for reference_output, candidate_output in _pair_outputs(reference, candidate, same or {})
            if reference_output.index not in no_figure[0] and candidate_output.index not in no_figure[1]
        ]
        self._drift = [LayerSums() for _ in self._pairs]
        names = {reference_output.name: candidate_output.name for reference_output, candidate_output in self._pairs}
        self._detections = Detections(reference, candidate, names)
        self._task = open_task(asked, labels, reference, tuple(names))
        self._task_pair = None if self._task.scorer is None else TaskPair(self._task, names)
        self.reading = self._task.reading
        scored = [pair for pair in self._pairs if pair[0].name == self.reading.output] or self._pairs[:1]
        self._scored = scored[0] if scored else None
        self._place = self._pairs.index(scored[0]) if scored else 0
        may_have = len(self._pairs) == 1 and self.reading.metric is None and self._task.has_classes
        has_classes = self.reading.metric == "classes" or may_have
        self._columns = class_columns(self._scored[0].shape) if self._scored is not None and has_classes else 0
        self._kind = self._kind_of(reference) or self._kind_of(candidate)
        self._labels = self.reading.labels if self.reading.metric == "classes" else None
        self._is_classifier = self._columns > 0 and (
            self._labels is not None or self._kind_of(reference) == "probabilities"
        )
        self._scores = (ScoreSums(), ScoreSums())
        self._elements = (ElementSums(self.reading), ElementSums(self.reading))
        self._values = (ValueSums(self.reading), ValueSums(self.reading))
        # By how much the reference prefers its own class to the candidate's; of one column, the output itself.
        self._leads: list[float] = []
        self._sample = 0

    def add(self, reference: Mapping[str, NDArray[Any]], candidate: Mapping[str, NDArray[Any]]) -> None:
        """Adds one sample.

        Args:
            reference: outputs as real numbers, by tensor name.
            candidate: outputs as real numbers, by tensor name.
        """
        self.fold(self.look(reference, candidate, self._sample, Workspace()))

    def look(
        self, reference: Mapping[str, NDArray[Any]], candidate: Mapping[str, NDArray[Any]], index: int, work: Workspace
    ) -> OutputLook:
        """Looks at one sample and changes nothing, as `LayerSums.look`.

        Args:
            reference: outputs as real numbers, by tensor name.
            candidate: outputs as real numbers, by tensor name.
            index: which sample it is, from 0.
            work: buffers that no other thread uses meanwhile.

        Returns:
            What `fold` takes, in the order of the samples.
        """
        first, second = self._detections.aligned(reference, candidate)
        drift = tuple(
            one.look((Tensor(first[reference_output.name]), Tensor(second[candidate_output.name])), index, work)
            for (reference_output, candidate_output), one in zip(self._pairs, self._drift, strict=True)
        )
        if self._scored is None:
            return OutputLook(drift, None, (reference, candidate))
        scored = reference[self._scored[0].name], candidate[self._scored[1].name]
        return OutputLook(drift, scored, (reference, candidate))

    def fold(self, look: OutputLook) -> None:
        """Adds the next sample.

        Args:
            look: of that sample.
        """
        for sums, one in zip(self._drift, look.drift, strict=True):
            sums.fold(one)
        if look.scored is not None:
            self._add_scored(*look.scored)
        if self._task_pair is not None:
            self._task_pair.add(self._sample, *look.outputs)
        self._sample += 1

    def _add_scored(self, reference: NDArray[Any], candidate: NDArray[Any]) -> None:
        """Adds the output that is scored, of both models."""
        if reference.shape != candidate.shape:
            return
        if self._columns:
            self._add_rows((reference.reshape(1, -1), candidate.reshape(1, -1)))
            return
        for side, output in enumerate((reference, candidate)):
            value = output[0] if output.ndim else output
            if self.reading.metric == "elements":
                self._elements[side].add(self._sample, value)
            elif self.reading.metric == "values":
                self._values[side].add(self._sample, value)

    def _kind_of(self, model: ModelFacts) -> OutputKind | None:
        """What the only output is, if the graph shows it."""
        return output_kind(model) if len(self._pairs) == 1 else None

    def _add_rows(self, rows: tuple[NDArray[Any], NDArray[Any]]) -> None:
        label = None if self._labels is None else self._labels[self._sample : self._sample + 1]
        for scores, row in zip(self._scores, rows, strict=True):
            scores.add(row, label)
        first, second = rows
        self._leads.append(
            float(first[0, 0]) if self._columns == 1 else float(first.max() - first[0, np.argmax(second)])
        )

    def state(self) -> dict[str, NDArray[Any]]:
        """The sums as arrays by name, for `restore`."""
        found = {"sample": np.array([self._sample]), "leads": np.array(self._leads)}
        for number, sums in enumerate(self._parts()):
            found |= {f"{number}/{name}": array for name, array in sums.state().items()}
        return found

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Replaces the sums with those of another `state` of the same models.

        Args:
            state: arrays by name.

        Raises:
            KeyError: an array is missing.
            ValueError: an array does not have the right size.
        """
        self._sample = int(state["sample"][0])
        self._leads = [float(one) for one in state["leads"]]
        for number, sums in enumerate(self._parts()):
            prefix = f"{number}/"
            sums.restore({name.removeprefix(prefix): one for name, one in state.items() if name.startswith(prefix)})

    def answers(self) -> tuple[NDArray[np.float64] | None, NDArray[np.int64] | None, OutputKind]:
        """Of the reference: the score of each sample in [0, 1], its class, and what the scores of classes are.

        None where labels do not score it, or where an output is not finite.
        """
        scores, kind = self._scores[0], self._shared_kind()
        if self.reading.metric == "elements" and self._elements[0].finite:
            return self._elements[0].shares(), None, kind
        if self._labels is None or not scores.count or scores.non_finite:
            return None, None, kind
        predicted = scores.decisions(kind)
        return np.asarray(predicted == self._labels[: len(predicted)], np.float64), predicted, kind

    @property
    def columns(self) -> int:
        """How many classes the scored output knows; 0: it holds none."""
        return self._columns

    def _parts(self) -> tuple[LayerSums | ScoreSums | ElementSums | ValueSums | TaskSums, ...]:
        of_task = () if self._task_pair is None else self._task_pair.sides
        return (*self._drift, *self._scores, *self._elements, *self._values, *of_task)

    @property
    def task(self) -> OpenTask:
        """The task of the models."""
        return self._task

    def task_diff(self) -> TaskDiff | None:
        """How well both models do their task on the samples so far; None: it is not known."""
        return None if self._task_pair is None else self._task_pair.result()

    def findings(self) -> tuple[Finding, ...]:
        """How the labels were read, or why no accuracy comes of them; errors against targets."""
        if self._task.reason:
            return (*self.reading.findings, Finding(ACCURACY_UNKNOWN, self._task.reason))
        if self.reading.metric is None and not self.reading.findings and self._task.scorer is None:
            return (Finding(ACCURACY_UNKNOWN, self.reading.reason),)
        if self._task.declared:
            of_task = () if self._task_pair is None else self._task_pair.sides[0].findings()
            return (*self.reading.findings, *of_task)
        first, second = (sums.result() for sums in self._values)
        finding = target_errors_finding(self.reading, first, second, ("reference", "candidate"))
        return self.reading.findings if finding is None else (*self.reading.findings, finding)

    def result(self) -> OutputDiff:
        """Figures over all samples so far."""
        figures = [drift.figures() for drift in self._drift]
        worst = [one.nrmse for one in figures]
        failures = [
            OutputFailure(candidate_output.name, non_finite=True)
            for (_, candidate_output), drift in zip(self._pairs, self._drift, strict=True)
            if drift.candidate_non_finite and not drift.reference_non_finite
        ]
        failures += [
            OutputFailure(candidate_output.name, non_finite=False)
            for (_, candidate_output), one in zip(self._pairs, figures, strict=True)
            if one.problem == SHAPE_DIFFERS
        ]
        known = [value for value in worst if value is not None]
        finite = not self._drift or not all(drift.reference_non_finite for drift in self._drift)
        lost, gained = self._exchanged() or (None, None)
        agreed = self._agreement() if finite else None
        return OutputDiff(
            reference=self._accuracy(self._scores[0]),
            candidate=self._accuracy(self._scores[1]),
            agreement=agreed,
            nrmse=max(known) if known and len(known) == len(worst) else None,
            failures=tuple(failures),
            is_classifier=self._is_classifier,
            reference_finite=finite,
            lost=lost,
            gained=gained,
            changed=0.0 if agreed is None else self._changed(figures[self._place]),
            elements=(self._elements[0].result(), self._elements[1].result()),
            judged=len(known),
        )

    def _accuracy(self, scores: ScoreSums) -> Accuracy | None:
        if self._labels is None or not scores.count or scores.non_finite:
            return None
        found = scores.result(self._shared_kind())
        return Accuracy(found.top1, found.precision, found.recall, found.loss)

    def _exchanged(self) -> tuple[int, int] | None:
        """How many samples only the reference, and only the candidate classifies as labeled."""
        if self._labels is None or any(not scores.count or scores.non_finite for scores in self._scores):
            return None
        kind = self._shared_kind()
        first, second = (scores.decisions(kind) == self._labels[: scores.count] for scores in self._scores)
        return int((first & ~second).sum()), int((second & ~first).sum())

    def _changed(self, drift: LayerFigures) -> float:
        """Share of samples with another class where the reference's was clear."""
        first, second = self._scores
        ends = drift.reference_range
        if ends is None or first.non_finite or second.non_finite:
            return 0.0
        kind = self._shared_kind()
        leads = np.array(self._leads)
        if self._columns == 1:
            leads = np.abs(leads - (0.5 if kind == "probabilities" else 0.0))
        clear = leads > CLEAR_CLASS * (ends[1] - ends[0])
        return float(((first.decisions(kind) != second.decisions(kind)) & clear).mean())

    def _agreement(self) -> float | None:
        first, second = self._scores
        if (
            not self._columns
            or (self._columns == 1 and not self._is_classifier)
            or first.count != self._sample
            or not first.count
        ):
            return None
        kind = self._shared_kind()
        return agreement(first.all_decisions(kind), second.all_decisions(kind))

    def _shared_kind(self) -> OutputKind:
        """Both models are read the same way: a quantized softmax no longer looks like probabilities."""
        return self._scores[0].kind(self._kind)


def output_kind(model: ModelFacts) -> OutputKind | None:
    """Whether a softmax or sigmoid makes the first output.

    Args:
        model: facts of its file.

    Returns:
        None: the graph does not show it.
    """
    maker = maker_of(model, model.main.output_indices[0]) if model.main.output_indices else None
    if maker is None:
        return None
    if maker.name in PROBABILITIES:
        return "probabilities"
    return "logits" if maker.name in ("FULLY_CONNECTED", "CONV_2D") and maker.fused_activation == "NONE" else None


def _pair_outputs(
    reference: ModelFacts, candidate: ModelFacts, same: Mapping[int, int]
) -> list[tuple[TensorFacts, TensorFacts]]:
    by_layer = {same.get(tensor.index, -1): tensor for tensor in candidate.outputs}
    if by_layer.keys() == {tensor.index for tensor in reference.outputs}:
        return [(tensor, by_layer[tensor.index]) for tensor in reference.outputs]
    return pair_outputs(reference, candidate)
