"""What a comparison of two models says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from windtunnel.datacheck.findings import Finding
from windtunnel.diagnosis.findings.causes import Cause, Exclusion
from windtunnel.diagnosis.findings.limit import Limit

Verdict = Literal["healthy", "degraded", "broken"]

# Why a layer has no figure: NaN or infinity; both sides constant but different; run-time shapes that differ.
NON_FINITE = "non_finite"
CONSTANT_DIFFERS = "constant_differs"
SHAPE_DIFFERS = "shape_differs"

# How the text of an output's failure ends for NaN or infinity.
HOLDS_NON_FINITE = "holds NaN or infinity"

SCHEMA = "windtunnel.diagnosis/1"


@dataclass(frozen=True, slots=True)
class LayerDiff:
    """The error of one layer of the candidate against the reference, over all samples.

    Args:
        name: the layer in the candidate.
        op: its op in the candidate.
        op_index: the index of this op in execution order.
        reference: the layer in the reference.
        metrics: every metric by its name (docs/metrics.md), as a number, the ends of an interval, figures by name, or
            None.
        problem: why there is no nRMSE.
        non_finite: how many values of the candidate are NaN or infinite.
        reference_non_finite: how many values of the reference are.
        local_nrmse: nRMSE of the isolated error; None if it is not known.
        local_rmse: RMSE of the isolated error, in real units of the layer.
        is_choice: it holds indices or counts, which rounding before it may change: its figures do not count.
        reference_ops: the ops of the reference that make the layer, by index.
        members: the ops of the candidate that make the layer, by index.
        why: notes on what quantization costs the layer, as in the document.
    """

    name: str
    op: str
    op_index: int
    reference: str
    metrics: Mapping[str, Any]
    problem: str | None = None
    non_finite: int = 0
    reference_non_finite: int = 0
    local_nrmse: float | None = None
    local_rmse: float | None = None
    is_choice: bool = False
    reference_ops: tuple[int, ...] = ()
    members: tuple[int, ...] = ()
    why: tuple[Mapping[str, Any], ...] = ()

    @property
    def nrmse(self) -> float | None:
        """The accumulated nRMSE, which the threshold limits; None if `problem` says why."""
        found: float | None = self.metrics["nrmse"]
        return found

    def to_json(self) -> dict[str, Any]:
        """The entry of `layers` in a diagnosis."""
        return {
            "name": self.name,
            "op": self.op,
            "op_index": self.op_index,
            "reference": self.reference,
            **{name: list(value) if isinstance(value, tuple) else value for name, value in self.metrics.items()},
            "problem": self.problem,
            "non_finite": {"candidate": self.non_finite, "reference": self.reference_non_finite},
            "local_nrmse": self.local_nrmse,
            "local_rmse": self.local_rmse,
            "is_choice": self.is_choice,
            "reference_ops": list(self.reference_ops),
            "members": list(self.members),
            "why": list(self.why),
        }


@dataclass(frozen=True, slots=True)
class Unmatched:
    """A layer without a counterpart, and why. `inside`: it is part of a layer that was compared."""

    name: str
    op: str
    op_index: int
    reason: str
    inside: bool = False

    def to_json(self) -> dict[str, Any]:
        """The entry of `unmatched_layers` and `unmatched_reference`."""
        return {"name": self.name, "op": self.op, "op_index": self.op_index, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many of the candidate's layers were compared; what was not is named.

    Layers are op outputs that depend on the input; QUANTIZE and DEQUANTIZE only restate a value, and do not
    count. `unmatched_reference` are layers of the reference that the candidate does not have.
    """

    compared: int
    total: int
    unmatched: tuple[Unmatched, ...] = ()
    unmatched_reference: tuple[Unmatched, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """`coverage` of a diagnosis."""
        return {
            "compared": self.compared,
            "total": self.total,
            "unmatched": [layer.name for layer in self.unmatched],
            "unmatched_layers": [layer.to_json() for layer in self.unmatched],
            "unmatched_reference": [layer.to_json() for layer in self.unmatched_reference],
        }


@dataclass(frozen=True, slots=True)
class Accuracy:
    """A classifier's figures: shares in [0, 1], loss in nats."""

    top1: float
    precision: float
    recall: float
    loss: float

    def to_json(self) -> dict[str, float]:
        """`accuracy.reference` and `accuracy.candidate` of a diagnosis."""
        return {"top1": self.top1, "precision": self.precision, "recall": self.recall, "loss": self.loss}


@dataclass(frozen=True, slots=True)
class OutputDiff:
    """How the models' outputs compare.

    `agreement` is the share of samples with the same argmax; None: outputs have none. `is_classifier`: that argmax is
    known to be a class (labels, or a softmax or sigmoid in the graph).
    `judged` is how many outputs have been compared. `changed` is the share of samples whose argmax changed although
    the reference's was clear (`outputs.CLEAR`).
    `nrmse` is that of the worst output, None where one has no figure. `failures` are named failures of outputs.
    `reference_finite`: some output of the reference is finite. `lost` and `gained` count the samples that only the
    reference, only the candidate classifies as labeled. `elements`: the share of right elements of masks, of the
    reference and of the candidate.
    """

    reference: Accuracy | None
    candidate: Accuracy | None
    agreement: float | None
    nrmse: float | None
    failures: tuple[str, ...] = ()
    is_classifier: bool = True
    reference_finite: bool = True
    lost: int | None = None
    gained: int | None = None
    changed: float = 0.0
    elements: tuple[float | None, float | None] = (None, None)
    judged: int = 1

    @property
    def accuracy_drop(self) -> float | None:
        """Top-1 of the reference less the candidate's, absolute; None where one is unknown."""
        if self.reference is None or self.candidate is None:
            return None
        return self.reference.top1 - self.candidate.top1


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of real values per bin: `edges` are bins + 1 rising numbers, the last bin includes its upper edge."""

    edges: tuple[float, ...]
    reference: tuple[int, ...]
    candidate: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """The entry of `histograms` in a diagnosis."""
        return {"edges": list(self.edges), "reference": list(self.reference), "candidate": list(self.candidate)}


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that is known about a candidate against its reference."""

    verdict: Verdict
    reasons: tuple[str, ...]
    coverage: Coverage
    layers: tuple[LayerDiff, ...]
    output: OutputDiff
    limit: Limit
    samples: int
    causes: tuple[Cause, ...] = ()
    excluded: tuple[Exclusion, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    histograms: Mapping[str, Histogram] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def judged(self) -> int:
        """How many of the compared layers have a figure that says something about the candidate."""
        return sum(has_figure(layer) for layer in self.layers)

    @property
    def first_over(self) -> LayerDiff | None:
        """The first layer in execution order that diverges, or has no figure for a named reason."""
        return next((layer for layer in self.layers if diverges(layer, self.limit)), None)

    @property
    def max_nrmse(self) -> float | None:
        """The largest figure of all layers but choices; None if there is none."""
        figures = (layer.nrmse for layer in self.layers if layer.nrmse is not None and not layer.is_choice)
        return max(figures, default=None)

    @property
    def non_finite(self) -> int:
        """How many layers have NaN or infinity and the reference has none; without such a layer, how many outputs.

        What both models have, such as a mask of minus infinity, is not a fault of the candidate.
        """
        layers = sum(layer.non_finite > 0 and not layer.reference_non_finite for layer in self.layers)
        return layers or sum(failure.endswith(HOLDS_NON_FINITE) for failure in self.output.failures)

    def to_json(self) -> dict[str, Any]:
        """The diagnosis, as `--json` prints it."""
        first, output = self.first_over, self.output
        return {
            "schema": SCHEMA,
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "causes": [cause.to_json() for cause in self.causes],
            "excluded": [one.to_json() for one in self.excluded],
            "findings": [one.to_json() for one in self.findings],
            "coverage": self.coverage.to_json() | {"judged": self.judged},
            "layers": [layer.to_json() for layer in self.layers],
            "threshold": self.limit.nrmse,
            "limit": self.limit.to_json(),
            "max_nrmse": self.max_nrmse,
            "first_over": None if first is None else {"layer": first.name, "op_index": first.op_index},
            "samples": self.samples,
            "accuracy": {
                "reference": output.reference.to_json() if output.reference else None,
                "candidate": output.candidate.to_json() if output.candidate else None,
                "drop": output.accuracy_drop,
            },
            "element_accuracy": {"reference": output.elements[0], "candidate": output.elements[1]},
            "agreement": output.agreement,
            "output_nrmse": output.nrmse,
            "failures": list(output.failures),
            "settings": dict(self.settings),
            "histograms": {name: one.to_json() for name, one in self.histograms.items()},
        }


def has_figure(layer: LayerDiff) -> bool:
    """Whether a layer's figure, or the named reason why it has none, says something about the candidate.

    Args:
        layer: of a comparison.

    Returns:
        False for a layer of choices.
    """
    return not layer.is_choice and (layer.nrmse is not None or layer.problem is not None)


def diverges(layer: LayerDiff, limit: Limit) -> bool:
    """Whether a layer diverges.

    Args:
        layer: of a comparison.
        limit: of a metric.

    Returns:
        True for a layer without a figure for a named reason; False for a layer of choices.
    """
    return not layer.is_choice and (layer.problem is not None or limit.exceeded_by(layer.metrics[limit.metric]))
