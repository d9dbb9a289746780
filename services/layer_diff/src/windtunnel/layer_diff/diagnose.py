"""From suspects to causes: each is put to the test, ranked, and what is excluded is said."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from windtunnel.layer_diff.domain import Cause, Exclusion
from windtunnel.layer_diff.graph import Matching
from windtunnel.layer_diff.local import Local
from windtunnel.layer_diff.static.compare import StaticReport
from windtunnel.layer_diff.static.suspect import Patch, Suspect

# An own error below this is what the precision gives anyway: float32, float16, integers.
FLOORS: Final = {"float32": 1e-4, "float16": 2e-3, "integer": 4e-3}
# A layer of matching files that departs more than this on equal inputs needs an explanation.
UNEXPLAINED: Final = {"float32": 1e-3, "float16": 3e-2, "integer": 0.2}
# How often causes were right over the fault matrix (docs/diagnosis.md): neither proven by the file nor by running,
# one of both, both; departures without a reason in the files; rounding as what is left.
CONFIDENCE: Final = (0.6, 0.95, 0.99)
CONFIDENCE_UNEXPLAINED, CONFIDENCE_ACCUMULATED = 0.5, 0.7
_BETTER: Final = {"quantization.per_tensor": 1.5, "conversion.weights": 1.15, "conversion.op": 1.5}
_BETTER_OUTPUT: Final = 1.1
_PROBED = 12


class Prober(Protocol):
    """Runs the candidate with a change (None: as it is), on a few samples; gives None where that cannot be done."""

    def mended_layers(self, patch: Patch | None) -> Mapping[int, Local] | None: ...

    def output(self, patch: Patch | None) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Tested:
    """A suspect and what mending it does.

    `before` and `after` are the own error of its layer, `output` and `output_mended` the error of the model's worst
    output (all nRMSE; None: unknown).
    """

    suspect: Suspect
    before: float | None
    after: float | None
    output: float | None = None
    output_mended: float | None = None

    @property
    def improves(self) -> bool:
        """Whether mending takes most of the layer's own error away, or much of the output's."""
        better = _BETTER.get(self.suspect.code, 1.08)
        own = self.before is not None and self.after is not None and self.before > better * self.after
        return own or self.improves_output

    @property
    def improves_output(self) -> bool:
        """Whether the model's output is clearly nearer to the reference's once mended."""
        return (
            self.output is not None
            and self.output_mended is not None
            and self.output > _BETTER_OUTPUT * self.output_mended
        )

    @property
    def effect(self) -> float:
        """How much of the error is this suspect's: its layer's own, or what the output loses with it."""
        gain = (self.output or 0.0) - (self.output_mended or 0.0) if self.improves_output else 0.0
        # What one scale does to small channels, the figure of the whole layer hardly shows.
        return gain if self.suspect.code == "quantization.per_tensor" else max(self.before or 0.0, gain)


def precision_of(matching: Matching) -> str:
    """float32, float16 or integer: what the candidate computes and stores with."""
    assert matching.theirs is not None
    tensors = matching.theirs.facts.tensors
    if any(tensor.quantization is not None and tensor.dtype in _INTEGERS for tensor in tensors):
        return "integer"
    return "float16" if any(tensor.dtype == "float16" for tensor in tensors) else "float32"


_INTEGERS = frozenset({"int8", "uint8", "int16", "int4", "int2"})


@dataclass(frozen=True, slots=True)
class Findings:
    """The causes that running confirmed, gravest first, and the suspects that it cleared."""

    causes: tuple[Cause, ...]
    cleared: tuple[Exclusion, ...]


def diagnose(matching: Matching, report: StaticReport, local: Mapping[int, Local], trials: Prober) -> Findings:
    """Puts what the files show to the test.

    Args:
        local: own errors by the candidate's tensor index.
        trials: runs the candidate with a change.
    """
    floor = FLOORS[precision_of(matching)]
    suspects = _once(report.suspects)
    suspects.sort(key=lambda one: (not one.plain, -(_own(local, one) or 0.0)))
    tested = [
        *_tests(suspects[:_PROBED], local, trials),
        *(Tested(one, _own(local, one), None) for one in suspects[_PROBED:]),
    ]
    kept = [one for one in tested if _holds(one, floor)]
    cleared = tuple(_cleared(one) for one in tested if one not in kept)
    faults = [one.suspect for one in kept]
    kept = [one for one in kept if not _follows(one.suspect, faults) and not _hangs_on(one.suspect, faults)]
    kept.sort(key=lambda one: (-one.effect, -one.suspect.evidence.get("largest_to_median_channel", 0.0)))
    return Findings(tuple(_cause(one, floor) for one in kept), cleared)


def _cleared(tested: Tested) -> Exclusion:
    """What looked wrong in the file, and why it is no cause."""
    suspect = tested.suspect
    before = "unknown" if tested.before is None else f"{tested.before:.2g}"
    if tested.after is None:
        why = f"{suspect.layer!r} is written in another way, and its own error is {before}"
    else:
        why = f"mending {suspect.layer!r} does not help: its own error is {before} before and {tested.after:.2g} after"
    return Exclusion(suspect.code, why)


def _tests(suspects: Sequence[Suspect], local: Mapping[int, Local], trials: Prober) -> list[Tested]:
    """What mending each suspect does, on the same samples before and after."""
    if not any(one.patch is not None for one in suspects):
        return [Tested(one, _own(local, one), None) for one in suspects]
    before, output = trials.mended_layers(None) or local, trials.output(None)
    found = []
    for one in suspects:
        if one.patch is None:
            found.append(Tested(one, _own(local, one), None))
            continue
        mended = trials.mended_layers(one.patch)
        after = None if mended is None else _own(mended, one)
        found.append(Tested(one, _own(before, one), after, output, trials.output(one.patch)))
    return found


def unexplained(matching: Matching, local: Mapping[int, Local]) -> tuple[Cause, ...]:
    """The layer that departs most on equal inputs, where the files show no reason: they are written differently."""
    precision = precision_of(matching)
    errors = [(one.nrmse, index) for index, one in local.items() if one.nrmse is not None]
    worst, index = max(errors, default=(0.0, -1))
    if worst <= UNEXPLAINED[precision] or matching.theirs is None:
        return ()
    maker = matching.theirs.makers.get(index)
    evidence = {"local_nrmse": worst, "why": "on the reference's inputs this layer gives something else"}
    name = matching.theirs.facts.tensors[index].name
    fix = {"action": "convert the op again", "op": "" if maker is None else maker.name}
    return (
        Cause("conversion.op", CONFIDENCE_UNEXPLAINED, evidence, fix, name, None if maker is None else maker.index),
    )


def accumulated(matching: Matching, local: Mapping[int, Local]) -> tuple[Cause, ...]:
    """Rounding that adds up, for a quantised candidate that is not healthy and shows no fault."""
    if precision_of(matching) != "integer" or matching.theirs is None:
        return ()
    errors = sorted(((one.nrmse or 0.0, index) for index, one in local.items()), reverse=True)
    tensors = matching.theirs.facts.tensors
    evidence = {
        "largest_own_errors": [{"layer": tensors[index].name, "local_nrmse": error} for error, index in errors[:5]],
        "root_sum_of_squares": math.sqrt(sum(error * error for error, _ in errors)),
    }
    fix = {"action": "keep the layers with the largest own errors in float or 16 bit: windtunnel remedy"}
    return (Cause("quantization.accumulated", CONFIDENCE_ACCUMULATED, evidence, fix),)


def exclusions(
    report: StaticReport, causes: Sequence[Cause], cleared: Sequence[Exclusion], precision: str
) -> tuple[Exclusion, ...]:
    """What was looked for and is not there, and how that is known."""
    named = {cause.code for cause in causes}
    constants, parameters = report.constants, report.parameters
    worst = f"; the largest difference is {constants.worst:.2g} of what precision explains" if constants.worst else ""
    found = [
        Exclusion("conversion.weights", f"{constants.compared} constants are the same within their precision{worst}"),
        Exclusion("conversion.op", f"{report.ops} ops have the same kind, activation and attributes"),
    ]
    if precision == "integer":
        if parameters.looked_at:
            ratios = f"{parameters.least:.3g} to {parameters.largest:.3g} times the range seen on the samples"
            found += [
                Exclusion(f"quantization.{code}", f"{parameters.looked_at} activation ranges hold {ratios}")
                for code in ("calibration_clipped", "calibration_wide", "parameters")
            ]
        if not report.per_tensor:
            why = "no weights with a single scale have channels that lose two bits by it"
            found.append(Exclusion("quantization.per_tensor", why))
    known = {one.code for one in cleared}
    found = [one for one in found if one.code not in known]
    return tuple(one for one in (*found, *cleared) if one.code not in named)


def _own(local: Mapping[int, Local], suspect: Suspect) -> float | None:
    """The own error of the suspect's layers, as nRMSE; of several the root mean square."""
    places = {suspect.tensor, *suspect.tensors} if "held" in _range_of(suspect) else {suspect.tensor}
    errors = [error for index in places if index in local and (error := _error(local[index])) is not None]
    return math.sqrt(sum(error * error for error in errors) / len(errors)) if errors else None


def _range_of(suspect: Suspect) -> Mapping[str, Any]:
    found = suspect.evidence.get("first", suspect.evidence)
    return found if isinstance(found, Mapping) else {}


def _error(local: Local) -> float | None:
    """What the layer adds; of an input of the model, what storing it costs."""
    if local.nrmse is not None:
        return local.nrmse
    span = local.high - local.low
    return math.hypot(local.clip_rmse, local.round_rmse) / span if span > 0.0 else None


def _holds(tested: Tested, floor: float) -> bool:
    """Whether a suspect is a cause: proven by the file, or by an own error that mending takes away."""
    suspect = tested.suspect
    if suspect.plain:
        return True
    if tested.before is None:
        return suspect.code.startswith("conversion")
    if suspect.patch is None or tested.after is None:
        return tested.before > floor * 2.0
    if suspect.code == "quantization.per_tensor":
        # Its errors lie in small channels, which the figure of the whole layer hardly shows.
        return tested.improves
    return tested.improves and (tested.before > floor * 0.25 or tested.improves_output)


def _follows(suspect: Suspect, suspects: Sequence[Suspect]) -> bool:
    """Whether a range that is off only follows from a fault before it: the values there are others already."""
    if suspect.evidence.get("held") is None and not suspect.code.startswith("quantization.calibration"):
        return False
    earlier = [
        one
        for one in suspects
        if one.code.startswith("conversion.") and one.op_index is not None
        and (suspect.op_index is not None and one.op_index <= suspect.op_index)
    ]  # fmt: skip
    return bool(earlier)


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
    """One suspect per code and place."""
    found: dict[tuple[str, int], Suspect] = {}
    for suspect in suspects:
        key = suspect.code, suspect.tensor
        if key not in found or (suspect.plain and not found[key].plain):
            found[key] = suspect
    return list(found.values())


def _cause(tested: Tested, floor: float) -> Cause:
    suspect = tested.suspect
    evidence: dict[str, Any] = {**suspect.evidence, "local_nrmse": tested.before}
    if tested.after is not None:
        evidence["local_nrmse_mended"] = tested.after
    if tested.output_mended is not None:
        evidence |= {"output_nrmse": tested.output, "output_nrmse_mended": tested.output_mended}
    shows = (tested.before or 0.0) > floor * 0.25 or tested.improves_output
    verified = tested.improves and shows
    confidence = CONFIDENCE[int(suspect.plain) + int(verified)]
    return Cause(
        suspect.code, confidence, evidence, dict(suspect.fix), suspect.layer, suspect.op_index, verified=verified
    )
