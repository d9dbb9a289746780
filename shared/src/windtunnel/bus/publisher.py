"""Publishing events with deterministic ids."""

from __future__ import annotations

from google.protobuf.message import Message

from windtunnel.bus import subjects
from windtunnel.bus.events import Event, decode, encode, event_id
from windtunnel.bus.json_events import echo
from windtunnel.bus.port import Bus, Published
from windtunnel.telemetry.trace import current_traceparent


class Publisher:
    """Publishes the events of one service."""

    def __init__(self, bus: Bus, service: str, *, json_events: bool = False) -> None:
        """`json_events`: tell every event a second time as JSON, for listeners."""
        self._bus = bus
        self._source = f"/windtunnel/{service}"
        self._json_events = json_events

    async def publish(self, message: Message, *, run_id: str, parts: tuple[str, ...] = ()) -> Published:
        """Publishes `message` and returns when the stream has stored it.

        The event id follows from type, run and `parts` (the variant, the cell, the attempt: what tells this event
        of the run from its siblings), so publishing again changes nothing. Raises Unavailable.
        """
        id = event_id(subjects.subject_of(message), run_id, *parts)
        subject, headers, data = encode(
            message, id=id, source=self._source, run_id=run_id, traceparent=current_traceparent()
        )
        published = await self._bus.publish(subject, headers, data)
        if self._json_events:
            await echo(self._bus, decode(subject, headers, data))
        return published

    async def echo(self, event: Event) -> None:
        """Tells an event of somebody else as JSON too, where that is asked for. Never raises for what fails."""
        if self._json_events:
            await echo(self._bus, event)
