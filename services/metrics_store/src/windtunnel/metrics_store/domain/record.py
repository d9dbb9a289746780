"""What is known of one run: a fold over facts that gives the same in any order, however often each fact comes.

A success and a failure of the same thing are both kept; the readers of the record let the success win. Two different
answers to one question should not happen; if they do, the choice between them does not depend on their order.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias, TypeVar

from windtunnel.metrics_store.domain import facts
from windtunnel.metrics_store.domain.facts import Fact
from windtunnel.metrics_store.domain.values import Blob, CellSpec, Failure, FarmRun

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class VariantState:
    """What is known of one variant."""

    name: str
    ready: facts.Ready | None = None
    not_made: Failure | None = None
    compared: facts.Compared | None = None
    not_compared: Failure | None = None
    planned: bool = False
    not_planned: Failure | None = None

    @property
    def model(self) -> Blob | None:
        """The variant's .tflite."""
        if self.ready is not None:
            return self.ready.model
        return self.compared.model if self.compared is not None else None


# What a repeat gave: a measurement, or why there is none.
Repeat: TypeAlias = facts.Measured | facts.NotRun
# One attempt at one job of a cell: repeat, whether it is of the baseline, attempt.
JobKey: TypeAlias = tuple[int, bool, int]


@dataclass(frozen=True, slots=True)
class CellState:
    """What is known of one cell. `attempts`: the highest attempt of any event. `skip_kind`: a FailureKind.

    `requests`: for more jobs, in their order. `repeats`: what they gave, by number and whether it is of the baseline.
    `farm_runs`: what carried each attempt. `recorded`: the last attempt that left an edge log; 0: none did.
    """

    spec: CellSpec
    planned: bool = False
    skip_reason: str = ""
    skip_kind: str = ""
    measured: facts.Measured | None = None
    not_run: facts.NotRun | None = None
    attempts: int = 0
    requests: tuple[facts.RepeatsRequested, ...] = ()
    repeats: Mapping[tuple[int, bool], Repeat] = field(default_factory=dict)
    farm_runs: Mapping[JobKey, FarmRun] = field(default_factory=dict)
    recorded: int = 0
    diagnosed: facts.Diagnosed | None = None

    @property
    def awaits_diagnosis(self) -> bool:
        """Whether an app left an edge log that was not diagnosed."""
        return self.recorded > (self.diagnosed.attempt if self.diagnosed is not None else 0)

    @property
    def farm_run(self) -> FarmRun | None:
        """What carried the measurement, or the last attempt if there is none."""
        own = {attempt: one for (repeat, _, attempt), one in self.farm_runs.items() if not repeat}
        if self.measured is not None:
            return own.get(self.measured.attempt)
        return own[max(own)] if own else None

    @property
    def cost_micro_usd(self) -> int | None:
        """What all jobs of the cell cost, repeats too; None: its farm bills nothing."""
        costs = [one.cost_micro_usd for one in self.farm_runs.values() if one.cost_micro_usd is not None]
        return sum(costs) if costs else None

    @property
    def awaited(self) -> tuple[tuple[int, bool], ...]:
        """The repeats that were asked for and have not come."""
        asked = (n for one in self.requests for n in range(one.first, one.first + one.pairs))
        return tuple(key for n in asked for key in ((n, False), (n, True)) if key not in self.repeats)


@dataclass(frozen=True, slots=True)
class AppState:
    """The app of one variant for one platform."""

    variant: str
    platform: str
    package: Blob | None = None
    not_built: Failure | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What is known of one run. `cells` by cell id, `apps` by variant and platform."""

    run_id: str
    seen: facts.Seen | None = None
    canceled: facts.Canceled | None = None
    converted: facts.Converted | None = None
    not_converted: Failure | None = None
    variants: Mapping[str, VariantState] = field(default_factory=dict)
    cells: Mapping[str, CellState] = field(default_factory=dict)
    apps: Mapping[tuple[str, str], AppState] = field(default_factory=dict)

    @property
    def started_at(self) -> datetime | None:
        """When the run started, UTC; None: not known yet."""
        return None if self.seen is None else self.seen.started_at

    @property
    def plan_sha256(self) -> str:
        """The plan's artifact; empty: not known yet."""
        return "" if self.seen is None or self.seen.plan is None else self.seen.plan.sha256

    def variant(self, name: str) -> VariantState:
        """The state of a variant.

        Args:
            name: of the variant.

        Returns:
            Empty if no event names it.
        """
        return self.variants.get(name) or VariantState(name)

    def cells_of(self, variant: str) -> tuple[CellState, ...]:
        """The cells of a variant.

        Args:
            variant: its name.

        Returns:
            Ordered by what they are.
        """
        cells = (cell for cell in self.cells.values() if cell.spec.variant == variant)
        return tuple(sorted(cells, key=lambda cell: (cell.spec.label, cell.spec.id)))


def fold(record: RunRecord, news: Iterable[Fact]) -> RunRecord:
    """A record with more facts.

    Args:
        record: of a run.
        news: the facts.

    Returns:
        The same for any order of the facts.
    """
    for fact in news:
        record = apply(record, fact)
    return record


def apply(record: RunRecord, fact: Fact) -> RunRecord:
    """A record with one more fact.

    Args:
        record: of a run.
        fact: of the same run.

    Returns:
        The record.
    """
    match fact:
        case facts.Seen():
            return dataclasses.replace(record, seen=_seen(record.seen, fact))
        case facts.Canceled():
            return dataclasses.replace(record, canceled=_first_canceled(record.canceled, fact))
        case facts.Converted():
            return dataclasses.replace(record, converted=_either(record.converted, fact))
        case facts.NotConverted():
            return dataclasses.replace(record, not_converted=_either(record.not_converted, fact.failure))
        case facts.Ready() | facts.NotMade() | facts.Compared() | facts.NotCompared() | facts.NotPlanned():
            return _with_variant(record, _variant(record.variant(fact.variant), fact))
        case facts.Planned():
            return _planned(record, fact)
        case facts.Built() | facts.NotBuilt():
            return _app(record, fact)
        case facts.TriedAgain():
            return _with_cell(record, _tried_again(_known_cell(record, fact.cell), fact))
        case facts.RepeatsRequested():
            return _requested(record, fact)
        case facts.Diagnosed():
            return _with_cell(record, _diagnosed(_known_cell(record, fact.cell), fact))
        case facts.Finished() | facts.NotRun() | facts.Measured():
            return _with_cell(record, _cell(_known_cell(record, fact.cell), fact))


def _either(old: T | None, new: T) -> T:
    """One of two answers, the same whichever came first."""
    return new if old is None else min(old, new, key=repr)


def _first_canceled(old: facts.Canceled | None, new: facts.Canceled) -> facts.Canceled:
    return new if old is None else min(old, new, key=lambda fact: (fact.at, fact.reason))


def _seen(old: facts.Seen | None, new: facts.Seen) -> facts.Seen:
    if old is None:
        return new
    if old.sure != new.sure:
        better, other = (old, new) if old.sure else (new, old)
    else:
        better, other = sorted((old, new), key=lambda seen: (seen.started_at, _text_key(seen)))
    return facts.Seen(
        started_at=better.started_at,
        sure=better.sure,
        model_name=better.model_name or other.model_name,
        model_version=better.model_version or other.model_version,
        model_sha256=better.model_sha256 or other.model_sha256,
        plan=better.plan or other.plan,
        labels=better.labels or other.labels,
        trace_id=better.trace_id or other.trace_id,
    )


def _text_key(seen: facts.Seen) -> tuple[object, ...]:
    texts = (seen.model_name, seen.model_version, seen.model_sha256, repr(seen.plan), seen.trace_id)
    return (*texts, tuple(sorted(seen.labels.items())))


def _variant(
    state: VariantState, fact: facts.Ready | facts.NotMade | facts.Compared | facts.NotCompared | facts.NotPlanned
) -> VariantState:
    match fact:
        case facts.Ready():
            return dataclasses.replace(state, ready=_either(state.ready, fact))
        case facts.NotMade():
            return dataclasses.replace(state, not_made=_either(state.not_made, fact.failure))
        case facts.Compared():
            return dataclasses.replace(state, compared=_either(state.compared, fact))
        case facts.NotCompared():
            return dataclasses.replace(state, not_compared=_either(state.not_compared, fact.failure))
        case facts.NotPlanned():
            return dataclasses.replace(state, not_planned=_either(state.not_planned, fact.failure))


def _planned(record: RunRecord, fact: facts.Planned) -> RunRecord:
    record = _with_variant(record, dataclasses.replace(record.variant(fact.variant), planned=True))
    for spec in fact.cells:
        cell = _known_cell(record, spec)
        said = (fact.skipped.get(spec.id, ""), fact.skip_kinds.get(spec.id, ""))
        reason, kind = max((cell.skip_reason, cell.skip_kind), said)
        record = _with_cell(record, dataclasses.replace(cell, planned=True, skip_reason=reason, skip_kind=kind))
    return record


def _app(record: RunRecord, fact: facts.Built | facts.NotBuilt) -> RunRecord:
    key = (fact.variant, fact.platform)
    app = record.apps.get(key) or AppState(*key)
    if isinstance(fact, facts.Built):
        app = dataclasses.replace(app, package=_either(app.package, fact.package))
    else:
        app = dataclasses.replace(app, not_built=_either(app.not_built, fact.failure))
    return dataclasses.replace(record, apps={**record.apps, key: app})


def _known_cell(record: RunRecord, spec: CellSpec) -> CellState:
    known = record.cells.get(spec.id)
    return CellState(spec) if known is None else dataclasses.replace(known, spec=_either(known.spec, spec))


def _requested(record: RunRecord, fact: facts.RepeatsRequested) -> RunRecord:
    cell = record.cells[fact.cell_id]
    requests = tuple(sorted({*cell.requests, fact}, key=lambda one: (one.round, one.first)))
    return _with_cell(record, dataclasses.replace(cell, requests=requests))


def _repeat(cell: CellState, fact: Repeat) -> CellState:
    """A measurement wins over a failure; of two measurements the one of the earlier attempt."""
    key = (fact.repeat, fact.of_baseline)
    known = [one for one in (cell.repeats.get(key), fact) if one is not None]
    best = min(known, key=lambda one: (isinstance(one, facts.NotRun), one.attempt, repr(one)))
    return dataclasses.replace(cell, repeats={**cell.repeats, key: best})


def _carried(cell: CellState, key: JobKey, farm_run: FarmRun) -> CellState:
    runs = {**cell.farm_runs, key: _either(cell.farm_runs.get(key), farm_run)}
    return dataclasses.replace(cell, farm_runs=runs)


def _tried_again(cell: CellState, fact: facts.TriedAgain) -> CellState:
    if not fact.repeat:
        cell = dataclasses.replace(cell, attempts=max(cell.attempts, fact.attempt))
    return _carried(cell, (fact.repeat, fact.of_baseline, fact.attempt), fact.farm_run)


def _diagnosed(cell: CellState, fact: facts.Diagnosed) -> CellState:
    """The last attempt counts; of one attempt a diagnosis wins over a failure."""
    known = [one for one in (cell.diagnosed, fact) if one is not None]
    best = max(known, key=lambda one: (one.attempt, one.failure is None, repr(one)))
    return dataclasses.replace(cell, diagnosed=best)


def _cell(cell: CellState, fact: facts.Finished | facts.NotRun | facts.Measured) -> CellState:
    if fact.farm_run is not None:
        cell = _carried(cell, (fact.repeat, fact.of_baseline, fact.attempt), fact.farm_run)
    if fact.repeat:
        return cell if isinstance(fact, facts.Finished) else _repeat(cell, fact)
    cell = dataclasses.replace(cell, attempts=max(cell.attempts, fact.attempt))
    match fact:
        case facts.Finished() if fact.edge_logs:
            return dataclasses.replace(cell, recorded=max(cell.recorded, fact.attempt))
        case facts.Measured():
            return dataclasses.replace(cell, measured=first_measured(cell.measured, fact))
        case facts.NotRun():
            # The last attempt explains best why there is no measurement.
            old = cell.not_run
            if old is None or (fact.attempt, repr(fact)) > (old.attempt, repr(old)):
                return dataclasses.replace(cell, not_run=fact)
    return cell


def first_measured(old: facts.Measured | None, new: facts.Measured) -> facts.Measured:
    """Of two measurements of one cell the one of the earlier attempt: a verdict may already depend on it.

    Args:
        old: None: there is none.
        new: the other one.

    Returns:
        One of the two.
    """
    return new if old is None else min(old, new, key=lambda item: (item.attempt, repr(item)))


def _with_variant(record: RunRecord, state: VariantState) -> RunRecord:
    return dataclasses.replace(record, variants={**record.variants, state.name: state})


def _with_cell(record: RunRecord, state: CellState) -> RunRecord:
    return dataclasses.replace(record, cells={**record.cells, state.spec.id: state})
