"""Key-value buckets on JetStream."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import nats.errors
import nats.js.errors
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.kv import KeyValue

from windtunnel.bus.nats.answers import GONE, Answered
from windtunnel.bus.port import Record, check_key, check_size

T = TypeVar("T")

_LIST_S: Final = 10.0
_PAGE_S: Final = 5.0
_FETCH_S: Final = 0.5
# What the server says where it has no stream of this name (any more).
_LOST: Final = (nats.js.errors.NotFoundError, nats.js.errors.NoStreamResponseError, nats.errors.NoRespondersError)


class NatsBucket:
    """A JetStream key-value bucket. `reopen` makes it again where the server came back without its store.

    Args:
        name: of the bucket.
        bucket: an open one.
        reopen: opens it again after the server lost it.
        js: the server's JetStream.
    """

    def __init__(
        self, name: str, bucket: KeyValue, reopen: Callable[[], Awaitable[KeyValue]], js: JetStreamContext
    ) -> None:
        self._name = name
        self._bucket = bucket
        self._reopen = reopen
        self._js = js

    async def get(self, key: str) -> bytes | None:
        """Implements `Bucket.get`."""
        check_key(key)

        async def get(bucket: KeyValue) -> bytes | None:
            try:
                return (await bucket.get(key)).value or b""
            except nats.js.errors.KeyNotFoundError:
                return None

        return await self._call(f"read {key}", get)

    async def create(self, key: str, value: bytes) -> bytes:
        """Implements `Bucket.create`."""
        check_key(key)
        check_size(f"the value of {key}", len(value))

        async def create(bucket: KeyValue) -> bytes:
            try:
                await bucket.create(key, value)
                return value
            except nats.js.errors.KeyWrongLastSequenceError:
                return (await bucket.get(key)).value or b""

        return await self._call(f"create {key}", create)

    async def put(self, key: str, value: bytes) -> None:
        """Implements `Bucket.put`."""
        check_key(key)
        check_size(f"the value of {key}", len(value))
        await self._call(f"write {key}", lambda bucket: bucket.put(key, value))

    async def delete(self, key: str) -> None:
        """Implements `Bucket.delete`."""
        check_key(key)
        await self._call(f"delete {key}", lambda bucket: bucket.delete(key))

    async def keys(self) -> list[str]:
        """Implements `Bucket.keys`."""

        async def keys(bucket: KeyValue) -> list[str]:
            try:
                # nats-py waits for ever for a list that the loss of its connection has cut short.
                async with asyncio.timeout(_LIST_S):
                    return sorted(await bucket.keys())
            except nats.js.errors.NoKeysError:
                return []

        return await self._call("list keys", keys)

    async def revision(self) -> str:
        """Implements `Bucket.revision`."""

        async def revision(bucket: KeyValue) -> str:
            stream = (await bucket.status()).stream_info
            return f"{stream.created}/{stream.state.last_seq}"

        return await self._call("read the revision", revision)

    async def read(self, key: str) -> Record | None:
        """Implements `Bucket.read`."""
        check_key(key)

        async def read(bucket: KeyValue) -> Record | None:
            try:
                found = await bucket.get(key)
            except nats.js.errors.KeyNotFoundError:
                return None
            return Record(key, found.value or b"", found.revision or 0)

        return await self._call(f"read {key}", read)

    async def update(self, key: str, value: bytes, revision: int) -> int | None:
        """Implements `Bucket.update`."""
        check_key(key)
        check_size(f"the value of {key}", len(value))

        async def update(bucket: KeyValue) -> int | None:
            try:
                return await (bucket.update(key, value, last=revision) if revision else bucket.create(key, value))
            except nats.js.errors.KeyWrongLastSequenceError:
                return None

        return await self._call(f"update {key}", update)

    async def forget(self, key: str) -> None:
        """Implements `Bucket.forget`."""
        check_key(key)

        async def forget(bucket: KeyValue) -> None:
            stream, subject = self._stream_of(key)
            await self._js.purge_stream(stream, subject=subject)

        await self._call(f"forget {key}", forget)

    async def page(self, prefix: str, limit: int, *, after: int = 0) -> list[Record]:
        """Implements `Bucket.page`."""
        check_key(prefix)

        async def page(bucket: KeyValue) -> list[Record]:
            return await self._page(*self._stream_of(f"{prefix}.>"), limit, after)

        return await self._call(f"list {prefix}", page)

    async def _page(self, stream: str, subject: str, limit: int, after: int) -> list[Record]:
        """The first records after a revision, by a consumer that lives only so long."""
        config = ConsumerConfig(
            filter_subject=subject,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=after + 1,
            ack_policy=AckPolicy.NONE,
            inactive_threshold=_PAGE_S,
            mem_storage=True,
            num_replicas=1,
        )
        consumer = await self._js.add_consumer(stream, config)
        if not consumer.num_pending:
            return []
        pull = await self._js.pull_subscribe_bind(consumer=consumer.name, stream=stream)
        try:
            return await _pulled(pull, consumer.num_pending, limit)
        finally:
            await pull.unsubscribe()
            with contextlib.suppress(nats.js.errors.APIError, *GONE):
                await self._js.delete_consumer(stream, consumer.name)

    def _stream_of(self, key: str) -> tuple[str, str]:
        """Names of the stream behind the bucket, and of the subject of a key in it (the layout of NATS's ADR-8)."""
        return f"KV_{self._name}", f"$KV.{self._name}.{key}"

    async def _call(self, what: str, operation: Callable[[KeyValue], Awaitable[T]]) -> T:
        with Answered(what):
            try:
                return await operation(self._bucket)
            except _LOST:
                self._bucket = await self._reopen()
                return await operation(self._bucket)


async def _pulled(pull: JetStreamContext.PullSubscription, pending: int, limit: int) -> list[Record]:
    """At most `limit` records. Markers of deleted keys are pending too, so there may be fewer; none only at the end.

    Raises:
        TimeoutError: the server does not answer.
    """
    records: list[Record] = []
    received, begun = 0, time.monotonic()
    while pending and len(records) < limit:
        try:
            messages = await pull.fetch(min(pending, limit - len(records)), timeout=_FETCH_S)
        except nats.errors.TimeoutError:
            # What was removed after it was counted never comes.
            now = await pull.consumer_info()
            delivered = now.delivered.consumer_seq if now.delivered else 0
            if not now.num_pending and delivered <= received:
                break
            if time.monotonic() - begun > _PAGE_S:
                raise
            continue
        received += len(messages)
        pending = messages[-1].metadata.num_pending
        for message in messages:
            if "KV-Operation" not in (message.headers or {}):
                key = message.subject.split(".", 2)[2]
                records.append(Record(key, message.data, message.metadata.sequence.stream))
    return records
