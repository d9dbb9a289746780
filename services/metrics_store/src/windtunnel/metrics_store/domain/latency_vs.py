"""The gate `latency_vs`: the jobs of a cell compared with those of a baseline, under the noise of their pool."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from windtunnel.metrics_store.domain import facts
from windtunnel.metrics_store.domain.measurement_warnings import doubt
from windtunnel.metrics_store.domain.record import CellState
from windtunnel.metrics_store.domain.values import Blob, CellSpec
from windtunnel.noise import (
    MOST_JOBS,
    Comparison,
    Decision,
    Noise,
    NoisePools,
    PoolKey,
    built_in_noise,
    compare,
    pairs_wanted,
)

FIGURE: Final = "latency_ms.p50"


@dataclass(frozen=True, slots=True)
class JobFigure:
    """The median latency of one job in milliseconds, and what it ran: a model name, its file, and the place."""

    run_id: str
    model_name: str
    sha256: str
    cell: CellSpec
    p50_ms: float

    @property
    def key(self) -> PoolKey:
        """Where its noise belongs."""
        return noise_key(self.model_name, self.cell)


@dataclass(frozen=True, slots=True)
class Baseline:
    """The cell of an earlier run that a cell is compared with; `jobs` in the order in which they were measured."""

    run_id: str
    cell_id: str
    model: Blob | None
    jobs: tuple[JobFigure, ...]


@dataclass(frozen=True, slots=True)
class CellComparison:
    """A cell compared with its baseline. `found` None: it could not be, and `why`.

    `missing_baseline`: there is no earlier run to compare with. `wanted`: so many more pairs of jobs would help.
    """

    label: str
    baseline: Baseline | None = None
    found: Comparison | None = None
    why: str = ""
    missing_baseline: bool = False
    wanted: int = 0

    @property
    def alarm(self) -> bool:
        """Whether the interval lies above the limit."""
        return self.found is not None and self.found.decided is Decision.SLOWER


def noise_key(model_name: str, cell: CellSpec) -> PoolKey:
    """Where the noise of a cell's latency belongs.

    Args:
        model_name: of the run.
        cell: of it.

    Returns:
        The key; versions of one model and variant in one place share it.
    """
    workload = "/".join((model_name, cell.variant, cell.os_version, str(cell.threads)))
    return PoolKey(cell.farm, cell.device, cell.accelerator, FIGURE, workload)


def usable_figure(cell: CellSpec, measured: facts.Measured) -> float | None:
    """The median latency of a job, if it says something about what the cell asks for.

    Args:
        cell: what was requested.
        measured: what one job gave.

    Returns:
        Milliseconds. None: there is none, or the job is emulated, unstable, of other shapes, or fell back to the CPU.
    """
    p50 = measured.measurement.latency.p50
    if p50 is None or p50 <= 0.0 or not cell.times_count or doubt(cell, measured.measurement, of_latency=True):
        return None
    return p50


def own_figures(cell: CellState) -> tuple[float, ...]:
    """The usable medians of a cell's own jobs, its first measurement first.

    Args:
        cell: of a run.

    Returns:
        Milliseconds.
    """
    return _usable(cell, [cell.measured, *_repeats(cell, of_baseline=False)])


def interleaved_figures(cell: CellState) -> tuple[float, ...]:
    """The usable medians of the baseline's jobs that ran by turns with the cell's.

    Args:
        cell: of a run.

    Returns:
        Milliseconds.
    """
    return _usable(cell, _repeats(cell, of_baseline=True))


def noise_of(key: PoolKey, past: Iterable[JobFigure]) -> Noise:
    """The noise under a key, learned from identical jobs of other runs.

    Args:
        key: of a cell.
        past: jobs on its device; those of one file in one place are identical.

    Returns:
        The noise; the built-in prior if nothing is known.
    """
    groups: dict[PoolKey, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for job in past:
        groups[job.key][job.sha256].append(job.p50_ms)
    return NoisePools(built_in_noise(), {at: list(jobs.values()) for at, jobs in groups.items()}).of(key)


def compare_cell(cell: CellState, baseline: Baseline, noise: Noise, max_increase: float) -> CellComparison:
    """Compares a cell with its baseline.

    Jobs of the baseline that ran by turns with those of the cell come first, then those of its own run; of each side
    at most `MOST_JOBS` count.

    Args:
        cell: measured.
        baseline: of it.
        noise: of its pool.
        max_increase: the limit.

    Returns:
        The comparison, or why there is none.
    """
    label, own = cell.spec.label, own_figures(cell)[:MOST_JOBS]
    other = (*interleaved_figures(cell), *(job.p50_ms for job in baseline.jobs))[:MOST_JOBS]
    if not own:
        assert cell.measured is not None
        why = doubt(cell.spec, cell.measured.measurement, of_latency=True) or "it has no median latency"
        return CellComparison(label, baseline, why=why)
    if not other:
        return CellComparison(label, baseline, why=f"run {baseline.run_id} has no latency there that can be trusted")
    found = compare(own, other, noise, max_increase)
    open_ = found.decided is Decision.UNDECIDED
    return CellComparison(label, baseline, found, wanted=_wanted(cell, len(own)) if open_ else 0)


def undecided_words(one: CellComparison) -> str:
    """What an undecided comparison says in a report.

    Args:
        one: of a cell.

    Returns:
        Empty: it is decided, or there is none.
    """
    found = one.found
    if found is None or found.decided is not Decision.UNDECIDED:
        return ""
    jobs = f"{found.jobs[0]} of the candidate and {found.jobs[1]} of the baseline"
    return (
        f"undecided: the noise (over {found.noise:.0%} in 1 of 20 pairs of identical jobs) leaves it open with {jobs}"
    )


def slower_words(one: CellComparison, limit: float) -> str:
    """Why a comparison is an alarm.

    Args:
        one: of a cell.
        limit: of the ratio.

    Returns:
        A clause.
    """
    found, baseline = one.found, one.baseline
    assert found is not None and baseline is not None
    return (
        f"the median latency on {one.label} is {found.ratio:.3f} times that of run {baseline.run_id}, with an interval "
        f"of {found.interval[0]:.3f} to {found.interval[1]:.3f} over {limit:.12g}"
    )


def _wanted(cell: CellState, usable: int) -> int:
    """How many more pairs to ask for: none after a repeat that failed or cannot be used."""
    if usable <= sum(one.pairs for one in cell.requests):
        return 0
    if any(isinstance(one, facts.NotRun) for one in cell.repeats.values()):
        return 0
    return pairs_wanted(usable)


def _repeats(cell: CellState, *, of_baseline: bool) -> Sequence[facts.Measured]:
    found: Mapping[tuple[int, bool], object] = dict(sorted(cell.repeats.items()))
    return [one for key, one in found.items() if key[1] is of_baseline and isinstance(one, facts.Measured)]


def _usable(cell: CellState, jobs: Iterable[facts.Measured | None]) -> tuple[float, ...]:
    figures = (usable_figure(cell.spec, job) for job in jobs if job is not None)
    return tuple(figure for figure in figures if figure is not None)
