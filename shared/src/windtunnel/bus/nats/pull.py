"""A pull consumer that never asks for more messages than the caller has room for.

The `fetch` of nats-py opens a request per call and, when canceled, loses what has arrived meanwhile until its lease
runs out. Here requests outlive a call: what is still owed counts against the next one, and what has arrived when the
subscription is closed is handed back. Protocol: https://docs.nats.io/reference/reference-protocols/nats_api_reference
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import deque
from typing import Final

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

_EXPIRES_S: Final = 30.0
# A request that the server has not closed this long after its end was lost with its connection.
_GRACE_S: Final = 1.0
_ENDED: Final = ("404", "408")


class PullSubscription:
    """Messages of one durable consumer, in order of arrival.

    Args:
        client: connected.
        stream: name of the stream.
        durable: name of the consumer.
    """

    def __init__(self, client: Client, stream: str, durable: str) -> None:
        self._client = client
        self._request = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
        self._inbox = client.new_inbox()
        self._subscription: Subscription | None = None
        self._ready: deque[Msg] = deque()
        self._arrived = asyncio.Event()
        self._owed = 0
        self._owed_until = 0.0
        self._connection = 0
        self._refusal: Msg | None = None

    async def open(self) -> None:
        """Starts listening. Asks for nothing yet."""
        self._subscription = await self._client.subscribe(self._inbox, cb=self._receive)

    async def close(self) -> list[Msg]:
        """Stops listening; the server forgets what was asked for. Returns what has arrived and nobody has fetched."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            with contextlib.suppress(nats.errors.Error, OSError):
                if self._client.is_connected:
                    # Waits for what is on its way, which unsubscribing would drop.
                    await subscription.drain()  # type: ignore[no-untyped-call]
                else:
                    await subscription.unsubscribe()
        left = list(self._ready)
        self._ready.clear()
        return left

    async def fetch(self, count: int, timeout_s: float) -> list[Msg]:
        """Fetches messages, as soon as there is one. Canceling the call loses nothing.

        Args:
            count: at most so many.
            timeout_s: the longest wait, in seconds.

        Returns:
            Empty after the longest wait.

        Raises:
            nats.js.errors.APIError: the server refuses, for example because the consumer is gone.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while not self._ready:
                    self._arrived.clear()
                    await self._ask(count)
                    await self._arrived.wait()
                    self._raise_refusal()
        except TimeoutError:
            return []
        return [self._ready.popleft() for _ in range(min(count, len(self._ready)))]

    async def _ask(self, count: int) -> None:
        """Asks for what is missing to `count`, unless half of it is on its way already."""
        now = time.monotonic()
        reconnects = self._client.stats["reconnects"]
        if now > self._owed_until or reconnects != self._connection:
            self._owed = 0
        if 2 * self._owed >= count or not self._client.is_connected:
            return
        missing = count - self._owed
        self._connection = reconnects
        self._owed += missing
        self._owed_until = now + _EXPIRES_S + _GRACE_S
        request = {"batch": missing, "expires": int(_EXPIRES_S * 1e9)}
        await self._client.publish(self._request, json.dumps(request).encode(), self._inbox)

    async def _receive(self, message: Msg) -> None:
        if message.reply:
            self._owed = max(0, self._owed - 1)
            self._ready.append(message)
        else:
            self._take_status(message)
        self._arrived.set()

    def _take_status(self, message: Msg) -> None:
        """A request has ended: its time is up, or the server refuses it."""
        headers = message.headers or {}
        unserved = int(headers.get("Nats-Pending-Messages", self._owed))
        self._owed = max(0, self._owed - unserved)
        if headers.get("Status") not in _ENDED:
            self._refusal = message

    def _raise_refusal(self) -> None:
        if self._refusal is not None and not self._ready:
            refusal, self._refusal = self._refusal, None
            headers = refusal.headers or {}
            raise nats.js.errors.APIError(
                code=int(headers.get("Status", "0")), description=headers.get("Description", "no such consumer")
            )
