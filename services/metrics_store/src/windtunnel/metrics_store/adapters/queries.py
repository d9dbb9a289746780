"""Reading for other people's eyes: lists in pages, what happened, lineage."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, exists, select, tuple_

from windtunnel.errors import InvalidInput
from windtunnel.metrics_store.adapters import tables
from windtunnel.metrics_store.adapters.codec import from_document
from windtunnel.metrics_store.adapters.database import Database, from_micros, to_micros
from windtunnel.metrics_store.adapters.rows import LONGEST_NAME, AnyRow, read_cell_spec, read_measured
from windtunnel.metrics_store.domain import Verdict
from windtunnel.metrics_store.domain.lineage import Execution, LineageArtifact, with_implied_inputs
from windtunnel.metrics_store.domain.listings import Change, MeasuredCell, MeasurementFilter, RunFilter, RunSummary
from windtunnel.metrics_store.domain.values import Blob

DEFAULT_PAGE = 50
LARGEST_PAGE = 1000


class SqlQueries:
    """All that is read and never written. Every method raises Unavailable.

    Args:
        database: to read.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self, run_id: str) -> RunSummary | None:
        """Implements `RunQueries.run`."""
        rows = await self._rows(select(tables.runs).where(tables.runs.c.run_id == run_id))
        return _summary(rows[0]) if rows else None

    async def runs(self, wanted: RunFilter, page_size: int, token: str) -> tuple[list[RunSummary], str]:
        """Implements `RunQueries.runs`."""
        runs = tables.runs
        query = select(runs).where(*_run_conditions(wanted))
        rows, more = await self._page(query, [runs.c.started_at, runs.c.run_id], page_size, token, wanted)
        return [_summary(row) for row in rows], more

    async def measurements(
        self, wanted: MeasurementFilter, page_size: int, token: str
    ) -> tuple[list[MeasuredCell], str]:
        """Implements `RunQueries.measurements`."""
        runs, cells, found = tables.runs, tables.cells, tables.measurements
        conditions = [
            column == value
            for column, value in (
                (found.c.run_id, wanted.run_id),
                (runs.c.model_name, wanted.model_name),
                (cells.c.variant, wanted.variant),
                (cells.c.device, wanted.device),
                (cells.c.accelerator, wanted.accelerator),
            )
            if value
        ]
        joined = found.join(cells, (cells.c.run_id == found.c.run_id) & (cells.c.cell_id == found.c.cell_id)).join(
            runs, runs.c.run_id == found.c.run_id
        )
        others = [column for column in cells.c if column.name not in ("run_id", "cell_id")]
        query = select(found, *others, runs.c.model_name, runs.c.model_version).select_from(joined).where(*conditions)
        order = [found.c.measured_at, found.c.run_id, found.c.cell_id, found.c.attempt]
        rows, more = await self._page(query, order, page_size, token, wanted)
        return [_measured_cell(row) for row in rows], more

    async def changes(self, run_id: str, after: int) -> list[Change]:
        """Implements `RunQueries.changes`."""
        changes = tables.changes
        query = select(changes).where(changes.c.run_id == run_id, changes.c.version > after)
        rows = await self._rows(query.order_by(changes.c.version))
        return [Change(row.version, row.event_type, row.text) for row in rows]

    async def lineage(self, run_id: str) -> tuple[list[LineageArtifact], list[Execution]]:
        """Implements `RunQueries.lineage`."""
        kept = await self._rows(_of_run(tables.artifacts, run_id).order_by("kind", "sha256"))
        work = await self._rows(_of_run(tables.executions, run_id).order_by("at", "id"))
        inputs = _grouped(await self._rows(_of_run(tables.execution_inputs, run_id)))
        outputs = _grouped(await self._rows(_of_run(tables.execution_outputs, run_id)))
        apps = await self._rows(_of_run(tables.apps, run_id))
        packages = {
            (row.variant, row.platform): package.sha256
            for row in apps
            if (package := from_document(Blob, row.package)) is not None
        }
        artifacts = [LineageArtifact(Blob(row.sha256, row.size_bytes, row.media_type), row.kind) for row in kept]
        executions = [_execution(row, inputs.get(row.id, ()), outputs.get(row.id, ())) for row in work]
        return artifacts, with_implied_inputs(executions, packages)

    async def _rows(self, query: Select[Any]) -> Sequence[AnyRow]:
        return await self._database.read(lambda connection: connection.execute(query).all())

    async def _page(
        self, query: Select[Any], order: Sequence[ColumnElement[Any]], page_size: int, token: str, wanted: object
    ) -> tuple[Sequence[AnyRow], str]:
        """Rows after the place that `token` names, newest first: pages stay whole while rows are added."""
        size = min(page_size or DEFAULT_PAGE, LARGEST_PAGE)
        if token:
            query = query.where(tuple_(*order) < tuple_(*_read_token(token, wanted, order)))
        query = query.order_by(*(column.desc() for column in order)).limit(size + 1)
        rows = await self._rows(query)
        if len(rows) <= size:
            return rows, ""
        last = rows[size - 1]._mapping
        return rows[:size], _write_token([last[column] for column in order], wanted)


def _of_run(table: Table, run_id: str) -> Select[Any]:
    return select(table).where(table.c.run_id == run_id)


def _run_conditions(wanted: RunFilter) -> list[ColumnElement[bool]]:
    runs, labels = tables.runs, tables.labels
    equal = ("model_name", "model_version", "state", "verdict")
    conditions: list[ColumnElement[bool]] = [
        runs.c[name] == value for name in equal if (value := getattr(wanted, name))
    ]
    for name, value in ((n[:LONGEST_NAME], v[:LONGEST_NAME]) for n, v in wanted.labels.items()):
        has = (labels.c.run_id == runs.c.run_id) & (labels.c.name == name) & (labels.c.value == value)
        conditions.append(exists().where(has))
    if wanted.started_after is not None:
        conditions.append(runs.c.started_at > to_micros(wanted.started_after))
    if wanted.started_before is not None:
        conditions.append(runs.c.started_at < to_micros(wanted.started_before))
    return conditions


def _fingerprint(wanted: object) -> str:
    return hashlib.sha256(repr(wanted).encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _write_token(place: Sequence[Any], wanted: object) -> str:
    return base64.urlsafe_b64encode(json.dumps([_fingerprint(wanted), *place]).encode()).decode().rstrip("=")


def _read_token(token: str, wanted: object, order: Sequence[ColumnElement[Any]]) -> list[Any]:
    bad = InvalidInput(
        f"page_token {token[:80]!r} is not one of this list", hint="give next_page_token of the same query, unchanged"
    )
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        place = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        raise bad from None
    if not isinstance(place, list) or len(place) != len(order) + 1 or place[0] != _fingerprint(wanted):
        raise bad
    for value, column in zip(place[1:], order, strict=True):
        if type(value) is not column.type.python_type or (isinstance(value, int) and abs(value) >= 2**63):
            raise bad
    return place[1:]


def _summary(row: AnyRow) -> RunSummary:
    return RunSummary(
        run_id=row.run_id,
        model_name=row.model_name,
        model_version=row.model_version,
        model_sha256=row.model_sha256,
        state=row.state,
        verdict=None if row.verdict is None else Verdict(row.verdict),
        reasons=tuple(row.reasons),
        started_at=from_micros(row.started_at),
        ended_at=None if row.ended_at is None else from_micros(row.ended_at),
        deadline=from_micros(row.deadline),
        labels=row.labels,
        steps_done=row.steps_done,
        steps_known=row.steps_known,
        version=row.version,
    )


def _measured_cell(row: AnyRow) -> MeasuredCell:
    fact = read_measured(row, read_cell_spec(row))
    return MeasuredCell(row.run_id, row.model_name, row.model_version, fact, from_micros(row.measured_at))


def _grouped(rows: Sequence[AnyRow]) -> dict[str, tuple[str, ...]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        groups[row.execution_id].append(row.sha256)
    return {id: tuple(sorted(blobs)) for id, blobs in groups.items()}


def _execution(row: AnyRow, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Execution:
    return Execution(
        id=row.id,
        kind=row.kind,
        service=row.service,
        event_id=row.event_id,
        inputs=inputs,
        outputs=outputs,
        variant=row.variant,
        platform=row.platform,
        cell_id=row.cell_id,
        attempt=row.attempt,
        at=from_micros(row.at),
    )
