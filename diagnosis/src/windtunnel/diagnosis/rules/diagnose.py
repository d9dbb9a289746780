"""From suspects to causes: each is put to the test, ranked, and what is excluded is said."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from windtunnel.datacheck.findings import Finding
from windtunnel.diagnosis.execution.detection_slots import made_by_detection
from windtunnel.diagnosis.findings.comparison import Cause, Exclusion
from windtunnel.diagnosis.graph import Matching
from windtunnel.diagnosis.graph.model_precision import FLOORS, UNEXPLAINED, precision_of
from windtunnel.diagnosis.numerics.isolated_sums import Local, representable
from windtunnel.diagnosis.rules.downstream_ranges import Downstream
from windtunnel.diagnosis.rules.effect_on_outputs import CLEAR, Ends, Tested, by_effect, finite, note_of, range_of
from windtunnel.diagnosis.static.compare_files import StaticReport
from windtunnel.diagnosis.static.suspect import Patch, Suspect, all_of

# How often causes were right on faults of others (docs/diagnosis-by-others.md): neither proven by the file nor by
# running, one of both, both; departures without a reason in the files; rounding as what is left.
CONFIDENCE: Final = (0.6, 0.9, 0.97)
CONFIDENCE_UNEXPLAINED, CONFIDENCE_ACCUMULATED = 0.5, 0.7
# An own error that the order of additions makes in float32.
_ROUNDED = 1e-6
# Errors this close are the same one.
_SAME = 1e-4
# FusedModel by which a rounding that compensates may move a weight.
_ROUNDED_STEPS = 8.0
# A share of an error that is most of it.
_MOSTLY = 0.7
# In so many layers at least.
_HABIT = 3
# An output that is this much nearer without a doubtful range is better.
_BETTER_WITHOUT, _BETTER_BEHIND_FLOAT = 1.06, 1.5
_PROBED = 12
# Mending that makes a layer's own error so many times as large does not mend.
_TIMES_WORSE: Final = 3.0


class Prober(Ends, Protocol):
    """Runs the candidate as it is and with a change, on a few samples and the same kernels: (before, after).

    None where no kernels run the changed candidate.
    """

    def try_layers(self, patch: Patch) -> tuple[Mapping[int, Local], Mapping[int, Local]] | None:
        """Own errors by the candidate's tensor index."""

    def try_output(self, patch: Patch) -> tuple[float, float] | None:
        """nRMSE of the worst of the layers that decide the outputs; of the one that the change moves, if not that."""


@dataclass(frozen=True, slots=True)
class Findings:
    """The causes that running confirmed, gravest first, and the suspects that it cleared.

    `notes` are differences that no output shows. `silent` are codes of which something is left open: they are neither
    causes nor excluded.
    """

    causes: tuple[Cause, ...]
    cleared: tuple[Exclusion, ...]
    silent: frozenset[str] = frozenset()
    notes: tuple[Finding, ...] = ()


def diagnose(
    matching: Matching,
    report: StaticReport,
    local: Mapping[int, Local],
    reached: Mapping[int, tuple[float, float]],
    trials: Prober,
) -> Findings:
    """Puts what the files show to the test.

    Args:
        local: own errors by the candidate's tensor index.
        reached: the least and the largest value that the candidate itself reaches, by its tensor index.
        trials: runs the candidate with a change.
    """
    floor = FLOORS[precision_of(matching)]
    suspects = _once(report.suspects)
    suspects.sort(key=lambda one: (not one.plain, -(_own(local, one) or 0.0)))
    tested = [
        *(_test(one, local, trials) for one in suspects[:_PROBED]),
        *(Tested(one, _own(local, one), None, tried=False) for one in suspects[_PROBED:]),
    ]
    # A quantiser that rounds in its own way does so all over the model.
    habit = sum("largest_difference_steps" in one.evidence for one in suspects) >= _HABIT
    held = [one for one in tested if _holds(one, floor) and not (habit and _is_rounding(one, floor))]
    held = _without_balanced(held, trials)
    followed = Downstream(matching, [one for one in held if _shows(one, floor)], reached)
    faults = [one.suspect for one in held]
    kept = [one for one in held if not followed(one.suspect) and not _hangs_on(one.suspect, faults)]
    detections = frozenset() if matching.candidate is None else made_by_detection(matching.candidate.facts)
    # The layers before a detection op, by which its outputs are judged, do not show what differs in the op itself.
    unshown = [one for one in kept if one.suspect.tensor in detections]
    kept, harmless = by_effect([one for one in kept if one not in unshown], trials, precision_of(matching))
    kept += unshown
    # What the file shows and running proves comes first; then what brings the output near the reference's.
    decides = any(one.decides for one in kept)
    kept.sort(
        key=lambda one: (
            one.harms and not one.improves,
            -_sureness(one, floor),
            decides and not one.improves_output,
            -one.effect,
            -one.suspect.evidence.get("largest_to_median_channel", 0.0),
        )
    )
    left = [one for one in tested if one not in held]
    named = [one.suspect for one in (*kept, *harmless)]
    return Findings(
        tuple(_cause(one, floor) for one in kept),
        tuple(_cleared(one) for one in left if one.tried),
        frozenset(
            one.suspect.code for one in (*held, *left) if one.suspect not in named and (one in held or not one.tried)
        ),
        tuple(note_of(one) for one in harmless),
    )


def _without_balanced(held: Sequence[Tested], trials: Prober) -> list[Tested]:
    """Without constants that make up for each other: mending one alone does harm, and mending all is no better.

    Channels that are scaled in one layer and scaled back in the next are as good in the whole.
    """
    harming = [one for one in held if one.harms and one.suspect.code == "conversion.weights"]
    patches = [one.suspect.patch for one in harming if one.suspect.patch is not None]
    if len(patches) < 2:
        return list(held)
    output = trials.try_output(all_of(patches))
    if output is None or output[0] > CLEAR * output[1]:
        return list(held)
    return [one for one in held if one not in harming]


def _cleared(tested: Tested) -> Exclusion:
    """What looked wrong in the file, and why it is no cause."""
    suspect = tested.suspect
    before = "unknown" if tested.before is None else f"{tested.before:.2g}"
    if tested.after is None:
        why = f"{suspect.layer!r} is written in another way, and its own error is {before}"
    elif tested.improves:
        why = f"the own error of {suspect.layer!r} is {before}, which its precision explains"
    else:
        why = f"mending {suspect.layer!r} does not help: its own error is {before} before and {tested.after:.2g} after"
    return Exclusion(suspect.code, why)


def _test(suspect: Suspect, local: Mapping[int, Local], trials: Prober) -> Tested:
    """What mending a suspect does, on the same samples and kernels before and after."""
    layers = None if suspect.patch is None else trials.try_layers(suspect.patch)
    if suspect.patch is None or layers is None:
        return Tested(suspect, _own(local, suspect), None)
    output = trials.try_output(suspect.patch) or (None, None)
    return Tested(suspect, _own(layers[0], suspect), _own(layers[1], suspect), *output)


def unexplained(matching: Matching, local: Mapping[int, Local]) -> tuple[Cause, ...]:
    """The layer that departs most on equal inputs, where the files show no reason.

    Its range cuts values off or is too coarse, if no more than other samples may explain; or the op is written
    differently.
    """
    precision = precision_of(matching)
    errors = [(one.nrmse, index) for index, one in local.items() if one.nrmse is not None]
    worst, index = max(errors, default=(0.0, -1))
    least = UNEXPLAINED[precision] * (0.5 if matching.lacking else 1.0)
    if worst <= least or matching.candidate is None:
        return ()
    maker, tensor, one = matching.candidate.makers.get(index), matching.candidate.facts.tensors[index], local[index]
    code, fix = "conversion.op", {"action": "convert the op again", "op": "" if maker is None else maker.name}
    evidence: dict[str, Any] = {"local_nrmse": worst}
    if tensor.quantization is not None and math.hypot(one.clip_rmse, one.round_rmse) > _MOSTLY * (one.rmse or 0.0):
        code, fix = "quantization.parameters", {"action": "calibrate the tensor again", "tensor": tensor.name}
        evidence |= {"seen": [one.low, one.high], "values_outside": one.clipped}
        evidence["kind"] = "clipped" if one.clip_rmse > one.round_rmse else "wide"
        evidence["held"] = [float(end) for end in representable(tensor.quantization, tensor.dtype)]
    else:
        evidence["why"] = "on the reference's inputs this layer gives something else"
    op_index = None if maker is None else maker.index
    return (Cause(code, CONFIDENCE_UNEXPLAINED, evidence, fix, tensor.name, op_index),)


def accumulated(matching: Matching, local: Mapping[int, Local]) -> tuple[Cause, ...]:
    """Rounding that adds up, for a quantised candidate that is not healthy and shows no fault."""
    if precision_of(matching) != "integer" or matching.candidate is None:
        return ()
    errors = sorted(((one.nrmse or 0.0, index) for index, one in local.items()), reverse=True)
    tensors = matching.candidate.facts.tensors
    evidence = {
        "largest_own_errors": [{"layer": tensors[index].name, "local_nrmse": error} for error, index in errors[:5]],
        "root_sum_of_squares": math.sqrt(sum(error * error for error, _ in errors)),
    }
    fix = {"action": "keep the layers with the largest own errors in float or 16 bit: windtunnel remedy"}
    return (Cause("quantization.accumulated", CONFIDENCE_ACCUMULATED, evidence, fix),)


def exclusions(
    report: StaticReport, causes: Sequence[Cause], findings: Findings, precision: str, lacking: int
) -> tuple[Exclusion, ...]:
    """What was looked for and is not there, and how that is known. `lacking`: ops of the reference without a match."""
    named = {cause.code for cause in causes} | findings.silent
    constants, parameters = report.constants, report.parameters
    worst = f"; the largest difference is {constants.worst:.2g} of what precision explains" if constants.worst else ""
    unread = f"; {len(constants.unreadable)} could not be read" if constants.unreadable else ""
    same = f"{constants.compared} constants are the same within their precision{worst}{unread}"
    found = [Exclusion("conversion.weights", same)] if constants.compared else []
    if not lacking:
        found.append(Exclusion("conversion.op", f"{report.ops} ops have the same kind, activation and attributes"))
    if precision == "integer":
        if parameters.looked_at:
            spread = f"{parameters.least:.3g} to {parameters.largest:.3g} times in all"
            why = (
                f"{parameters.looked_at} activation ranges hold {parameters.middle:.3g} times the range seen on the "
                f"samples in the middle, {spread}; none that is off by itself does harm"
            )
            found += [
                Exclusion(f"quantization.{code}", why)
                for code in ("calibration_clipped", "calibration_wide", "parameters")
            ]
        if not report.per_tensor:
            why = "no weights with a single scale have channels that lose two bits by it"
            found.append(Exclusion("quantization.per_tensor", why))
    known = {one.code for one in findings.cleared}
    found = [one for one in found if one.code not in known]
    return tuple(one for one in (*found, *findings.cleared) if one.code not in named)


def _own(local: Mapping[int, Local], suspect: Suspect) -> float | None:
    """The own error of the suspect's layers, as nRMSE; of several the root mean square."""
    places = {suspect.tensor, *suspect.tensors} if "held" in range_of(suspect) else {suspect.tensor}
    errors = [error for index in places if index in local and (error := _error(local[index])) is not None]
    return math.sqrt(sum(error * error for error in errors) / len(errors)) if errors else None


def _error(local: Local) -> float | None:
    """What the layer adds; of an input of the model, what storing it costs. Infinite where it gives NaN or infinity."""
    if local.nrmse is not None:
        return local.nrmse
    if local.samples and local.rmse is None:
        return math.inf
    span = local.high - local.low
    return math.hypot(local.clip_rmse, local.round_rmse) / span if span > 0.0 else None


def _holds(tested: Tested, floor: float) -> bool:
    """Whether a suspect is a cause: proven by the file, or by an own error that mending takes away."""
    suspect = tested.suspect
    if _makes_up(tested):
        return False
    if "attribute" in suspect.evidence and tested.before == 0.0:
        # An end that is left open, an axis from the other side: the same thing said in another way.
        return False
    if suspect.code == "conversion.op" and 0.0 < (tested.before or 0.0) < _ROUNDED:
        # Another op that gives the same but for its rounding: the same thing written in another way.
        return False
    if (
        suspect.evidence.get("role") == "operand"
        and floor == FLOORS["integer"]
        and (tested.before is None or _is_idle(tested, floor) or _changes_nothing(tested))
    ):
        # A bound that the integers cannot reach anyway need not be stored as it is; nor tells one that was not run.
        return False
    if suspect.plain:
        return True
    if tested.before is None:
        return suspect.code.startswith("conversion")
    if suspect.patch is None or tested.after is None:
        return tested.tried and tested.before > floor * 2.0
    if tested.is_range and not _counts(tested):
        return False
    if suspect.code == "quantization.per_tensor":
        # Its errors lie in small channels, which the figure of the whole layer hardly shows.
        return tested.improves
    return tested.improves and _shows(tested, floor)


def _makes_up(tested: Tested) -> bool:
    """Whether a layer is right as it is, and wrong with the reference's constants: they make up for those before it.

    Channels in another order, or scaled from layer to layer, are as good in the whole.
    """
    if tested.before is None or tested.after is None:
        return False
    return tested.after > _TIMES_WORSE * tested.before and tested.harms


def _is_rounding(tested: Tested, floor: float) -> bool:
    """Whether integers that are a few steps off are another way to round: nothing is better without them.

    Quantisers that weigh errors against each other (GPTQ, OCTAV, MSE) choose other integers, and other scales.
    """
    fused_layers = tested.suspect.evidence.get("largest_difference_steps")
    if fused_layers is None or fused_layers > _ROUNDED_STEPS:
        return False
    small = tested.before is None or tested.before < floor * 2.0
    return small and (not tested.tried or (tested.after is not None and not tested.improves))


def _is_idle(tested: Tested, floor: float) -> bool:
    """Whether a constant is off and nothing shows it."""
    return tested.before is not None and tested.before < floor * 0.1 and not tested.improves_output


def _changes_nothing(tested: Tested) -> bool:
    """Whether mending leaves the model's output, and the layer's own error, as they were."""
    return _are_same(tested.output, tested.output_mended) and _are_same(tested.before, tested.after)


def _are_same(one: float | None, other: float | None) -> bool:
    """Whether two errors are known, and as large as each other."""
    return one is not None and other is not None and math.isclose(one, other, rel_tol=_SAME)


def _counts(tested: Tested) -> bool:
    """Whether a range that is off does harm; of one that other samples explain, the output must say so."""
    if tested.harms or _are_same(tested.output, tested.output_mended):
        return False
    known = tested.output is not None and tested.output_mended is not None
    evidence = tested.suspect.evidence
    least = _BETTER_BEHIND_FLOAT if evidence.get("behind_float") else _BETTER_WITHOUT
    doubtful = evidence.get("doubtful", False)
    return not doubtful or not known or (tested.output or 0.0) > least * (tested.output_mended or 0.0)


def _shows(tested: Tested, floor: float) -> bool:
    """Whether a fault makes an error that precision alone does not make; one that could not be run may."""
    return tested.before is None or tested.before > floor * 0.25 or tested.improves_output


def _hangs_on(suspect: Suspect, suspects: Sequence[Suspect]) -> bool:
    """Whether a bias only means something else because the scale of the layer's input is wrong."""
    change = suspect.evidence.get("relative_difference")
    for other in suspects:
        if suspect.reads in other.tensors and other.code == "quantization.parameters" and change is not None:
            scale = other.evidence.get("scale", {})
            factor = scale["file"] / scale["fitting"] if "fitting" in scale else scale.get("factor", 1.0)
            if math.isclose(abs(factor - 1.0), change, rel_tol=0.4):
                return True
    return False


def _once(suspects: Sequence[Suspect]) -> list[Suspect]:
    """One suspect per code and place, or constant; of one that several layers read, the first of them is the place."""
    found: dict[tuple[str, frozenset[int]], Suspect] = {}
    for suspect in sorted(suspects, key=lambda one: -1 if one.op_index is None else one.op_index):
        code, place = suspect.code, frozenset({suspect.tensor})
        # No tensors: the constant is left out.
        if suspect.evidence.get("role") in ("weights", "bias") and suspect.tensors and not place <= suspect.tensors:
            code, place = "constant", suspect.tensors
        key = code, place
        if key not in found or (suspect.plain and not found[key].plain):
            found[key] = suspect
    return list(found.values())


def _sureness(tested: Tested, floor: float) -> int:
    """Place in `CONFIDENCE`: whether the file shows a fault, and whether running proves it."""
    return int(tested.suspect.plain) + int(_is_verified(tested, floor))


def _is_verified(tested: Tested, floor: float) -> bool:
    """Whether running proves a cause: the fix brings an output nearer by more than noise.

    Where no output can be judged, the layer's own error must go.
    """
    if tested.harms:
        return False
    if tested.output is None:
        return tested.improves and (tested.before or 0.0) > floor * 0.25
    return tested.improves_output or (tested.effect_on_outputs.gain or 0.0) > CLEAR


def _cause(tested: Tested, floor: float) -> Cause:
    suspect = tested.suspect
    evidence: dict[str, Any] = {**suspect.evidence, "local_nrmse": finite(tested.before)}
    if tested.after is not None:
        evidence["local_nrmse_mended"] = finite(tested.after)
    if tested.output_mended is not None:
        evidence |= {"output_nrmse": finite(tested.output), "output_nrmse_mended": tested.output_mended}
    if tested.effect_on_outputs.beyond is not None:
        evidence["output_nrmse_with_others_fixed"] = list(tested.effect_on_outputs.beyond)
    confidence, verified = CONFIDENCE[_sureness(tested, floor)], _is_verified(tested, floor)
    return Cause(
        suspect.code, confidence, evidence, dict(suspect.fix), suspect.layer, suspect.op_index, verified=verified
    )
