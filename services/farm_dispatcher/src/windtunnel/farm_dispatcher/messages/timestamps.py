"""Between moments and their protobuf messages."""

from __future__ import annotations

from datetime import UTC, datetime

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
