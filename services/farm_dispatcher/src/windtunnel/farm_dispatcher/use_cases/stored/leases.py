"""Who leads a farm: one dispatcher, until it has not renewed its lease for the length of it.

Clocks of machines differ, so nobody compares them: a candidate takes over when the record has not changed for the
length of a lease by its own monotonic clock (C. Gray and D. Cheriton, "Leases", SOSP 1989; here only the observer's
clock counts).
Every leader has a higher fencing token than the one before. It writes its token into each farm run that it continues,
so that a late write of an earlier leader fails by its revision.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Final

from windtunnel.errors import Unavailable
from windtunnel.farm_dispatcher.use_cases.ending_tasks import end_all
from windtunnel.farm_dispatcher.use_cases.stored.records import Records, Stored
from windtunnel.v1 import farm_runs_pb2

log = logging.getLogger(__name__)

# A leader stops this share of the lease before others may take over.
_SAFE_SHARE: Final = 0.7


class LeaseLost(Exception):
    """Another dispatcher leads the farm, or this one could not renew its lease in time."""


class Lease:
    """The right to lead a farm.

    Args:
        token: higher than that of every earlier leader.
        ttl_s: length of the lease, in seconds.
        clock: monotonic, in seconds.
    """

    def __init__(self, token: int, ttl_s: float, clock: Callable[[], float]) -> None:
        self.token = token
        self._ttl_s = ttl_s
        self._clock = clock
        self._renewed = clock()
        self._lost = False

    def renewed(self, at: float) -> None:
        """Notes a renewal. One that comes too late changes nothing: what the leader did may have ended meanwhile.

        Args:
            at: when it was asked for, by the clock.
        """
        if self.is_held:
            self._renewed = at

    def lose(self) -> None:
        """Notes that another dispatcher leads."""
        self._lost = True

    @property
    def is_held(self) -> bool:
        """Whether nobody else can lead now. A lease that was not held for a moment is never held again."""
        if self._clock() - self._renewed >= self._ttl_s * _SAFE_SHARE:
            self._lost = True
        return not self._lost

    def require(self) -> None:
        """Makes sure that nobody else leads, before something is done that only the leader may do.

        Raises:
            LeaseLost: somebody else may.
        """
        if not self.is_held:
            raise LeaseLost


class Leases:
    """Takes and renews leases.

    Args:
        records: hold them.
        holder: of this dispatcher; no other living one has it.
        ttl_s: length of a lease, in seconds.
        clock: monotonic, in seconds.
    """

    def __init__(
        self, records: Records, holder: str, *, ttl_s: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._records = records
        self._holder = holder
        self._ttl_s = ttl_s
        self._clock = clock

    @contextlib.asynccontextmanager
    async def held(self, farm: str) -> AsyncIterator[Lease]:
        """Waits until this dispatcher leads a farm, and gives the lease back in the end.

        Args:
            farm: its name.

        Yields:
            The lease, which is renewed until the end.
        """
        stored = await self._acquired(farm)
        lease = Lease(stored.message.token, self._ttl_s, self._clock)
        log.info("%s leads farm %s with token %d", self._holder, farm, lease.token)
        renewing = asyncio.create_task(self._renew(stored, lease))
        try:
            yield lease
        finally:
            await end_all([renewing])
            if lease.is_held:
                stored.message.released = True
                with contextlib.suppress(Unavailable):
                    await self._records.write(stored)
            lease.lose()

    async def _acquired(self, farm: str) -> Stored[farm_runs_pb2.FarmLease]:
        seen, since = -1, self._clock()
        while True:
            try:
                stored = await self._records.read(f"lease.{farm}", farm_runs_pb2.FarmLease)
                stored = stored or Stored(f"lease.{farm}", farm_runs_pb2.FarmLease(released=True), 0)
                if stored.revision != seen:
                    seen, since = stored.revision, self._clock()
                if self._is_free(stored.message, self._clock() - since) and await self._take(stored):
                    return stored
            except Unavailable as error:
                log.warning("nobody can lead farm %s now: %s", farm, error)
            await asyncio.sleep(self._ttl_s / 20)

    def _is_free(self, lease: farm_runs_pb2.FarmLease, unchanged_s: float) -> bool:
        # A lease of the same holder is one of a process of this home that has ended.
        return lease.released or lease.holder == self._holder or unchanged_s > self._ttl_s

    async def _take(self, stored: Stored[farm_runs_pb2.FarmLease]) -> bool:
        stored.message.CopyFrom(farm_runs_pb2.FarmLease(holder=self._holder, token=stored.message.token + 1))
        return await self._records.write(stored)

    async def _renew(self, stored: Stored[farm_runs_pb2.FarmLease], lease: Lease) -> None:
        while True:
            await asyncio.sleep(self._ttl_s / 4)
            at = self._clock()
            stored.message.renewals += 1
            try:
                if await self._records.write(stored):
                    lease.renewed(at)
                    continue
                if await self._is_still_ours(stored):
                    lease.renewed(at)
                    continue
            except Unavailable as error:
                log.warning("lease %s cannot be renewed: %s", stored.key, error)
                continue
            log.warning("%s does not lead any more: %s", self._holder, stored.key)
            lease.lose()
            return

    async def _is_still_ours(self, stored: Stored[farm_runs_pb2.FarmLease]) -> bool:
        """Whether the last write was our own, whose answer was lost."""
        found = await self._records.read(stored.key, farm_runs_pb2.FarmLease)
        if found is None or (found.message.holder, found.message.token) != (self._holder, stored.message.token):
            return False
        stored.message, stored.revision = found.message, found.revision
        return True
