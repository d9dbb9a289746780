"""What a diagnosis of an app says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from windtunnel.datacheck.classifier_scores import Scores
from windtunnel.datacheck.findings import Finding
from windtunnel.diagnosis.findings.causes import Cause, Exclusion
from windtunnel.diagnosis.findings.comparison import SCHEMA, VERDICTS, Verdict
from windtunnel.diagnosis.findings.coverage import Coverage
from windtunnel.diagnosis.findings.layer_diff import LayerDiff


@dataclass(frozen=True, slots=True)
class AppFigures:
    """How an app differs from its reference.

    Attributes:
        input_nrmse: of what the app fed, against the pipeline, by input; None: not comparable.
        output_nrmse: of the outputs of the model, fed by the app and by the pipeline.
        agreement: share of frames in which both name the same class.
        scores: of the app, by its recorded outputs.
        scores_reference: of the model fed by the pipeline.
    """

    input_nrmse: Mapping[str, float | None] = field(default_factory=dict)
    output_nrmse: float | None = None
    agreement: float | None = None
    scores: Scores | None = None
    scores_reference: Scores | None = None

    @property
    def accuracy_drop(self) -> float | None:
        """How much lower the app's accuracy is."""
        if self.scores is None or self.scores_reference is None:
            return None
        return self.scores_reference.top1 - self.scores.top1


@dataclass(frozen=True, slots=True)
class AppDiagnosis:
    """An app against its reference.

    Attributes:
        verdict: healthy, degraded or broken.
        reasons: of the verdict, as sentences.
        causes: the most likely first.
        excluded: what was looked for and ruled out.
        findings: what was noticed.
        figures: how far the app is from its reference.
        coverage: layers that were recorded and compared.
        layers: their errors.
        frames: how many were replayed.
        source: the recording.
        device: where it was recorded, by name; empty values are left out.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    causes: tuple[Cause, ...]
    excluded: tuple[Exclusion, ...]
    findings: tuple[Finding, ...]
    figures: AppFigures
    coverage: Coverage
    layers: tuple[LayerDiff, ...]
    frames: int
    source: str
    device: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The diagnosis, as `--json` prints it."""
        figures = self.figures
        return {
            "schema": SCHEMA,
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "causes": [cause.to_json() for cause in self.causes],
            "excluded": [one.to_json() for one in self.excluded],
            "findings": [one.to_json() for one in self.findings],
            "coverage": self.coverage.to_json(),
            "layers": [layer.to_json() for layer in self.layers],
            "samples": self.frames,
            "accuracy": {
                "reference": _scores(figures.scores_reference),
                "candidate": _scores(figures.scores),
                "drop": figures.accuracy_drop,
            },
            "agreement": figures.agreement,
            "output_nrmse": figures.output_nrmse,
            "input_nrmse": dict(figures.input_nrmse),
            "edge": {"source": self.source, "device": dict(self.device)},
        }


@dataclass(frozen=True, slots=True)
class AppDiagnoses:
    """Several recordings of apps against one reference, in the order of the files."""

    recordings: tuple[AppDiagnosis, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst."""
        return max((one.verdict for one in self.recordings), key=VERDICTS.index)

    def to_json(self) -> dict[str, Any]:
        """The diagnosis of the only recording; of several that of the worst, with all below `recordings`."""
        worst = max(self.recordings, key=lambda one: (VERDICTS.index(one.verdict), len(one.causes)))
        if len(self.recordings) == 1:
            return worst.to_json()
        return worst.to_json() | {"recordings": [one.to_json() for one in self.recordings]}


def _scores(scores: Scores | None) -> dict[str, float] | None:
    if scores is None:
        return None
    return {"top1": scores.top1, "precision": scores.precision, "recall": scores.recall, "loss": scores.loss}
