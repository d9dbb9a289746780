"""Figures of a model against the float model over the same samples; pure numpy, float64."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from windtunnel.datacheck.chance import Z_975, wilson_interval
from windtunnel.datacheck.classifier_scores import OutputKind
from windtunnel.datacheck.output_metrics import accuracy_drop, agree
from windtunnel.tflite.tensor_error import RunningNrmse

# What the gate accuracy_drop is measured by.
Measure = Literal["labels", "agreement", "output_nrmse"]


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model answered on one part of the samples.

    `decisions` (N,) are the predicted classes, -1 for an output that is not finite; None: outputs are not classes.
    `nrmse` is that of the worst output against the float model; None: it has none. `non_finite` counts samples. `kind`
    is how the decisions were read; None: outputs are not classes.
    """

    decisions: NDArray[np.int64] | None
    nrmse: float | None
    non_finite: int
    kind: OutputKind | None = None


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of an inference on one device, over `samples` of them."""

    p50: float
    p95: float
    samples: int

    @classmethod
    def of(cls, times_ms: NDArray[np.float64]) -> Latency:
        """Median and 95th percentile of raw times.

        Args:
            times_ms: (N,), in ms.

        Returns:
            The latency.
        """
        return cls(float(np.percentile(times_ms, 50)), float(np.percentile(times_ms, 95)), len(times_ms))


@dataclass(frozen=True, slots=True)
class LatencyRatio:
    """A model's p50 over the variant's, and the 95 % interval that the noise of their runs leaves."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, variant_ms: NDArray[np.float64], model_ms: NDArray[np.float64]) -> LatencyRatio:
        """Ratio of the latencies of two models that ran in turns.

        A load on the machine slows both runs of a turn, so the ratio within a turn has less noise than the times.

        Args:
            variant_ms: (N,), in ms.
            model_ms: (N,), in ms, of the same turns.

        Returns:
            The ratio with its interval, see `median_interval`.
        """
        value = float(np.median(model_ms) / np.median(variant_ms))
        low, high = median_interval(model_ms / variant_ms)
        return cls(value, min(low, value), max(high, value))

    def is_below(self, other: LatencyRatio, factor: float = 1.0) -> bool:
        """Whether a ratio is lower beyond the noise.

        Args:
            other: of another model.
            factor: lower than so many times the other one.

        Returns:
            True: the upper end is below the other's lower end times `factor`.
        """
        return self.high < other.low * factor


@dataclass(frozen=True, slots=True)
class Figures:
    """A model against the float model. `accuracy` only with labels; `drop` is what `measure` says, None: no figure."""

    measure: Measure
    accuracy: float | None
    drop: float | None
    drop_interval: tuple[float, float] | None
    agreement: float | None
    output_nrmse: float | None
    non_finite: int

    def to_json(self) -> dict[str, Any]:
        """As in the remedy's JSON."""
        found = asdict(self)
        interval = found.pop("drop_interval")
        del found["measure"]
        return {
            "accuracy": found["accuracy"],
            "accuracy_drop": found.pop("drop"),
            "accuracy_drop_ci": None if interval is None else list(interval),
            **{key: found[key] for key in ("agreement", "output_nrmse", "non_finite")},
        }

    @property
    def order(self) -> tuple[float, float, float]:
        """Smaller is better; what has no figure is worst."""
        agreement = 1.0 if self.agreement is None else 1.0 - self.agreement
        return _or_worst(self.drop), agreement, _or_worst(self.output_nrmse)


def _or_worst(value: float | None) -> float:
    return math.inf if value is None else value


def figures(reference: Answers, model: Answers, classes: NDArray[np.int64] | None, measure: Measure) -> Figures:
    """Compares a model with the float model.

    Args:
        reference: answers of the float model.
        model: answers on the same samples, in the same order.
        classes: (N,) right classes, for the measure "labels".
        measure: "labels": accuracy of the float model less the model's; "agreement": share of samples on which the two
            decide differently; "output_nrmse": RMSE of the outputs over their range.

    Returns:
        The figures.
    """
    expected, found = reference.decisions, model.decisions
    same = None if expected is None or found is None else agree(expected, found)
    agreement = None if same is None else float(same.mean())
    accuracy = drop = None
    interval = None
    if measure == "labels" and classes is not None and expected is not None and found is not None:
        before, after = expected == classes, found == classes
        accuracy, drop = float(after.mean()), accuracy_drop(before, after)
        interval = paired_drop_interval(before, after)
    elif measure == "agreement" and same is not None:
        others = int((~same).sum())
        drop, interval = others / len(same), share_interval(others, len(same))
    elif measure == "output_nrmse" and not model.non_finite:
        drop = model.nrmse
    return Figures(measure, accuracy, drop, interval, agreement, model.nrmse, model.non_finite)


def paired_drop_interval(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> tuple[float, float]:
    """95 % interval of the drop in accuracy of paired answers: Wald with 1/2 added to each of the four cells.

    Agresti and Min, "Simple improved confidence intervals for comparing matched proportions", Statistics in Medicine
    24 (2005): it holds its level for small samples and for no discordant pair, where Wald's collapses to a point.

    Args:
        before: (N,) which answers of the one model are right.
        after: (N,) the same of the other model, on the same samples.

    Returns:
        (low, high) of the drop, -1 to 1.
    """
    lost, won = float((before & ~after).sum()) + 0.5, float((~before & after).sum()) + 0.5
    count = len(before) + 2.0
    middle = (lost - won) / count
    half = Z_975 * math.sqrt(max(lost + won - (lost - won) ** 2 / count, 0.0)) / count
    return max(-1.0, middle - half), min(1.0, middle + half)


def share_interval(hits: int, count: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson).

    Args:
        hits: how many.
        count: of how many, at least 1.

    Returns:
        (low, high), 0 to 1.
    """
    return wilson_interval(hits / count, count, Z_975)


def median_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """95 % interval of the median by order statistics: no distribution is assumed.

    The k-th least and greatest of n values, k the largest with 2 P(B < k) <= 0.05, B binomial with n and 1/2
    (Conover, Practical Nonparametric Statistics, 1999, 3.2). Fewer than 6 values: the least and the greatest.

    Args:
        values: (N,).

    Returns:
        (low, high), in the unit of the values.
    """
    ordered = np.sort(values)
    count, k = len(ordered), 0
    # 2^n P(B = k) and 2^n P(B <= k) in whole numbers: n may be thousands.
    ways = below = 1
    while 40 * below <= 2**count:
        ways = ways * (count - k) // (k + 1)
        below, k = below + ways, k + 1
    place = max(k - 1, 0)
    return float(ordered[place]), float(ordered[count - 1 - place])


class Drift:
    """Running nRMSE of one output over the samples on which both sides are finite and of one shape."""

    def __init__(self) -> None:
        self._sums = RunningNrmse()

    def add(self, reference: NDArray[Any], model: NDArray[Any]) -> bool:
        """Adds one sample.

        Args:
            reference: output of the float model.
            model: output of the other model.

        Returns:
            False, and nothing added: it is not finite or of another shape.
        """
        if np.shape(reference) != np.shape(model) or not (np.isfinite(reference).all() and np.isfinite(model).all()):
            return False
        self._sums.add(reference, model)
        return True

    def nrmse(self) -> float | None:
        """Over all samples so far; None without any, or if a constant output differs."""
        return self._sums.nrmse() if self._sums.count else None
