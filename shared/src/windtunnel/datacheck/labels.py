"""How labels fit the outputs of a model: as classes, as masks, as targets, or not at all, and then why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from windtunnel.datacheck.findings import (
    LABELS_AMBIGUOUS,
    LABELS_CLASSES,
    LABELS_IGNORED,
    LABELS_ONE_HOT,
    LABELS_OUTPUTS,
    LABELS_SEVERAL,
    LABELS_SOFT,
    LABELS_UNUSED,
    Finding,
)
from windtunnel.errors import InvalidInput
from windtunnel.tflite.dtypes import NOT_VALUES
from windtunnel.tflite.facts import ModelFacts

# Outputs that hold no numbers.

# classes: one class for each sample; elements: one for each element of a mask; values: targets of a regression.
Metric = Literal["classes", "elements", "values"]
# Where more than one output fits the labels, the metric that says more decides.
_ORDER: Final[tuple[Metric, ...]] = ("classes", "elements", "values")
# Datasets mark the elements of masks that count for nothing with these.
_IGNORED: Final = (-1, 255)
_NO_CLASS: Final = -1
_SUM_SLACK: Final = 1e-3
# So many samples for each class, and all classes should occur.
_ENOUGH: Final = 5


@dataclass(frozen=True, slots=True)
class Output:
    """An output as it is for one sample: `shape` without the batch, -1 where a dimension is open.

    `called` is the name that its author gave, for messages; empty: `name`.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    called: str = ""

    def __str__(self) -> str:
        return repr(self.called or self.name)


@dataclass(frozen=True, slots=True)
class Reading:
    """How labels are read, and with which output they are compared.

    `metric` None: no output fits them, and `reason` says why. `labels`: (N,) class indices; (N, *S) class indices of
    elements, -1 where an element does not count; or (N, *S) float64 targets. `class_axis`: for elements, the axis of
    the classes in the output of one sample; None: one score for each element, or with `is_class` its class.
    """

    metric: Metric | None
    output: str = ""
    labels: NDArray[Any] | None = None
    class_axis: int | None = None
    is_class: bool = False
    reason: str = ""
    findings: tuple[Finding, ...] = ()


def outputs_of(model: ModelFacts) -> list[Output]:
    """The outputs of a model as real numbers: integers with a scale are scores, those without are classes.

    Args:
        model: the facts of its file.

    Returns:
        In the model's order.
    """
    return [
        Output(
            tensor.name,
            tensor.shape_signature[1:],
            "float32" if tensor.quantization else tensor.dtype,
            model.output_name(tensor) or tensor.name,
        )
        for tensor in model.outputs
        if tensor.dtype not in NOT_VALUES
    ]


def read_labels(labels: NDArray[Any] | None, outputs: Sequence[Output], metrics: Sequence[Metric] = _ORDER) -> Reading:
    """Finds the output that labels belong to, and how they are read.

    Integers, or floats that are whole, fit as classes of an output with one score for each class. One-hot rows and
    distributions over the classes fit as their largest entry. Masks fit an output of their size, real numbers an output
    of their shape. An output that labels fit as classes is preferred to masks, masks to targets.

    Args:
        labels: class indices (N,), one-hot rows, masks (N, *S), or targets; as given.
        outputs: of the model, in its order.
        metrics: how they may be read; what says more first.

    Returns:
        How they are read; a reading without an output says why they are not used.

    Raises:
        InvalidInput: there are class indices that no output has.
    """
    if labels is None:
        return Reading(None, reason="the samples have no labels: add an array y")
    given = _without_ones(np.asarray(labels))
    if given.dtype.kind not in "buif":
        return _unused(labels, outputs, f"labels of type {labels.dtype} are not class indices")
    found = [reading for output in outputs if (reading := _fit(given, output, metrics)) is not None]
    for metric in metrics:
        fitting = [reading for reading in found if reading.metric == metric]
        if len(fitting) == 1:
            return _with_notes(fitting[0], outputs)
        if fitting:
            return _ambiguous(fitting, outputs)
    if "classes" in metrics:
        _check_range(given, outputs)
    return _unused(labels, outputs, "no output of the model fits them")


def _fit(labels: NDArray[Any], output: Output, metrics: Sequence[Metric]) -> Reading | None:
    """How labels fit one output; None where they do not."""
    shape = tuple(size for size in output.shape if size != 1)
    ways = (_fit_classes, _fit_values) if labels.ndim == 1 else (_fit_rows, _fit_mask, _fit_values)
    found = (way(labels, output, shape) for way in ways)
    return next((one for one in found if one is not None and one.metric in metrics), None)


def _fit_classes(labels: NDArray[Any], output: Output, shape: tuple[int, ...]) -> Reading | None:
    """(N,) class indices and an output with one score for each class, or with one score for class 1."""
    if len(shape) > 1 or not _is_whole(labels):
        return None
    classes = 2 if not shape else shape[0]
    numbers = labels.astype(np.int64)
    if not shape and _holds_classes(output):
        return Reading("elements", output.name, numbers, is_class=True)
    if numbers.min() < 0 or (classes > 0 and numbers.max() >= classes):
        return None
    return Reading("classes", output.name, numbers)


def _fit_rows(labels: NDArray[Any], output: Output, shape: tuple[int, ...]) -> Reading | None:
    """(N, C) rows over the classes of a (C,) output: one-hot, distributions, or one yes or no for each class."""
    if len(shape) != 1 or labels.ndim != 2 or not _same(labels.shape[1:], shape):
        return None
    binary = bool(np.isin(labels, (0, 1)).all())
    within = bool(((labels >= 0) & (labels <= 1)).all())
    if within and bool((np.abs(labels.sum(axis=1, dtype=np.float64) - 1.0) <= _SUM_SLACK).all()):
        what = "one-hot rows" if binary else "distributions over the classes"
        said = Finding(
            LABELS_ONE_HOT if binary else LABELS_SOFT,
            f"y {list(labels.shape)} is read as {what}: the class of a sample is its largest entry",
        )
        return Reading("classes", output.name, labels.argmax(axis=1).astype(np.int64), findings=(said,))
    if not binary:
        return None
    several = Finding(
        LABELS_SEVERAL,
        f"y {list(labels.shape)} has several classes for a sample: the accuracy is the share of right entries, an "
        "entry of a sample being yes where its score is over 0.5 (over 0, where scores are logits)",
    )
    return Reading("elements", output.name, labels.astype(np.int64), findings=(several,))


def _fit_mask(labels: NDArray[Any], output: Output, shape: tuple[int, ...]) -> Reading | None:
    """(N, *S) class indices, or (N, *S, C) one-hot, and an output of (*S, C), (C, *S) or (*S)."""
    if not _is_whole(labels):
        return None
    numbers = labels.astype(np.int64)
    size = numbers.shape[1:]
    if len(shape) == len(size) and _same(size, shape):
        one_hot = _one_hot_mask(numbers, output)
        return one_hot or _fit_plain_mask(numbers, output)
    if len(shape) != len(size) + 1:
        return None
    for axis, rest, classes in ((-1, shape[:-1], shape[-1]), (0, shape[1:], shape[0])):
        if _same(size, rest):
            marked, said = _ignoring(numbers, classes)
            if marked is not None:
                return Reading("elements", output.name, marked, axis, findings=said)
    return None


def _one_hot_mask(numbers: NDArray[np.int64], output: Output) -> Reading | None:
    if numbers.ndim < 3 or numbers.shape[-1] < 2 or not np.isin(numbers, (0, 1)).all():
        return None
    if not (numbers.sum(axis=-1) == 1).all():
        return None
    said = Finding(LABELS_ONE_HOT, f"y {list(numbers.shape)} is read as one-hot masks along its last axis")
    return Reading("elements", output.name, numbers.argmax(axis=-1), -1, findings=(said,))


def _fit_plain_mask(numbers: NDArray[np.int64], output: Output) -> Reading | None:
    """One number for each element: a class if the output has integers, a score for yes if not."""
    is_class = _holds_classes(output)
    marked, said = _ignoring(numbers, int(np.iinfo(np.int64).max) if is_class else 2)
    return None if marked is None else Reading("elements", output.name, marked, is_class=is_class, findings=said)


def _holds_classes(output: Output) -> bool:
    return np.dtype(output.dtype).kind in "iub"


def _ignoring(numbers: NDArray[np.int64], classes: int) -> tuple[NDArray[np.int64] | None, tuple[Finding, ...]]:
    """Masks with what does not count as -1; None where they hold what is neither a class nor ignored."""
    last = classes if classes >= 0 else int(np.iinfo(np.int64).max)
    outside = (numbers < 0) | (numbers >= last)
    if not outside.any():
        return numbers, ()
    if not np.isin(numbers[outside], _IGNORED).all() or outside.all():
        return None, ()
    values = sorted({int(value) for value in np.unique(numbers[outside])})
    said = Finding(
        LABELS_IGNORED,
        f"{outside.mean():.1%} of the elements of y are {', '.join(map(str, values))}, which is not a class of the "
        "model: they do not count",
        evidence={"values": values, "share": float(outside.mean())},
    )
    return np.where(outside, _NO_CLASS, numbers), (said,)


def _fit_values(labels: NDArray[Any], output: Output, shape: tuple[int, ...]) -> Reading | None:
    """Numbers in the shape of an output: targets."""
    if len(shape) != labels.ndim - 1 or not _same(labels.shape[1:], shape):
        return None
    reason = f"the labels are targets of output {output}, not classes"
    return Reading("values", output.name, labels.astype(np.float64), reason=reason)


def _same(given: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(given) == len(wanted) and all(b in (-1, a) for a, b in zip(given, wanted, strict=True))


def _is_whole(labels: NDArray[Any]) -> bool:
    return labels.dtype.kind != "f" or bool(np.isfinite(labels).all() and (labels == np.rint(labels)).all())


def _without_ones(labels: NDArray[Any]) -> NDArray[Any]:
    """Without axes of size 1 but the first: (N, 1) class indices are (N,), masks (N, H, W, 1) are (N, H, W)."""
    kept = [size for axis, size in enumerate(labels.shape) if axis == 0 or size != 1]
    return labels.reshape(kept)


def _check_range(labels: NDArray[Any], outputs: Sequence[Output]) -> None:
    """Makes sure that some output has as many classes as the labels name.

    Raises:
        InvalidInput: no output has.
    """
    if labels.ndim != 1 or not _is_whole(labels):
        return
    columns = [shape[0] for output in outputs if len(shape := [n for n in output.shape if n != 1]) == 1]
    if not columns or min(columns) < 0:
        return
    most, low, high = max(columns), int(labels.min()), int(labels.max())
    worst = low if low < 0 else high
    hint = "check the labels' numbering; labels of an embedding need `data: {task: embedding}`, or --task embedding"
    if low >= 1 and high == most:
        hint = f"the labels are {low} to {high}: if they count from 1, subtract 1"
    elif low >= 0 and high == most:
        hint = f"the labels are 0 to {high}, one class more than the model has: is 0 a background class?"
    raise InvalidInput(f"label {worst} is outside the model's {most} classes (0 to {most - 1})", hint=hint)


def _with_notes(reading: Reading, outputs: Sequence[Output]) -> Reading:
    """With what the labels leave out: other outputs, and classes that never occur."""
    found = list(reading.findings)
    others = [str(output) for output in outputs if output.name != reading.output]
    used = next(output for output in outputs if output.name == reading.output)
    if others:
        message = (
            f"the labels belong to output {used}: of {', '.join(others)} they say nothing, so these are only compared "
            "with those of the reference"
        )
        found.append(Finding(LABELS_OUTPUTS, message))
    classes = [size for size in used.shape if size != 1]
    if reading.metric == "classes" and reading.labels is not None and classes and classes[0] > 1:
        seen = len(np.unique(reading.labels))
        # Few samples cannot have all classes.
        if seen < classes[0] and len(reading.labels) >= _ENOUGH * classes[0]:
            message = f"only {seen} of the model's {classes[0]} classes occur among the {len(reading.labels)} labels"
            found.append(Finding(LABELS_CLASSES, message, "add samples of the others, or the accuracy is of these"))
    return replace(reading, findings=tuple(found))


def _ambiguous(fitting: Sequence[Reading], outputs: Sequence[Output]) -> Reading:
    fits = {reading.output for reading in fitting}
    names = ", ".join(str(output) for output in outputs if output.name in fits)
    reason = f"the labels fit {len(fitting)} outputs of the model ({names}), and nothing says which one they belong to"
    fix = "test a model with the one output that the labels belong to, for example by naming it in `model.outputs`"
    return Reading(None, reason=reason, findings=(Finding(LABELS_AMBIGUOUS, reason, fix),))


def _unused(labels: NDArray[Any], outputs: Sequence[Output], why: str) -> Reading:
    shown = ", ".join(f"{output} {list(output.shape)}" for output in outputs)
    reason = f"the labels (y {labels.dtype} {list(labels.shape)}) are not used: {why} (per sample: {shown})"
    fix = "give class indices (N,), masks of the output's height and width, or targets of the output's shape"
    return Reading(None, reason=reason, findings=(Finding(LABELS_UNUSED, reason, fix),))
