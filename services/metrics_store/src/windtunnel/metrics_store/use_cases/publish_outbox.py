"""The loops of the service: publishing what is in the outbox, and watching deadlines."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from windtunnel.bus import Bus, Event, decode
from windtunnel.errors import Unavailable, UserError
from windtunnel.metrics_store.domain.stored_run import Outgoing
from windtunnel.metrics_store.use_cases.change_signal import Signal, wait_for
from windtunnel.metrics_store.use_cases.complete_runs import Completer
from windtunnel.metrics_store.use_cases.ports import RunRepository
from windtunnel.telemetry import job_context

log = logging.getLogger(__name__)

# Longer than any stream keeps an event, so that no event is recorded twice.
INBOX_KEPT: Final = timedelta(days=30)
_RETRY_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Outbox:
    """Publishes the outbox. An event leaves it once the stream has it. Published twice, it counts once by its id."""

    repository: RunRepository
    bus: Bus
    changed: Signal
    pause_s: float = 1.0
    # Publishes an event as JSON too, if that is on.
    echo: Callable[[Event], Awaitable[None]] | None = None

    async def run(self) -> None:
        """Works until it is canceled."""
        while True:
            watch = self.changed.watch()
            try:
                if await self.flush():
                    continue
                await wait_for(watch, self.pause_s)
            except Unavailable as error:
                log.warning("the outbox waits: %s", error)
                await asyncio.sleep(self.pause_s)

    async def flush(self) -> int:
        """Publishes what is there now; returns how much has left. Raises Unavailable."""
        return sum([await self._send(event) for event in await self.repository.outgoing()])

    async def _send(self, event: Outgoing) -> bool:
        """Publishes one event, or sets it aside if the bus will never take it: the others must not wait for it.

        Raises:
            Unavailable: the bus does not answer.
        """
        try:
            await self.bus.publish(event.subject, event.headers, event.data)
            if self.echo is not None:
                await self.echo(decode(event.subject, event.headers, event.data))
        except Unavailable:
            raise
        except UserError as error:
            log.error("event %s on %s can never be sent and is set aside: %s", event.id, event.subject, error)
            await self.repository.set_aside(event.id, str(error))
            return False
        except Exception:
            log.exception("event %s on %s cannot be sent now", event.id, event.subject)
            return False
        await self.repository.published(event.id)
        return True


@dataclass(frozen=True, slots=True)
class DeadlineWatch:
    """Looks at runs whose deadline has passed, and at those whose verdict was due when a process died."""

    repository: RunRepository
    completer: Completer
    pause_s: float = 1.0
    _later: dict[str, float] = field(default_factory=dict)

    async def run(self) -> None:
        """Works until it is canceled."""
        rounds = 0
        while True:
            try:
                await self.look()
                if rounds % 3600 == 0:
                    await self.repository.forget_inbox(self.completer.clock() - INBOX_KEPT)
                rounds += 1
            except Unavailable as error:
                log.warning("deadlines cannot be watched now: %s", error)
            await asyncio.sleep(self.pause_s)

    async def look(self) -> None:
        """One round. Raises Unavailable where the database does not answer."""
        self.completer.metrics.running(await self.repository.running())
        now = asyncio.get_running_loop().time()
        for run_id in [run_id for run_id, again in self._later.items() if again <= now]:
            del self._later[run_id]
        async for run_id in self.repository.to_judge(self.completer.clock()):
            if run_id in self._later:
                continue
            with job_context(run_id=run_id):
                await self._look_at(run_id, now)

    async def _look_at(self, run_id: str, now: float) -> None:
        try:
            await self.completer.look(run_id)
        except Unavailable as error:
            log.warning("run %s cannot be judged now: %s", run_id, error)
            self._later[run_id] = now + self.pause_s
        except Exception:
            log.exception("run %s cannot be judged", run_id)
            self._later[run_id] = now + _RETRY_S
