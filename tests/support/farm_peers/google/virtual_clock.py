"""A clock for simulated farms: it runs faster than the wall clock, or only when a test advances it."""

from __future__ import annotations

import datetime
import threading
import time


class VirtualClock:
    """Seconds since the epoch.

    Args:
        rate: virtual seconds in a real one; 0: time passes only by `advance`.
        start: the first reading.
    """

    def __init__(self, rate: float = 0.0, start: float = 1_798_000_000.0) -> None:
        self._rate, self._start, self._real = rate, start, time.monotonic()
        self._lock = threading.Lock()

    def now(self) -> float:
        """The time."""
        with self._lock:
            return self._start + (time.monotonic() - self._real) * self._rate

    def advance(self, seconds: float) -> None:
        """Lets time pass."""
        with self._lock:
            self._start += seconds

    def text(self, at: float | None = None) -> str:
        """A time in RFC 3339, as Google writes it."""
        moment = datetime.datetime.fromtimestamp(self.now() if at is None else at, datetime.UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
