"""Says how far cells are on their farms, for people who watch."""

from __future__ import annotations

import hashlib
from typing import Literal

from windtunnel.bus.publisher import Publisher
from windtunnel.enum_words import STAGE
from windtunnel.farm_dispatcher.messages.timestamps import to_timestamp
from windtunnel.farm_dispatcher.use_cases.scheduler.work import name_of, trace_of, utc_now
from windtunnel.v1 import events_pb2, farm_runs_pb2, types_pb2

# How far a cell is; the words of the enum.
Stage = Literal["queued", "submitted", "running", "collecting"]


class Progress:
    """Publishes `device_run.progressed`.

    Args:
        publisher: of events.
    """

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def queued(self, queued: farm_runs_pb2.QueuedCell) -> None:
        """A cell waits for its farm for the first time.

        Args:
            queued: the cell.
        """
        await self._say(queued, "queued", None, "")

    async def queued_again(self, queued: farm_runs_pb2.QueuedCell, reason: str, before: types_pb2.FarmRunInfo) -> None:
        """A cell waits for its farm again. Repeating it changes nothing.

        Args:
            queued: the cell, with its next attempt.
            reason: why the attempt before failed.
            before: what carried that attempt, with its bill.
        """
        await self._say(queued, "queued", before, reason)

    async def at(self, queued: farm_runs_pb2.QueuedCell, stage: Stage, run: farm_runs_pb2.FarmRun) -> None:
        """A cell is in a farm run.

        Args:
            queued: the cell.
            stage: how far it is.
            run: the farm run.
        """
        info = types_pb2.FarmRunInfo(id=run.farm_id, url=run.url, words=run.words)
        await self._say(queued, stage, info, "")

    async def _say(
        self,
        queued: farm_runs_pb2.QueuedCell,
        stage: Stage,
        info: types_pb2.FarmRunInfo | None,
        reason: str,
    ) -> None:
        if not reason and queued.cell.farm_properties.platform == types_pb2.PLATFORM_HOST:
            # A cell on this host takes seconds: its end says enough.
            return
        message = events_pb2.DeviceRunProgressed(
            run=queued.run,
            cell=queued.cell,
            attempt=queued.attempt,
            stage=STAGE.number(stage),
            farm_run=info,
            at=to_timestamp(utc_now()),
            reason=reason,
            repeat=queued.repeat,
            of_baseline=queued.of_baseline,
        )
        words = "" if info is None else hashlib.sha256(f"{info.id}\0{info.words}".encode()).hexdigest()[:12]
        parts = (name_of(queued), str(queued.attempt), stage, words)
        with trace_of(queued.run):
            await self._publisher.publish(message, run_id=queued.run.run_id, parts=parts)
