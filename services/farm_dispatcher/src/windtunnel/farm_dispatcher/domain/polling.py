"""How long to wait between two questions about a farm run."""

from __future__ import annotations

from typing import Final

from windtunnel.farm_dispatcher.domain.farm_settings import PollSeconds

# A question is due when the time since the start has grown by this share. So the end of a short job is seen soon, and
# a long one is not asked about too often.
_GROWTH: Final = 0.1


def next_wait(elapsed_s: float, limits: PollSeconds) -> float:
    """The wait before the next question.

    Args:
        elapsed_s: time since the farm run was submitted, or since its state changed last, in seconds.
        limits: of the farm.

    Returns:
        Seconds within the limits.
    """
    return min(limits.max, max(limits.min, elapsed_s * _GROWTH))
