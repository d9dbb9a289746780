"""The lease of a farm's leader, on a clock of the test."""

from __future__ import annotations

from windtunnel.farm_dispatcher.use_cases.stored.leases import Lease


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_renewal_in_time_keeps_the_lease() -> None:
    clock = _Clock()
    lease = Lease(1, 10.0, clock)
    clock.now = 6.0
    lease.renewed(6.0)
    clock.now = 12.9
    assert lease.is_held


def test_a_lease_that_was_not_held_for_a_moment_is_never_held_again() -> None:
    clock = _Clock()
    lease = Lease(1, 10.0, clock)
    clock.now = 7.0
    assert not lease.is_held
    lease.renewed(7.0)
    assert not lease.is_held


def test_a_late_renewal_revives_nothing_even_if_nobody_looked_meanwhile() -> None:
    clock = _Clock()
    lease = Lease(1, 10.0, clock)
    clock.now = 7.5
    lease.renewed(7.5)
    assert not lease.is_held
