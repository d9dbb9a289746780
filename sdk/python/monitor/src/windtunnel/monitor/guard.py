"""The monitor never throws into the app: faults are counted, and each kind is logged once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, Protocol, TypeVar, cast

log = logging.getLogger("windtunnel.monitor")

M = TypeVar("M", bound=Callable[..., Any])


class Faults:
    """What went wrong in the monitor, by where it did."""

    def __init__(self) -> None:
        """Count from zero."""
        self._lock = threading.RLock()
        self.counts: dict[str, int] = {}

    def count(self, where: str, error: BaseException | str) -> None:
        """Count a fault and log the first of its kind.

        Args:
            where: The method or the part of the monitor.
            error: What went wrong.
        """
        with self._lock:
            first = where not in self.counts
            self.counts[where] = self.counts.get(where, 0) + 1
        if first:
            # As text: an error that a handler of the log keeps would keep the arrays of its frames, and with them an
            # interpreter from running.
            log.warning("edge monitor: %s: %s (logged once; the app continues)", where, str(error))


class Guarded(Protocol):
    """What has faults."""

    @property
    def faults(self) -> Faults:
        """Where they are counted."""
        ...


def guarded(method: M) -> M:
    """Make a method count its errors instead of raising them; it gives None then.

    Args:
        method: A method of something that is `Guarded`.

    Returns:
        The method that does not raise.
    """

    @wraps(method)
    def call(self: Guarded, *args: Any, **options: Any) -> Any:
        try:
            return method(self, *args, **options)
        except Exception as error:  # noqa: BLE001 - whatever it is, the app must not notice
            self.faults.count(method.__name__, error)
            return None

    return cast(M, call)
