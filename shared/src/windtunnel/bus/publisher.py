"""Publishing events with deterministic ids."""

from __future__ import annotations

from google.protobuf.message import Message

from windtunnel.bus import subjects
from windtunnel.bus.events import encode, event_id
from windtunnel.bus.port import Bus, Published
from windtunnel.telemetry.trace import current_traceparent


class Publisher:
    """Publishes the events of one service."""

    def __init__(self, bus: Bus, service: str) -> None:
        self._bus = bus
        self._source = f"/windtunnel/{service}"

    async def publish(self, message: Message, *, run_id: str, parts: tuple[str, ...] = ()) -> Published:
        """Publishes `message` and returns when the stream has stored it.

        The event id follows from type, run and `parts` (the variant, the cell, the attempt: what tells this event
        of the run from its siblings), so publishing again changes nothing. Raises Unavailable.
        """
        id = event_id(subjects.subject_of(message), run_id, *parts)
        subject, headers, data = encode(
            message, id=id, source=self._source, run_id=run_id, traceparent=current_traceparent()
        )
        return await self._bus.publish(subject, headers, data)
