"""The result of a comparison of accelerators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from windtunnel.diagnosis.findings.causes import Cause, Exclusion
from windtunnel.diagnosis.findings.comparison import SCHEMA, Verdict
from windtunnel.diagnosis.findings.coverage import Coverage
from windtunnel.diagnosis.kernels.result_distance import Distance
from windtunnel.diagnosis.kernels.rounding_bounds import Limit

Status = Literal["ran", "crashed", "refused", "not_available"]


@dataclass(frozen=True, slots=True)
class KernelRun:
    """How a run on one accelerator went. Distances are from the base; `reason` and `todo` say why it did not run.

    `output` is the distance of the worst output of the whole model. `local` is that of the worst layer in isolation, in
    quantization steps of integers and shares of the range of floats.
    """

    name: str
    status: Status
    reason: str = ""
    todo: str = ""
    output: Distance | None = None
    local_steps: float | None = None
    local_of_range: float | None = None
    differing_layers: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The entry of `kernels` in the document."""
        return {
            "name": self.name,
            "status": self.status,
            "reason": self.reason or None,
            "todo": self.todo or None,
            "output_nrmse": None if self.output is None else self.output.nrmse,
            "output_max_abs": None if self.output is None else self.output.max_abs,
            "local_max_steps": self.local_steps,
            "local_max_of_range": self.local_of_range,
            "differing_layers": self.differing_layers,
        }


@dataclass(frozen=True, slots=True)
class OpFigures:
    """One output of one op: distance of each accelerator from the base, isolated (`local`) and accumulated."""

    layer: str
    op: str
    op_index: int
    limit: Limit
    local: Mapping[str, Distance]
    accumulated: Mapping[str, Distance]

    def to_json(self) -> dict[str, Any]:
        """The entry of `layers`: figures of the worst accelerator, and those of each in `kernels`."""
        worst = _worst(self.accumulated)
        local = _worst(self.local)
        bad = sum(distance.non_finite[1] for distance in self.accumulated.values())
        return {
            "name": self.layer,
            "op": self.op,
            "op_index": self.op_index,
            "nrmse": None if worst is None else worst.nrmse,
            "local_nrmse": None if local is None else local.nrmse,
            "problem": "non_finite" if bad else None,
            "limit": {"value": self.limit.value, "unit": self.limit.unit, "why": self.limit.why},
            "kernels": {
                name: {"local": _figures(self.local.get(name)), "accumulated": _figures(self.accumulated.get(name))}
                for name in dict.fromkeys((*self.local, *self.accumulated))
            },
        }


@dataclass(frozen=True, slots=True)
class KernelReport:
    """A model on several accelerators. `base` is the one whose values every op was fed with."""

    verdict: Verdict
    base: str | None
    samples: int
    runs: tuple[KernelRun, ...]
    ops: tuple[OpFigures, ...]
    coverage: Coverage
    causes: tuple[Cause, ...] = ()
    excluded: tuple[Exclusion, ...] = ()
    reasons: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The diagnosis, with the accelerators in addition."""
        return {
            "schema": SCHEMA,
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "causes": [cause.to_json() for cause in self.causes],
            "excluded": [one.to_json() for one in self.excluded],
            "coverage": self.coverage.to_json(),
            "layers": [op.to_json() for op in self.ops],
            "samples": self.samples,
            "base": self.base,
            "kernels": [run.to_json() for run in self.runs],
            "settings": dict(self.settings),
        }


def _worst(distances: Mapping[str, Distance]) -> Distance | None:
    """The distance with the largest nRMSE; one without a figure is larger than any."""
    return max(distances.values(), key=lambda distance: (distance.nrmse is None, distance.nrmse or 0.0), default=None)


def _figures(distance: Distance | None) -> dict[str, Any] | None:
    if distance is None:
        return None
    return {
        "nrmse": distance.nrmse,
        "max_abs": distance.max_abs,
        "of_range": distance.of_range,
        "share": distance.share,
        "non_finite": distance.non_finite[1],
        "base_non_finite": distance.non_finite[0],
    }
