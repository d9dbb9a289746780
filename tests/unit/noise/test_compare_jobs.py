"""A candidate compared with a baseline: properties, edges, and how often it is right on simulated jobs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windtunnel.errors import InvalidInput
from windtunnel.noise import LOOKS, MOST_JOBS, Comparison, Decision, Noise, built_in_noise, compare, pairs_wanted
from windtunnel.noise.job_model import HYPOTHESES, Hypothesis

PRIOR = built_in_noise()
LIMIT = 0.05

figures = st.lists(st.floats(0.5, 5.0), min_size=1, max_size=8)


def only(scale: float, share: float = 0.0, length: float = 0.0) -> Noise:
    index = HYPOTHESES.index(Hypothesis(scale, share, length))
    return Noise(tuple(float(i == index) for i in range(len(HYPOTHESES))))


def near(found: Comparison, other: Comparison, factor: float = 1.0) -> bool:
    ours, theirs = (found.ratio, *found.interval), (other.ratio, *other.interval)
    # Ratios are sums over a grid, which ends somewhere.
    return ours == pytest.approx([factor * value for value in theirs], rel=1e-2)


@given(figures, figures, st.floats(1e-6, 1e6))
@settings(max_examples=40, deadline=None)
def test_the_unit_does_not_matter(candidate: list[float], baseline: list[float], unit: float) -> None:
    found = compare(candidate, baseline, PRIOR, LIMIT)
    other = compare([unit * job for job in candidate], [unit * job for job in baseline], PRIOR, LIMIT)
    assert near(found, other)


@given(figures, figures, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_order_of_jobs_does_not_matter(candidate: list[float], baseline: list[float], random: object) -> None:
    found = compare(candidate, baseline, PRIOR, LIMIT)
    assert compare(sorted(candidate), sorted(baseline, reverse=True), PRIOR, LIMIT) == found
    assert compare(candidate[::-1], baseline[::-1], PRIOR, LIMIT) == found


@given(figures, figures, st.floats(1.0, 3.0))
@settings(max_examples=40, deadline=None)
def test_a_slower_candidate_has_a_larger_ratio(candidate: list[float], baseline: list[float], factor: float) -> None:
    found = compare(candidate, baseline, PRIOR, LIMIT)
    slower = compare([factor * job for job in candidate], baseline, PRIOR, LIMIT)
    assert near(slower, found, factor)
    assert not (found.decided is Decision.SLOWER and slower.decided is not Decision.SLOWER)


@given(figures, figures)
@settings(max_examples=40, deadline=None)
def test_the_interval_holds_the_ratio_and_explains_the_decision(candidate: list[float], baseline: list[float]) -> None:
    found = compare(candidate, baseline, PRIOR, LIMIT)
    low, high = found.interval
    assert 0 < low <= high and found.ratio <= high and math.isfinite(high)
    assert (found.decided is Decision.SLOWER) == (low > 1 + LIMIT)
    assert (found.decided is Decision.NOT_SLOWER) == (high < 1 + LIMIT)
    assert found.jobs == (len(candidate), len(baseline))


def test_one_job_each_raises_no_alarm() -> None:
    """Any single job may be the odd one."""
    quiet = PRIOR.learned([[5.0, 5.01, 4.99, 5.0, 5.02, 5.0, 4.98, 5.01] * 3])
    for noise in (PRIOR, quiet):
        assert compare([5.8], [5.0], noise, LIMIT).decided is Decision.UNDECIDED
    assert compare([5.0], [5.0], PRIOR, LIMIT).decided is Decision.UNDECIDED
    assert compare([5.8] * 2, [5.0] * 2, quiet, LIMIT).decided is Decision.SLOWER


def test_identical_figures_are_not_slower() -> None:
    found = compare([5.0] * 6, [5.0] * 6, PRIOR, LIMIT)
    assert found.decided is Decision.NOT_SLOWER
    assert found.ratio == pytest.approx(1.0)


def test_the_jobs_themselves_show_their_noise() -> None:
    assert compare([5.0], [5.0], PRIOR, LIMIT).noise == pytest.approx(PRIOR.difference)
    quiet = compare([5.0, 5.01, 4.99, 5.0], [5.0, 5.02, 4.98, 5.0], PRIOR, LIMIT).noise
    noisy = compare([5.0, 5.8, 4.7, 5.5], [5.0, 6.2, 4.4, 5.3], PRIOR, LIMIT).noise
    assert quiet < PRIOR.difference < noisy * 1.5


def test_slow_jobs_of_a_mixture_are_no_slowdown() -> None:
    """Two of six throttled jobs raise the mean by 27 %, and the main mode not at all."""
    found = compare([5.0, 5.1, 9.0, 5.05, 9.2, 4.95], [5.02, 5.0, 5.1, 4.97, 5.05, 5.08], only(0.025, 0.3, 0.5), LIMIT)
    assert found.decided is not Decision.SLOWER
    assert found.ratio == pytest.approx(1.0, abs=0.02)


def test_slow_jobs_of_the_baseline_hide_no_slowdown() -> None:
    candidate = [5.5, 5.6, 5.55, 5.52, 5.6, 5.48]
    found = compare(candidate, [5.02, 9.0, 5.1, 8.5, 5.05, 5.0], only(0.025, 0.3, 0.5), LIMIT)
    assert found.decided is Decision.SLOWER
    assert found.ratio == pytest.approx(1.1, abs=0.02)


def test_one_wild_job_decides_nothing() -> None:
    found = compare([5.0, 5.05, 500.0, 4.98], [5.0, 5.02, 4.97, 5.01], PRIOR, LIMIT)
    assert found.decided is not Decision.SLOWER


def test_very_different_numbers_of_jobs() -> None:
    random = np.random.default_rng(0)
    many = np.exp(random.normal(1.0, 0.02, 300)).tolist()
    found = compare([math.e * 1.3], many, PRIOR.learned([many]), LIMIT)
    assert found.jobs == (1, 300) and found.ratio == pytest.approx(1.3, abs=0.02)
    # One job says little, however many are on the other side.
    assert found.decided is Decision.UNDECIDED
    assert compare([math.e * 1.3] * 3, many, PRIOR.learned([many]), LIMIT).decided is Decision.SLOWER


def test_very_different_speeds() -> None:
    assert compare([1e6] * 3, [1e-3] * 3, PRIOR, LIMIT).ratio == pytest.approx(1e9, rel=0.02)
    assert compare([1e-3] * 3, [1e6] * 3, PRIOR, LIMIT).decided is Decision.NOT_SLOWER


def test_the_limit_is_what_a_quiet_pool_must_exceed() -> None:
    baseline = [5.0, 5.01, 4.99, 5.0, 5.0, 5.01]
    for increase, expected in ((0.03, Decision.NOT_SLOWER), (0.08, Decision.SLOWER)):
        found = compare([(1 + increase) * job for job in baseline], baseline, PRIOR, LIMIT)
        assert found.decided is expected
    assert compare([1.08 * job for job in baseline], baseline, PRIOR, 0.1).decided is Decision.NOT_SLOWER
    assert compare([1.03 * job for job in baseline], baseline, PRIOR, 0.0).decided is Decision.SLOWER


@pytest.mark.parametrize("limit", [-0.01, math.nan, math.inf])
def test_a_limit_that_is_none_is_refused(limit: float) -> None:
    with pytest.raises(InvalidInput, match="max_increase is"):
        compare([1.0], [1.0], PRIOR, limit)


@pytest.mark.parametrize(("candidate", "baseline"), [([], [1.0]), ([1.0], []), ([0.0], [1.0]), ([1.0], [math.nan])])
def test_figures_that_are_none_are_refused(candidate: list[float], baseline: list[float]) -> None:
    with pytest.raises(InvalidInput):
        compare(candidate, baseline, PRIOR, LIMIT)


def test_pairs_lead_from_look_to_look() -> None:
    assert [pairs_wanted(jobs) for jobs in range(8)] == [1, 2, 1, 3, 2, 1, 0, 0]
    assert LOOKS[-1] == MOST_JOBS


def drawn(random: np.random.Generator, ratio: float, scale: float, share: float, length: float) -> list[float]:
    slow = np.where(random.random(MOST_JOBS) < share, random.exponential(length, MOST_JOBS), 0.0)
    return list(map(float, ratio * np.exp(random.normal(0.0, scale, MOST_JOBS) + slow)))


def alarms(ratio: float, limit: float, noise: Noise, *spread: float, rounds: int = 400) -> float:
    """The share of simulated gates that end in an alarm, looked at as the service does."""
    random = np.random.default_rng(11)
    count = 0
    for _ in range(rounds):
        candidate, baseline = drawn(random, ratio, *spread), drawn(random, 1.0, *spread)
        for look in LOOKS:
            found = compare(candidate[:look], baseline[:look], noise, limit)
            if found.decided is not Decision.UNDECIDED:
                count += found.decided is Decision.SLOWER
                break
    return count / rounds


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("spread", "most_false", "least_found"),
    [
        ((0.012, 0.0, 0.0), 0.0, 1.0),
        ((0.025, 0.0, 0.0), 0.01, 0.95),
        ((0.035, 0.0, 0.0), 0.05, 0.80),
        ((0.025, 0.3, 0.5), 0.07, 0.85),
        # Too noisy for 80 %, and false alarms stay rare all the same.
        ((0.085, 0.15, 0.25), 0.09, 0.35),
    ],
)
def test_false_alarms_are_rare_and_slowdowns_are_found(
    spread: tuple[float, float, float], most_false: float, least_found: float
) -> None:
    noise = only(*spread)
    false, found = alarms(1.0, LIMIT, noise, *spread), alarms(1.1, LIMIT, noise, *spread)
    assert false <= most_false, f"{false:.1%} of identical candidates raise an alarm"
    assert found >= least_found, f"{found:.1%} of the slowdowns are found"
    # What `power` promises is what the jobs allow at best.
    assert found <= noise.power(0.1, LIMIT) + 0.05


@pytest.mark.heavy
def test_looking_again_does_not_add_up_false_alarms() -> None:
    """Without any slack in the limit, in a pool that is known exactly."""
    assert alarms(1.0, 0.0, only(0.05), 0.05, 0.0, 0.0, rounds=1000) <= 0.08
