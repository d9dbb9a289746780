"""The bus on NATS JetStream, with nats-py pull consumers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, KeyValueConfig, StreamConfig
from nats.js.kv import KeyValue

from windtunnel.bus import subjects as names
from windtunnel.bus.deadletters import read_dead_letter
from windtunnel.bus.nats.address import parse_address
from windtunnel.bus.nats.answers import GONE, Answered
from windtunnel.bus.nats.bucket import NatsBucket
from windtunnel.bus.nats.client import EncryptingClient
from windtunnel.bus.nats.pull import PullSubscription
from windtunnel.bus.nats.refusals import Watch, no_jetstream
from windtunnel.bus.port import MAX_MESSAGE_BYTES, DeadLetter, Published, check_size, message_size
from windtunnel.errors import NotFound, Unavailable, WindtunnelError

log = logging.getLogger(__name__)

DAY_S = 24 * 3600.0
_CONNECTION: Final[dict[str, Any]] = {
    "connect_timeout": 2,
    "reconnect_time_wait": 0.25,
    "max_reconnect_attempts": -1,
    "ping_interval": 5,
}


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """How much the bus keeps. `replicas` is 3 in a cluster."""

    replicas: int = 1
    max_bytes: int = 4 * 1024**3
    max_age_s: float = 7 * DAY_S
    results_age_s: float = 14 * DAY_S
    duplicate_window_s: float = 3600.0


def _delivered(reply: str) -> tuple[int, int]:
    """Count of deliveries and stream sequence, from the ack subject that JetStream gives a message.

    $JS.ACK.<stream>.<consumer>.<delivered>.<sequence>..., or with <domain>.<account> before the stream. The same as
    `Msg.metadata`, which costs as much as decoding the event.
    """
    tokens = reply.split(".", 9)
    first = 4 if len(tokens) == 9 else 6
    return int(tokens[first]), int(tokens[first + 1])


class NatsDelivery:
    """One message in a worker's hand.

    Args:
        message: as nats-py delivers it.
    """

    __slots__ = ("_message", "attempt", "sequence")

    def __init__(self, message: Msg) -> None:
        self._message = message
        self.attempt, self.sequence = _delivered(message.reply)

    @property
    def subject(self) -> str:
        """Implements `Delivery.subject`."""
        return self._message.subject

    @property
    def headers(self) -> Mapping[str, str]:
        """Implements `Delivery.headers`."""
        return self._message.headers or {}

    @property
    def data(self) -> bytes:
        """Implements `Delivery.data`."""
        return self._message.data

    async def ack(self) -> None:
        """Implements `Delivery.ack`."""
        with Answered("ack"):
            await self._message.ack()

    async def nak(self, delay_s: float) -> None:
        """Implements `Delivery.nak`."""
        with Answered("nak"):
            await self._message.nak(delay=delay_s or None)

    async def term(self) -> None:
        """Implements `Delivery.term`."""
        with Answered("term"):
            await self._message.term()

    async def in_progress(self) -> None:
        """Implements `Delivery.in_progress`."""
        with Answered("in_progress"):
            await self._message.in_progress()


class NatsSubscription:
    """A durable pull consumer.

    Args:
        subscription: the pull consumer.
    """

    def __init__(self, subscription: PullSubscription) -> None:
        self._subscription = subscription

    async def fetch(self, count: int, timeout_s: float) -> Sequence[NatsDelivery]:
        """Implements `Subscription.fetch`."""
        with Answered("fetch"):
            return [NatsDelivery(message) for message in await self._subscription.fetch(count, timeout_s)]

    async def close(self) -> None:
        """Implements `Subscription.close`."""
        for message in await self._subscription.close():
            with contextlib.suppress(*GONE):
                await message.nak()


class NatsBus:
    """All of the bus. Made by `connect`.

    Args:
        client: not yet connected.
        limits: of the streams that the bus creates.
        watch: receives the errors of the connection.
    """

    def __init__(self, client: Client, limits: StreamLimits, watch: Watch) -> None:
        self.watch = watch
        self._client = client
        self._begun = False
        self._js = client.jetstream(timeout=5)
        self._limits = limits
        self._buckets: dict[str, NatsBucket] = {}

    def _answered(self, what: str) -> Answered:
        return Answered(what, self.watch)

    @property
    def connected(self) -> bool:
        """Implements `Bus.connected`."""
        return self._client.is_connected

    @property
    def fault(self) -> WindtunnelError | None:
        """Implements `Bus.fault`."""
        return self.watch.fault(connected=self.connected)

    async def connect(self, name: str) -> None:
        """Connects to the watched address; tries forever.

        Args:
            name: of this client, for the server's list of connections.
        """
        address, watch = self.watch.address, self.watch
        self._begun = True
        await self._client.connect(
            list(address.servers),
            name=name,
            user=address.user,
            password=address.password,
            token=address.token,
            error_cb=watch.on_error,
            disconnected_cb=watch.lost,
            reconnected_cb=watch.regained,
            closed_cb=watch.ended,
            **_CONNECTION,
        )

    async def ensure_streams(self) -> None:
        """Creates the streams where they are missing. Raises Unavailable."""
        with self._answered("create streams"):
            await self._ensure_stream(names.STREAM, names.ALL, self._limits.max_bytes)
            await self._ensure_stream(names.DEAD_STREAM, names.DEAD, self._limits.max_bytes // 4)

    async def _ensure_stream(self, name: str, subject: str, max_bytes: int) -> None:
        try:
            await self._js.stream_info(name)
        except nats.js.errors.NotFoundError:
            config = StreamConfig(
                name=name,
                subjects=[subject],
                max_bytes=max_bytes,
                num_replicas=self._limits.replicas,
                discard=DiscardPolicy.NEW,
                max_age=self._limits.max_age_s,
                max_msg_size=MAX_MESSAGE_BYTES if name == names.STREAM else None,
                duplicate_window=self._limits.duplicate_window_s,
            )
            await self._js.add_stream(config)

    async def publish(self, subject: str, headers: Mapping[str, str], data: bytes) -> Published:
        """Implements `Bus.publish`."""
        if subject != names.DEAD:
            check_size(f"a message on {subject}", message_size(headers, data))
        with self._answered(f"publish on {subject}"):
            ack = await self._js.publish(subject, data, headers=dict(headers))
            return Published(ack.seq, bool(ack.duplicate))

    async def subscribe(
        self, durable: str, subjects: Sequence[str], *, ack_wait_s: float, max_pending: int
    ) -> NatsSubscription:
        """Implements `Bus.subscribe`."""
        config = ConsumerConfig(
            durable_name=durable,
            filter_subjects=list(subjects),
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ack_wait_s,
            max_deliver=-1,
            max_ack_pending=max_pending,
        )
        with self._answered(f"subscribe {durable}"):
            try:
                await self._js.add_consumer(names.STREAM, config)
            except nats.js.errors.NotFoundError:
                # The server came back without its store.
                await self.ensure_streams()
                await self._js.add_consumer(names.STREAM, config)
            subscription = PullSubscription(self._client, names.STREAM, durable)
            await subscription.open()
            return NatsSubscription(subscription)

    async def bucket(self, name: str) -> NatsBucket:
        """Implements `Bus.bucket`."""
        if name not in self._buckets:
            ttl = self._limits.results_age_s if name == names.RESULTS_BUCKET else 0
            config = KeyValueConfig(bucket=name, ttl=ttl, replicas=self._limits.replicas)
            with self._answered(f"open bucket {name}"):
                self._buckets[name] = NatsBucket(name, await self._open(config), partial(self._open, config), self._js)
        return self._buckets[name]

    async def _open(self, config: KeyValueConfig) -> KeyValue:
        try:
            return await self._js.key_value(config.bucket)
        except nats.js.errors.BucketNotFoundError:
            return await self._js.create_key_value(config)

    async def dead_letters(self) -> list[DeadLetter]:
        """Implements `Bus.dead_letters`."""
        with self._answered("read dead letters"):
            state = (await self._js.stream_info(names.DEAD_STREAM)).state
            letters = []
            for sequence in range(state.first_seq, state.last_seq + 1) if state.messages else ():
                with contextlib.suppress(NotFound):
                    letters.append(await self.dead_letter(str(sequence)))
            return letters

    async def dead_letter(self, id: str) -> DeadLetter:
        """Implements `Bus.dead_letter`."""
        missing = NotFound(f"there is no dead letter {id!r}", hint="`windtunnel deadletters list` shows them")
        if not id.isascii() or not id.isdigit() or int(id) == 0:
            raise missing
        with self._answered(f"read dead letter {id}"):
            try:
                message = await self._js.get_msg(names.DEAD_STREAM, int(id))
            except nats.js.errors.NotFoundError:
                raise missing from None
        return read_dead_letter(id, message.headers or {}, message.data or b"")

    async def forget_dead_letter(self, id: str) -> None:
        """Implements `Bus.forget_dead_letter`."""
        await self.dead_letter(id)
        with self._answered(f"remove dead letter {id}"):
            await self._js.delete_msg(names.DEAD_STREAM, int(id))

    async def flush(self) -> None:
        """Returns once the server has everything that was sent, acks included."""
        with self._answered("flush"):
            await self._client.flush()

    async def close(self) -> None:
        """Implements `Bus.close`."""
        self.watch.closing = True
        if not self._begun:
            return
        with contextlib.suppress(*GONE):
            await self._client.close()


async def connect(
    url: str, *, name: str = "windtunnel", limits: StreamLimits | None = None, wait_s: float = 30.0
) -> NatsBus:
    """Connects, and creates streams that are missing. A lost connection is made again, without end.

    Failures are logged every few seconds.

    Args:
        url: address of the server, or of several.
        name: of this client, for the server's list of connections.
        limits: of the streams; None: the defaults.
        wait_s: how long to wait for a server, in seconds.

    Returns:
        A connected bus.

    Raises:
        InvalidInput: the address cannot be read.
        Refused: waiting does not help (credentials, certificate, permissions, JetStream off).
        Unavailable: no server answers in time.
    """
    address = parse_address(url)
    watch = Watch(address)
    bus = NatsBus(EncryptingClient(must_encrypt=address.wants_tls), limits or StreamLimits(), watch)
    try:
        async with asyncio.timeout(wait_s):
            await _unless_refused(watch, _connected(bus, name))
            watch.starting = False
            return bus
    except BaseException as error:
        await bus.close()
        if not isinstance(error, GONE):
            raise
        reason = f": {watch.last}" if watch.last else ""
        raise Unavailable(
            f"no NATS server with JetStream answers at {address.shown}{reason}", hint="start one with `windtunnel up`"
        ) from error


async def _connected(bus: NatsBus, name: str) -> None:
    watch = bus.watch
    await bus.connect(name)
    while True:
        # A server that has just started accepts connections before JetStream is ready.
        try:
            await bus.ensure_streams()
            return
        except Unavailable as error:
            if refused := no_jetstream(watch.address, error.message):
                raise refused from error
            watch.say(f"JetStream does not answer, is it on? {watch.denied or error.message}")
            await asyncio.sleep(0.1)


async def _unless_refused(watch: Watch, work: Coroutine[Any, Any, None]) -> None:
    """Does `work`, unless the server refuses us first. Raises Refused."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait((task, watch.refused), return_when=asyncio.FIRST_COMPLETED)
        if watch.refused.done():
            raise watch.refused.result()
        await task
    finally:
        task.cancel()
        # A client that is connecting may swallow its cancellation: it has a second, no more.
        await asyncio.wait((task,), timeout=1)
