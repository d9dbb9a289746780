"""The worker: every rule of the bus in one loop.

It fetches only as many messages as it has free slots, and keeps the lease of a running job alive. It acks after the
handler has returned, and so has published its results. The error decides what becomes of a message; one that is given
up becomes a dead letter. The worker drains on request.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from windtunnel.bus import subjects
from windtunnel.bus.deadletters import dead_letter_headers
from windtunnel.bus.event_context import event_context
from windtunnel.bus.events import Event, Malformed, decode
from windtunnel.bus.port import Bus, Delivery, Subscription
from windtunnel.errors import InvalidInput, OutsideError, Unavailable, UserError, WindtunnelError

log = logging.getLogger(__name__)

Handler = Callable[[Event], Awaitable[None]]
# Says a failure to the world: publishes the `.failed` event that belongs to the event that could not be handled.
FailureHandler = Callable[[Event, WindtunnelError], Awaitable[None]]
# Whether the run of an event was canceled, so that nobody works for it any more.
IsCanceled = Callable[[Event], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient a worker is."""

    ack_wait_s: float = 30.0
    attempts: int = 5
    # Delay before the second, third, ... attempt; the last one repeats.
    backoff_s: tuple[float, ...] = (1.0, 5.0, 15.0, 60.0)
    drain_s: float = 20.0
    # Time between two questions whether the run of a handler at work is canceled; the handler then ends. What it has
    # begun in a thread continues to its end: nobody can stop it.
    cancel_s: float = 1.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.ack_wait_s <= 0 or self.drain_s < 0 or self.cancel_s <= 0 or not self.backoff_s:
            raise InvalidInput(f"{self} cannot be kept", hint="at least one attempt, a lease and a delay")

    def delay_after(self, attempt: int) -> float:
        """The wait before the next attempt.

        Args:
            attempt: the one that failed, from 1.

        Returns:
            Seconds.
        """
        return self.backoff_s[min(attempt, len(self.backoff_s)) - 1]


class Outcome(Enum):
    """What becomes of a message whose handler raised."""

    FAIL = "the input is at fault: a .failed event, then term"
    RETRY = "a passing fault: nak with back-off until the attempts run out, then FAIL and a dead letter"
    DEAD_LETTER = "nobody can read it: a dead letter, then term"


def outcome_of(error: BaseException) -> Outcome:
    """The table from error to ack, retry or dead letter.

    Args:
        error: of the handler.

    Returns:
        What becomes of the event.
    """
    if isinstance(error, Malformed):
        return Outcome.DEAD_LETTER
    if isinstance(error, UserError):
        return Outcome.FAIL
    if isinstance(error, WindtunnelError):
        return Outcome.RETRY if error.retryable else Outcome.FAIL
    # A bug of Windtunnel may be a race: worth the attempts, and a dead letter keeps the message for the fixed version.
    return Outcome.RETRY


class Worker:
    """Consumes `topics` as `durable` and hands each event to `handle`, at most `slots` at once.

    Args:
        bus: to consume from.
        durable: name of the consumer; workers of one durable share its events.
        topics: subjects of the events.
        handle: does the work of one event; its error decides what becomes of the event.
        on_failure: called for each event that is given up.
        slots: how many events are handled at once.
        policy: attempts, waits and leases; None: the defaults.
        report_malformed: call `on_failure` also for an event whose data nobody can read. Such an event usually does
            not name its run.
        is_canceled: whether the run of an event is canceled. Then the event is acked without a handler, and a running
            handler is canceled. None: never.
    """

    def __init__(
        self,
        bus: Bus,
        durable: str,
        topics: Sequence[str],
        handle: Handler,
        *,
        on_failure: FailureHandler,
        slots: int = 1,
        policy: Policy | None = None,
        report_malformed: bool = False,
        is_canceled: IsCanceled | None = None,
    ) -> None:
        self._bus = bus
        self._durable = durable
        self._topics = topics
        self._handle = handle
        self._on_failure = on_failure
        self._slots = slots
        self._policy = policy or Policy()
        self._report_malformed = report_malformed
        self._is_canceled = is_canceled
        self._running: dict[asyncio.Task[None], Delivery] = {}
        self._draining = asyncio.Event()
        # Set whenever a handler has ended, and by `drain`.
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Works until `drain` is called, then finishes what is in hand."""
        heartbeat = asyncio.create_task(self._keep_leases())
        try:
            while (subscription := await self._subscribe()) is not None:
                try:
                    await self._consume(subscription)
                finally:
                    # Before the last handlers are waited for: nothing more must arrive meanwhile.
                    await subscription.close()
            await self._finish()
        finally:
            heartbeat.cancel()
            for task in self._running:
                task.cancel()
            await asyncio.gather(heartbeat, *self._running, return_exceptions=True)

    def drain(self) -> None:
        """Stops fetching. `run` returns once the handlers have ended or their time is up."""
        self._draining.set()
        self._changed.set()

    async def _subscribe(self) -> Subscription | None:
        """The durable consumer, made again where it is gone; None once the worker drains."""
        while not self._draining.is_set():
            if not self._bus.connected:
                await self._pause(0.1)
                continue
            try:
                return await self._bus.subscribe(
                    self._durable,
                    self._topics,
                    ack_wait_s=self._policy.ack_wait_s,
                    max_pending=max(1000, 4 * self._slots),
                )
            except Unavailable as error:
                log.warning("%s cannot subscribe yet: %s", self._durable, error)
                await self._pause(1.0)
        return None

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._draining.wait(), seconds)

    async def _consume(self, subscription: Subscription) -> None:
        """Starts a task for each message, as slots become free, until the worker drains or the bus fails."""
        drained = asyncio.ensure_future(self._draining.wait())
        try:
            while not self._draining.is_set():
                if len(self._running) >= self._slots:
                    self._changed.clear()
                    await self._changed.wait()
                    continue
                for delivery in await self._fetch(subscription, drained):
                    task = asyncio.create_task(self._process(delivery))
                    self._running[task] = delivery
                    task.add_done_callback(self._forget)
                # Short handlers end here, and the next fetch is for all their slots at once.
                await asyncio.sleep(0)
        except Unavailable as error:
            log.warning("%s cannot fetch: %s", self._durable, error)
            await self._pause(0.5)
        finally:
            drained.cancel()

    async def _fetch(self, subscription: Subscription, drained: asyncio.Future[Any]) -> Sequence[Delivery]:
        # Fetching races with the drain signal: a fetch that waits for messages must not hold up a shutdown.
        fetch = asyncio.ensure_future(subscription.fetch(self._slots - len(self._running), 1.0))
        try:
            await asyncio.wait((fetch, drained), return_when=asyncio.FIRST_COMPLETED)
            return fetch.result() if fetch.done() else ()
        finally:
            fetch.cancel()

    def _forget(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s lost hold of a message", self._durable, exc_info=error)

    async def _finish(self) -> None:
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=self._policy.drain_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    async def _keep_leases(self) -> None:
        # One ticker for all jobs: a task per message would cost more than a small handler does.
        while True:
            await asyncio.sleep(self._policy.ack_wait_s / 3)
            for delivery in list(self._running.values()):
                with contextlib.suppress(Unavailable):
                    await delivery.in_progress()

    async def _process(self, delivery: Delivery) -> None:
        try:
            event = decode(delivery.subject, delivery.headers, delivery.data)
        except Malformed as error:
            await self._handle_error(delivery, None, error)
            return
        with event_context(event):
            try:
                started = time.monotonic()
                if delivery.attempt > self._policy.attempts:
                    raise _exhausted(delivery, self._policy)
                await self._work_on(event)
                await delivery.ack()
                log.info("%s: done with %s in %.3f s", self._durable, event.subject, time.monotonic() - started)
            except asyncio.CancelledError:
                with contextlib.suppress(Unavailable):
                    await delivery.nak(0)
                raise
            except Exception as error:  # noqa: BLE001 - the one place that decides about every error of a handler
                await self._handle_error(delivery, event, error)

    async def _work_on(self, event: Event) -> None:
        """Handles the event, unless its run is canceled before or meanwhile.

        Raises:
            CancelledError: the worker itself is canceled.
        """
        if self._is_canceled is None:
            await self._handle(event)
            return
        if await self._is_canceled(event):
            log.info("%s skips event %s: its run is canceled", self._durable, event.id)
            return
        # The handler stays in this task: what it notes for the log holds for the lines after it too.
        task = asyncio.current_task()
        assert task is not None
        watching = asyncio.create_task(self._stop_when_canceled(event, task))
        try:
            await self._handle(event)
        except asyncio.CancelledError:
            # A watcher that failed, or ended with the process, has not seen a cancellation: the work comes again.
            seen = watching.done() and not watching.cancelled() and watching.exception() is None
            if seen and task.uncancel() == 0:
                log.info("%s stopped work on event %s: its run is canceled", self._durable, event.id)
                return
            raise
        finally:
            watching.cancel()

    async def _stop_when_canceled(self, event: Event, work: asyncio.Task[Any]) -> None:
        """Cancels `work` and returns once the run of `event` is canceled."""
        assert self._is_canceled is not None
        while True:
            await asyncio.sleep(self._policy.cancel_s)
            try:
                canceled = await self._is_canceled(event)
            except Unavailable:
                # The handler continues while the bus does not answer: it can only be asked again.
                continue
            except Exception:
                log.exception("%s cannot find out whether the run of event %s is canceled", self._durable, event.id)
                continue
            if canceled:
                work.cancel()
                return

    async def _handle_error(self, delivery: Delivery, event: Event | None, error: Exception) -> None:
        outcome = outcome_of(error)
        last = delivery.attempt >= self._policy.attempts
        log.log(
            logging.WARNING if isinstance(error, WindtunnelError) else logging.ERROR,
            "%s: %s, attempt %d: %s",
            self._durable,
            outcome.name,
            delivery.attempt,
            error,
            exc_info=None if isinstance(error, WindtunnelError) else error,
        )
        try:
            if outcome is Outcome.RETRY and not last:
                await delivery.nak(self._policy.delay_after(delivery.attempt))
                return
            if outcome is not Outcome.FAIL:
                await self._bury(delivery, event, error)
            if event is not None and (self._report_malformed or not isinstance(error, Malformed)):
                await self._on_failure(event, _as_windtunnel_error(error))
            await delivery.term()
        except Exception as second:  # noqa: BLE001 - whatever it was, the message is not settled yet
            await self._keep(delivery, event, second, last=last)

    async def _keep(self, delivery: Delivery, event: Event | None, error: Exception, *, last: bool) -> None:
        """Keeps a message that could not be settled: it comes again, or is buried where our own bug is in the way."""
        log.warning("%s cannot settle a message: %s", self._durable, error, exc_info=error)
        with contextlib.suppress(Unavailable):
            if last and not isinstance(error, OutsideError):
                await self._bury(delivery, event, error)
                await delivery.term()
            else:
                await delivery.nak(self._policy.delay_after(delivery.attempt))

    async def _bury(self, delivery: Delivery, event: Event | None, error: Exception) -> None:
        # What nobody can read is one dead letter, however many consumers saw it.
        consumer = "" if isinstance(error, Malformed) else self._durable
        headers = dead_letter_headers(
            delivery,
            event_id=None if event is None else event.id,
            reason=f"{getattr(error, 'code', type(error).__name__)}: {error}",
            consumer=self._durable,
            message_id=f"dead-{delivery.sequence}-{consumer}",
        )
        await self._bus.publish(subjects.DEAD, headers, delivery.data)


def _exhausted(delivery: Delivery, policy: Policy) -> Exception:
    # Reached only when earlier attempts ended without a word: the process died under this message each time.
    error = WindtunnelError(
        f"given up after {policy.attempts} attempts, each of which ended without an answer",
        hint="the service may crash on this input: see its log, then `windtunnel deadletters replay`",
        code="attempts_exhausted",
    )
    error.retryable = True
    return error


def _as_windtunnel_error(error: Exception) -> WindtunnelError:
    if isinstance(error, WindtunnelError):
        return error
    return WindtunnelError(f"{type(error).__name__}: {error}", hint="a fault of Windtunnel: see the service's log")
