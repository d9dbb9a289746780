"""What the bus must offer. The adapters replace only the wire; every rule lives in `worker` and `jobs`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from windtunnel.errors import InvalidInput, WindtunnelError

# Half of what a NATS server takes by default, headers included: a dead letter (the message and why) always fits.
MAX_MESSAGE_BYTES: Final = 512 * 1024
_KEY = re.compile(r"[-/_=a-zA-Z0-9]+(\.[-/_=a-zA-Z0-9]+)*\Z")


@dataclass(frozen=True, slots=True)
class Published:
    """The stream has stored a message. `duplicate`: it had it already, under the same message id."""

    sequence: int
    duplicate: bool


class Delivery(Protocol):
    """One message in a worker's hand. `attempt` counts deliveries to this consumer from 1."""

    @property
    def subject(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def data(self) -> bytes: ...
    @property
    def sequence(self) -> int: ...
    @property
    def attempt(self) -> int: ...

    async def ack(self) -> None: ...
    async def nak(self, delay_s: float) -> None: ...
    async def term(self) -> None: ...
    async def in_progress(self) -> None: ...


class Subscription(Protocol):
    """A durable consumer. Two subscriptions of one durable share its messages."""

    async def fetch(self, count: int, timeout_s: float) -> Sequence[Delivery]:
        """At most `count` messages; none after `timeout_s`, or while the server is away."""
        ...

    async def close(self) -> None: ...


class Bucket(Protocol):
    """A key-value bucket. Keys: letters, digits, '-', '_', '/', '=' and inner dots; others raise InvalidInput."""

    async def get(self, key: str) -> bytes | None: ...

    async def create(self, key: str, value: bytes) -> bytes:
        """Stores `value` unless the key is taken; returns what is stored now: ours, or the first one's."""
        ...

    async def put(self, key: str, value: bytes) -> None: ...
    async def delete(self, key: str) -> None: ...
    async def keys(self) -> list[str]: ...

    async def revision(self) -> str:
        """Changes with every write to the bucket, and where the bucket was made anew: it asks what `keys` need not."""
        ...


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was given up. `id` is its number in the dead-letter stream."""

    id: str
    subject: str
    event_id: str | None
    reason: str
    attempts: int
    at: datetime
    consumer: str
    headers: Mapping[str, str]
    data: bytes


class Bus(Protocol):
    """The bus. Every method raises Unavailable while the server does not answer or the stream is full."""

    @property
    def connected(self) -> bool: ...

    @property
    def fault(self) -> WindtunnelError | None:
        """Why the connection will not come back by itself; None while it may."""
        ...

    async def publish(self, subject: str, headers: Mapping[str, str], data: bytes) -> Published:
        """Returns once the stream has stored the message. A `Nats-Msg-Id` header makes a repeat harmless.

        Raises InvalidInput for a message of more than MAX_MESSAGE_BYTES.
        """
        ...

    async def subscribe(
        self, durable: str, subjects: Sequence[str], *, ack_wait_s: float, max_pending: int
    ) -> Subscription: ...

    async def bucket(self, name: str) -> Bucket: ...

    async def dead_letters(self) -> Sequence[DeadLetter]:
        """All dead letters, oldest first."""
        ...

    async def dead_letter(self, id: str) -> DeadLetter:
        """Raises NotFound."""
        ...

    async def forget_dead_letter(self, id: str) -> None: ...

    async def close(self) -> None: ...


def check_key(key: str) -> None:
    """Raises InvalidInput for a key that no bucket takes."""
    if not _KEY.match(key):
        raise InvalidInput(f"{key!r} cannot be a key", hint="letters, digits, '-', '_', '/', '=' and inner dots")


def check_size(what: str, size: int) -> None:
    """Raises InvalidInput where `size` bytes are more than MAX_MESSAGE_BYTES."""
    if size > MAX_MESSAGE_BYTES:
        raise InvalidInput(
            f"{what} would have {size} bytes, the bus takes {MAX_MESSAGE_BYTES}",
            hint="put large things into the artifact store and name them",
        )


def message_size(headers: Mapping[str, str], data: bytes) -> int:
    """Bytes of a message, headers included."""
    return len(data) + sum(len(name) + len(value) + 4 for name, value in headers.items())
