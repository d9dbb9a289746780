"""Whether the figures of a measurement can be trusted: pure rules on its times and on the other work of the host.

Other work only ever adds time, so a measurement during other work says little about the model. What marks it:

- **load**: other processes used most of the processors that the measurement left free (`FREE_SHARE` of them, at
  least `LEAST_LOAD` cores);
- **waiting**: the measuring threads waited for a processor for more than `WAITED` of their time. Not judged
  with more threads than processors, which then wait for each other;
- **spread**: the middle half of the inferences spreads over more than `SPREAD` of their median, and more than
  `SPREAD_US`. The second bound is what timers, interrupts and wake-ups of threads amount to: a model of a few
  microseconds has a large relative spread on the quietest machine;
- **drift**: the medians of the first and the last third differ by more than `DRIFT`, more than `DRIFT_US`, and more
  than chance: their 95 % intervals (McGill, Tukey and Larsen 1978: median +- 1.57 IQR / sqrt(n)) do not overlap.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from windtunnel.run_conditions import RunConditions

FREE_SHARE: Final = 0.75
LEAST_LOAD: Final = 0.5
WAITED: Final = 0.10
# Waits below the length of one turn of the scheduler are not a queue.
LEAST_WAIT_S: Final = 0.01
SPREAD: Final = 0.5
SPREAD_US: Final = 100.0
DRIFT: Final = 0.25
DRIFT_US: Final = 50.0
_LEAST_FOR_SPREAD: Final = 4
_LEAST_FOR_DRIFT: Final = 15


@dataclass(frozen=True, slots=True)
class Load:
    """What the host did while a series ran, on the processors that this process may use. None: it does not report it.

    `other_cores`: processor time of other processes per second; `windtunnel_cores`: that of Windtunnel's among them,
    where it was asked for. `waited_s`, `ran_s`: how long the threads of this process waited for a processor,
    and ran.
    """

    cores: int
    other_cores: float | None = None
    waited_s: float | None = None
    ran_s: float | None = None
    windtunnel_cores: float | None = None

    @property
    def waited(self) -> float | None:
        """The share of their time that the threads of this process waited."""
        if self.waited_s is None or self.ran_s is None or self.waited_s + self.ran_s <= 0:
            return None
        return self.waited_s / (self.waited_s + self.ran_s)


@dataclass(frozen=True, slots=True)
class Judged:
    """The conditions of one series. `severity`: the largest figure over its bound; above 1 the series is unstable."""

    conditions: RunConditions
    severity: float

    @property
    def is_unstable(self) -> bool:
        """Whether the figures are worthless."""
        return self.conditions.unstable

    def after(self, repeats: int) -> RunConditions:
        """The conditions of a series that is kept after more were measured.

        Args:
            repeats: how many more.

        Returns:
            The conditions.
        """
        reason = self.conditions.reason
        if reason and repeats:
            reason += f"; measured {repeats + 1} times, this was the quietest"
        return replace(self.conditions, repeats=repeats, reason=reason)


def load_limit(cores: int, threads: int) -> float:
    """The load of other processes above which a measurement is unstable.

    Args:
        cores: that this process may use.
        threads: of the measurement.

    Returns:
        In cores.
    """
    return max(LEAST_LOAD, FREE_SHARE * (cores - threads))


def judge_series(times_us: Sequence[float], load: Load, threads: int) -> Judged:
    """Judges one series.

    Args:
        times_us: time of each inference in microseconds, in order, at least one.
        load: what the host did meanwhile.
        threads: with which the model ran.

    Returns:
        The conditions, and whether the series is stable.
    """
    spread, drift = spread_of(times_us), drift_of(times_us)
    found = [_load(load, threads), _waiting(load, threads), _spread(spread, times_us), _drift(drift, times_us)]
    reasons = [words for severity, words in found if severity > 1]
    conditions = RunConditions(
        other_load_cores=load.other_cores,
        spread=spread,
        drift=drift,
        waited=load.waited,
        unstable=bool(reasons),
        reason="; ".join(reasons),
    )
    return Judged(conditions, max(severity for severity, _ in found))


def spread_of(times: Sequence[float]) -> float | None:
    """Interquartile range over the median.

    Args:
        times: in any unit.

    Returns:
        Without unit; None for fewer than 4 times, or a median of 0.
    """
    if len(times) < _LEAST_FOR_SPREAD or (median := statistics.median(times)) <= 0:
        return None
    return _iqr(times) / median


def drift_of(times: Sequence[float]) -> float | None:
    """Median of the last third over that of the first third, minus 1.

    Args:
        times: in order, in any unit.

    Returns:
        Without unit; None for fewer than 15 times, or a median of 0.
    """
    if len(times) < _LEAST_FOR_DRIFT:
        return None
    first, last = _thirds(times)
    return statistics.median(last) / statistics.median(first) - 1 if statistics.median(first) > 0 else None


def _thirds(times: Sequence[float]) -> tuple[Sequence[float], Sequence[float]]:
    size = len(times) // 3
    return times[:size], times[-size:]


def _iqr(times: Sequence[float]) -> float:
    low, _, high = statistics.quantiles(times, n=4, method="inclusive")
    return high - low


_Rule = tuple[float, str]
_QUIET: Final[_Rule] = (0.0, "")


def _load(load: Load, threads: int) -> _Rule:
    if load.other_cores is None:
        return _QUIET
    words = f"other processes used {load.other_cores:.1f} of {load.cores} processors"
    return load.other_cores / load_limit(load.cores, threads), words


def _waiting(load: Load, threads: int) -> _Rule:
    if load.waited is None or load.waited_s is None or load.waited_s < LEAST_WAIT_S or threads > load.cores:
        return _QUIET
    return load.waited / WAITED, f"its threads waited {load.waited:.0%} of the time for a processor"


def _spread(spread: float | None, times_us: Sequence[float]) -> _Rule:
    if spread is None or _iqr(times_us) <= SPREAD_US:
        return _QUIET
    return spread / SPREAD, f"the middle half of the inferences spreads over {spread:.0%} of the median"


def _drift(drift: float | None, times_us: Sequence[float]) -> _Rule:
    if drift is None:
        return _QUIET
    thirds = _thirds(times_us)
    change = abs(statistics.median(thirds[1]) - statistics.median(thirds[0]))
    by_chance = sum(1.57 * _iqr(third) / math.sqrt(len(third)) for third in thirds)
    if change <= max(DRIFT_US, by_chance):
        return _QUIET
    # A halved time and a doubled one are the same change.
    size = max(1 + drift, 1 / (1 + drift)) - 1 if drift > -1 else math.inf
    return size / DRIFT, f"the last third of the inferences took {1 + drift:.2g} times as long as the first"
