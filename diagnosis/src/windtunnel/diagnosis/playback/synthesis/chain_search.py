"""Searches the changes of a chain of steps that reproduce what an app fed.

Every place of the chain (a slot) has the pipeline's own way and other ways. First each other way is tried alone, then
the most promising are combined with ways of the other slots, until what the app fed is reproduced. The values before a
change are computed once. What follows the chain (ranges, memory order, rounding) is judged in one go: `judge` gives the
endings of a chain.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.playback.synthesis.table import Table
from windtunnel.diagnosis.thresholds.apps.playback_thresholds import (
    CHAIN_BEAM,
    CHAIN_DEPTH,
    CHAIN_EVALUATIONS,
    CHAIN_KEPT,
    CHAIN_NEAR,
    EXPLAINED_RATIO,
)
from windtunnel.errors import WindtunnelError

S = TypeVar("S")


@dataclass(frozen=True)
class Way(Generic[S]):
    """One way to do what a slot is for. `words`: what it does, for people; `how`: what to change instead."""

    name: str
    words: str
    run: Callable[[S], S]


@dataclass(frozen=True)
class Slot(Generic[S]):
    """A place in a chain: the pipeline's own way, and the others, whose cause is `code`."""

    name: str
    code: CauseCode
    own: Way[S]
    others: tuple[Way[S], ...]

    def way(self, choice: int) -> Way[S]:
        """A way.

        Args:
            choice: 0 is the pipeline's own.

        Returns:
            The way.
        """
        return self.own if choice == 0 else self.others[choice - 1]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that an app does differently.

    `name`: of the slot or the ending. `app` and `pipeline`: what each does. `numbers`: of an affine map.
    `is_general`: other differences show in the same way, and are taken where they explain as much.
    """

    name: str
    code: CauseCode
    app: str = field(compare=False)
    pipeline: str = field(compare=False)
    numbers: tuple[float, ...] = field(default=(), compare=False)
    is_general: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Ending:
    """What follows a chain: what differs there, and the misfit."""

    misfit: float
    extra: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True)
class Chained:
    """A hypothesis: the way of each slot, and what differs."""

    choices: tuple[int, ...]
    differences: frozenset[Difference]
    misfit: float


class ChainSearch(Generic[S]):
    """The search.

    Args:
        slots: of the chain.
        start: what enters it.
        judge: what leaves it, and which choices were made, to endings; the least misfit is the chain's promise.
        floor: misfit that rounding explains.
    """

    def __init__(
        self, slots: Sequence[Slot[S]], start: S, judge: Callable[[S], Iterable[Ending]], floor: float
    ) -> None:
        self._slots = slots
        self._judge = judge
        self._floor = floor
        self._kept: dict[tuple[int, ...], S] = {(): start}
        self._promises: dict[tuple[int, ...], float] = {}
        self.table: Table[Chained] = Table()

    def run(self) -> Chained:
        """Tries combinations, the most promising first.

        Returns:
            The one with the fewest differences that explains enough; `table` has the others.
        """
        level = [tuple(0 for _ in self._slots)]
        self._try(level[0])
        for depth in range(CHAIN_DEPTH):
            before = self._least()
            for choices in level:
                if self._least() <= self._floor and not self._is_general():
                    break
                for changed in self._changes(choices):
                    self._try(changed)
            if self._least() <= CHAIN_NEAR and self._least() > EXPLAINED_RATIO * before:
                break
            level = self._promising(depth + 1)
        return self.table.cheapest(self.cost)

    def cost(self, one: Chained) -> tuple[float, ...]:
        """What decides between explanations: each difference must leave less than half of the misfit.

        Args:
            one: a hypothesis.

        Returns:
            The cost, and what decides where it is equal: a range explains whatever is affine.
        """
        misfit = max(one.misfit, self._floor) / self._floor
        affine = sum(found.code == CauseCode.PREPROCESSING_RANGE for found in one.differences)
        general = sum(found.is_general for found in one.differences)
        return (round(len(one.differences) + math.log2(misfit), 3), general, -affine, one.misfit)

    def without(self, one: Difference, found: Chained) -> float:
        """The least misfit of all hypotheses in which one thing is right.

        Args:
            one: the thing.
            found: the explanation that has it; descriptions that say the same in other words do not count.

        Returns:
            The misfit; infinite if every hypothesis has it.
        """
        return min(
            (
                other.misfit
                for differences, other in self.table.best.items()
                if one not in differences and not any(more.is_general for more in differences - found.differences)
            ),
            default=math.inf,
        )

    def _is_general(self) -> bool:
        """Whether what explains everything so far only says how it shows."""
        return any(one.is_general for one in self.table.cheapest(self.cost).differences)

    def _least(self) -> float:
        return min(one.misfit for one in self.table.best.values())

    def _changes(self, choices: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        """One more slot differently. The last slots first: their changes share the most values."""
        for place in reversed(range(len(self._slots))):
            if choices[place] == 0:
                for choice in range(1, len(self._slots[place].others) + 1):
                    yield (*choices[:place], choice, *choices[place + 1 :])

    def _promising(self, changes: int) -> list[tuple[int, ...]]:
        """Where the search continues: the best with as many changes, at most two that change the same slots."""
        ranked = sorted(
            (misfit, choices)
            for choices, misfit in self._promises.items()
            if sum(choice > 0 for choice in choices) == changes and math.isfinite(misfit)
        )
        chosen: list[tuple[int, ...]] = []
        counts: dict[tuple[bool, ...], int] = {}
        for _, choices in ranked:
            changed = tuple(choice > 0 for choice in choices)
            counts[changed] = counts.get(changed, 0) + 1
            if counts[changed] <= 2:
                chosen.append(choices)
        return chosen[:CHAIN_BEAM]

    def _try(self, choices: tuple[int, ...]) -> None:
        if choices in self._promises or len(self._promises) >= CHAIN_EVALUATIONS:
            return
        found = self._differences(choices)
        self._promises[choices] = math.inf
        try:
            state = self._state(choices)
        except (WindtunnelError, ValueError, IndexError):
            # The steps do not fit each other when one is changed.
            return
        for ending in self._judge(state):
            self._promises[choices] = min(self._promises[choices], ending.misfit)
            self._note(Chained(choices, found | frozenset(ending.extra), ending.misfit))

    def _note(self, one: Chained) -> None:
        """Keeps the first of several that leave no more than rounding: the plainest comes first."""
        known = self.table.best.get(one.differences)
        if known is None or known.misfit > self._floor:
            self.table.add(one)

    def _differences(self, choices: tuple[int, ...]) -> frozenset[Difference]:
        return frozenset(
            Difference(slot.name, slot.code, slot.way(choice).words, slot.own.words)
            for slot, choice in zip(self._slots, choices, strict=True)
            if choice
        )

    def _state(self, choices: tuple[int, ...]) -> S:
        """What the chain gives; values before the last change are taken from those that are kept."""
        known = len(choices)
        while choices[:known] not in self._kept:
            known -= 1
        state = self._kept[choices[:known]]
        for place in range(known, len(choices)):
            state = self._slots[place].way(choices[place]).run(state)
            self._keep(choices[: place + 1], state)
        return state

    def _keep(self, choices: tuple[int, ...], state: S) -> None:
        if len(choices) == len(self._slots):
            return
        if len(self._kept) >= CHAIN_KEPT:
            oldest = next(one for one in self._kept if one)
            del self._kept[oldest]
        self._kept[choices] = state
