"""The farm runs that carry cells of a run now: for people who watch the run, or cancel it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from windtunnel.farm_dispatcher.use_cases.stored.records import Records, taken_key
from windtunnel.v1 import farm_dispatcher_pb2, farm_runs_pb2, types_pb2

_PAGE: Final = 64


async def active_runs(records: Records, farms: Iterable[str], run_id: str) -> list[farm_dispatcher_pb2.ActiveFarmRun]:
    """The farm runs of a run that have not ended.

    Args:
        records: of the farm runs.
        farms: their names.
        run_id: of the run.

    Returns:
        The farm runs, farm by farm.

    Raises:
        Unavailable: the bus does not answer.
    """
    # A record that is written meanwhile comes again on a later page.
    found: dict[str, farm_dispatcher_pb2.ActiveFarmRun] = {}
    for farm in farms:
        after = 0
        while page := await records.runs(farm, _PAGE, after=after):
            after = page[-1].revision
            for stored in page:
                cells = await _cells_of(records, stored.message, run_id)
                if cells:
                    found[stored.key] = _active(stored.message, cells)
    return list(found.values())


async def _cells_of(records: Records, run: farm_runs_pb2.FarmRun, run_id: str) -> int:
    """How many cells of a run a farm run has."""
    count = 0
    for name in run.entries:
        taken = await records.read(taken_key(run.farm, name), farm_runs_pb2.QueuedCell)
        if taken is not None and (taken.message.farm_run, taken.message.run.run_id) == (run.key, run_id):
            count += 1
    return count


def _active(run: farm_runs_pb2.FarmRun, cells: int) -> farm_dispatcher_pb2.ActiveFarmRun:
    return farm_dispatcher_pb2.ActiveFarmRun(
        farm=run.farm,
        info=types_pb2.FarmRunInfo(id=run.farm_id, url=run.url, words=run.words),
        device=run.device.name,
        os_version=run.device.os_version,
        cells=cells,
        running=run.state >= farm_runs_pb2.FarmRun.STATE_RUNNING,
    )
