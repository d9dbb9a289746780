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
    def subject(self) -> str:
        """The subject on which the message was published."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """As stored."""
        ...

    @property
    def data(self) -> bytes:
        """As stored."""
        ...

    @property
    def sequence(self) -> int:
        """The message's number in the stream."""
        ...

    @property
    def attempt(self) -> int:
        """Counts deliveries to this consumer from 1."""
        ...

    async def ack(self) -> None:
        """Marks the message as done."""
        ...

    async def nak(self, delay_s: float) -> None:
        """Asks for another delivery.

        Args:
            delay_s: after so many seconds.
        """
        ...

    async def term(self) -> None:
        """Marks the message as given up: there is no other delivery."""
        ...

    async def in_progress(self) -> None:
        """Renews the lease: the message is still worked on."""
        ...


class Subscription(Protocol):
    """A durable consumer. Two subscriptions of one durable share its messages."""

    async def fetch(self, count: int, timeout_s: float) -> Sequence[Delivery]:
        """Fetches messages, as soon as there is one.

        Args:
            count: at most so many.
            timeout_s: the longest wait, in seconds.

        Returns:
            Empty after the longest wait, or while the server is away.
        """
        ...

    async def close(self) -> None:
        """Ends the subscription and hands back messages that nobody works on. The consumer remains."""
        ...


@dataclass(frozen=True, slots=True)
class Record:
    """A value of a bucket with the revision that wrote it. Revisions grow over all keys of a bucket."""

    key: str
    value: bytes
    revision: int


class Bucket(Protocol):
    """A key-value bucket. Keys: letters, digits, '-', '_', '/', '=' and inner dots; others raise InvalidInput."""

    async def get(self, key: str) -> bytes | None:
        """Reads a value.

        Args:
            key: of the value.

        Returns:
            None: there is none.
        """
        ...

    async def create(self, key: str, value: bytes) -> bytes:
        """Stores a value unless the key has one.

        Args:
            key: of the value.
            value: at most MAX_MESSAGE_BYTES.

        Returns:
            What is stored now: this value, or the earlier one.
        """
        ...

    async def put(self, key: str, value: bytes) -> None:
        """Stores a value, whatever the key has.

        Args:
            key: of the value.
            value: at most MAX_MESSAGE_BYTES.
        """
        ...

    async def delete(self, key: str) -> None:
        """Removes a value, if there is one.

        Args:
            key: of the value.
        """
        ...

    async def keys(self) -> list[str]:
        """All keys that have a value."""
        ...

    async def revision(self) -> str:
        """Changes with every write, and if the bucket was created again. Cheaper than `keys`."""
        ...

    async def read(self, key: str) -> Record | None:
        """Reads a value together with its revision.

        Args:
            key: of the value.

        Returns:
            None: there is none.
        """
        ...

    async def update(self, key: str, value: bytes, revision: int) -> int | None:
        """Stores a value if nobody else has stored one since (compare and set).

        A lost answer raises Unavailable although the value may be stored: read the key before another try.

        Args:
            key: of the value.
            value: at most MAX_MESSAGE_BYTES.
            revision: that the key must have; 0: it must have no value.

        Returns:
            The new revision; None: the key has another revision, and nothing was stored.
        """
        ...

    async def forget(self, key: str) -> None:
        """Removes a value and every trace of it. `delete` leaves a marker that stays for ever.

        Args:
            key: of the value.
        """
        ...

    async def page(self, prefix: str, limit: int, *, after: int = 0) -> Sequence[Record]:
        """Reads values in the order in which they were written last.

        Args:
            prefix: of their keys, without the dot that follows it.
            limit: at most so many.
            after: only those with a later revision; the last revision of a page gives the next page.

        Returns:
            Empty: there are no more.
        """
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
    def connected(self) -> bool:
        """Whether the server can be reached now."""
        ...

    @property
    def fault(self) -> WindtunnelError | None:
        """Why the connection will not come back by itself; None while it may."""
        ...

    async def publish(self, subject: str, headers: Mapping[str, str], data: bytes) -> Published:
        """Publishes a message and returns once the stream has stored it.

        Args:
            subject: see `subjects`.
            headers: a `Nats-Msg-Id` makes a repeat harmless.
            data: of the message.

        Returns:
            The number in the stream, and whether the message was there already.

        Raises:
            InvalidInput: the message is larger than MAX_MESSAGE_BYTES.
        """
        ...

    async def subscribe(
        self, durable: str, subjects: Sequence[str], *, ack_wait_s: float, max_pending: int
    ) -> Subscription:
        """Creates a durable consumer if there is none, and subscribes to it.

        Args:
            durable: name of the consumer; subscribers of one durable share its messages.
            subjects: what it receives.
            ack_wait_s: lease of a delivery, in seconds.
            max_pending: how many messages may be worked on at once, over all subscribers.

        Returns:
            The subscription.
        """
        ...

    async def bucket(self, name: str) -> Bucket:
        """Opens a bucket, and creates it if there is none.

        Args:
            name: of the bucket.

        Returns:
            The bucket.
        """
        ...

    async def dead_letters(self) -> Sequence[DeadLetter]:
        """All dead letters, oldest first."""
        ...

    async def dead_letter(self, id: str) -> DeadLetter:
        """Reads a dead letter.

        Args:
            id: its number in the dead-letter stream.

        Returns:
            The letter.

        Raises:
            NotFound: there is no such letter.
        """
        ...

    async def forget_dead_letter(self, id: str) -> None:
        """Removes a dead letter.

        Args:
            id: its number in the dead-letter stream.

        Raises:
            NotFound: there is no such letter.
        """
        ...

    async def close(self) -> None:
        """Ends the connection."""
        ...


def check_key(key: str) -> None:
    """Makes sure that a bucket takes a key.

    Args:
        key: any text.

    Raises:
        InvalidInput: it does not.
    """
    if not _KEY.match(key):
        raise InvalidInput(f"{key!r} cannot be a key", hint="letters, digits, '-', '_', '/', '=' and inner dots")


def check_size(what: str, size: int) -> None:
    """Makes sure that the bus takes so many bytes.

    Args:
        what: what they are, for the message.
        size: in bytes.

    Raises:
        InvalidInput: they are more than MAX_MESSAGE_BYTES.
    """
    if size > MAX_MESSAGE_BYTES:
        raise InvalidInput(
            f"{what} would have {size} bytes, the bus takes {MAX_MESSAGE_BYTES}",
            hint="put large things into the artifact store and name them",
        )


def message_size(headers: Mapping[str, str], data: bytes) -> int:
    """The size of a message with its headers.

    Args:
        headers: of the message.
        data: of the message.

    Returns:
        Bytes.
    """
    return len(data) + sum(len(name) + len(value) + 4 for name, value in headers.items())
