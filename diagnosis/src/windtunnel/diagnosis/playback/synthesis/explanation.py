"""What an explanation of an app's inputs says."""

from __future__ import annotations

from dataclasses import dataclass

from windtunnel.diagnosis.findings.kinds.preprocessing import PreprocessingFinding


@dataclass(frozen=True, slots=True)
class Explanation:
    """How what an app fed differs from what the pipeline feeds.

    Attributes:
        findings: what differs; empty: nothing, or nothing that is known.
        before: nRMSE of what the app fed, against the pipeline; None: the shapes differ, or a value is not finite.
        after: nRMSE that the explanation leaves.
        frames: how many were replayed.
        notes: what was seen and is not a cause, as sentences.
    """

    findings: tuple[PreprocessingFinding, ...]
    before: float | None
    after: float
    frames: int
    notes: tuple[str, ...] = ()
