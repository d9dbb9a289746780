"""Calls of an operation are spaced out while it is throttled, and no longer than that."""

from __future__ import annotations

import itertools

from windtunnel.farm_dispatcher.adapters.aws.pace import Pace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_operation_that_was_never_throttled_does_not_wait() -> None:
    pace = Pace(Clock())
    assert [pace.wait_s("get_run") for _ in range(5)] == [0.0] * 5


def test_a_throttled_operation_waits_longer_each_time_and_others_do_not() -> None:
    pace, gaps = Pace(Clock()), []
    for _ in range(8):
        pace.was_throttled("get_run")
        gaps.append(pace.wait_s("get_run"))
    assert gaps == sorted(gaps) and gaps[0] < 1.0 and gaps[-1] == 10.0
    assert pace.wait_s("list_runs") == 0.0


def test_calls_at_the_same_time_take_turns() -> None:
    pace = Pace(Clock())
    for _ in range(3):
        pace.was_throttled("get_run")
    waits = [pace.wait_s("get_run") for _ in range(4)]
    steps = [later - earlier for earlier, later in itertools.pairwise(waits)]
    assert min(steps) > 0.5


def test_the_gap_closes_again() -> None:
    clock = Clock()
    pace = Pace(clock)
    for _ in range(6):
        pace.was_throttled("get_run")
    for _ in range(100):
        clock.now += 100.0
        assert pace.wait_s("get_run") == 0.0
        pace.went_well("get_run")
    assert [pace.wait_s("get_run") for _ in range(3)] == [0.0] * 3


def test_the_calls_settle_at_the_rate_that_the_service_allows() -> None:
    """A bucket of 5 that gets one token a second, and 100 calls: few of them are refused in the long run."""
    clock = Clock()
    pace, tokens, at, refused = Pace(clock), 5.0, clock.now, []
    for _ in range(100):
        clock.now += pace.wait_s("get_run")
        tokens, at = min(5.0, tokens + clock.now - at), clock.now
        if tokens >= 1:
            tokens -= 1
            pace.went_well("get_run")
            refused.append(False)
        else:
            pace.was_throttled("get_run")
            refused.append(True)
    assert sum(refused) < 30
