"""Suspects that pass by themselves, and that the other suspects explain: an ordered table of rules over all of them.

Each stage sees the causes that the stage before has left.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.findings.kinds.constants import ConstantDiffers, InputScaleDiffers
from windtunnel.diagnosis.findings.kinds.ranges import CalibrationFinding, RangeFinding, RangeTooWide
from windtunnel.diagnosis.graph import FusedModel, Matching
from windtunnel.diagnosis.rules.suspect_rules import Decision, Outcome, why
from windtunnel.diagnosis.rules.tried_suspect import TriedSuspect, integer_steps, is_lower
from windtunnel.diagnosis.static.suspect import Patch, Suspect, all_of
from windtunnel.diagnosis.thresholds.rule_thresholds import (
    BIAS_FOLLOWS_SCALE,
    OUTPUT_BETTER,
    RANGE_FITS,
    ROUNDED_FLOORS,
    ROUNDED_LAYERS,
    ROUNDED_STEPS,
)


class RunsOutputs(Protocol):
    """Runs the candidate with a change."""

    def try_output(self, patch: Patch) -> tuple[float, float] | None:
        """Runs the candidate with a change and compares its outputs.

        Args:
            patch: the change.

        Returns:
            nRMSE of the worst output without and with the change; None: no kernels run the changed candidate.
        """


@dataclass(frozen=True, slots=True)
class Group:
    """All suspects of a comparison, and those that are causes so far.

    Attributes:
        matching: the two models.
        suspects: all suspects, whatever became of them.
        causes: the suspects that are causes so far.
        reached: the least and the largest value that the candidate itself reaches, by its tensor index.
        trials: runs the candidate with a change.
    """

    matching: Matching
    suspects: Sequence[Suspect]
    causes: Sequence[TriedSuspect]
    reached: Mapping[int, tuple[float, float]]
    trials: RunsOutputs


@dataclass(frozen=True, slots=True)
class GroupRule:
    """One line of the table: which causes of a group the others explain, and what becomes of them."""

    name: str
    explained: Callable[[Group], Sequence[TriedSuspect]]
    outcome: Outcome
    reason: str


def rounded_by_quantizer(group: Group) -> Sequence[TriedSuspect]:
    """Integers that are a few steps off all over the model, if no fix of them helps.

    Quantizers that weigh errors against each other (GPTQ, OCTAV, MSE) choose other integers, and other scales.

    Args:
        group: all suspects, and those that are causes up to this stage.

    Returns:
        Those that the rule excludes.
    """
    layers = sum(integer_steps(one) is not None for one in group.suspects)
    return [one for one in group.causes if _is_rounding(one)] if layers >= ROUNDED_LAYERS else []


def _is_rounding(one: TriedSuspect) -> bool:
    if one.integer_steps is None or one.integer_steps > ROUNDED_STEPS:
        return False
    small = one.isolated_error is None or one.isolated_error < one.floor * ROUNDED_FLOORS
    fix_does_not_help = one.isolated_error_fixed is not None and not one.fix_helps
    return small and (not one.tried or fix_does_not_help)


def constants_that_balance(group: Group) -> Sequence[TriedSuspect]:
    """Constants that compensate for each other: fixing one alone does harm, and fixing all is not better.

    Channels that are scaled in one layer and scaled back in the next give the same outputs.

    Args:
        group: all suspects, and those that are causes up to this stage.

    Returns:
        Those that the rule excludes.
    """
    harming = [one for one in group.causes if one.output_worsens and one.code == CauseCode.CONVERSION_WEIGHTS]
    patches = [one.suspect.patch for one in harming if one.suspect.patch is not None]
    if len(patches) < 2:
        return []
    output = group.trials.try_output(all_of(patches))
    return [] if output is None or is_lower(*output, OUTPUT_BETTER) else harming


def ranges_that_follow_a_fault(group: Group) -> Sequence[TriedSuspect]:
    """Ranges behind a fault of the conversion, which changes the values there.

    A candidate that was quantized with the fault in it has ranges that fit its own values.

    Args:
        group: all suspects, and those that are causes up to this stage.

    Returns:
        Those that the rule excludes.
    """
    faults = [one.suspect for one in group.causes if one.exceeds_precision and one.code.is_conversion]
    behind = _tensors_behind(group.matching.candidate, faults)
    return [one for one in group.causes if _follows(one.suspect, faults, behind, group.reached)]


def _follows(
    suspect: Suspect, faults: Sequence[Suspect], behind: frozenset[int], reached: Mapping[int, tuple[float, float]]
) -> bool:
    if isinstance(suspect.finding, CalibrationFinding):
        return any(
            one.op_index is not None and suspect.op_index is not None and one.op_index <= suspect.op_index
            for one in faults
        )
    if not isinstance(suspect.finding, RangeFinding) or not suspect.tensors & behind:
        return False
    held, values = suspect.finding.held, reached.get(suspect.tensor)
    if not isinstance(suspect.finding, RangeTooWide) or values is None:
        return True
    return not held[1] - held[0] > RANGE_FITS * (max(values[1], 0.0) - min(values[0], 0.0))


def _tensors_behind(model: FusedModel, faults: Sequence[Suspect]) -> frozenset[int]:
    """The tensors of the faults, and every tensor that is computed from them."""
    found: set[int] = set()
    left = [fault.tensor for fault in faults]
    while left:
        tensor = left.pop()
        if tensor not in found:
            found.add(tensor)
            left += [index for op in model.readers[tensor] for index in op.outputs if index >= 0]
    return frozenset(found)


def biases_that_follow_a_scale(group: Group) -> Sequence[TriedSuspect]:
    """Biases that differ only because the scale of their layer's input is wrong.

    Args:
        group: all suspects, and those that are causes up to this stage.

    Returns:
        Those that the rule excludes.
    """
    suspects = [one.suspect for one in group.causes]
    return [one for one in group.causes if any(_is_bias_behind(one.suspect, other) for other in suspects)]


def _is_bias_behind(suspect: Suspect, other: Suspect) -> bool:
    change = suspect.finding.relative_difference if isinstance(suspect.finding, ConstantDiffers) else None
    if suspect.reads not in other.tensors or other.code != CauseCode.PARAMETERS or change is None:
        return False
    factor = 1.0
    if isinstance(other.finding, RangeFinding):
        factor = other.finding.scale.file / other.finding.scale.fitting
    elif isinstance(other.finding, InputScaleDiffers):
        factor = other.finding.scale.factor
    return math.isclose(abs(factor - 1.0), change, rel_tol=BIAS_FOLLOWS_SCALE)


STAGES: Final[Sequence[Sequence[GroupRule]]] = (
    (
        GroupRule(
            "rounded_by_quantizer",
            rounded_by_quantizer,
            Outcome.EXCLUDED,
            "the integers of {layer!r} are rounded differently, as in other layers; its isolated error is {error}",
        ),
    ),
    (
        GroupRule(
            "constants_balance",
            constants_that_balance,
            Outcome.EXCLUDED,
            "the constants of {layer!r} and of other layers compensate for each other: fixing all of them does not "
            "bring the output closer",
        ),
    ),
    (
        GroupRule(
            "range_follows_fault",
            ranges_that_follow_a_fault,
            Outcome.FOLLOWS,
            "the range of {layer!r} fits the values that a fault before it causes",
        ),
        GroupRule(
            "bias_follows_scale",
            biases_that_follow_a_scale,
            Outcome.FOLLOWS,
            "the bias of {layer!r} differs only because the scale of its input is wrong",
        ),
    ),
)


def explain_by_others(
    decisions: Sequence[Decision], group: Group, stages: Sequence[Sequence[GroupRule]] = STAGES
) -> list[Decision]:
    """The decisions after the rules over all suspects.

    Args:
        decisions: what becomes of each suspect by itself.
        group: the comparison; its `causes` are those of the decisions.
        stages: the table. Within a stage the first rule that explains a cause decides.

    Returns:
        One decision per suspect, in the order given.
    """
    decided = list(decisions)
    for stage in stages:
        causes = [one.tested for one in decided if one.is_cause]
        for rule in stage:
            explained = rule.explained(replace(group, causes=causes))
            decided = [_overruled(one, rule) if one.is_cause and one.tested in explained else one for one in decided]
    return decided


def _overruled(decision: Decision, rule: GroupRule) -> Decision:
    return replace(decision, outcome=rule.outcome, rule=rule.name, reason=why(rule.reason, decision.tested))
