"""The command line of the sweep, and the search for the ends of each threshold's span."""

from __future__ import annotations

import argparse
import asyncio
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import gettempdir
from types import CodeType
from typing import Any

from threshold_spans import FILE, Side, Span, read_spans, value_text, write_spans

from benchmarks.diagnosis.changed_thresholds import (
    beside_one,
    changed,
    executed,
    known_thresholds,
    load_everything,
    names_in,
    values_beside,
)
from benchmarks.diagnosis.judged_again import Answer, OpenCase
from benchmarks.diagnosis.stored_cases import store_cases
from support.architectures import SMALL
from support.faults import Spec, plan

# So many cases run again for one value of a threshold.
MOST_RUN_AGAIN = 40
# So many cases run again for a threshold that the models' run reads.
SAMPLE_RUN_AGAIN = 20
# Of these factors only, where models run again.
RUN_FACTORS = (1.25, 2.0)


def specs_of(every: int) -> list[Spec]:
    """The cases of the quick matrix; `every`: only each such one."""
    return [spec for name in SMALL for spec in plan(name)][::8][::every]


@dataclass
class Sweep:
    """The cases of a sweep, and which thresholds each of them may read.

    `judging`: by case, when its stored run is judged; `running`: only when the models run. `live`: the answers of runs.
    """

    cases: Sequence[OpenCase]
    values: Mapping[str, Any]
    judging: dict[str, set[str]] = field(default_factory=dict)
    running: dict[str, set[str]] = field(default_factory=dict)
    live: dict[str, Answer] = field(default_factory=dict)

    def trace(self, run_every: int = 1) -> None:
        """Finds out what each case reads; only each `run_every`-th case runs for that."""
        judging: set[CodeType] = set()
        for case in self.cases:
            codes = executed(case.judge)[1]
            self.judging[case.name] = names_in(codes, self.values)
            judging |= codes
        for case in self.cases[::run_every]:
            self.live[case.name], codes = executed(case.run)
            self.running[case.name] = names_in(codes - judging, self.values)

    def measure(self, name: str) -> Span:
        """How far one threshold can be changed."""
        judged = [case for case in self.cases if name in self.judging[case.name]]
        ran = [case for case in self.cases if name in self.running.get(case.name, ())]
        search = _Search(name, self.values[name], self, keeps=not ran)
        some = ran[:SAMPLE_RUN_AGAIN]
        down, up = (_nearer(search.records(judged, up=up), search.runs(some, up=up)) for up in (False, True))
        return Span(
            value_text(self.values[name]),
            len({case.name for case in (*judged, *ran)}),
            len(search.run_again),
            len(search.unknown - search.run_again),
            len(search.felt),
            beside_one(self.values[name]),
            down,
            up,
        )


@dataclass
class _Search:
    """The search for the ends of one threshold's span; `keeps`: trials do not depend on the threshold."""

    name: str
    value: Any
    sweep: Sweep
    keeps: bool
    run_again: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    felt: set[str] = field(default_factory=set)

    def records(self, cases: Sequence[OpenCase], *, up: bool) -> Side | None:
        """The span in one direction by stored runs; None: no case or no other value."""
        before = {case.name: case.recorded for case in cases}
        return self._side(cases, before, values_beside(self.value, up=up), self._judged)

    def runs(self, cases: Sequence[OpenCase], *, up: bool) -> Side | None:
        """The span in one direction by running the models again."""
        return self._side(cases, self.sweep.live, values_beside(self.value, up=up, factors=RUN_FACTORS), self._ran)

    def _side(
        self,
        cases: Sequence[OpenCase],
        before: Mapping[str, Answer],
        steps: Sequence[tuple[float, Any]],
        answer: Callable[[OpenCase], Answer],
    ) -> Side | None:
        """A case that says the same at the far end is not tried in between."""
        if not cases or not steps:
            return None
        with changed(self.name, self.value, steps[-1][1]):
            far = {case.name: answer(case) for case in cases}
        touched = [case for case in cases if far[case.name].said != before[case.name].said]
        self.felt |= {case.name for case in touched}
        if not any(far[case.name].is_worse(before[case.name]) for case in touched):
            return Side(steps[-1][0])
        last = 1.0
        for factor, other in steps:
            with changed(self.name, self.value, other):
                for case in touched:
                    found = far[case.name] if factor == steps[-1][0] else answer(case)
                    if found.is_worse(before[case.name]):
                        return Side(last, case.name, f"{before[case.name]}; then {found}")
            last = factor
        return Side(last)

    def _judged(self, case: OpenCase) -> Answer:
        found = case.judge()
        if not found.missing:
            return found
        if case.name in self.run_again or len(self.run_again) < MOST_RUN_AGAIN:
            self.run_again.add(case.name)
            return case.run(keep=self.keeps)
        self.unknown.add(case.name)
        return case.recorded

    def _ran(self, case: OpenCase) -> Answer:
        self.run_again.add(case.name)
        return case.run()


def _nearer(one: Side | None, other: Side | None) -> Side | None:
    """The narrower side if an answer gets worse at any; if none does, the one that was tried further."""
    sides = [side for side in (one, other) if side is not None]
    broken = [side for side in sides if side.case]
    return min(broken, key=_distance, default=None) or max(sides, key=_distance, default=None)


def _distance(side: Side) -> float:
    return max(side.factor, 1.0 / side.factor)


def _left(values: Mapping[str, Any], spans: Mapping[str, Span], only: Sequence[str], *, again: bool) -> Iterator[str]:
    for name, value in values.items():
        known = name in spans and spans[name].value == value_text(value)
        if (name in only) if only else (again or not known):
            yield name


def main(description: str | None) -> int:
    """Runs the sweep; `description` is shown by --help."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(gettempdir(), "windtunnel-threshold-sweep"))
    parser.add_argument("--json", type=Path, default=FILE)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--run-every", type=int, default=2)
    parser.add_argument("--only", default="")
    parser.add_argument("--again", action="store_true")
    arguments = parser.parse_args()
    load_everything()
    values, spans = known_thresholds(), read_spans(arguments.json)
    only = [name for name in arguments.only.split(",") if name]
    stored = asyncio.run(store_cases(specs_of(arguments.every), arguments.folder))
    began = time.monotonic()
    with ExitStack() as stack:
        # In no order of architectures: if only some cases run again, they are of all kinds.
        mixed = sorted(stored, key=lambda one: zlib.crc32(one.case.spec.name.encode()))
        sweep = Sweep([OpenCase(case, stack) for case in mixed], values)
        sweep.trace(arguments.run_every)
        print(f"{len(stored)} cases read and traced in {time.monotonic() - began:.0f} s", flush=True)
        left = list(_left(values, spans, only, again=arguments.again))
        for number, name in enumerate(left, 1):
            spans[name] = sweep.measure(name)
            write_spans({key: span for key, span in spans.items() if key in values}, len(stored), arguments.json)
            print(f"[{number} of {len(left)}, {time.monotonic() - began:.0f} s] {_line(name, spans[name])}", flush=True)
    return 0


def _line(name: str, span: Span) -> str:
    ends = " ".join(
        f"x{side.factor:.3g}{' (' + side.case + ')' if side.case else ''}" for side in (span.down, span.up) if side
    )
    return (
        f"{name}: {ends}; {span.cases} cases, {span.felt} feel it, {span.run_again} ran again, {span.unknown} unknown"
    )
