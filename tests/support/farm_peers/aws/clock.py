"""Time of the peer: it passes faster than the test's, and jumps on request."""

from __future__ import annotations

import time


class VirtualClock:
    """Seconds since the epoch.

    Args:
        speed: virtual seconds in a real one; 0: only `advance` moves it.
    """

    def __init__(self, speed: float = 0.0) -> None:
        self._speed = speed
        self._began = time.monotonic()
        self._start = time.time()
        self._jumped = 0.0

    def now(self) -> float:
        return self._start + self._jumped + (time.monotonic() - self._began) * self._speed

    def advance(self, seconds: float) -> None:
        self._jumped += seconds
