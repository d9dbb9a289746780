"""What an app makes of right outputs differently than the pipeline says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from windtunnel.diagnosis.findings.cause_finding import CauseFinding
from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.findings.fixes import Fix


@dataclass(frozen=True, slots=True, kw_only=True)
class PostprocessingFinding(CauseFinding):
    """The base of all: `app` and `pipeline` say in words what each does.

    `without`, `explained`: share of detections that differ in the best explanation without this, and in the whole one.
    """

    is_family: ClassVar[bool] = True
    app: str
    pipeline: str
    step: str
    without: float
    explained: float
    frames: int

    def fix(self) -> Fix:
        """What makes the app do as the pipeline says."""
        return Fix(action=f"do as the pipeline says: {self.pipeline}")

    def words(self) -> tuple[str, ...]:
        """Both sides, and the replay."""
        return (
            f"app: {self.app}; pipeline: {self.pipeline}",
            f"made again from the recorded outputs of {self.frames} frames, {self.explained:.1%} of the detections "
            f"differ; without this difference {self.without:.1%}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeFinding(PostprocessingFinding):
    """Boxes or scores are computed from the outputs differently."""

    code: ClassVar[CauseCode] = CauseCode.POSTPROCESSING_DECODE


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdFinding(PostprocessingFinding):
    """Detections are kept from another score on."""

    code: ClassVar[CauseCode] = CauseCode.POSTPROCESSING_THRESHOLD


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionFinding(PostprocessingFinding):
    """Overlapping detections are suppressed differently, or another number is kept."""

    code: ClassVar[CauseCode] = CauseCode.POSTPROCESSING_NMS


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionLabelsFinding(PostprocessingFinding):
    """The classes of detections are numbered differently."""

    code: ClassVar[CauseCode] = CauseCode.OUTPUT_LABELS
