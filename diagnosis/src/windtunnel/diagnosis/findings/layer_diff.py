"""How far a layer of the candidate is from the reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Why a layer has no figure: NaN or infinity; both sides constant but different; run-time shapes that differ.
NON_FINITE = "non_finite"
CONSTANT_DIFFERS = "constant_differs"
SHAPE_DIFFERS = "shape_differs"


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
