"""The effect of each difference on the models' outputs: alone, and once the others are fixed.

A fault next to a larger one hardly moves an output until that one is fixed. A difference that moves none either way is
another way to write the same, or one that these samples do not reach: a note, not a cause.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from windtunnel.datacheck.findings import DIFFERENCE_WITHOUT_EFFECT, Finding
from windtunnel.diagnosis.findings.cause_finding import CauseFinding
from windtunnel.diagnosis.findings.causes import Cause, evidence_of
from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.findings.kinds.ops import ActivationDiffers, AttributeDiffers, OpAdded, OpMissing
from windtunnel.diagnosis.findings.output_diff import OutputDiff
from windtunnel.diagnosis.graph import Matching
from windtunnel.diagnosis.graph.model_precision import precision_of
from windtunnel.diagnosis.numerics.layer_sums import LayerFigures
from windtunnel.diagnosis.rules.suspect_rules import Decision
from windtunnel.diagnosis.rules.tried_suspect import Effect, TriedSuspect
from windtunnel.diagnosis.static.suspect import Patch, all_of
from windtunnel.diagnosis.thresholds.precision_thresholds import OUTPUT_NOISE, PRECISION_FLOOR, QUIET_OUTPUT
from windtunnel.diagnosis.thresholds.rule_thresholds import (
    EFFECT_SAMPLES,
    ENDS_ALIKE,
    NO_ERROR,
    OUTPUT_BETTER,
    SAME_GAIN,
)

# Attributes that choose between two ways to compute the same function (GELU: by tanh or erf).
_WAYS: Final = frozenset({"approximate"})
# The code of a difference that no output shows.
NO_EFFECT: Final = DIFFERENCE_WITHOUT_EFFECT


class Ends(Protocol):
    """Runs the candidate with changes to its outputs."""

    def try_beyond(self, base: Patch | None, patch: Patch, samples: int) -> Sequence[tuple[float, float]] | None:
        """Runs the candidate with changes and compares its outputs, and the layers that decide them.

        Args:
            base: a change that is there in both runs; None: none.
            patch: the change of the second run.
            samples: how many are run.

        Returns:
            nRMSE of each without and with `patch`; None: no kernels run the changed candidate, or one has no figure.
        """


@dataclass(frozen=True, slots=True)
class Tried:
    """A difference that may be fixed by `patch`; `alone` is the outputs' nRMSE before and after, where known."""

    patch: Patch | None
    alone: tuple[float, float] | None


def with_effects(causes: Sequence[Decision], trials: Ends, precision: str) -> list[Decision]:
    """The causes with what their fixes do to the outputs, in the order given.

    Args:
        causes: suspects that are causes so far.
        trials: runs the candidate with changes to its outputs.
        precision: the coarser precision of the two models.

    Returns:
        The causes with their effects.
    """
    tried = [Tried(one.tested.suspect.patch, _alone(one.tested)) for one in causes]
    found = effects(tried, trials, OUTPUT_NOISE[precision])
    return [replace(one, tested=replace(one.tested, effect=effect)) for one, effect in zip(causes, found, strict=True)]


def _alone(tested: TriedSuspect) -> tuple[float, float] | None:
    if tested.output_error is None or tested.output_error_fixed is None:
        return None
    return tested.output_error, tested.output_error_fixed


def without_harmless(causes: Sequence[Decision], precision: str) -> tuple[list[Decision], list[Decision]]:
    """Separates the causes that no output shows.

    If no output shows any of them although one is off, those that may explain it stay causes.

    Args:
        causes: with their effects.
        precision: the coarser precision of the two models.

    Returns:
        The causes that an output shows, and those that none shows.
    """
    noise, quiet = OUTPUT_NOISE[precision], QUIET_OUTPUT[precision]
    harmless = [one for one in causes if _is_harmless(one.tested, noise, quiet)]
    if len(harmless) == len(causes):
        harmless = [one for one in harmless if not _may_explain(one.tested, quiet)]
    return [one for one in causes if one not in harmless], harmless


def _is_setting(finding: CauseFinding) -> bool:
    """Whether one op has another attribute in the candidate, one that makes it another function."""
    return isinstance(finding, AttributeDiffers) and finding.attribute not in _WAYS


def _may_explain(tested: TriedSuspect, quiet: float) -> bool:
    """Whether a difference that no fix shows is the only one that may explain why an output is off.

    A fix may miss what a wrong number does to the kernels: then the number is still wrong.
    """
    left = tested.effect.left
    return left is not None and left >= quiet and not _is_way(tested)


def _is_way(tested: TriedSuspect) -> bool:
    """Whether a difference may be another way to write the same: another op, or another bound."""
    return tested.code == CauseCode.CONVERSION_OP or tested.is_bound


def _is_harmless(tested: TriedSuspect, noise: float, quiet: float) -> bool:
    """Whether no output shows a difference.

    Another op, or another bound, may be another way to write the same. Weights and scales that differ are faults unless
    they change nothing at all: their fix rounds again, which may cost what it gains.
    """
    suspect, effect = tested.suspect, tested.effect
    if suspect.plain and suspect.code == CauseCode.CONVERSION_OP and _is_setting(suspect.finding):
        # Some kernels ignore an attribute that others follow: where the files differ in it, running proves nothing.
        return False
    return effect.is_none(noise, quiet) and (_is_way(tested) or not effect.changes)


def note_of(tested: TriedSuspect) -> Finding:
    """A difference that no output shows, as a note.

    Args:
        tested: the suspect.

    Returns:
        The finding.
    """
    suspect = tested.suspect
    output = "unknown" if tested.output_error is None else f"{tested.output_error:.2g}"
    evidence = {
        "code": str(suspect.code),
        "place": {"layer": suspect.layer, "op_index": suspect.op_index},
        "output_nrmse": finite(tested.output_error),
        "output_nrmse_mended": tested.output_error_fixed,
        **evidence_of(suspect.finding, suspect.inside),
    }
    return Finding(
        NO_EFFECT,
        f"{suspect.code} at {suspect.layer!r} (op {suspect.op_index}): the files differ there, but the output comes no "
        f"closer to the reference without the difference (nRMSE {output}): it has no effect on these samples",
        evidence=evidence,
    )


def is_equivalent(cause: Cause, output: OutputDiff) -> bool:
    """Whether another op gives results so similar that neither its own layer nor an output shows a difference.

    The two ways to compute a GELU are an example. Running may well prove that they differ, by less than anyone notices.

    Args:
        cause: about an op.
        output: how the models' outputs compare.
    """
    if _is_setting(cause.finding) or isinstance(cause.finding, ActivationDiffers):
        return False
    own = cause.isolated_error
    small = (
        own is not None
        and own < QUIET_OUTPUT["float32"]
        and output.nrmse is not None
        and output.nrmse < QUIET_OUTPUT["float32"]
    )
    return cause.code == CauseCode.CONVERSION_OP and small and output.agreement in (None, 1.0)


def changes_nothing_at_end(
    cause: Cause, matching: Matching, figures: Sequence[LayerFigures], output: OutputDiff
) -> bool:
    """Whether an op before an output that only one model has leaves the values as they are, on these samples.

    Args:
        cause: of any kind.
        matching: the two models.
        figures: of the pairs of layers.
        output: how the models' outputs compare.

    Returns:
        True: the output's error is that of the last layer that both models have.
    """
    if not isinstance(cause.finding, OpMissing | OpAdded) or cause.finding.reads < 0 or output.nrmse is None:
        return False
    candidate = matching.candidate
    errors = [
        one.nrmse
        for pair, one in zip(matching.pairs, figures, strict=True)
        if candidate.root(pair.candidate.tensor.index) == cause.finding.reads and one.nrmse is not None
    ]
    least = PRECISION_FLOOR[precision_of(matching)]
    return bool(errors) and output.nrmse <= ENDS_ALIKE * max(*errors, least)


def without_effect(causes: Sequence[Cause], output: OutputDiff) -> tuple[Finding, ...]:
    """Causes that no output shows, as notes.

    Args:
        causes: such causes.
        output: how the models' outputs compare.

    Returns:
        One finding for each.
    """
    return tuple(
        Finding(
            NO_EFFECT,
            f"{one.code} at {one.layer!r} (op {one.op_index}): this layer gives another result on the same inputs, but "
            f"no output shows it (nRMSE {output.nrmse:.2g})",
            evidence={"code": str(one.code), "place": {"layer": one.layer, "op_index": one.op_index}, **one.evidence},
        )
        for one in causes
    )


def effects(tried: Sequence[Tried], ends: Ends, noise: float) -> list[Effect]:
    """The effect of each fix. Only what does not clearly help alone is run again.

    Args:
        tried: the fixes, with what they do alone.
        ends: runs the candidate with changes.
        noise: gain up to which an effect is noise.

    Returns:
        In the same order.
    """
    return [_effect(tried, place, ends, noise) for place in range(len(tried))]


def _effect(tried: Sequence[Tried], place: int, ends: Ends, noise: float) -> Effect:
    one = tried[place]
    alone = None if one.alone is None else gain(*one.alone)
    if one.patch is None or alone is None or alone > OUTPUT_BETTER:
        return Effect(alone)
    again = None
    if alone <= noise:
        # A few more samples, and the outputs themselves, may show what the first did not.
        again = ends.try_beyond(None, one.patch, EFFECT_SAMPLES)
        if again is None:
            return Effect(None)
    others = [other.patch for number, other in enumerate(tried) if number != place and other.patch is not None]
    beyond = ends.try_beyond(all_of(others), one.patch, EFFECT_SAMPLES) if others else None
    if beyond is None and (others or again is None):
        return Effect(alone)
    found = [*(again or ()), *(beyond or ())]
    best = max(found, key=lambda pair: gain(*pair))
    return Effect(
        max(alone, gain(*best)),
        best if beyond is not None and best in beyond and gain(*best) > alone else None,
        max(after for _, after in (beyond or again or ())),
        any(abs(gain(*pair) - 1.0) >= SAME_GAIN for pair in found),
    )


def gain(before: float, after: float) -> float:
    """How many times as large an output's error is without a fix.

    Args:
        before: nRMSE without the fix.
        after: nRMSE with the fix.

    Returns:
        1 if it is the same.
    """
    return (before + NO_ERROR) / (after + NO_ERROR)


def finite(error: float | None) -> float | None:
    """A figure that JSON can hold.

    Args:
        error: any figure; None: not known.

    Returns:
        None if it is not finite.
    """
    return error if error is None or math.isfinite(error) else None
