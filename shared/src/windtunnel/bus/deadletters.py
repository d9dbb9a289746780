"""Dead letters: writing one, reading one, and sending it again.

A letter is the message as it was, with its headers under `original-` and what happened under `dead-`. All values are
percent-encoded: JetStream gives stored headers back unharmed only where they are ASCII.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import unquote

from windtunnel.bus.events import percent_encoded
from windtunnel.bus.port import Bus, DeadLetter, Delivery, Published

_ORIGINAL: Final = "original-"
MAX_REASON: Final = 2000


def dead_letter_headers(
    delivery: Delivery, *, event_id: str | None, reason: str, consumer: str, message_id: str
) -> dict[str, str]:
    """Headers of the dead letter about a message; its data is that of the message.

    Args:
        delivery: the message that is given up.
        event_id: of the event in it; None: it cannot be read.
        reason: why it is given up; it becomes one line.
        consumer: the durable that gives it up.
        message_id: the Nats-Msg-Id of the letter, so that two workers write one letter.

    Returns:
        Values are percent-encoded.
    """
    happened = {
        "dead-subject": delivery.subject,
        "dead-reason": " ".join(reason.split())[:MAX_REASON],
        "dead-attempts": str(delivery.attempt),
        "dead-consumer": consumer,
        "dead-at": datetime.now(UTC).isoformat(),
        "Nats-Msg-Id": message_id,
    }
    if event_id is not None:
        happened["dead-event-id"] = event_id
    original = {f"{_ORIGINAL}{name}": value for name, value in delivery.headers.items()}
    return {name: percent_encoded(value) for name, value in (original | happened).items()}


def read_dead_letter(id: str, headers: Mapping[str, str], data: bytes) -> DeadLetter:
    """Reads a dead letter.

    Args:
        id: its number in the dead-letter stream.
        headers: as stored.
        data: as stored.

    Returns:
        Headers that are missing, in a letter from elsewhere, are empty.
    """
    text = {name: unquote(value) for name, value in headers.items()}
    at = text.get("dead-at")
    return DeadLetter(
        id=id,
        subject=text.get("dead-subject", ""),
        event_id=text.get("dead-event-id") or text.get(f"{_ORIGINAL}ce-id"),
        reason=text.get("dead-reason", ""),
        attempts=int(text.get("dead-attempts", "0")),
        at=datetime.fromisoformat(at) if at else datetime.fromtimestamp(0, UTC),
        consumer=text.get("dead-consumer", ""),
        headers={name[len(_ORIGINAL) :]: value for name, value in text.items() if name.startswith(_ORIGINAL)},
        data=data,
    )


async def replay(bus: Bus, id: str) -> Published:
    """Publishes the message of a dead letter again, then removes the letter.

    Every consumer of the subject receives it; those that have done their part find their result and change nothing.

    Args:
        bus: that has the letter.
        id: of the letter.

    Returns:
        What the stream stored.

    Raises:
        NotFound: there is no such letter.
        Unavailable: the bus does not answer.
    """
    letter = await bus.dead_letter(id)
    # The first message id is within the stream's memory and would make this a duplicate that nobody sees.
    headers = {name: value for name, value in letter.headers.items() if name.lower() != "nats-msg-id"}
    headers["Nats-Msg-Id"] = f"replay-{id}"
    published = await bus.publish(letter.subject, headers, letter.data)
    await bus.forget_dead_letter(id)
    return published
