"""What each difference does to the models' outputs: by itself, and once the others are fixed.

A fault beside a larger one hardly moves an output until that one is fixed. A difference that moves none either way is
another way to write the same, or one that these samples do not reach: a note, not a cause.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from windtunnel.layer_diff.static.suspect import Patch, all_of

# An output that is so many times as far off without a fix is further off by more than noise: where values are rounded
# to integers, the fix of a harmless difference rounds anew.
NOISE: Final = {"float32": 1.01, "float16": 1.03, "integer": 1.06}
# An output that is so many times as far off without a fix is clearly further off.
CLEAR: Final = 1.1
# Gains this close to 1 are none.
_SAME: Final = 1e-3
# Below this nRMSE two outputs are the same.
_NOTHING: Final = 1e-9
# An output is looked at on so many samples before a difference is called harmless.
EFFECT_SAMPLES: Final = 32


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
