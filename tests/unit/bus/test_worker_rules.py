"""The table from error to outcome, and what a policy allows."""

from __future__ import annotations

import pytest

from windtunnel.bus import Malformed, Policy
from windtunnel.bus.worker import Outcome, outcome_of
from windtunnel.errors import (
    Conflict,
    FarmError,
    InternalError,
    InvalidInput,
    InvalidPlan,
    JobFailed,
    NotFound,
    OutsideError,
    Unavailable,
    Unsupported,
    WindtunnelError,
)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Malformed("m"), Outcome.DEAD_LETTER),
        (InvalidInput("m"), Outcome.FAIL),
        (InvalidPlan("m"), Outcome.FAIL),
        (Unsupported("m"), Outcome.FAIL),
        (NotFound("m"), Outcome.FAIL),
        (Conflict("m"), Outcome.FAIL),
        (JobFailed("m", how="signal"), Outcome.FAIL),
        (Unavailable("m"), Outcome.RETRY),
        (OutsideError("m"), Outcome.RETRY),
        (FarmError("m"), Outcome.RETRY),
        (FarmError("m", retryable=False), Outcome.FAIL),
        (InternalError("m"), Outcome.FAIL),
        (WindtunnelError("m"), Outcome.FAIL),
        (ValueError("m"), Outcome.RETRY),
        (MemoryError(), Outcome.RETRY),
        (TimeoutError(), Outcome.RETRY),
    ],
)
def test_outcomes(error: Exception, outcome: Outcome) -> None:
    assert outcome_of(error) is outcome


def test_the_last_delay_repeats() -> None:
    policy = Policy(backoff_s=(1.0, 5.0, 60.0))
    assert [policy.delay_after(attempt) for attempt in (1, 2, 3, 4, 99)] == [1, 5, 60, 60, 60]


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"ack_wait_s": 0}, {"drain_s": -1}, {"backoff_s": ()}])
def test_impossible_policies_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidInput):
        Policy(**wrong)  # type: ignore[arg-type]
