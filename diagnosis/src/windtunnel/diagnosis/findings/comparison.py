"""What a comparison of two models says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from windtunnel.datacheck.findings import Finding
from windtunnel.diagnosis.findings.causes import Cause, Exclusion
from windtunnel.diagnosis.findings.comparison_settings import ComparisonSettings
from windtunnel.diagnosis.findings.coverage import Coverage
from windtunnel.diagnosis.findings.divergence import Limit, diverges, has_figure
from windtunnel.diagnosis.findings.histogram import Histogram
from windtunnel.diagnosis.findings.layer_diff import LayerDiff
from windtunnel.diagnosis.findings.output_diff import OutputDiff
from windtunnel.tasks.task_sums import TaskDiff

Verdict = Literal["healthy", "degraded", "broken"]
# From good to bad.
VERDICTS: Final[tuple[Verdict, ...]] = get_args(Verdict)

SCHEMA = "windtunnel.diagnosis/1"


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
    settings: ComparisonSettings = field(default_factory=ComparisonSettings)
    histograms: Mapping[str, Histogram] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    task: TaskDiff | None = None

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
        return layers or sum(failure.non_finite for failure in self.output.failures)

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
            "task": None if self.task is None else self.task.to_json(),
            "agreement": output.agreement,
            "output_nrmse": output.nrmse,
            "failures": [one.words() for one in output.failures],
            "settings": self.settings.to_json(),
            "histograms": {name: one.to_json() for name, one in self.histograms.items()},
        }
