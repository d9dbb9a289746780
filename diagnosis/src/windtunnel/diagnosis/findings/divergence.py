"""When a layer diverges: it exceeds the limit of a metric, or has no figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from windtunnel.diagnosis.findings.layer_diff import LayerDiff
from windtunnel.plain_text import is_number
from windtunnel.thresholds import DEFAULT_THRESHOLD

# Which values of a metric are good.
Better = Literal["lower", "higher", "closer to 0"]
NRMSE: Final = "nrmse"


@dataclass(frozen=True, slots=True)
class Limit:
    """The limit of a metric.

    Args:
        threshold: the value of the metric beyond which a layer diverges, in its unit.
        metric: the name of the metric (docs/metrics.md).
        better: which of its values are good.
    """

    threshold: float = DEFAULT_THRESHOLD
    metric: str = NRMSE
    better: Better = "lower"

    @property
    def nrmse(self) -> float:
        """The threshold for nRMSE: the default one if the limit is on another metric."""
        return self.threshold if self.metric == NRMSE else DEFAULT_THRESHOLD

    def exceeded_by(self, value: float | None) -> bool:
        """Whether a value is beyond the limit.

        Args:
            value: of the metric; None: there is none.

        Returns:
            False for None.
        """
        if value is None:
            return False
        if self.better == "higher":
            return value < self.threshold
        return (abs(value) if self.better == "closer to 0" else value) > self.threshold

    def words(self) -> str:
        """The limit as words, for example "cosine below 0.99"."""
        name = "nRMSE" if self.metric == NRMSE else self.metric
        relation = "below" if self.better == "higher" else "over"
        size = f"|{name}|" if self.better == "closer to 0" else name
        return f"{size} {relation} {self.threshold:g}"

    def to_json(self) -> dict[str, Any]:
        """`limit` of a diagnosis."""
        return {"metric": self.metric, "threshold": self.threshold, "better": self.better}


def limit_of(diagnosis: Mapping[str, Any]) -> Limit:
    """The limit of a diagnosis.

    Args:
        diagnosis: the document.

    Returns:
        Its `limit`; in a document without it, its `threshold` on nRMSE.
    """
    kept = diagnosis.get("limit")
    if isinstance(kept, Mapping) and kept.get("metric") and isinstance(kept.get("threshold"), int | float):
        better = kept.get("better")
        known: Better = better if better in ("higher", "closer to 0") else "lower"
        return Limit(float(kept["threshold"]), str(kept["metric"]), known)
    threshold = diagnosis.get("threshold")
    return Limit(float(threshold)) if isinstance(threshold, int | float) and threshold > 0 else Limit()


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


def entry_diverges(layer: Mapping[str, Any], limit: Limit) -> bool:
    """Whether a layer of a document diverges.

    Args:
        layer: an entry of `layers` in a diagnosis of any version.
        limit: of a metric.

    Returns:
        True also for an entry without nRMSE; False for a layer of choices.
    """
    value = layer.get(limit.metric)
    counts = layer.get("problem") is not None or not is_number(layer.get("nrmse"))
    return (counts or limit.exceeded_by(value if is_number(value) else None)) and not layer.get("is_choice")
