"""The bus in memory: the fake that behaves like the real one and replaces only the wire."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from windtunnel.bus import subjects
from windtunnel.bus.deadletters import read_dead_letter
from windtunnel.bus.port import DeadLetter, Published, Record, check_key, check_size, message_size
from windtunnel.errors import NotFound, Unavailable, WindtunnelError


@dataclass(slots=True)
class _Stored:
    sequence: int
    subject: str
    headers: dict[str, str]
    data: bytes


@dataclass(slots=True)
class _Lease:
    """A message as one consumer sees it. `until` is when it may be handed out (again)."""

    stored: _Stored
    attempt: int = 0
    until: float = 0.0
    token: int = 0


@dataclass(slots=True)
class _Consumer:
    patterns: tuple[str, ...]
    ack_wait_s: float
    max_pending: int
    pending: dict[int, _Lease] = field(default_factory=dict)


def _matches(pattern: str, subject: str) -> bool:
    if pattern.endswith(".>"):
        return subject.startswith(pattern[:-1])
    return pattern == subject


class MemoryDelivery:
    """One message in a worker's hand.

    Args:
        bus: that has the message.
        consumer: that receives it.
        lease: how long this delivery may take.
    """

    def __init__(self, bus: MemoryBus, consumer: _Consumer, lease: _Lease) -> None:
        self._bus = bus
        self._consumer = consumer
        self._lease = lease
        self._token = lease.token
        self.subject: str = lease.stored.subject
        self.headers: Mapping[str, str] = lease.stored.headers
        self.data: bytes = lease.stored.data
        self.sequence: int = lease.stored.sequence
        self.attempt: int = lease.attempt

    async def ack(self) -> None:
        """Implements `Delivery.ack`."""
        # As in JetStream: the ack of a first worker counts even after the message was handed to a second one.
        self._consumer.pending.pop(self.sequence, None)

    async def term(self) -> None:
        """Implements `Delivery.term`."""
        self._consumer.pending.pop(self.sequence, None)

    async def nak(self, delay_s: float) -> None:
        """Implements `Delivery.nak`."""
        if self._lease.token == self._token:
            self._lease.until = time.monotonic() + delay_s
            self._bus.wake()

    async def in_progress(self) -> None:
        """Implements `Delivery.in_progress`."""
        if self._lease.token == self._token:
            self._lease.until = time.monotonic() + self._consumer.ack_wait_s


class MemorySubscription:
    """A durable consumer.

    Args:
        bus: that has the messages.
        consumer: whose messages are fetched.
    """

    def __init__(self, bus: MemoryBus, consumer: _Consumer) -> None:
        self._bus = bus
        self._consumer = consumer

    async def fetch(self, count: int, timeout_s: float) -> Sequence[MemoryDelivery]:
        """Implements `Subscription.fetch`."""
        deadline = time.monotonic() + timeout_s
        while True:
            taken = self._take(count) if self._bus.connected else []
            remaining = deadline - time.monotonic()
            if taken or remaining <= 0:
                return taken
            await self._bus.changed(min(remaining, self._next_lease()))

    def _take(self, count: int) -> list[MemoryDelivery]:
        now = time.monotonic()
        taken: list[MemoryDelivery] = []
        held = sum(lease.until > now for lease in self._consumer.pending.values())
        for lease in self._consumer.pending.values():
            if len(taken) == min(count, self._consumer.max_pending - held):
                break
            if lease.until <= now:
                lease.attempt += 1
                lease.token += 1
                lease.until = now + self._consumer.ack_wait_s
                taken.append(MemoryDelivery(self._bus, self._consumer, lease))
        return taken

    def _next_lease(self) -> float:
        now = time.monotonic()
        return max(0.001, min((lease.until - now for lease in self._consumer.pending.values()), default=1.0))

    async def close(self) -> None:
        """The durable stays, and with it what is pending."""


class MemoryBucket:
    """A key-value bucket.

    Args:
        bus: it decides whether the bucket answers.
    """

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus
        # In the order of the last write.
        self._records: dict[str, Record] = {}
        self._writes = 0

    def _write(self, key: str, value: bytes) -> int:
        self._writes += 1
        self._records.pop(key, None)
        self._records[key] = Record(key, value, self._writes)
        return self._writes

    def _check(self, key: str, value: bytes = b"") -> None:
        check_key(key)
        check_size(f"the value of {key}", len(value))
        self._bus.check()

    async def get(self, key: str) -> bytes | None:
        """Implements `Bucket.get`."""
        found = await self.read(key)
        return None if found is None else found.value

    async def read(self, key: str) -> Record | None:
        """Implements `Bucket.read`."""
        self._check(key)
        return self._records.get(key)

    async def create(self, key: str, value: bytes) -> bytes:
        """Implements `Bucket.create`."""
        self._check(key, value)
        if key not in self._records:
            self._write(key, value)
        return self._records[key].value

    async def update(self, key: str, value: bytes, revision: int) -> int | None:
        """Implements `Bucket.update`."""
        self._check(key, value)
        found = self._records.get(key)
        return self._write(key, value) if (0 if found is None else found.revision) == revision else None

    async def put(self, key: str, value: bytes) -> None:
        """Implements `Bucket.put`."""
        self._check(key, value)
        self._write(key, value)

    async def delete(self, key: str) -> None:
        """Implements `Bucket.delete`."""
        self._check(key)
        self._writes += 1
        self._records.pop(key, None)

    async def forget(self, key: str) -> None:
        """Implements `Bucket.forget`."""
        self._check(key)
        self._records.pop(key, None)

    async def page(self, prefix: str, limit: int, *, after: int = 0) -> list[Record]:
        """Implements `Bucket.page`."""
        self._check(prefix)
        found = (one for one in self._records.values() if one.key.startswith(f"{prefix}.") and one.revision > after)
        return list(itertools.islice(found, limit))

    async def keys(self) -> list[str]:
        """Implements `Bucket.keys`."""
        self._bus.check()
        return sorted(self._records)

    async def revision(self) -> str:
        """Implements `Bucket.revision`."""
        self._bus.check()
        return str(self._writes)


class MemoryBus:
    """All of the bus. `stop` and `start` act as the server's death and return; `max_messages` as a full stream.

    Args:
        max_messages: how many messages fit into the stream; None: any number.
    """

    def __init__(self, max_messages: int | None = None) -> None:
        self._max_messages = max_messages
        self._messages: list[_Stored] = []
        self._dead: dict[int, _Stored] = {}
        self._ids: dict[str, int] = {}
        self._sequence = 0
        self._consumers: dict[str, _Consumer] = {}
        self._buckets: dict[str, MemoryBucket] = {}
        self._wakeup = asyncio.Event()
        self.connected: bool = True
        self.fault: WindtunnelError | None = None

    def check(self) -> None:
        """Makes sure that the bus answers.

        Raises:
            Unavailable: it was stopped.
        """
        if not self.connected:
            raise Unavailable("the bus does not answer")

    def wake(self) -> None:
        """Lets waiting `fetch` calls look again."""
        self._wakeup.set()

    async def changed(self, timeout_s: float) -> None:
        """Waits for a change.

        Args:
            timeout_s: the longest wait, in seconds.
        """
        self._wakeup.clear()
        try:
            await asyncio.wait_for(self._wakeup.wait(), timeout_s)
        except TimeoutError:
            return

    async def stop(self) -> None:
        """Lets the bus answer nothing, as during an outage."""
        self.connected = False

    async def start(self) -> None:
        """Ends the outage."""
        self.connected = True
        self.wake()

    async def publish(self, subject: str, headers: Mapping[str, str], data: bytes) -> Published:
        """Implements `Bus.publish`."""
        self.check()
        if subject != subjects.DEAD:
            check_size(f"a message on {subject}", message_size(headers, data))
        message_id = headers.get("Nats-Msg-Id")
        if message_id is not None and message_id in self._ids:
            return Published(self._ids[message_id], duplicate=True)
        full = self._max_messages is not None and len(self._messages) >= self._max_messages
        if full and subject != subjects.DEAD:
            raise Unavailable(
                "maximum messages exceeded", hint="the stream is full: raise its limits or purge old events"
            )
        self._sequence += 1
        stored = _Stored(self._sequence, subject, dict(headers), data)
        if message_id is not None:
            self._ids[message_id] = stored.sequence
        if subject == subjects.DEAD:
            self._dead[stored.sequence] = stored
        else:
            self._messages.append(stored)
            self._hand_out(stored)
        return Published(stored.sequence, duplicate=False)

    def _hand_out(self, stored: _Stored) -> None:
        for consumer in self._consumers.values():
            if any(_matches(pattern, stored.subject) for pattern in consumer.patterns):
                consumer.pending[stored.sequence] = _Lease(stored)
        self.wake()

    async def subscribe(
        self, durable: str, subjects: Sequence[str], *, ack_wait_s: float, max_pending: int
    ) -> MemorySubscription:
        """Implements `Bus.subscribe`."""
        self.check()
        if durable not in self._consumers:
            consumer = _Consumer(tuple(subjects), ack_wait_s, max_pending)
            consumer.pending = {
                stored.sequence: _Lease(stored)
                for stored in self._messages
                if any(_matches(pattern, stored.subject) for pattern in subjects)
            }
            self._consumers[durable] = consumer
        consumer = self._consumers[durable]
        consumer.patterns, consumer.ack_wait_s, consumer.max_pending = tuple(subjects), ack_wait_s, max_pending
        return MemorySubscription(self, consumer)

    async def purge(self, subject: str) -> None:
        """Removes events, as an operator does with a full stream.

        Args:
            subject: of the events.
        """
        self._messages = [stored for stored in self._messages if stored.subject != subject]
        for consumer in self._consumers.values():
            consumer.pending = {n: lease for n, lease in consumer.pending.items() if lease.stored.subject != subject}

    async def bucket(self, name: str) -> MemoryBucket:
        """Implements `Bus.bucket`."""
        self.check()
        return self._buckets.setdefault(name, MemoryBucket(self))

    async def dead_letters(self) -> list[DeadLetter]:
        """Implements `Bus.dead_letters`."""
        self.check()
        return [read_dead_letter(str(s.sequence), s.headers, s.data) for s in self._dead.values()]

    async def dead_letter(self, id: str) -> DeadLetter:
        """Implements `Bus.dead_letter`."""
        for letter in await self.dead_letters():
            if letter.id == id:
                return letter
        raise NotFound(f"there is no dead letter {id!r}", hint="`windtunnel deadletters list` shows them")

    async def forget_dead_letter(self, id: str) -> None:
        """Implements `Bus.forget_dead_letter`."""
        await self.dead_letter(id)
        del self._dead[int(id)]

    async def close(self) -> None:
        """Implements `Bus.close`."""
        self.connected = False
