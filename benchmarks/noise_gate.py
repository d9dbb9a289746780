"""The latency gate on identical jobs of real phones: false alarms, slowdowns found, jobs used.

    python benchmarks/noise_gate.py --jobs jobs.csv [--column avg_latency_ms] [--draws 100] [--json]
    python benchmarks/noise_gate.py --jobs jobs.csv --order alternate
    python benchmarks/noise_gate.py --jobs jobs.csv --write-prior shared/src/windtunnel/noise/prior.json

jobs.csv has the columns `series`, `time` and at least one of figures: one row for each job, one series for each set of
identical jobs. The last part of a series' name, after the last "_", is taken as its device.

For each series and draw, jobs are drawn at random without replacement: up to 6 as the candidate, up to 6 as the
baseline. The candidate's figures are multiplied by the true ratio. With `--order alternate`, candidate and baseline are
jobs in turn in each stretch of time, as in one lease. With `--order blocks`, one is the first half of the stretch.

The prior is fitted on the other series alone, so no series is judged with what it taught. *history*: the noise also
learns from the jobs of the series that were not drawn, and from the other series of its device. *cold*: it knows
nothing of series and device.

The rules:

- `windtunnel`: `windtunnel.noise.compare` at the looks of the service, until it is decided.
- `windtunnel, all jobs`: the same in one look at all jobs.
- `5 % rule`: the ratio of the medians of all jobs is above 1.05. `5 % rule, 1 job`: the ratio of one job each.
- `Mann-Whitney`: exact one-sided test of all jobs, p below 0.05. `... above 5 %`: of the candidate divided by 1.05.
"""

from __future__ import annotations

import argparse
import csv
import functools
import itertools
import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from windtunnel.noise import LOOKS, MOST_JOBS, Decision, Noise, NoisePools, PoolKey, compare, fit_prior

RATIOS = (1.0, 1.05, 1.10, 1.20)
LIMIT = 0.05
# Fewer jobs cannot be split into candidate and baseline.
FEWEST = 10
SEED = 20250611
COLUMN = "avg_latency_ms"

Jobs = Sequence[float]
Figures = npt.NDArray[np.float64]
# Whether a rule raises an alarm, and how many jobs of the candidate it used.
Outcome = tuple[bool, int]
Rule = Callable[[Jobs, Jobs, Noise], Outcome]


def in_looks(candidate: Jobs, baseline: Jobs, noise: Noise, looks: Sequence[int] = LOOKS) -> Outcome:
    used = 0
    for look in looks:
        used = min(look, len(candidate))
        found = compare(candidate[:used], baseline[:used], noise, LIMIT)
        if found.decided is not Decision.UNDECIDED or used == len(candidate):
            return found.decided is Decision.SLOWER, used
    raise AssertionError("the last look has all jobs")


def in_one_look(candidate: Jobs, baseline: Jobs, noise: Noise) -> Outcome:
    return in_looks(candidate, baseline, noise, (MOST_JOBS,))


def above_limit(candidate: Jobs, baseline: Jobs, noise: Noise) -> Outcome:
    return statistics.median(candidate) > (1 + LIMIT) * statistics.median(baseline), len(candidate)


def above_limit_once(candidate: Jobs, baseline: Jobs, noise: Noise) -> Outcome:
    return candidate[0] > (1 + LIMIT) * baseline[0], 1


def mann_whitney(candidate: Jobs, baseline: Jobs, noise: Noise) -> Outcome:
    return exact_p(candidate, baseline) < 0.05, len(candidate)


def mann_whitney_above(candidate: Jobs, baseline: Jobs, noise: Noise) -> Outcome:
    return exact_p([figure / (1 + LIMIT) for figure in candidate], baseline) < 0.05, len(candidate)


RULES: Mapping[str, Rule] = {
    "windtunnel": in_looks,
    "windtunnel, all jobs": in_one_look,
    "5 % rule": above_limit,
    "5 % rule, 1 job": above_limit_once,
    "Mann-Whitney": mann_whitney,
    "Mann-Whitney above 5 %": mann_whitney_above,
}


def exact_p(candidate: Jobs, baseline: Jobs) -> float:
    """P(U as large as this by chance), over all ways to deal the pooled figures; equal figures share their rank."""
    ranks = shared_ranks([*candidate, *baseline])
    sums = rank_sums(tuple(ranks), len(candidate))
    return sum(count for total, count in sums.items() if total >= sum(ranks[: len(candidate)])) / sums_count(sums)


def sums_count(sums: Mapping[int, int]) -> int:
    return sum(sums.values())


def shared_ranks(figures: Jobs) -> list[int]:
    """Twice the rank of each figure, so that shared ranks are whole numbers too."""
    return [sum((other < figure) + (other <= figure) for other in figures) + 1 for figure in figures]


def rank_sums(ranks: tuple[int, ...], drawn: int) -> dict[int, int]:
    return _rank_sums(tuple(sorted(ranks)), drawn)


@functools.cache
def _rank_sums(ranks: tuple[int, ...], drawn: int) -> dict[int, int]:
    found: dict[int, int] = defaultdict(int)
    for chosen in itertools.combinations(ranks, drawn):
        found[sum(chosen)] += 1
    return found


@dataclass(frozen=True, slots=True)
class Dealing:
    """How the jobs of a series become those of a candidate and a baseline."""

    order: str
    draws: int


@dataclass(frozen=True, slots=True)
class Row:
    """How often one rule raised an alarm on one series, for each true ratio, and jobs used for each."""

    rule: str
    series: str
    alarms: tuple[float, ...]
    jobs: tuple[float, ...]


def read_series(path: Path, column: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    with path.open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            figure = row.get(column) or ""
            if figure:
                found[row["series"]].append(float(figure))
    return {name: jobs for name, jobs in sorted(found.items()) if len(jobs) >= FEWEST}


def key_of(series: str) -> PoolKey:
    """A workload of its own, on the device that the name ends with."""
    return PoolKey("", series.replace("_apple", "_-apple").rpartition("_-")[2], "", COLUMN, series)


def noise_for(name: str, series: Mapping[str, Jobs], prior: Noise, left: Jobs, knows: str) -> Noise:
    if knows == "cold":
        return prior
    others = {key_of(other): [jobs] for other, jobs in series.items() if other != name}
    return NoisePools(prior, {**others, key_of(name): [left]}).of(key_of(name))


def judge_series(name: str, series: Mapping[str, Jobs], knows: str, how: Dealing) -> list[Row]:
    jobs = np.asarray(series[name])
    prior = fit_prior([other for key, other in series.items() if key != name])
    before = noise_for(name, series, prior, (), knows)
    found: dict[str, list[list[Outcome]]] = {rule: [] for rule in RULES}
    for candidate, baseline, left in deals(jobs, name, how):
        noise = before if knows == "cold" else before.learned([left.tolist()])
        for rule, judge in RULES.items():
            found[rule].append([judge((ratio * candidate).tolist(), baseline.tolist(), noise) for ratio in RATIOS])
    return [row_of(rule, name, outcomes) for rule, outcomes in found.items()]


def deals(jobs: Figures, name: str, how: Dealing) -> Iterator[tuple[Figures, Figures, Figures]]:
    """Jobs of the candidate, of the baseline, and the others, for each draw or stretch of time."""
    each = min(MOST_JOBS, len(jobs) // 2)
    if how.order == "random":
        random = np.random.default_rng([SEED, *name.encode()])
        for _ in range(how.draws):
            dealt = jobs[random.permutation(len(jobs))]
            yield dealt[:each], dealt[each : 2 * each], dealt[2 * each :]
        return
    for start in range(len(jobs) - 2 * each + 1):
        stretch, end = jobs[start : start + 2 * each], start + 2 * each
        left = np.concatenate([jobs[:start], jobs[end:]])
        halves = (stretch[::2], stretch[1::2]) if how.order == "alternate" else (stretch[:each], stretch[each:])
        yield halves[0], halves[1], left
        yield halves[1], halves[0], left


def row_of(rule: str, name: str, outcomes: Sequence[Sequence[Outcome]]) -> Row:
    values = np.asarray(outcomes, dtype=float).mean(axis=0)
    return Row(rule, name, tuple(values[:, 0].tolist()), tuple(values[:, 1].tolist()))


def mean_of(rows: Iterable[Row], rule: str) -> Row:
    of_rule = [row for row in rows if row.rule == rule]
    alarms = np.mean([row.alarms for row in of_rule], axis=0)
    jobs = np.mean([row.jobs for row in of_rule], axis=0)
    return Row(rule, "all", tuple(alarms.tolist()), tuple(jobs.tolist()))


def overall(rows: Sequence[Row], knows: str) -> str:
    heads = ("false alarms", *(f"+{ratio - 1:.0%} found" for ratio in RATIOS[1:]), "jobs, same", "jobs, +10%")
    lines = [f"| rule ({knows}) | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
    for rule in RULES:
        mean = mean_of(rows, rule)
        cells = [*(f"{share:.1%}" for share in mean.alarms), f"{mean.jobs[0]:.1f}", f"{mean.jobs[2]:.1f}"]
        lines.append(f"| {rule} | {' | '.join(cells)} |")
    return "\n".join(lines)


def per_series(rows: Sequence[Row], series: Mapping[str, Jobs], knows: str) -> str:
    lines = [
        f"| series ({knows}) | jobs | noise | false alarms | +10% found | possible at best |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    prior = fit_prior(list(series.values()))
    for row in (row for row in rows if row.rule == "windtunnel"):
        noise = prior.learned([series[row.series]])
        each = min(MOST_JOBS, len(series[row.series]) // 2)
        best = noise.power(0.10, LIMIT, each)
        figures = (len(series[row.series]), f"{noise.difference:.1%}", f"{row.alarms[0]:.1%}", f"{row.alarms[2]:.1%}")
        lines.append(f"| {row.series} | {' | '.join(map(str, figures))} | {best:.0%}{' (not enough)' * (best < 0.8)} |")
    return "\n".join(lines)


def write_prior(series: Mapping[str, Jobs], path: Path) -> None:
    document = fit_prior(list(series.values())).to_json()
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=Path, required=True, help="CSV of jobs")
    parser.add_argument("--column", default=COLUMN, help="the figure to judge")
    parser.add_argument("--draws", type=int, default=100, help="draws for each series")
    parser.add_argument(
        "--order", choices=("random", "alternate", "blocks"), default="random", help="how jobs are dealt"
    )
    parser.add_argument("--json", action="store_true", help="print every row as JSON")
    parser.add_argument("--write-prior", type=Path, help="fit the built-in prior on all series, and write it there")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    series = read_series(options.jobs, options.column)
    if len(series) < 2:
        sys.exit(
            f"{options.jobs} has {len(series)} series of {FEWEST} or more jobs with {options.column}: 2 are needed"
        )
    if options.write_prior:
        write_prior(series, options.write_prior)
        return 0
    results: dict[str, Any] = {}
    how = Dealing(options.order, options.draws)
    for knows in ("history", "cold"):
        rows = [row for name in series for row in judge_series(name, series, knows, how)]
        results[knows] = [{"rule": r.rule, "series": r.series, "alarms": r.alarms, "jobs": r.jobs} for r in rows]
        if not options.json:
            print(overall(rows, knows), per_series(rows, series, knows), sep="\n\n", end="\n\n")
    if options.json:
        print(json.dumps({"ratios": RATIOS, "limit": LIMIT, **results}, indent=1, allow_nan=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
