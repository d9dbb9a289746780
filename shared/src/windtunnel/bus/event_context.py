"""What an event is about, for the log lines of the job that handles it: its trace, run, variant and cell."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from windtunnel.bus import subjects
from windtunnel.bus.events import Event, Malformed
from windtunnel.telemetry.job import job_context
from windtunnel.telemetry.trace import trace_context, trace_id_of, traceparent_from, traceparent_in


@contextlib.contextmanager
def event_context(event: Event) -> Iterator[None]:
    """Everything inside belongs to the job of an event, in the trace of its run.

    An event without a trace belongs to the trace of its run. An announcement without one begins a trace that follows
    from its source and id. That trace is the same in every service that receives the announcement and at every
    delivery.

    Args:
        event: that a handler works on.

    Yields:
        Nothing.
    """
    message = _run_message(event)
    run = None if message is None else message.run
    traceparent = event.traceparent
    if not trace_id_of(traceparent):
        own = "" if run is None else traceparent_in(run.trace_id)
        traceparent = own or traceparent_from(f"{event.source}\0{event.id}")
    fields = {} if message is None else _fields(message)
    with trace_context(traceparent), job_context(event_id=event.id, **fields):
        yield


def _run_message(event: Event) -> Any:
    """The message of an event of a run; None for an announcement, whose run is claimed later, and for bad data."""
    if event.subject == subjects.MODEL_TRAINED:
        return None
    try:
        return event.message()
    except Malformed:
        return None


def _fields(message: Any) -> dict[str, str]:
    variant, cell = getattr(message, "variant", ""), getattr(message, "cell", None)
    name = variant if isinstance(variant, str) else variant.name
    fields = {"run_id": message.run.run_id, "variant": name or ("" if cell is None else cell.variant)}
    return fields if cell is None else {**fields, "cell": cell.id}
