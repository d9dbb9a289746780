"""Latencies of other runs: the baseline of a cell, and the jobs from which the noise of its device is learned."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from sqlalchemy import ColumnElement, Connection, exists, select

from windtunnel.metrics_store.adapters import tables
from windtunnel.metrics_store.adapters.codec import from_document
from windtunnel.metrics_store.adapters.database import Database
from windtunnel.metrics_store.adapters.rows import (
    AnyRow,
    read_cell_spec,
    read_farm_runs,
    read_measured,
    read_repeats,
)
from windtunnel.metrics_store.domain import Verdict, facts
from windtunnel.metrics_store.domain.latency_vs import Baseline, JobFigure, usable_figure
from windtunnel.metrics_store.domain.values import Blob, CellSpec

# Cells whose jobs teach the noise of a device, at most.
_CELLS: Final = 500
# Runs that are looked at for a latency that can be trusted, at most.
_BASELINES: Final = 20


class SqlLatencyHistory:
    """Latencies of other runs. Every method raises Unavailable.

    Args:
        database: to read.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def baseline(self, model_name: str, cell: CellSpec, run_id: str, before: str) -> Baseline | None:
        """Implements `LatencyHistory.baseline`."""
        runs, cells = tables.runs, tables.cells
        wanted = [cells.c.run_id != before, *_same_place(cell), cells.c.variant == cell.variant]
        wanted += [runs.c.run_id == run_id] if run_id else [runs.c.verdict == Verdict.PASSED.value]
        wanted += [runs.c.model_name == model_name] if model_name else []
        measured = tables.measurements
        has_one = (measured.c.run_id == cells.c.run_id) & (measured.c.cell_id == cells.c.cell_id)
        query = (
            select(cells, runs.c.model_name)
            .select_from(cells.join(runs, runs.c.run_id == cells.c.run_id))
            .where(*wanted, exists().where(has_one))
            .order_by(runs.c.started_at.desc(), runs.c.run_id.desc(), cells.c.cell_id)
            .limit(_BASELINES)
        )

        def work(connection: Connection) -> Baseline | None:
            found = None
            for row in connection.execute(query).all():
                model = _models(connection, [row]).get((row.run_id, row.variant))
                one = Baseline(row.run_id, row.cell_id, model, tuple(_jobs(connection, [row])))
                if one.jobs:
                    return one
                found = found or one
            return found

        return await self._database.read(work)

    async def past_jobs(self, cell: CellSpec, without: Collection[str]) -> Sequence[JobFigure]:
        """Implements `LatencyHistory.past_jobs`."""
        runs, cells = tables.runs, tables.cells
        query = (
            select(cells, runs.c.model_name)
            .select_from(cells.join(runs, runs.c.run_id == cells.c.run_id))
            .where(cells.c.farm == cell.farm, cells.c.device == cell.device, cells.c.run_id.not_in(without))
            .order_by(runs.c.started_at.desc(), runs.c.run_id, cells.c.cell_id)
            .limit(_CELLS)
        )

        return await self._database.read(lambda connection: _jobs(connection, connection.execute(query).all()))

    async def knows(self, run_id: str) -> bool:
        """Implements `LatencyHistory.knows`."""
        query = select(exists().where(tables.runs.c.run_id == run_id))
        return bool(await self._database.read(lambda connection: connection.execute(query).scalar_one()))


def _same_place(cell: CellSpec) -> list[ColumnElement[bool]]:
    names = ("farm", "device", "os_version", "accelerator", "threads")
    # Older versions knew executables only, and did not say it.
    ways = ("", "executable") if cell.run_as in ("", "executable") else (cell.run_as,)
    return [*(tables.cells.c[name] == getattr(cell, name) for name in names), tables.cells.c.run_as.in_(ways)]


def _models(connection: Connection, rows: Sequence[AnyRow]) -> dict[tuple[str, str], Blob]:
    """The files of the variants that cells ran, by run and name."""
    variants = tables.variants
    query = select(variants).where(variants.c.run_id.in_({row.run_id for row in rows}))
    found: dict[tuple[str, str], Blob] = {}
    for row in connection.execute(query).all():
        ready = from_document(facts.Ready, row.ready)
        compared = from_document(facts.Compared, row.compared)
        model = ready.model if ready is not None else compared.model if compared is not None else None
        if model is not None:
            found[row.run_id, row.name] = model
    return found


def _jobs(connection: Connection, rows: Sequence[AnyRow]) -> list[JobFigure]:
    """The usable jobs of the variants of cells, the first measurement of each before its repeats."""
    models, measured = _models(connection, rows), _measured(connection, rows)
    found = []
    for row in rows:
        spec, model = read_cell_spec(row), models.get((row.run_id, row.variant))
        first = measured.get((row.run_id, row.cell_id))
        carried = None if first is None else read_farm_runs(row).get((0, False, first.attempt))
        # What was reused is a job of an earlier run, and counts there.
        reused = carried is not None and carried.reused
        jobs = [] if first is None or reused else [read_measured(first, spec)]
        repeats = sorted(read_repeats(row).items())
        jobs += [one for key, one in repeats if not key[1] and isinstance(one, facts.Measured)]
        figures = [usable_figure(spec, job) for job in jobs] if model is not None else []
        found += [
            JobFigure(row.run_id, row.model_name, model.sha256, spec, figure)
            for figure in figures
            if figure is not None and model is not None
        ]
    return found


def _measured(connection: Connection, rows: Sequence[AnyRow]) -> dict[tuple[str, str], AnyRow]:
    """The measurement of each cell that counts: of the earliest attempt."""
    found = tables.measurements
    query = select(found).where(found.c.run_id.in_({row.run_id for row in rows})).order_by(found.c.attempt.desc())
    return {(row.run_id, row.cell_id): row for row in connection.execute(query).all()}
