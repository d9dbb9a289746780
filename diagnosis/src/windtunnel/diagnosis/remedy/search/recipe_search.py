"""The search for a recipe that fixes a variant: what to try next, given what came of the rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from windtunnel.diagnosis.remedy.search.candidates import CLOSEST, Candidate, Trial, passes, pick
from windtunnel.diagnosis.remedy.search.recipes import Precision, Scheme, Unit
from windtunnel.diagnosis.remedy.search.smallest_set import smallest_set
from windtunnel.diagnosis.remedy.search.whole_model_options import (
    Ranges,
    algorithms,
    clipped,
    keeping,
    made_again,
    neighbors,
    other_precisions,
    ranked,
)
from windtunnel.diagnosis.thresholds.remedy_thresholds import MOST_SINGLE_LAYERS, PERCENTILES, SAME_DROP
from windtunnel.plan import Gates


class Bench(Protocol):
    """What makes and runs candidates."""

    async def attempt(self, candidate: Candidate) -> Trial:
        """Makes a candidate and runs it on the search samples.

        Args:
            candidate: to try.

        Returns:
            The trial; with an error if the candidate cannot be made.
        """
        ...

    async def clipped_ranges(self, percent: float) -> Ranges:
        """Ranges of activations on the calibration samples, without outliers.

        Args:
            percent: how many percent of the values a range includes.

        Returns:
            (low, high), in real units, by tensor name.
        """
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """All trials in order, and which of them is the fix, if any. `out_of_time`: the budget ended the search."""

    trials: tuple[Trial, ...]
    choice: Trial | None
    out_of_time: bool


class OutOfTime(Exception):
    """The budget is spent; ends a search from the inside and never leaves it."""


class Search:
    """One search. `best` is what it would answer now.

    Args:
        bench: makes and runs candidates.
        scheme: how it is quantized.
        units: what can be kept out on its own, in execution order.
        gates: what must hold on the search samples; accuracy_drop must be among them.
        ranking: (name of a layer of the float model, weight): how likely it does the damage.
        budget_s: no trial begins later than this.
        on_target: latencies are of a device that the model is meant for, and so may decide.
        on_trial: called with every trial.
    """

    def __init__(
        self,
        bench: Bench,
        scheme: Scheme,
        units: Sequence[Unit],
        gates: Gates,
        ranking: Sequence[tuple[str, float]],
        *,
        budget_s: float,
        on_target: bool = False,
        on_trial: Callable[[Trial], None] = lambda _: None,
    ) -> None:
        self._bench, self._scheme, self._on_target = bench, scheme, on_target
        self._units, self._gates, self._ranking = units, gates, ranking
        self._deadline = time.monotonic() + budget_s
        self._on_trial = on_trial
        self._sets: dict[tuple[frozenset[tuple[str, str]], Precision], Trial] = {}
        self.trials: list[Trial] = []

    @property
    def best(self) -> Trial | None:
        """What meets every gate and is closest to the variant, so far."""
        return pick(self._gates, self.trials, on_target=self._on_target)

    async def run(self) -> Found:
        """Searches to the end, or to the end of its time."""
        late = False
        try:
            await self._same_scheme()
            base = self._base()
            # What stays as it was needs no layer kept out of it.
            if self.best is None and base is not None:
                await self._layers(base)
            await self._all(other_precisions(self._scheme))
        except OutOfTime:
            late = True
        return Found(tuple(self.trials), self.best, late)

    async def _same_scheme(self) -> None:
        """Until one meets the gates: none of them costs anything at run time."""
        if await self._first(made_again(self._scheme)):
            return
        if self._scheme.method == "static" and self._scheme.activation_bits == 8:
            for percent in PERCENTILES:
                self._require_time()
                ranges = await self._bench.clipped_ranges(percent)
                if ranges and await self._first([clipped(self._scheme, percent, ranges)]):
                    return
        await self._first(algorithms(self._scheme))

    async def _first(self, candidates: Iterable[Candidate]) -> bool:
        """Tries until one meets the gates; whether one does."""
        for candidate in candidates:
            if passes(self._gates, await self._try(candidate)):
                return True
        return False

    async def _all(self, candidates: Iterable[Candidate]) -> None:
        for candidate in candidates:
            await self._try(candidate)

    def _base(self) -> Trial | None:
        """What layers are kept out of: the simplest of the most accurate recipes of the variant's own kind."""
        run = [trial for trial in self.trials if trial.figures is not None and trial.figures.drop is not None]
        return min(run, key=_roughly, default=None)

    async def _layers(self, base: Trial) -> None:
        """The smallest set of layers kept in float, by the ranking; then by what each of them does alone."""
        quantized = [unit for unit in self._units if base.states.get(unit.key, "float") != "float"]

        async def holds(members: Sequence[Unit]) -> bool:
            if len(members) == len(quantized):
                # That is the float model itself: nothing to make, and its drop is zero.
                return (self._gates.accuracy_drop or 0.0) >= 0.0
            return self._accurate(await self._keep(base, members, "float"))

        found = await smallest_set(ranked(quantized, self._ranking), holds)
        if found is None or len(found) == len(quantized):
            return
        if len(found) > 1 and len(quantized) <= MOST_SINGLE_LAYERS:
            found = await self._smaller(base, quantized, found)
        if self._scheme.method == "static" and self._scheme.activation_bits == 8:
            await self._keep(base, found, "int16")

    async def _smaller(self, base: Trial, units: Sequence[Unit], found: tuple[Unit, ...]) -> tuple[Unit, ...]:
        """A set with fewer members than `found`, if single layers, neighbors or their measured effect show one."""
        alone = [(unit, await self._keep(base, [unit], "float")) for unit in units]
        single = next((unit for unit, trial in alone if self._accurate(trial)), None)
        if single is not None:
            return (single,)
        if len(found) > 2:
            for pair in neighbors(units):
                if self._accurate(await self._keep(base, pair, "float")):
                    return pair

        async def holds(members: Sequence[Unit]) -> bool:
            return len(members) >= len(found) or self._accurate(await self._keep(base, members, "float"))

        order = sorted(alone, key=lambda one: one[1].figures.order if one[1].figures else (2.0, 2.0, 2.0))
        # Only a smaller set is of use: from as many members on there is nothing to ask.
        other = await smallest_set([unit for unit, _ in order], holds)
        return other if other is not None and len(other) < len(found) else found

    async def _keep(self, base: Trial, members: Sequence[Unit], precision: Precision) -> Trial:
        key = (frozenset(unit.key for unit in members), precision)
        if key not in self._sets:
            in_order = [unit for unit in self._units if unit.key in key[0]]
            self._sets[key] = await self._try(keeping(base.candidate, in_order, precision, self._scheme))
        return self._sets[key]

    async def _try(self, candidate: Candidate) -> Trial:
        self._require_time()
        trial = await self._bench.attempt(candidate)
        self.trials.append(trial)
        self._on_trial(trial)
        return trial

    def _require_time(self) -> None:
        if time.monotonic() > self._deadline:
            raise OutOfTime

    def _accurate(self, trial: Trial) -> bool:
        """Accurate enough, whatever its size and latency: those grow with every layer that is kept."""
        return passes(Gates(accuracy_drop=self._gates.accuracy_drop), trial)


def _roughly(trial: Trial) -> tuple[float, int, int]:
    drop = trial.figures.drop if trial.figures is not None and trial.figures.drop is not None else 1.0
    return round(drop / SAME_DROP), CLOSEST[trial.candidate.family], trial.number
