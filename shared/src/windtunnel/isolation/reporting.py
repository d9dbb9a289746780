"""Progress from inside a job to whoever runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from windtunnel.errors import InternalError


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is: `fraction` in [0, 1] and what it does now."""

    fraction: float
    text: str = ""


_listener: ContextVar[Callable[[Progress], None] | None] = ContextVar("windtunnel_progress", default=None)


def progress(fraction: float, text: str = "") -> None:
    """Reports progress; does nothing outside a job, so that use cases may call it anywhere.

    Args:
        fraction: share of the work that is done, 0 to 1.
        text: what is worked on.

    Raises:
        InternalError: the fraction is outside 0 to 1.
    """
    if not 0.0 <= fraction <= 1.0:
        raise InternalError(f"a progress of {fraction} is outside 0..1")
    listener = _listener.get()
    if listener is not None:
        listener(Progress(float(fraction), text))


@contextmanager
def reporting_to(listener: Callable[[Progress], None]) -> Iterator[None]:
    """Sends what `progress` reports in this context to a listener.

    Args:
        listener: called in the thread that reports.

    Yields:
        Nothing.
    """
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
