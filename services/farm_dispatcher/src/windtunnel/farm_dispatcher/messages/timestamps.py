"""Between moments, spans of time and their protobuf messages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp


def to_timestamp(moment: datetime) -> Timestamp:
    """A moment on the wire.

    Args:
        moment: with a time zone.

    Returns:
        The message.
    """
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def from_timestamp(message: Timestamp) -> datetime:
    """A moment from the wire.

    Args:
        message: of it.

    Returns:
        In UTC.
    """
    return message.ToDatetime(tzinfo=UTC)


def to_duration(seconds: float) -> Duration:
    """A span of time on the wire.

    Args:
        seconds: of it.

    Returns:
        The message.
    """
    message = Duration()
    message.FromTimedelta(timedelta(seconds=seconds))
    return message


def from_duration(message: Duration) -> float:
    """A span of time from the wire.

    Args:
        message: of it.

    Returns:
        Seconds.
    """
    return message.ToTimedelta().total_seconds()
