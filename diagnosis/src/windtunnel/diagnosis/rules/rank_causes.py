"""How sure a cause is, which cause comes first, and what is written down about it."""

from __future__ import annotations

from collections.abc import Sequence

from windtunnel.diagnosis.findings.causes import Cause
from windtunnel.diagnosis.findings.trial import LayerTrial, OutputTrial, Trial
from windtunnel.diagnosis.rules.suspect_rules import Decision
from windtunnel.diagnosis.rules.tried_suspect import TriedSuspect
from windtunnel.diagnosis.thresholds.confidences import BY_EVIDENCE
from windtunnel.diagnosis.thresholds.rule_thresholds import OUTPUT_BETTER, SHOWN_FLOORS


def ranked(causes: Sequence[Decision]) -> list[Decision]:
    """Sorts causes by importance.

    Those whose fix does harm come last. Then the order is: what the files show and running proves, what brings the
    output closer (if any cause decides the output), the error explained, the unevenness of channels.

    Args:
        causes: the decided suspects.

    Returns:
        The most important first.
    """
    decides = any(one.tested.output_is_decided for one in causes)

    def key(decision: Decision) -> tuple[bool, int, bool, float, float]:
        one = decision.tested
        return (
            one.output_worsens and not one.fix_helps,
            -proofs(one),
            decides and not one.output_improves,
            -one.error_explained,
            -one.channel_unevenness,
        )

    return sorted(causes, key=key)


def proofs(tested: TriedSuspect) -> int:
    """How many of two proofs there are: the files show a fault; running proves it.

    Args:
        tested: the suspect.

    Returns:
        0 to 2: the index of `BY_EVIDENCE`.
    """
    return int(tested.suspect.plain) + int(is_verified(tested))


def is_verified(tested: TriedSuspect) -> bool:
    """Whether running proves a cause: the fix brings an output closer by more than noise.

    If no output can be judged, the isolated error of the layer must decrease.

    Args:
        tested: the suspect.
    """
    if tested.output_worsens:
        return False
    if tested.output_error is None:
        return tested.fix_helps and (tested.isolated_error or 0.0) > tested.floor * SHOWN_FLOORS
    return tested.output_improves or (tested.effect.gain or 0.0) > OUTPUT_BETTER


def cause_of(decision: Decision) -> Cause:
    """The cause with its figures, its confidence, and the rule that decided.

    Args:
        decision: on a suspect.

    Returns:
        The cause.
    """
    tested, suspect = decision.tested, decision.tested.suspect
    fixed = tested.output_error_fixed
    trial = Trial(
        LayerTrial(tested.isolated_error, tested.isolated_error_fixed),
        None if fixed is None else OutputTrial(tested.output_error, fixed),
        tested.effect.beyond,
    )
    return Cause(
        suspect.finding,
        BY_EVIDENCE[proofs(tested)],
        suspect.layer,
        suspect.op_index,
        verified=is_verified(tested),
        trial=trial,
        inside=suspect.inside,
        rule=decision.rule,
    )
