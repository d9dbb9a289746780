"""When the figures of a measurement cannot be trusted."""

from __future__ import annotations

import math
from typing import get_type_hints

import numpy as np
import pytest

from windtunnel.farm_dispatcher.domain.device_runs import DeviceRun
from windtunnel.farm_dispatcher.domain.trust_measurement import Load, drift_of, judge_series, load_limit, spread_of
from windtunnel.metrics_store.domain.values import Measurement
from windtunnel.run_conditions import RunConditions

QUIET = Load(cores=2, other_cores=0.05, waited_s=0.002, ran_s=1.0)


def lognormal(median_us: float, sigma: float, count: int = 400, seed: int = 0) -> list[float]:
    """Times that scatter about a median as those of a quiet machine do."""
    draw = np.random.default_rng(seed)
    return [float(value) for value in median_us * np.exp(draw.normal(0, sigma, count))]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    ("median_us", "sigma", "count"),
    # The smaller the model, the more timers and interrupts make of it.
    [
        (1.0, 0.8, 1000),
        (20.0, 0.6, 1000),
        (100.0, 0.4, 1000),
        (1000.0, 0.15, 1000),
        (17_000.0, 0.1, 60),
        (6e5, 0.1, 16),
    ],
)
def test_a_quiet_machine_is_stable(median_us: float, sigma: float, count: int, seed: int) -> None:
    judged = judge_series(lognormal(median_us, sigma, count, seed), QUIET, 1)
    assert not judged.is_unstable, judged.conditions.reason
    assert judged.severity <= 1 and judged.conditions.reason == ""


def test_outliers_alone_are_no_spread() -> None:
    times = [1.0] * 950 + [3000.0] * 50
    assert not judge_series(times, QUIET, 1).is_unstable


@pytest.mark.parametrize(
    ("load", "threads", "words"),
    [
        (Load(2, other_cores=2.0), 1, "other processes used 2.0 of 2 processors"),
        (Load(2, other_cores=1.0), 1, "other processes used 1.0 of 2 processors"),
        (Load(2, other_cores=0.6), 2, "other processes used 0.6 of 2 processors"),
        (Load(1, other_cores=0.2, waited_s=0.5, ran_s=0.5), 1, "its threads waited 50% of the time for a processor"),
        (Load(8, other_cores=7.0), 1, "other processes used 7.0 of 8 processors"),
    ],
)
def test_a_busy_host_is_unstable(load: Load, threads: int, words: str) -> None:
    judged = judge_series([1.0] * 1000, load, threads)
    assert judged.is_unstable and judged.conditions.reason == words


@pytest.mark.parametrize(
    ("load", "threads"),
    [
        (Load(8, other_cores=3.0, waited_s=0.01, ran_s=1.0), 1),
        (Load(2, other_cores=0.3, waited_s=0.02, ran_s=1.0), 2),
        # Four threads on two processors wait for each other.
        (Load(2, other_cores=0.1, waited_s=2.0, ran_s=2.0), 4),
        # One turn of another process, while a thousand inferences took a millisecond.
        (Load(2, other_cores=0.1, waited_s=0.003, ran_s=0.001), 1),
        (Load(2), 1),
    ],
)
def test_a_host_with_room_is_stable(load: Load, threads: int) -> None:
    assert not judge_series([1000.0] * 100, load, threads).is_unstable


def test_figures_that_scatter_widely_are_unstable() -> None:
    judged = judge_series([1000.0, 3000.0] * 100, QUIET, 1)
    assert judged.conditions.reason == "the middle half of the inferences spreads over 100% of the median"


@pytest.mark.parametrize(("last", "words"), [(103_000.0, "took 6.1 times"), (2000.0, "took 0.12 times")])
def test_a_change_during_the_run_is_unstable(last: float, words: str) -> None:
    times = [17_000.0] * 40 + [last] * 20
    judged = judge_series(times, QUIET, 1)
    assert judged.is_unstable and words in judged.conditions.reason


def test_a_change_that_chance_explains_is_no_drift() -> None:
    low, high = [1000.0] * 3 + [1600.0] * 2, [1000.0] * 2 + [1600.0] * 3
    times = low + high + high
    assert drift_of(times) == pytest.approx(0.6)
    assert not judge_series(times, QUIET, 1).is_unstable


def test_formulas() -> None:
    assert spread_of([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(2 / 3)
    assert drift_of([2.0] * 5 + [9.0] * 5 + [3.0] * 5) == pytest.approx(0.5)
    assert spread_of([1.0] * 3) is None and drift_of([1.0] * 14) is None
    assert spread_of([0.0] * 15) is None and drift_of([0.0] * 15) is None
    assert Load(2).waited is None and Load(2, waited_s=1.0, ran_s=3.0).waited == 0.25
    assert load_limit(2, 2) == load_limit(2, 4) == 0.5 and load_limit(8, 1) == 5.25


def test_what_was_measured_again_says_so() -> None:
    busy = judge_series([1.0] * 9, Load(2, other_cores=2.0), 1)
    assert busy.after(2).reason.endswith("; measured 3 times, this was the quietest") and busy.after(2).repeats == 2
    assert busy.after(0).reason == busy.conditions.reason
    quiet = judge_series([1.0] * 9, QUIET, 1).after(1)
    assert (quiet.repeats, quiet.reason, quiet.unstable) == (1, "", False)


def test_severity_grows_with_the_load() -> None:
    found = [judge_series([1.0] * 9, Load(2, other_cores=cores), 1).severity for cores in (0.1, 0.8, 1.9)]
    assert found == sorted(found) and all(math.isfinite(one) for one in found)


def test_what_the_farm_measures_and_what_the_store_reports_is_one_type() -> None:
    assert get_type_hints(Measurement)["conditions"] == get_type_hints(DeviceRun)["conditions"] == RunConditions | None
