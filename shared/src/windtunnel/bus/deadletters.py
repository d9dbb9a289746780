"""Dead letters: reading one, and sending it again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from windtunnel.bus.port import Bus, DeadLetter, Published

_ORIGINAL = "original-"


def read_dead_letter(id: str, headers: Mapping[str, str], data: bytes) -> DeadLetter:
    """The dead letter that the worker wrote as `headers` and `data`."""
    at = headers.get("dead-at")
    return DeadLetter(
        id=id,
        subject=headers.get("dead-subject", ""),
        event_id=headers.get("dead-event-id") or headers.get(f"{_ORIGINAL}ce-id"),
        reason=headers.get("dead-reason", ""),
        attempts=int(headers.get("dead-attempts", "0")),
        at=datetime.fromisoformat(at) if at else datetime.fromtimestamp(0, UTC),
        consumer=headers.get("dead-consumer", ""),
        headers={name[len(_ORIGINAL) :]: value for name, value in headers.items() if name.startswith(_ORIGINAL)},
        data=data,
    )


async def replay(bus: Bus, id: str) -> Published:
    """Publishes the message of dead letter `id` again, then removes the letter. Raises NotFound, Unavailable.

    Every consumer of the subject sees it; those that have done their part find their result and change nothing.
    """
    letter = await bus.dead_letter(id)
    # The first message id is within the stream's memory and would make this a duplicate that nobody sees.
    headers = {name: value for name, value in letter.headers.items() if name.lower() != "nats-msg-id"}
    headers["Nats-Msg-Id"] = f"replay-{id}"
    published = await bus.publish(letter.subject, headers, letter.data)
    await bus.forget_dead_letter(id)
    return published
