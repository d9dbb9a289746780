"""A figure of a model over its runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from windtunnel.client.figures import Missing, figure_at, parse_path
from windtunnel.client.listing import RunFilter, RunSummary, list_runs
from windtunnel.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from windtunnel.client.client import AsyncClient

SCHEMA: Final = "windtunnel.history/1"


@dataclass(frozen=True, slots=True)
class Point:
    """The figure of one run; `value` None: the run does not have it."""

    run_id: str
    version: str
    verdict: str | None
    started_at: str | None
    value: float | None


@dataclass(frozen=True, slots=True)
class History:
    """A figure over the runs of a model, oldest first."""

    model: str
    figure: str
    points: Sequence[Point]

    def to_json(self) -> dict[str, Any]:
        """`windtunnel.history/1`."""
        points = [asdict(point) for point in self.points]
        return {"schema": SCHEMA, "model": self.model, "figure": self.figure, "points": points}


async def read_history(client: AsyncClient, wanted: RunFilter, figure: str, limit: int) -> History:
    """A figure of a model over its runs.

    Args:
        client: connected.
        wanted: which runs.
        figure: path of the figure.
        limit: at most so many completed runs, the newest ones.

    Returns:
        The figure of each run.

    Raises:
        InvalidInput: no report has the path.
        NotFound: there is no run.
        Unavailable: the services do not answer.
    """
    path = parse_path(figure)
    runs = await list_runs(client, wanted, limit)
    if not runs:
        raise NotFound(f"no completed run of model {wanted.model!r} is known", hint="`windtunnel runs` lists all runs")
    known = 0
    points = []
    for run in reversed(runs):
        value = None
        try:
            value = figure_at((await client.run(run.run_id).report()).json, path)
            known += 1
        except Missing:
            pass
        points.append(_point(run, value))
    if not known:
        raise InvalidInput(
            f"none of {len(runs)} reports of model {wanted.model!r} has the figure {figure!r}",
            hint="a path in `windtunnel report RUN --json`, such as variants[int8].accuracy",
        )
    return History(wanted.model, figure, points)


def _point(run: RunSummary, value: float | None) -> Point:
    return Point(run.run_id, run.version, run.verdict, run.started_at, value)
