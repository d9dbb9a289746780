"""Bills are divided to the last millionth of a dollar, and waits follow the age of a farm run."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windtunnel.farm_dispatcher.domain.estimates import expected_minutes, pack_sizes
from windtunnel.farm_dispatcher.domain.farm_settings import PollSeconds
from windtunnel.farm_dispatcher.domain.money import micro_usd, share_bill, usd
from windtunnel.farm_dispatcher.domain.polling import next_wait

weights = st.lists(st.floats(0, 1e6), min_size=1, max_size=20)


@given(st.integers(0, 10**12), weights)
def test_shares_add_up_and_none_is_negative(total: int, weights: list[float]) -> None:
    shares = share_bill(total, weights)
    assert sum(shares) == total and len(shares) == len(weights)
    assert min(shares) >= 0


@pytest.mark.parametrize(
    ("total", "weights", "shares"),
    [
        (10, [1, 1, 1], (4, 3, 3)),
        (10, [0, 0], (5, 5)),
        (170_000, [30, 10], (127_500, 42_500)),
        (7, [0, 1], (0, 7)),
        (0, [1, 2], (0, 0)),
        (5, [], ()),
    ],
)
def test_shares(total: int, weights: list[float], shares: tuple[int, ...]) -> None:
    assert share_bill(total, weights) == shares


def test_money_is_exact() -> None:
    assert micro_usd(Decimal("0.0834") * 3) == 250_200
    assert usd(250_200) == Decimal("0.2502")


@pytest.mark.parametrize(("jobs", "minutes"), [(1, 1), (2, 2), (4, 2), (5, 3), (20, 8)])
def test_started_minutes_are_billed(jobs: int, minutes: int) -> None:
    assert expected_minutes(jobs) == minutes


def test_jobs_are_packed_evenly_into_as_few_farm_runs_as_possible() -> None:
    assert list(pack_sizes(41, 20)) == [20, 20, 1]
    assert list(pack_sizes(0, 20)) == []


@pytest.mark.parametrize(("age", "wait"), [(0, 5), (50, 5), (300, 30), (10_000, 60)])
def test_questions_become_rarer(age: float, wait: float) -> None:
    assert next_wait(age, PollSeconds(5, 60)) == wait
