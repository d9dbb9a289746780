"""Causes of a difference, and what was ruled out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from windtunnel.diagnosis.findings.cause_finding import CauseFinding
from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.findings.document import json_of
from windtunnel.diagnosis.findings.trial import NO_TRIAL, SubgraphPlace, Trial


@dataclass(frozen=True, slots=True)
class Cause:
    """A reason for a difference: what was found, where, how sure that is, and what a trial of the fix showed.

    `layer` is the output tensor's name in the candidate, `op_index` its op; None: no single place. `confidence` in
    [0, 1]. `inside`: the place in another graph, if the place named is only the op that runs it.
    `rule` names the rule that decided.
    """

    finding: CauseFinding
    confidence: float
    layer: str | None = None
    op_index: int | None = None
    verified: bool = False
    trial: Trial = NO_TRIAL
    inside: SubgraphPlace | None = None
    rule: str | None = None

    @property
    def code(self) -> CauseCode:
        """Its code in the table of the formats' documentation."""
        return self.finding.code

    @property
    def isolated_error(self) -> float | None:
        """The layer's isolated error (nRMSE) without a fix; None if it is not known or not finite."""
        known = self.trial.layer
        return self.finding.isolated_error if known is None else known.finite_before

    @property
    def isolated_error_fixed(self) -> float | None:
        """The same with the fix; None where the fix was not run or leaves NaN or infinity."""
        return None if self.trial.layer is None else self.trial.layer.finite_after

    @property
    def evidence(self) -> dict[str, Any]:
        """`evidence` in JSON: for documents only, rules read `finding` and `trial`."""
        return evidence_of(self.finding, self.inside) | self.trial.evidence()

    @property
    def fix(self) -> dict[str, Any]:
        """`fix` in JSON."""
        return self.finding.fix().to_json()

    def words(self) -> tuple[str, ...]:
        """What shows it, for people: one sentence for each point."""
        inside = () if self.inside is None else (self.inside.words(),)
        return (*self.finding.words(), *self.trial.words(), *inside)

    def to_json(self) -> dict[str, Any]:
        """The entry of `causes` in a diagnosis."""
        return {
            "code": str(self.code),
            "place": {"layer": self.layer, "op_index": self.op_index},
            "confidence": self.confidence,
            "evidence": self.evidence,
            "fix": self.fix,
            "verified": self.verified,
            "rule": self.rule,
        }


def evidence_of(finding: CauseFinding, inside: SubgraphPlace | None) -> dict[str, Any]:
    """A finding and its place in another graph as JSON.

    Args:
        finding: of a cause.
        inside: the place; None: the main graph.

    Returns:
        A JSON object.
    """
    return finding.evidence() | ({} if inside is None else {"inside": json_of(inside)})


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A cause that was looked for and ruled out. `rule` names the rule that decided."""

    code: str
    why: str
    rule: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The entry of `excluded` in a diagnosis."""
        return {"code": str(self.code), "why": self.why, "rule": self.rule}
