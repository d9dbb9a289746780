"""Figures of one model on labeled samples, summed up sample by sample, however the labels are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.datacheck.classifier_scores import OutputKind
from windtunnel.datacheck.findings import LABELS_TARGETS, Finding
from windtunnel.datacheck.labels import Reading
from windtunnel.datacheck.output_metrics import element_accuracy
from windtunnel.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Error:
    """Errors against targets, in their unit: mean absolute error and root mean square error."""

    mae: float
    rmse: float


class ElementSums:
    """Share of right elements of masks: right / counted, over all samples.

    With a class axis an element's class is the largest score along it. Without one, an integer output is the class
    itself, and a real output says yes above 0.5 if all outputs so far are in [0, 1], above 0 otherwise.

    Args:
        reading: how the labels are read.
        kind: of the outputs; None: values decide.
    """

    def __init__(self, reading: Reading, kind: OutputKind | None = None) -> None:
        self._reading = reading
        self._kind = kind
        self._within = True
        # Of each sample: counted elements; right ones where a score is a probability, and where it is a logit.
        self._counts: list[tuple[int, int, int]] = []
        self.finite = True

    def add(self, sample: int, output: NDArray[Any]) -> None:
        """Adds one sample.

        Args:
            sample: its number, for the labels and for messages.
            output: of the model, without its batch axis.
        """
        assert self._reading.labels is not None
        labels = self._reading.labels[sample]
        counts = labels >= 0
        scores = np.asarray(output)
        require_fit(scores.shape, labels.shape, self._reading.class_axis, sample)
        self.finite &= bool(scores.dtype.kind != "f" or np.isfinite(scores).all())
        first, second = (int(((one == labels) & counts).sum()) for one in self._classes(scores, labels.shape))
        self._counts.append((int(counts.sum()), first, second))

    def _classes(self, scores: NDArray[Any], shape: tuple[int, ...]) -> tuple[NDArray[Any], NDArray[Any]]:
        axis = self._reading.class_axis
        if axis is not None:
            # Axes of size 1 in addition to those of the labels carry nothing.
            kept = [size for size in scores.shape if size != 1]
            classes = scores.reshape(kept).argmax(axis=axis)
            return classes, classes
        flat = scores.reshape(shape)
        if self._reading.is_class:
            return flat, flat
        self._within &= bool(((flat >= 0.0) & (flat <= 1.0)).all())
        return flat > 0.5, flat > 0.0

    def result(self) -> float | None:
        """The share of right elements; None without any, or where an output is not finite."""
        counted, right = self._columns()
        return element_accuracy(right, counted) if self.finite else None

    def spread(self) -> float | None:
        """Standard deviation of a sample's share of right elements, weighted by its elements; None if not known.

        sqrt(sum((right - p * counted)^2) / (n - 1)) / mean(counted) over the n samples with elements that count, with
        the share p of all: divided by sqrt(n) it is the standard error of p as a ratio of sums.
        """
        share, (counted, right) = self.result(), self._columns()
        counted, right = counted[counted > 0], right[counted > 0]
        if share is None or len(counted) < 2:
            return None
        squares = np.square(right - share * counted).sum() / (len(counted) - 1)
        return float(np.sqrt(squares) / counted.mean())

    def shares(self) -> NDArray[np.float64]:
        """The share of right elements of each sample; 1 for one without elements that count."""
        counted, right = self._columns()
        return np.where(counted > 0, right / np.maximum(counted, 1), 1.0)

    def _columns(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        table = np.array(self._counts, dtype=np.int64).reshape(-1, 3)
        logits = self._kind == "logits" if self._kind is not None else not self._within
        return table[:, 0], table[:, 2 if logits else 1]

    def state(self) -> dict[str, NDArray[Any]]:
        """The sums as arrays, for `restore`; they grow by three numbers per sample."""
        counts = np.array(self._counts, dtype=np.int64).reshape(-1, 3)
        return {"flags": np.array([self._within, self.finite], dtype=np.int64), "counts": counts}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Replaces the sums with those of another `state`.

        Args:
            state: arrays by name.

        Raises:
            KeyError: an array is missing.
            ValueError: an array does not have the right size.
        """
        self._within, self.finite = (bool(value) for value in state["flags"])
        self._counts = [(int(a), int(b), int(c)) for a, b, c in state["counts"]]


class ValueSums:
    """Errors against targets over all samples and elements.

    Args:
        reading: how the targets are read.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._sums = np.zeros(3)

    def add(self, sample: int, output: NDArray[Any]) -> None:
        """Adds one sample.

        Args:
            sample: its number, for the targets and for messages.
            output: of the model, without its batch axis.
        """
        assert self._reading.labels is not None
        wanted = np.atleast_1d(self._reading.labels[sample])
        require_fit(np.shape(output), wanted.shape, None, sample)
        error = np.asarray(output, np.float64).reshape(wanted.shape) - wanted
        self._sums += (np.abs(error).sum(), np.square(error).sum(), error.size)

    def result(self) -> Error | None:
        """The errors; None without samples, or where an output is not finite."""
        absolute, square, count = self._sums
        if not count or not np.isfinite(self._sums).all():
            return None
        return Error(float(absolute / count), float(np.sqrt(square / count)))

    def state(self) -> dict[str, NDArray[Any]]:
        """The sums as an array, for `restore`."""
        return {"sums": self._sums}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Replaces the sums with those of another `state`.

        Args:
            state: arrays by name.

        Raises:
            KeyError: an array is missing.
            ValueError: it does not have three numbers.
        """
        absolute, square, count = (float(value) for value in state["sums"])
        self._sums = np.array([absolute, square, count])


def require_fit(output: tuple[int, ...], labels: tuple[int, ...], class_axis: int | None, sample: int) -> None:
    """Compares the size of an output with dynamic dimensions with the size of its labels.

    Args:
        output: shape of one sample's output.
        labels: shape of its labels.
        class_axis: of the output; None: it has none.
        sample: its number, for the message.

    Raises:
        InvalidInput: they differ.
    """
    # Axes of size 1 carry nothing.
    kept = [size for size in output if size != 1]
    wanted = [size for size in labels if size != 1]
    if class_axis is not None:
        kept = kept[:-1] if class_axis else kept[1:]
    if kept == wanted:
        return
    raise InvalidInput(
        f"the labels of sample {sample} have the shape {list(labels)}, and the model's output for it has "
        f"{list(output)}",
        hint="give masks or targets of the size that the output has for these samples, or samples of another size",
    )


def target_errors_finding(
    reading: Reading, first: Error | None, second: Error | None, names: tuple[str, str]
) -> Finding | None:
    """The errors of two models against targets as a finding.

    Args:
        reading: how the targets are read.
        first: errors of the first model, in the targets' unit; None: not measured.
        second: errors of the second model.
        names: of the two models, for the message.

    Returns:
        None if the labels are not targets, or nothing was measured.
    """
    known = {name: error for name, error in zip(names, (first, second), strict=True) if error is not None}
    if reading.metric != "values" or not known:
        return None
    said = "; ".join(f"{name}: MAE {error.mae:.4g}, RMSE {error.rmse:.4g}" for name, error in known.items())
    return Finding(
        LABELS_TARGETS,
        f"{reading.reason}. {said}",
        "no gate judges these figures unless the plan has `data: {task: regression}`; `layer_nrmse` guards against a "
        "changed output",
        {name: {"mae": error.mae, "rmse": error.rmse} for name, error in known.items()},
    )
