"""Spacing of calls: Device Farm limits each operation by a token bucket whose size it does not publish."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

_FIRST_GAP_S: Final = 0.2
_WIDEST_GAP_S: Final = 10.0
# A call that goes well narrows the gap, a throttled one doubles it.
_NARROWS: Final = 0.9


@dataclass
class _Gap:
    """Time between two calls of an operation, and when the next one may start."""

    gap_s: float = 0.0
    next_at: float = 0.0


@dataclass
class Pace:
    """Gaps of all operations. An operation that was never throttled is not spaced.

    Attributes:
        clock: in seconds.
    """

    clock: Callable[[], float] = time.monotonic
    _gaps: dict[str, _Gap] = field(default_factory=dict)

    def wait_s(self, operation: str) -> float:
        """Takes the next turn of an operation.

        Args:
            operation: its name.

        Returns:
            Seconds to wait before the call.
        """
        gap, now = self._gap(operation), self.clock()
        start = max(now, gap.next_at)
        gap.next_at = start + gap.gap_s
        return start - now

    def was_throttled(self, operation: str) -> None:
        """Widens the gap of an operation.

        Args:
            operation: its name.
        """
        gap = self._gap(operation)
        gap.gap_s = min(_WIDEST_GAP_S, max(_FIRST_GAP_S, gap.gap_s * 2))
        gap.next_at = self.clock() + gap.gap_s

    def went_well(self, operation: str) -> None:
        """Narrows the gap of an operation.

        Args:
            operation: its name.
        """
        gap = self._gap(operation)
        gap.gap_s = gap.gap_s * _NARROWS if gap.gap_s > _FIRST_GAP_S / 4 else 0.0

    def _gap(self, operation: str) -> _Gap:
        return self._gaps.setdefault(operation, _Gap())
