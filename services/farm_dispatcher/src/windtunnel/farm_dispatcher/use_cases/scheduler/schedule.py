"""The scheduler: a leader, or a candidate, for each farm of this installation."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from windtunnel.farm_dispatcher.domain.farm import Farm
from windtunnel.farm_dispatcher.use_cases.ending_tasks import end_all
from windtunnel.farm_dispatcher.use_cases.scheduler.end_cells import CellEnder
from windtunnel.farm_dispatcher.use_cases.scheduler.lead_farm import FarmLeader
from windtunnel.farm_dispatcher.use_cases.scheduler.progress import Progress
from windtunnel.farm_dispatcher.use_cases.scheduler.queue_cells import CellQueue
from windtunnel.farm_dispatcher.use_cases.scheduler.work import Work
from windtunnel.farm_dispatcher.use_cases.stored.leases import Leases
from windtunnel.farm_dispatcher.use_cases.stored.measurements import Measurements


class Scheduler:
    """Takes queued cells to their ends.

    Args:
        farms: by name.
        work: what it works with.
        measurements: that cells may reuse.
        leases: decide who leads a farm.
        deadline_s: of a run whose plan gives none, in seconds after its start.
    """

    def __init__(
        self, farms: Mapping[str, Farm], work: Work, measurements: Measurements, leases: Leases, deadline_s: float
    ) -> None:
        ender, progress = CellEnder(work), Progress(work.publisher)
        self.queue = CellQueue(work, ender, measurements, progress, deadline_s)
        self._leaders = [FarmLeader(farm, work, leases, ender, progress) for farm in farms.values()]

    async def run(self) -> None:
        """Leads every farm that nobody else leads, without end."""
        tasks = [asyncio.create_task(leader.run()) for leader in self._leaders]
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
        finally:
            await end_all(tasks)
