"""Many cells on farms, in one line for each farm: queued, running, done."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from windtunnel.client import AsyncRun, Progress
    from windtunnel.v1.farm_dispatcher_pb2 import ActiveFarmRun

# With more cells on farms than this, a line for each step of each cell hides what matters.
MANY: Final = 20
_PROGRESSED: Final = "windtunnel.device_run.progressed.v1"
# Steps of single cells that the summary counts. A cell that fails keeps its line.
_COUNTED: Final = frozenset({_PROGRESSED, "windtunnel.device_run.finished.v1", "windtunnel.device_run.measured.v1"})
_EVERY_S: Final = 5.0

FarmRunsOf = Callable[[str], Any]


class FarmSummary:
    """Decides which steps of a run have a line each, and counts the others.

    Args:
        run: that is watched.
        farm_runs_of: gives the farm runs that carry cells of a run now (a coroutine function).
        tell: prints a line.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        run: AsyncRun,
        farm_runs_of: FarmRunsOf,
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run = run
        self._farm_runs_of = farm_runs_of
        self._tell = tell
        self._clock = clock
        self._many: bool | None = None
        self._looked = float("-inf")
        self._told: tuple[str, ...] = ()

    async def counts(self, step: Progress) -> bool:
        """Whether a step of a cell is counted instead of shown. Shows the counts when they have changed.

        Args:
            step: of the run.

        Returns:
            False: the step gets a line of its own.
        """
        if step.event_type not in _COUNTED or (self._many is None and step.event_type != _PROGRESSED):
            return False
        if self._many is None or (self._many and self._clock() - self._looked >= _EVERY_S):
            await self._look()
        return bool(self._many)

    async def _look(self) -> None:
        cells = cells_on_farms((await self._run.report()).json)
        self._many = sum(map(len, cells.values())) > MANY
        self._looked = self._clock()
        if not self._many:
            return
        lines = summary_lines(cells, await self._farm_runs_of(self._run.run_id))
        if lines != self._told:
            self._told = lines
            for line in lines:
                self._tell(line)


def cells_on_farms(report: Mapping[str, Any]) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """The cells of a report that run on devices, by farm. Cells of this host have a line each.

    Args:
        report: as complete as it is now.

    Returns:
        The cells that are not skipped.
    """
    found: dict[str, list[Mapping[str, Any]]] = {}
    for variant in report["variants"]:
        for cell in variant["cells"]:
            if cell["platform"] != "host" and cell["status"] != "skipped":
                found.setdefault(cell["farm"], []).append(cell)
    return found


def summary_lines(
    cells: Mapping[str, Sequence[Mapping[str, Any]]], farm_runs: Sequence[ActiveFarmRun]
) -> tuple[str, ...]:
    """One line for each farm.

    Args:
        cells: of the run, by farm.
        farm_runs: that carry some of them now.

    Returns:
        The lines.
    """
    return tuple(_line(farm, found, [one for one in farm_runs if one.farm == farm]) for farm, found in cells.items())


def _line(farm: str, cells: Sequence[Mapping[str, Any]], farm_runs: Sequence[ActiveFarmRun]) -> str:
    states = Counter(cell["status"] for cell in cells)
    running = sum(one.cells for one in farm_runs if one.running)
    submitted = sum(one.cells for one in farm_runs if not one.running)
    done = states["measured"] + states["failed"]
    queued = max(0, len(cells) - done - running - submitted)
    words = [f"{queued} queued", f"{submitted} submitted", f"{running} running", f"{done} done of {len(cells)}"]
    if states["failed"]:
        words.append(f"{states['failed']} failed")
    pages = [one.info.url for one in farm_runs if one.info.url]
    return f"{farm}: {', '.join(words)}" + (f"; {pages[0]}" if pages else "")
