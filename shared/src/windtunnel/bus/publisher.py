"""Publishing events with deterministic ids."""

from __future__ import annotations

from google.protobuf.message import Message

from windtunnel.bus import subjects
from windtunnel.bus.events import Event, decode, encode, event_id
from windtunnel.bus.json_events import echo
from windtunnel.bus.port import Bus, Published
from windtunnel.telemetry.trace import current_traceparent


class Publisher:
    """Publishes the events of one service.

    Args:
        bus: to publish on.
        service: name of the publishing service.
        json_events: publish every event a second time as JSON, for listeners.
    """

    def __init__(self, bus: Bus, service: str, *, json_events: bool = False) -> None:
        self._bus = bus
        self._source = f"/windtunnel/{service}"
        self._json_events = json_events

    async def publish(self, message: Message, *, run_id: str, parts: tuple[str, ...] = ()) -> Published:
        """Publishes an event and returns when the stream has stored it.

        The event id follows from type, run and `parts`, so publishing again changes nothing.

        Args:
            message: the data.
            run_id: of the run.
            parts: what distinguishes this event of the run from others of its type: the variant, the cell, the attempt.

        Returns:
            What the stream stored.

        Raises:
            Unavailable: the bus does not answer.
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
        """Publishes an event of another service as JSON too, if JSON events are on. Failures are logged.

        Args:
            event: as received.
        """
        if self._json_events:
            await echo(self._bus, event)
