"""W3C Trace Context (https://www.w3.org/TR/trace-context/): `traceparent` from message to message and call to call.

Windtunnel hands the context on and writes it into every log line; it exports no spans of its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
from collections.abc import Iterator
from contextvars import ContextVar

# Version ff is forbidden; a version after 00 may carry more behind the flags.
_TRACEPARENT = re.compile(
    r"(?!ff|00-.{53})[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(?:-.*)?\Z"
)
# Sampled and random-trace-id; the other flags have no meaning yet and must be sent as zero.
_KNOWN_FLAGS = 0x03
_current: ContextVar[str] = ContextVar("windtunnel_traceparent", default="")


def child_of(traceparent: str) -> str:
    """A new span under another one.

    Args:
        traceparent: of the other one.

    Returns:
        A traceparent; the root of a new trace if the given one is empty or invalid.
    """
    match = _TRACEPARENT.match(traceparent)
    trace_id, flags = match.groups() if match else (_random_hex(16), "01")
    return f"00-{trace_id}-{_random_hex(8)}-{int(flags, 16) & _KNOWN_FLAGS:02x}"


def trace_id_of(traceparent: str) -> str:
    """The trace id in a traceparent.

    Args:
        traceparent: of any span.

    Returns:
        32 hexadecimal digits; empty if the given one is empty or invalid.
    """
    match = _TRACEPARENT.match(traceparent)
    return match[1] if match else ""


def traceparent_in(trace_id: str) -> str:
    """A new span in a trace.

    Args:
        trace_id: of the trace.

    Returns:
        A traceparent; empty if the id is not 32 hexadecimal digits.
    """
    traceparent = f"00-{trace_id}-{_random_hex(8)}-01"
    return traceparent if _TRACEPARENT.match(traceparent) else ""


def traceparent_from(seed: str) -> str:
    """The root of the trace that belongs to a seed: the same one whoever begins it, and however often.

    Args:
        seed: any text.

    Returns:
        A traceparent.
    """
    return traceparent_in(hashlib.sha256(seed.encode("utf-8", "surrogatepass")).hexdigest()[:32])


def _random_hex(size: int) -> str:
    # Ids must be different, not secret; zero is forbidden.
    return f"{random.getrandbits(8 * size) or 1:0{2 * size}x}"


def current_traceparent() -> str:
    """The context of the work at hand; empty outside of any."""
    return _current.get()


def current_trace_id() -> str:
    """The trace id of the work at hand; empty outside of any."""
    return trace_id_of(_current.get())


@contextlib.contextmanager
def trace_context(traceparent: str) -> Iterator[str]:
    """Everything inside belongs to a new span.

    Args:
        traceparent: of the span above.

    Yields:
        The traceparent of the new span.
    """
    span = child_of(traceparent)
    token = _current.set(span)
    try:
        yield span
    finally:
        # A stream that its caller gave up is closed in another context, which has nothing to reset.
        with contextlib.suppress(ValueError):
            _current.reset(token)
