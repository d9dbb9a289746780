"""Every event a second time, as one JSON object that any listener can read: `windtunnel.json.<thing>.<past verb>`.

For dashboards, chat bots and scripts. Services never listen to these subjects.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from google.protobuf import json_format

from windtunnel.bus import subjects
from windtunnel.bus.events import JSON, STRUCTURED, Event, percent_encoded
from windtunnel.bus.port import Bus
from windtunnel.errors import WindtunnelError

log = logging.getLogger(__name__)


def structured(event: Event) -> tuple[str, dict[str, str], bytes]:
    """An event in structured mode with JSON data.

    The data is the message in protobuf's JSON mapping, as docs/asyncapi.yaml describes it.

    Args:
        event: in any mode.

    Returns:
        Subject, headers and data.

    Raises:
        Malformed: the data is not of the type that the subject asks for.
    """
    envelope: dict[str, Any] = {
        **event.attributes,
        "datacontenttype": JSON,
        "data": event.json() if event.is_json else _data(event),
    }
    if event.traceparent:
        envelope["traceparent"] = event.traceparent
    headers = {
        "content-type": STRUCTURED,
        # The stream knows ids, not subjects: under its own id this event would be taken for the first one.
        "Nats-Msg-Id": percent_encoded(f"json-{event.id}"),
    }
    if event.traceparent:
        headers["traceparent"] = event.traceparent
    data = json.dumps(envelope, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return subjects.json_subject_of(event.subject), headers, data.encode()


def _data(event: Event) -> dict[str, Any]:
    return json_format.MessageToDict(event.message())


async def echo(bus: Bus, event: Event) -> None:
    """Publishes an event as JSON. Failures are logged: no run depends on it.

    Args:
        bus: to publish on.
        event: as received.
    """
    try:
        await bus.publish(*structured(event))
    except (WindtunnelError, ValueError) as error:
        log.warning("event %s on %s cannot be published as JSON: %s", event.id, event.subject, error)
