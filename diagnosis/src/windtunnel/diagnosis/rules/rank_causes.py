"""How sure a cause is, which cause comes first, and what is written down about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from windtunnel.diagnosis.findings.comparison import Cause
from windtunnel.diagnosis.rules.effect_on_outputs import finite
from windtunnel.diagnosis.rules.suspect_rules import Decision
from windtunnel.diagnosis.rules.tried_suspect import TriedSuspect
from windtunnel.diagnosis.thresholds.confidences import BY_EVIDENCE
from windtunnel.diagnosis.thresholds.rule_thresholds import OUTPUT_BETTER, SHOWN_FLOORS


def ranked(causes: Sequence[Decision]) -> list[Decision]:
    """The causes, gravest first.

    Those whose fix does harm come last. Then the order is: what the files show and running proves, what brings the
    output closer (if any cause decides the output), the error explained, the unevenness of channels.
    """
    decides = any(one.tested.output_is_decided for one in causes)

    def key(decision: Decision) -> tuple[bool, int, bool, float, float]:
        one = decision.tested
        return (
            one.output_worsens and not one.fix_helps,
            -proofs(one),
            decides and not one.output_improves,
            -one.error_explained,
            -one.suspect.evidence.get("largest_to_median_channel", 0.0),
        )

    return sorted(causes, key=key)


def proofs(tested: TriedSuspect) -> int:
    """How many of two proofs there are: the files show a fault; running proves it. Index of `BY_EVIDENCE`."""
    return int(tested.suspect.plain) + int(is_verified(tested))


def is_verified(tested: TriedSuspect) -> bool:
    """Whether running proves a cause: the fix brings an output closer by more than noise.

    If no output can be judged, the isolated error of the layer must decrease.
    """
    if tested.output_worsens:
        return False
    if tested.output_error is None:
        return tested.fix_helps and (tested.isolated_error or 0.0) > tested.floor * SHOWN_FLOORS
    return tested.output_improves or (tested.effect.gain or 0.0) > OUTPUT_BETTER


def cause_of(decision: Decision) -> Cause:
    """The cause with its figures, its confidence, and the rule that decided."""
    tested, suspect = decision.tested, decision.tested.suspect
    evidence: dict[str, Any] = {**suspect.evidence, "local_nrmse": finite(tested.isolated_error)}
    if tested.isolated_error_fixed is not None:
        evidence["local_nrmse_mended"] = finite(tested.isolated_error_fixed)
    if tested.output_error_fixed is not None:
        evidence |= {
            "output_nrmse": finite(tested.output_error),
            "output_nrmse_mended": tested.output_error_fixed,
        }
    if tested.effect.beyond is not None:
        evidence["output_nrmse_with_others_fixed"] = list(tested.effect.beyond)
    return Cause(
        suspect.code,
        BY_EVIDENCE[proofs(tested)],
        evidence,
        dict(suspect.fix),
        suspect.layer,
        suspect.op_index,
        verified=is_verified(tested),
        rule=decision.rule,
    )
