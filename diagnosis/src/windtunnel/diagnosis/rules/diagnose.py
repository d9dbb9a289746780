"""From suspects to causes: each is tested with its fix, decided by the rules, and ranked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from windtunnel.datacheck.findings import Finding
from windtunnel.diagnosis.execution.detection_slots import made_by_detection
from windtunnel.diagnosis.findings.causes import Cause, Exclusion
from windtunnel.diagnosis.findings.kinds.constants import ConstantFinding
from windtunnel.diagnosis.graph import Matching
from windtunnel.diagnosis.graph.model_precision import precision_of
from windtunnel.diagnosis.numerics.isolated_sums import Local
from windtunnel.diagnosis.rules.effect_on_outputs import Ends, note_of, with_effects, without_harmless
from windtunnel.diagnosis.rules.explained_by_others import STAGES, Group, GroupRule, RunsOutputs, explain_by_others
from windtunnel.diagnosis.rules.rank_causes import cause_of, ranked
from windtunnel.diagnosis.rules.suspect_rules import RULES, Decision, Outcome, Rule, decide
from windtunnel.diagnosis.rules.tried_suspect import TriedSuspect, range_of
from windtunnel.diagnosis.static.compare_files import StaticReport
from windtunnel.diagnosis.static.suspect import Patch, Suspect
from windtunnel.diagnosis.thresholds.rule_thresholds import PROBED_SUSPECTS


class Prober(Ends, RunsOutputs, Protocol):
    """Runs the candidate as it is and with a change, on a few samples and the same kernels."""

    def try_layers(self, patch: Patch) -> tuple[Mapping[int, Local], Mapping[int, Local]] | None:
        """Runs the candidate's layers in isolation, without and with a change.

        Args:
            patch: the change.

        Returns:
            Isolated errors by the candidate's tensor index, without and with it; None: no kernels run the changed
            candidate.
        """


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What became of the suspects of a comparison.

    Attributes:
        causes: the causes, gravest first.
        excluded: suspects that are not a cause, and why.
        open_codes: codes of suspects that are neither causes nor excluded.
        notes: differences that no output shows.
    """

    causes: tuple[Cause, ...]
    excluded: tuple[Exclusion, ...]
    open_codes: frozenset[str] = frozenset()
    notes: tuple[Finding, ...] = ()


def diagnose(
    matching: Matching,
    report: StaticReport,
    local: Mapping[int, Local],
    reached: Mapping[int, tuple[float, float]],
    trials: Prober,
    rules: Sequence[Rule] = RULES,
    groups: Sequence[Sequence[GroupRule]] = STAGES,
) -> Diagnosis:
    """Tests what the files show.

    Args:
        matching: the two models.
        report: what the files show.
        local: isolated errors by the candidate's tensor index.
        reached: the least and the largest value that the candidate itself reaches, by its tensor index.
        trials: runs the candidate with a change.
        rules: the table of rules over one suspect.
        groups: the stages of rules over all suspects.

    Returns:
        Causes, the most important first, and what was excluded.
    """
    precision = precision_of(matching)
    suspects = _one_per_place(report.suspects)
    suspects.sort(key=lambda one: (not one.plain, -(isolated_error(local, one) or 0.0)))
    decided = [decide(one, rules) for one in _tested(suspects, precision, local, trials)]
    decided = explain_by_others(decided, Group(matching, suspects, (), reached, trials), groups)
    # The layers before a detection op, by which its outputs are judged, do not show what differs in the op itself.
    detections = made_by_detection(matching.candidate.facts)
    causes = [one for one in decided if one.is_cause]
    unshown = [_without_output(one) for one in causes if one.tested.suspect.tensor in detections]
    shown = [one for one in causes if one.tested.suspect.tensor not in detections]
    with_effect = with_effects(shown, trials, precision)
    kept, harmless = without_harmless(with_effect, precision)
    return Diagnosis(
        tuple(cause_of(one) for one in ranked([*kept, *unshown])),
        tuple(_exclusion(one) for one in decided if _is_excluded(one)),
        frozenset(one.tested.code for one in decided if not one.is_cause and not _is_excluded(one)),
        tuple(note_of(one.tested) for one in harmless),
    )


def _without_output(decision: Decision) -> Decision:
    """The decision without output errors, which are those of other layers."""
    return replace(decision, tested=replace(decision.tested, output_error=None, output_error_fixed=None))


def _is_excluded(decision: Decision) -> bool:
    """Whether a suspect is excluded; one that was not tried is left open."""
    return decision.outcome is Outcome.EXCLUDED and decision.tested.tried


def _exclusion(decision: Decision) -> Exclusion:
    return Exclusion(decision.tested.code, decision.reason, rule=decision.rule)


def _tested(
    suspects: Sequence[Suspect], precision: str, local: Mapping[int, Local], trials: Prober
) -> list[TriedSuspect]:
    """The suspects with their errors; only the first ones are fixed and run."""
    return [
        *(_test(one, precision, local, trials) for one in suspects[:PROBED_SUSPECTS]),
        *(
            TriedSuspect(one, precision, isolated_error(local, one), None, tried=False)
            for one in suspects[PROBED_SUSPECTS:]
        ),
    ]


def _test(suspect: Suspect, precision: str, local: Mapping[int, Local], trials: Prober) -> TriedSuspect:
    """Runs the fix of a suspect, on the same samples and kernels as without it."""
    layers = None if suspect.patch is None else trials.try_layers(suspect.patch)
    if suspect.patch is None or layers is None:
        return TriedSuspect(suspect, precision, isolated_error(local, suspect), None)
    output = trials.try_output(suspect.patch) or (None, None)
    before, after = (isolated_error(one, suspect) for one in layers)
    return TriedSuspect(suspect, precision, before, after, *output)


def isolated_error(local: Mapping[int, Local], suspect: Suspect) -> float | None:
    """The isolated error of the suspect's layer.

    Args:
        local: isolated errors by the candidate's tensor index.
        suspect: of the candidate.

    Returns:
        nRMSE; of a range of several layers the root mean square. None: none of them could be measured.
    """
    places = {suspect.tensor, *suspect.tensors} if range_of(suspect) is not None else {suspect.tensor}
    errors = [error for index in places if index in local and (error := _error(local[index])) is not None]
    return math.sqrt(sum(error * error for error in errors) / len(errors)) if errors else None


def _error(local: Local) -> float | None:
    """The error that a layer adds; of an input of the model, that of storing it. Infinite if it gives NaN."""
    if local.nrmse is not None:
        return local.nrmse
    if local.samples and local.rmse is None:
        return math.inf
    span = local.high - local.low
    return math.hypot(local.clip_rmse, local.round_rmse) / span if span > 0.0 else None


def _one_per_place(suspects: Sequence[Suspect]) -> list[Suspect]:
    """One suspect per code and place, or per constant; if several layers read a constant, its place is the first."""
    found: dict[tuple[str, frozenset[int]], Suspect] = {}
    for suspect in sorted(suspects, key=lambda one: -1 if one.op_index is None else one.op_index):
        code, place = str(suspect.code), frozenset({suspect.tensor})
        # No tensors: the constant is left out.
        is_of_weights = isinstance(suspect.finding, ConstantFinding) and suspect.finding.role != "operand"
        if is_of_weights and suspect.tensors and not place <= suspect.tensors:
            code, place = "constant", suspect.tensors
        key = code, place
        if key not in found or (suspect.plain and not found[key].plain):
            found[key] = suspect
    return list(found.values())
