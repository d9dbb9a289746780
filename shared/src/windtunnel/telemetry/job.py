"""What the work at hand is about: every log line of a job carries it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar

# Tasks that a job starts share its fields: what one of them notes, the lines of all of them carry.
_current: ContextVar[dict[str, str] | None] = ContextVar("windtunnel_job", default=None)


def current_job() -> Mapping[str, str]:
    """The fields of the work at hand, for example `run_id`, `variant` and `cell`; empty outside of any."""
    return _current.get() or {}


@contextlib.contextmanager
def job_context(**fields: str) -> Iterator[None]:
    """Log lines inside carry fields, in addition to those of the contexts around it.

    Args:
        **fields: by name; an empty value adds nothing.

    Yields:
        Nothing.
    """
    token = _current.set({**current_job(), **_given(fields)})
    try:
        yield
    finally:
        # A stream that its caller gave up is closed in another context, which has nothing to reset.
        with contextlib.suppress(ValueError):
            _current.reset(token)


def note_job(**fields: str) -> None:
    """Adds fields to the innermost `job_context`: what becomes known only during the work.

    Args:
        **fields: by name; an empty value adds nothing.
    """
    job = _current.get()
    if job is not None:
        job.update(_given(fields))


def _given(fields: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in fields.items() if value}
