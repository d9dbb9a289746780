"""Which tested suspects are causes: an ordered table of rules. The first rule that applies and passes decides.

The order is the policy. What makes a difference harmless by itself comes first, then what the files prove, then what
could not be run, then what running shows. The last rule takes every suspect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.rules.tried_suspect import TriedSuspect
from windtunnel.diagnosis.thresholds.rule_thresholds import OP_ROUNDING, UNFIXED_FLOORS


class Outcome(Enum):
    """What becomes of a suspect."""

    CAUSE = "cause"
    EXCLUDED = "excluded"
    # It follows from another cause: neither a cause nor excluded.
    FOLLOWS = "follows"


Judgment = Callable[[TriedSuspect], bool]


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the table.

    Attributes:
        name: recorded in the cause or the exclusion.
        applies: which suspects the rule is for: their kind, and what could be measured.
        test: what must be measured of them.
        outcome: what becomes of a suspect that passes.
        reason: a sentence on the layer, with `{layer}`, `{error}` (isolated, without the fix) and `{fixed}` (with it).
    """

    name: str
    applies: Judgment
    test: Judgment
    outcome: Outcome
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """A suspect, what becomes of it, and the rule that decides it."""

    tested: TriedSuspect
    outcome: Outcome
    rule: str
    reason: str

    @property
    def is_cause(self) -> bool:
        """Whether the suspect is a cause."""
        return self.outcome is Outcome.CAUSE


def _always(_: TriedSuspect) -> bool:
    return True


def _was_run(one: TriedSuspect) -> bool:
    return one.isolated_error is not None


def _was_not_run(one: TriedSuspect) -> bool:
    return one.isolated_error is None


def _fix_was_not_run(one: TriedSuspect) -> bool:
    return one.isolated_error_fixed is None


def _is_op(one: TriedSuspect) -> bool:
    return one.code == CauseCode.CONVERSION_OP


def _is_bound_of_integers(one: TriedSuspect) -> bool:
    return one.is_bound and one.precision == "integer"


def _is_conversion_not_run(one: TriedSuspect) -> bool:
    return _was_not_run(one) and one.code.is_conversion


def _is_per_tensor(one: TriedSuspect) -> bool:
    return one.code == CauseCode.PER_TENSOR


def constants_compensate(one: TriedSuspect) -> bool:
    """The layer is right as it is, and wrong with the reference's constants: they make up for constants before it.

    Args:
        one: a tested suspect.

    Returns:
        True: the rule decides.
    """
    return one.layer_worsens and one.output_worsens


def equals_exactly(one: TriedSuspect) -> bool:
    """An end that is left open, an axis counted from the other side: the same, written differently.

    Args:
        one: a tested suspect.

    Returns:
        True: the rule decides.
    """
    return one.isolated_error == 0.0


def equals_to_rounding(one: TriedSuspect) -> bool:
    """Another op that computes the same except for the order of its additions.

    Args:
        one: a tested suspect.

    Returns:
        True: the rule decides.
    """
    return 0.0 < (one.isolated_error or 0.0) < OP_ROUNDING


def bound_is_unnoticed(one: TriedSuspect) -> bool:
    """A bound that the integers cannot reach need not be stored as it is; a bound that was not run proves nothing.

    Args:
        one: a tested suspect.

    Returns:
        True: the rule decides.
    """
    return _was_not_run(one) or one.is_unnoticed or one.all_stays


def proven_by_files(one: TriedSuspect) -> bool:
    """The files alone prove the difference.

    Args:
        one: a tested suspect.

    Returns:
        True: the rule decides.
    """
    return one.suspect.plain


def diverges_without_fix(one: TriedSuspect) -> bool:
    """The layer diverges clearly, and no changed file could be run to confirm the suspect.

    Args:
        one: a tested suspect.

    Returns:
        True: the rule decides.
    """
    return one.tried and one.isolated_error is not None and one.isolated_error > one.floor * UNFIXED_FLOORS


def range_is_harmless(one: TriedSuspect) -> bool:
    """With another range the output is the same or worse, or hardly better if other samples may explain the range.

    Args:
        one: a tested suspect.

    Returns:
        True: the rule decides.
    """
    return one.output_worsens or one.output_stays or (one.is_doubtful_range and not one.doubtful_range_is_confirmed)


def fix_helps(one: TriedSuspect) -> bool:
    """The fix lowers the error of the layer or of the output.

    Args:
        one: a tested suspect.

    Returns:
        True: the rule decides.
    """
    return one.fix_helps


def fix_helps_beyond_precision(one: TriedSuspect) -> bool:
    """The fix lowers an error that precision alone does not make.

    Args:
        one: a tested suspect.

    Returns:
        True: the rule decides.
    """
    return one.fix_helps and one.exceeds_precision


_WRITTEN_OTHERWISE = "{layer!r} is written differently, and its isolated error is {error}"
_NO_HELP = "fixing {layer!r} does not help: its isolated error is {error} before and {fixed} after"
_WITHIN_PRECISION = "the isolated error of {layer!r} is {error}, which its precision explains"
_NOT_MEASURED = "the isolated error of {layer!r} could not be measured, and the files prove nothing"

RULES: Final[Sequence[Rule]] = (
    Rule(
        "constants_compensate",
        _was_run,
        constants_compensate,
        Outcome.EXCLUDED,
        "the constants of {layer!r} compensate for others: with those of the reference its isolated error rises from "
        "{error} to {fixed}",
    ),
    Rule("attribute_restated", lambda one: one.changes_attribute, equals_exactly, Outcome.EXCLUDED, _WRITTEN_OTHERWISE),
    Rule("op_equal_to_rounding", _is_op, equals_to_rounding, Outcome.EXCLUDED, _WRITTEN_OTHERWISE),
    Rule(
        "bound_out_of_reach",
        _is_bound_of_integers,
        bound_is_unnoticed,
        Outcome.EXCLUDED,
        "the integers of {layer!r} do not reach the bound that differs",
    ),
    Rule("proven_by_files", _always, proven_by_files, Outcome.CAUSE, "the files of {layer!r} differ"),
    Rule(
        "conversion_not_run",
        _is_conversion_not_run,
        _always,
        Outcome.CAUSE,
        "the files of {layer!r} differ, and it could not be run by itself",
    ),
    Rule("quantization_not_run", _was_not_run, _always, Outcome.EXCLUDED, _NOT_MEASURED),
    Rule(
        "diverges_without_fix",
        _fix_was_not_run,
        diverges_without_fix,
        Outcome.CAUSE,
        "the isolated error of {layer!r} is {error}, and no fix could be run",
    ),
    Rule("agrees_without_fix", _fix_was_not_run, _always, Outcome.EXCLUDED, _WRITTEN_OTHERWISE),
    Rule(
        "range_harmless",
        lambda one: one.is_range,
        range_is_harmless,
        Outcome.EXCLUDED,
        "another range of {layer!r} does not bring the output closer to the reference",
    ),
    Rule(
        "scale_per_channel_helps",
        # Its errors are in small channels, which the figure of the whole layer hardly shows: no comparison with the
        # precision.
        _is_per_tensor,
        fix_helps,
        Outcome.CAUSE,
        "with a scale per channel, the isolated error of {layer!r} falls from {error} to {fixed}",
    ),
    Rule("scale_per_channel_does_not_help", _is_per_tensor, _always, Outcome.EXCLUDED, _NO_HELP),
    Rule(
        "fix_helps",
        _always,
        fix_helps_beyond_precision,
        Outcome.CAUSE,
        "with the fix, the isolated error of {layer!r} falls from {error} to {fixed}, or the output comes closer",
    ),
    Rule("within_precision", _always, fix_helps, Outcome.EXCLUDED, _WITHIN_PRECISION),
    Rule("fix_does_not_help", _always, _always, Outcome.EXCLUDED, _NO_HELP),
)


def decide(tested: TriedSuspect, rules: Sequence[Rule] = RULES) -> Decision:
    """What becomes of a suspect.

    Args:
        tested: the suspect and its errors.
        rules: the table, in order. The last rule must take every suspect.

    Returns:
        The decision of the first rule that applies and passes.
    """
    rule = next(one for one in rules if one.applies(tested) and one.test(tested))
    return Decision(tested, rule.outcome, rule.name, why(rule.reason, tested))


def why(reason: str, tested: TriedSuspect) -> str:
    """A rule's reason with the layer and the errors of a suspect.

    Args:
        reason: a format string.
        tested: the suspect.

    Returns:
        A sentence.
    """
    error, fixed = (
        "unknown" if one is None else f"{one:.2g}" for one in (tested.isolated_error, tested.isolated_error_fixed)
    )
    return reason.format(layer=tested.suspect.layer, error=error, fixed=fixed)
