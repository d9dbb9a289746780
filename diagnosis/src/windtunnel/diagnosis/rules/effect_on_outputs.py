"""What each difference does to the models' outputs: by itself, and once the others are fixed.

A fault beside a larger one hardly moves an output until that one is fixed. A difference that moves none either way is
another way to write the same, or one that these samples do not reach: a note, not a cause.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from windtunnel.datacheck.findings import DIFFERENCE_WITHOUT_EFFECT, Finding
from windtunnel.diagnosis.findings.comparison import Cause, OutputDiff
from windtunnel.diagnosis.graph.model_precision import QUIET
from windtunnel.diagnosis.static.suspect import Patch, Suspect, all_of

# An output that is so many times as far off without a fix is further off by more than noise: where values are rounded
# to integers, the fix of a harmless difference rounds anew.
NOISE: Final = {"float32": 1.01, "float16": 1.03, "integer": 1.06}
# An output that is so many times as far off without a fix is clearly further off.
CLEAR: Final = 1.1
# Gains this close to 1 are none.
_SAME: Final = 1e-3
# Below this nRMSE two outputs are the same.
_NOTHING: Final = 1e-9
# Ops whose own nRMSE, and that of every output behind them, is below this compute the same for every use.
_ALIKE: Final = QUIET["float32"]
# Attributes that choose between two ways to compute the same function (GELU: by tanh or erf).
_WAYS: Final = frozenset({"approximate"})
# An output is looked at on so many samples before a difference is called harmless.
EFFECT_SAMPLES: Final = 32
# The code of a difference that no output shows.
NO_EFFECT: Final = DIFFERENCE_WITHOUT_EFFECT
_BETTER: Final = {"quantization.per_tensor": 1.5, "conversion.weights": 1.15, "conversion.op": 1.5}
_DECIDES = 2.0
# An output that is this much further off is worse.
_WORSE: Final = 1.15


class Ends(Protocol):
    """Runs the candidate with changes to its outputs."""

    def try_beyond(self, base: Patch | None, patch: Patch, samples: int) -> Sequence[tuple[float, float]] | None:
        """nRMSE of each output, and of each layer that decides one, with `base` and with `patch` on top.

        None where no kernels run the changed candidate, or one has no figure.
        """


@dataclass(frozen=True, slots=True)
class Tried:
    """A difference that may be fixed by `patch`; `alone` is the outputs' nRMSE before and after, where known."""

    patch: Patch | None
    alone: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Effect:
    """What a fix does to the outputs.

    `gain`: how many times as far off they are without it, alone or on top of the other fixes; None where it is not
    known. `beyond`: the outputs' nRMSE before and after it on top of the others, where that says more than it alone.
    `left`: the worst output's nRMSE with all fixes; None where it is not known. `changes`: whether any output moves.
    """

    gain: float | None
    beyond: tuple[float, float] | None = None
    left: float | None = None
    changes: bool = True

    def is_none(self, noise: float, quiet: float) -> bool:
        """Whether a difference has no more effect than noise: what is left without it is `quiet`, or it is nothing.

        While an output stays off, the fix may be what is wrong.
        """
        if self.gain is None or self.left is None or self.gain > noise:
            return False
        return self.left < quiet or not self.changes


UNKNOWN: Final = Effect(None)


@dataclass(frozen=True, slots=True)
class Tested:
    """A suspect and what mending it does.

    `before` and `after` are the own error of its layer, `output` and `output_mended` the error of the model's worst
    output, or of the one that mending moves (all nRMSE; None: unknown). `tried`: whether it was mended and run, or
    would have been if it could be. `effect_on_outputs` is what the fix does to the outputs.
    """

    suspect: Suspect
    before: float | None
    after: float | None
    output: float | None = None
    output_mended: float | None = None
    tried: bool = True
    effect_on_outputs: Effect = UNKNOWN

    @property
    def improves(self) -> bool:
        """Whether mending takes most of the layer's own error away, or much of the output's."""
        better = _BETTER.get(self.suspect.code, 1.08)
        own = self.before is not None and self.after is not None and self.before > better * self.after
        return own or self.improves_output

    @property
    def improves_output(self) -> bool:
        """Whether the model's output is clearly nearer to the reference's once mended."""
        return self.output is not None and self.output_mended is not None and self.output > CLEAR * self.output_mended

    @property
    def decides(self) -> bool:
        """Whether most of the output's error is gone once mended."""
        return self.improves_output and (self.output or 0.0) > _DECIDES * (self.output_mended or 0.0)

    @property
    def is_range(self) -> bool:
        """Whether the suspect is a range that does not fit the samples."""
        return "held" in range_of(self.suspect)

    @property
    def harms(self) -> bool:
        """Whether the model's output is further from the reference's once mended."""
        return self.output is not None and self.output_mended is not None and self.output_mended > _WORSE * self.output

    @property
    def effect(self) -> float:
        """How much of the error is this suspect's: its layer's own, or what the output loses with it."""
        gain = (self.output or 0.0) - (self.output_mended or 0.0) if self.improves_output else 0.0
        # What one scale does to small channels, the figure of the whole layer hardly shows.
        return gain if self.suspect.code == "quantization.per_tensor" else max(self.before or 0.0, gain)


def by_effect(kept: Sequence[Tested], trials: Ends, precision: str) -> tuple[list[Tested], list[Tested]]:
    """The causes with what their fixes gain, and those differences that no output shows."""
    tried = [
        Tried(
            one.suspect.patch,
            None if one.output is None or one.output_mended is None else (one.output, one.output_mended),
        )
        for one in kept
    ]
    known = [
        replace(one, effect_on_outputs=found)
        for one, found in zip(kept, effects(tried, trials, NOISE[precision]), strict=True)
    ]
    quiet = QUIET[precision]
    harmless = [one for one in known if _is_harmless(one, NOISE[precision], quiet)]
    if len(harmless) == len(known):
        harmless = [one for one in harmless if not _may_explain(one, quiet)]
    return [one for one in known if one not in harmless], harmless


def _is_setting(evidence: Mapping[str, Any]) -> bool:
    """Whether one op has another attribute in the candidate, one that makes it another function."""
    return "attribute" in evidence and evidence["attribute"] not in _WAYS


def _may_explain(tested: Tested, quiet: float) -> bool:
    """Whether a difference that no fix shows is the only one that may explain why an output is off.

    A fix may miss what a wrong number does to the kernels: then the number is still wrong.
    """
    left = tested.effect_on_outputs.left
    return left is not None and left >= quiet and not _is_way(tested.suspect)


def _is_way(suspect: Suspect) -> bool:
    """Whether a difference may be another way to write the same: another op, or another bound."""
    return suspect.code == "conversion.op" or suspect.evidence.get("role") == "operand"


def _is_harmless(tested: Tested, noise: float, quiet: float) -> bool:
    """Whether no output shows a difference.

    Another op, or another bound, may be another way to write the same. Weights and scales that differ are faults unless
    they change nothing at all: their fix rounds anew, which may cost what it gains.
    """
    suspect, effect = tested.suspect, tested.effect_on_outputs
    if suspect.plain and suspect.code == "conversion.op" and _is_setting(suspect.evidence):
        # Some kernels ignore an attribute that others follow: where the files differ in it, running proves nothing.
        return False
    return effect.is_none(noise, quiet) and (_is_way(suspect) or not effect.changes)


def note_of(tested: Tested) -> Finding:
    """A difference that no output shows, as a note."""
    suspect = tested.suspect
    output = "unknown" if tested.output is None else f"{tested.output:.2g}"
    evidence = {
        "code": suspect.code,
        "place": {"layer": suspect.layer, "op_index": suspect.op_index},
        "output_nrmse": finite(tested.output),
        "output_nrmse_mended": tested.output_mended,
        **suspect.evidence,
    }
    return Finding(
        NO_EFFECT,
        f"{suspect.code} at {suspect.layer!r} (op {suspect.op_index}): the files differ there, but the output comes no "
        f"nearer to the reference's without the difference (nRMSE {output}): it has no effect on these samples",
        evidence=evidence,
    )


def is_alike(cause: Cause, output: OutputDiff) -> bool:
    """Whether another op gives so nearly the same that neither its own layer nor an output shows it.

    The two ways to compute a GELU are an example. Running may well prove that they differ, by less than anyone sees.
    """
    if _is_setting(cause.evidence) or "activation" in cause.evidence:
        return False
    own = cause.evidence.get("local_nrmse")
    small = own is not None and own < _ALIKE and output.nrmse is not None and output.nrmse < _ALIKE
    return cause.code == "conversion.op" and small and output.agreement in (None, 1.0)


def without_effect(causes: Sequence[Cause], output: OutputDiff) -> tuple[Finding, ...]:
    """Causes that no output shows, as notes."""
    return tuple(
        Finding(
            NO_EFFECT,
            f"{one.code} at {one.layer!r} (op {one.op_index}): this layer gives something else on the same inputs, but "
            f"no output shows it (nRMSE {output.nrmse:.2g})",
            evidence={"code": one.code, "place": {"layer": one.layer, "op_index": one.op_index}, **one.evidence},
        )
        for one in causes
    )


def effects(tried: Sequence[Tried], ends: Ends, noise: float) -> list[Effect]:
    """The effect of each fix. Only what does not clearly help alone is run again."""
    return [_effect(tried, place, ends, noise) for place in range(len(tried))]


def _effect(tried: Sequence[Tried], place: int, ends: Ends, noise: float) -> Effect:
    one = tried[place]
    alone = None if one.alone is None else gain(*one.alone)
    if one.patch is None or alone is None or alone > CLEAR:
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
        any(abs(gain(*pair) - 1.0) >= _SAME for pair in found),
    )


def gain(before: float, after: float) -> float:
    """How many times as far off an output is without a fix: 1 where it is the same."""
    return (before + _NOTHING) / (after + _NOTHING)


def range_of(suspect: Suspect) -> Mapping[str, Any]:
    found = suspect.evidence.get("first", suspect.evidence)
    return found if isinstance(found, Mapping) else {}


def finite(error: float | None) -> float | None:
    return error if error is None or math.isfinite(error) else None
