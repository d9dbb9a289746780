"""The task of a model, from what a plan says and what the samples hold, and the scorer for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.datacheck.labels import Metric, Output, Reading, outputs_of, read_labels
from windtunnel.errors import InvalidInput
from windtunnel.pipeline.ground_truth import NO_TRUTH
from windtunnel.pipeline.postprocess.ssd import SsdPostprocess
from windtunnel.pipeline.samples import Samples
from windtunnel.task_names import TaskSpec
from windtunnel.tasks.detection_outputs import detection_outputs
from windtunnel.tasks.metrics.detection import Found
from windtunnel.tasks.raw_heads import decoder
from windtunnel.tasks.registry import TASKS
from windtunnel.tasks.scorers.classes import ClassScorer, SeveralClassesScorer
from windtunnel.tasks.scorers.detections import DetectionScorer
from windtunnel.tasks.scorers.masks import MaskScorer
from windtunnel.tasks.scorers.scorer import Outputs, Scorer
from windtunnel.tasks.scorers.vectors import EmbeddingScorer, KeypointScorer, TargetScorer, fits_keypoints
from windtunnel.tflite.facts import ModelFacts

# Tasks whose labels say which class; and how the labels of others are read.
_OF_CLASSES: Final = ("classification", "audio", "text")
_READ: Final[Mapping[str, tuple[Metric, ...]]] = {
    **dict.fromkeys(_OF_CLASSES, ("classes", "elements")),
    "segmentation": ("elements",),
    "regression": ("values",),
}
# Tasks that do not read `y` as labels of an output.
WITHOUT_READING: Final = ("detection", "embedding", "keypoints")


@dataclass(frozen=True, slots=True)
class OpenTask:
    """A task that a model is scored for. `spec` None: nothing says what the task is.

    `declared`: the plan or the samples name it, and gates judge its main metric; otherwise it is only what the labels
    look like, and gates judge what they always did. `reading` says how labels are read. `scorer` None: samples lack
    what the task needs, and `reason` says what.
    """

    spec: TaskSpec | None
    declared: bool
    reading: Reading
    scorer: Scorer | None = None
    reason: str = ""

    @property
    def has_classes(self) -> bool:
        """Whether the largest entry of an output may be the class of a sample."""
        return not self.declared or self.spec is None or self.spec.name in _OF_CLASSES

    @property
    def declared_spec(self) -> TaskSpec | None:
        """What the plan or the samples say of the task; None: neither does."""
        return self.spec if self.declared else None

    @property
    def main(self) -> str:
        """The metric that gates on the accuracy judge; empty: none does."""
        if self.spec is None:
            return ""
        if self.spec.metric is not None:
            return self.spec.metric
        if self.declared:
            return self.spec.main if self.scorer is None else self.scorer.main
        if self.reading.metric == "classes":
            return "top1"
        return "pixel_accuracy" if self.spec.name == "segmentation" else ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is known of a task before a model is looked at.

    `spec`: of the plan; None: the samples say, or their labels. `samples` None: random inputs. `postprocess` makes
    detections of raw heads; None: the model gives detections.
    """

    spec: TaskSpec | None = None
    samples: Samples | None = None
    postprocess: SsdPostprocess | None = None

    @property
    def declared(self) -> TaskSpec | None:
        """The task that the plan or the samples name."""
        declares = None if self.samples is None else self.samples.truth.declares
        return self.spec or (None if declares is None else TaskSpec(declares))

    @property
    def names(self) -> Sequence[str]:
        """Of the classes, in order; empty: not known."""
        own = None if self.samples is None else self.samples.class_names
        return (self.spec.classes if self.spec is not None else ()) or own or ()


NOTHING_ASKED: Final = Asked()


def open_task(
    asked: Asked, labels: NDArray[Any] | None, model: ModelFacts, known: Sequence[str] | None = None
) -> OpenTask:
    """Finds the task and what scores it.

    Args:
        asked: of the plan and the samples.
        labels: of the samples.
        model: facts of the model whose tensor names outputs have.
        known: outputs that can be judged; None: all.

    Returns:
        The task; one without a name if nothing says what it is.

    Raises:
        InvalidInput: samples and outputs do not fit the task, or labels are outside the model's classes.
    """
    declared = asked.declared
    outputs = [one for one in outputs_of(model) if known is None or one.name in known]
    if declared is not None and declared.output is not None:
        outputs = [_named(declared.output, outputs)]
    if declared is None:
        return _by_labels(read_labels(labels, outputs), asked.names)
    if declared.name in WITHOUT_READING:
        return _special(declared, asked, labels, model, outputs)
    reading = read_labels(labels, outputs, _READ[declared.name])
    if reading.metric is None:
        return _lacking(declared, reading.reason, reading)
    return _checked(OpenTask(declared, True, reading, _scorer(declared, reading, asked.names)))


def _named(name: str, outputs: Sequence[Output]) -> Output:
    found = next((one for one in outputs if name in (one.name, one.called)), None)
    if found is None:
        has = ", ".join(str(one) for one in outputs)
        raise InvalidInput(f"data.task names the output {name!r}, and the model has {has}", hint="name one of these")
    return found


def _by_labels(reading: Reading, names: Sequence[str]) -> OpenTask:
    """What labels look like, if nobody names the task."""
    labels = reading.labels
    if reading.metric is None or labels is None:
        return OpenTask(None, False, reading)
    spec = TaskSpec("regression" if reading.metric == "values" else "classification")
    if reading.metric == "elements" and (labels.ndim > 2 or reading.class_axis is not None):
        spec = TaskSpec("segmentation")
    return OpenTask(spec, False, reading, _scorer(spec, reading, names))


def _scorer(spec: TaskSpec, reading: Reading, names: Sequence[str]) -> Scorer:
    assert reading.labels is not None
    if reading.metric == "values":
        return TargetScorer(reading)
    if spec.name == "segmentation":
        return MaskScorer(reading, names)
    if reading.metric == "elements" and reading.labels.ndim == 2:
        return SeveralClassesScorer(reading, names)
    return ClassScorer(spec, reading, names)


def _special(
    spec: TaskSpec, asked: Asked, labels: NDArray[Any] | None, model: ModelFacts, outputs: Sequence[Output]
) -> OpenTask:
    """Tasks that need more than labels, or other labels than an output's."""
    truth = NO_TRUTH if asked.samples is None else asked.samples.truth
    reading = Reading(None, reason=f"the task is {spec.name}")
    if spec.name == "embedding":
        if labels is None and spec.main != "neighbors_kept":
            return _lacking(spec, "the samples have no labels: add an array y", reading)
        return OpenTask(spec, True, reading, EmbeddingScorer(spec, _only(spec, outputs).name, labels))
    if spec.name == "keypoints":
        if truth.keypoints is None:
            return _lacking(spec, "the samples have no array keypoints", reading)
        count = truth.keypoints.shape[1]
        fitting = [one for one in outputs if fits_keypoints(one, count)] or outputs
        return OpenTask(spec, True, reading, KeypointScorer(spec, _only(spec, fitting).name, truth))
    if truth.boxes is None:
        return _lacking(spec, "the samples have no arrays boxes and classes", reading)
    read = _reader(model, outputs) if asked.postprocess is None else decoder(asked.postprocess, model)
    return OpenTask(spec, True, reading, DetectionScorer(read, truth, asked.names))


def _reader(model: ModelFacts, outputs: Sequence[Output]) -> Callable[[Outputs], Found]:
    found = detection_outputs(model)
    if found is None:
        shown = ", ".join(f"{one} {list(one.shape)}" for one in outputs)
        raise InvalidInput(
            f"the task is detection, and no outputs are detections (per sample: {shown})",
            hint="detections come from TFLite_Detection_PostProcess, from outputs called boxes, classes and scores, or "
            "from raw heads with `postprocess` in the pipeline",
        )
    return found.read


def _only(spec: TaskSpec, outputs: Sequence[Output]) -> Output:
    if len(outputs) != 1:
        shown = ", ".join(f"{one} {list(one.shape)}" for one in outputs)
        raise InvalidInput(
            f"the task is {spec.name}, and {len(outputs)} outputs may be judged (per sample: {shown})",
            hint=f"name one in the plan: data: {{task: {{name: {spec.name}, output: ...}}}}",
        )
    return outputs[0]


def _lacking(spec: TaskSpec, reason: str, reading: Reading) -> OpenTask:
    """A task whose samples lack what is right."""
    needs = TASKS[spec.name].truth
    said = f"the task is {spec.name}: {reason}. It needs {needs}"
    return OpenTask(spec, True, replace(reading, metric=None, reason=said), None, said)


def _checked(task: OpenTask) -> OpenTask:
    """Makes sure that the main metric exists for these labels.

    Raises:
        InvalidInput: it does not.
    """
    assert task.spec is not None
    several = isinstance(task.scorer, SeveralClassesScorer)
    missing = ("top1", "top_k") if several else ("map",) if isinstance(task.scorer, ClassScorer) else ()
    if task.spec.metric in missing:
        kind = "several classes" if several else "one class"
        raise InvalidInput(
            f"data.task.metric is {task.spec.metric}, and y has {kind} for each sample",
            hint=f"the metrics of such labels: {', '.join(_metrics_of(task.spec, missing))}",
        )
    return task


def _metrics_of(spec: TaskSpec, missing: Sequence[str]) -> list[str]:
    return [one.name for one in TASKS[spec.name].metrics if one.name not in missing]


def batch_free(outputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Outputs of one sample without the batch axis, where they have one of size 1.

    Args:
        outputs: by tensor name.

    Returns:
        Views of the same arrays.
    """
    return {name: value[0] if np.shape(value)[:1] == (1,) else value for name, value in outputs.items()}
