"""Writing events and verdicts: each in one transaction, together with the inbox or the outbox."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, delete, func, or_, select, tuple_, update

from windtunnel.metrics_store.adapters import tables
from windtunnel.metrics_store.adapters.codec import to_document
from windtunnel.metrics_store.adapters.database import Database, from_micros, insert_new, to_micros, upsert
from windtunnel.metrics_store.adapters.rows import (
    LONGEST_NAME,
    AnyRow,
    app_row,
    cell_row,
    load_record,
    measurement_row,
    variant_row,
)
from windtunnel.metrics_store.domain import RunRecord, Verdict, facts, fold
from windtunnel.metrics_store.domain.event_content import EventContent
from windtunnel.metrics_store.domain.lineage import Execution, LineageArtifact
from windtunnel.metrics_store.domain.stored_run import (
    COMPLETED,
    RUNNING,
    Assess,
    Completion,
    Outgoing,
    Request,
    Standing,
    StoredRun,
)

_PAGE = 100


class SqlRepository:
    """The state of all runs. Every method raises Unavailable.

    Args:
        database: to write.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(
        self, content: EventContent, *, key: str, event_type: str, at: datetime, assess: Assess
    ) -> Standing | None:
        """Implements `RunRepository.record`."""
        return await self._database.write(lambda c: _record(c, content, key, event_type, at, assess))

    async def load(self, run_id: str) -> StoredRun | None:
        """Implements `RunRepository.load`."""

        def work(connection: Connection) -> StoredRun | None:
            row = connection.execute(select(tables.runs).where(tables.runs.c.run_id == run_id)).one_or_none()
            return None if row is None else _stored(connection, row)

        return await self._database.read(work)

    async def store_standing(self, run_id: str, version: int, standing: Standing) -> bool:
        """Implements `RunRepository.store_standing`."""

        def work(connection: Connection) -> bool:
            runs = tables.runs
            change = update(runs).where(runs.c.run_id == run_id, runs.c.version == version)
            return connection.execute(change.values(**_standing(standing))).rowcount == 1

        return await self._database.write(work)

    async def complete(self, run_id: str, version: int, completion: Completion, standing: Standing) -> bool:
        """Implements `RunRepository.complete`."""
        return await self._database.write(lambda c: _complete(c, run_id, version, completion, standing))

    async def request(self, run_id: str, version: int, request: Request, assess: Assess) -> bool:
        """Implements `RunRepository.request`."""
        return await self._database.write(lambda c: _request(c, run_id, version, request, assess))

    async def to_judge(self, now: datetime) -> AsyncIterator[str]:
        """Implements `RunRepository.to_judge`. Runs are read in pages: those that stay due do not hide later ones."""
        runs = tables.runs
        late = (runs.c.state == RUNNING) & (runs.c.deadline <= to_micros(now))
        order = (runs.c.deadline, runs.c.run_id)
        query = select(*order).where(or_(runs.c.due, late)).order_by(*order).limit(_PAGE)
        page = query
        while True:
            rows = await self._rows(page)
            for row in rows:
                yield row.run_id
            if len(rows) < _PAGE:
                return
            page = query.where(tuple_(*order) > tuple_(rows[-1].deadline, rows[-1].run_id))

    async def _rows(self, query: Select[Any]) -> Sequence[AnyRow]:
        return await self._database.read(lambda c: c.execute(query).all())

    async def running(self) -> int:
        """How many runs have no verdict yet."""
        query = select(func.count()).select_from(tables.runs).where(tables.runs.c.state == RUNNING)
        return await self._database.read(lambda c: c.execute(query).scalar_one())

    async def outgoing(self) -> Sequence[Outgoing]:
        """Events to publish, oldest first, at most 100, without those set aside."""
        outbox = tables.outbox
        query = select(outbox).where(outbox.c.refused == "").order_by(outbox.c.created_at, outbox.c.id).limit(_PAGE)
        rows = await self._rows(query)
        return [Outgoing(row.id, row.subject, row.headers, base64.b64decode(row.data)) for row in rows]

    async def published(self, id: str) -> None:
        """Implements `RunRepository.published`."""
        await self._database.write(lambda c: c.execute(delete(tables.outbox).where(tables.outbox.c.id == id)).rowcount)

    async def set_aside(self, id: str, reason: str) -> None:
        """Implements `RunRepository.set_aside`."""
        outbox = tables.outbox
        change = update(outbox).where(outbox.c.id == id).values(refused=reason or "refused")
        await self._database.write(lambda c: c.execute(change).rowcount)

    async def samples_of(self, run_id: str, cell_id: str, attempt: int) -> str | None:
        """Implements `RunRepository.samples_of`."""
        runs = tables.device_runs
        query = select(runs.c.samples_sha256).where(
            runs.c.run_id == run_id, runs.c.cell_id == cell_id, runs.c.attempt == attempt
        )
        return await self._database.read(lambda c: c.execute(query).scalar_one_or_none())

    async def forget_inbox(self, before: datetime) -> int:
        """Implements `RunRepository.forget_inbox`."""
        old = delete(tables.inbox).where(tables.inbox.c.heard_at < to_micros(before))
        return await self._database.write(lambda c: c.execute(old).rowcount)


def _record(
    c: Connection, content: EventContent, key: str, event_type: str, at: datetime, assess: Assess
) -> Standing | None:
    if not insert_new(c, tables.inbox, [{"event_key": key, "heard_at": to_micros(at)}]):
        return None
    row = _lock_run(c, content.run_id, at)
    before = _stored(c, row)
    record = fold(before.record, content.facts)
    after = StoredRun(
        record=record,
        version=before.version + 1,
        verdict=before.verdict,
        reasons=before.reasons,
        revision=before.revision,
        deadline=before.deadline,
        ended_at=before.ended_at,
        report_sha256=before.report_sha256,
    )
    _save(c, before.record, record)
    _save_device_runs(c, content, at)
    standing = assess(after)
    _save_run(c, after, _standing(standing))
    _save_lineage(c, content.run_id, content.artifacts, content.execution, at)
    _save_change(c, content.run_id, after.version, event_type, content.text, at)
    return standing


def _lock_run(c: Connection, run_id: str, at: datetime) -> AnyRow:
    """The run's row, made if it is new, locked until the transaction ends."""
    now = to_micros(at)
    fresh = {
        "run_id": run_id,
        "labels": {},
        "started_at": now,
        "started_sure": False,
        "deadline": now + 1,
        "state": RUNNING,
        "due": False,
        "reasons": [],
    }
    insert_new(c, tables.runs, [fresh])
    return c.execute(select(tables.runs).where(tables.runs.c.run_id == run_id).with_for_update()).one()


def _stored(c: Connection, row: AnyRow) -> StoredRun:
    return StoredRun(
        record=load_record(c, row),
        version=row.version,
        verdict=None if row.verdict is None else Verdict(row.verdict),
        reasons=tuple(row.reasons),
        revision=row.revision,
        deadline=from_micros(row.deadline),
        ended_at=None if row.ended_at is None else from_micros(row.ended_at),
        report_sha256=row.report_sha256,
    )


def _save(c: Connection, before: RunRecord, after: RunRecord) -> None:
    """Writes the parts of the record that have changed."""
    for name, variant in after.variants.items():
        if before.variants.get(name) != variant:
            upsert(c, tables.variants, variant_row(after.run_id, variant))
    for key, app in after.apps.items():
        if before.apps.get(key) != app:
            upsert(c, tables.apps, app_row(after.run_id, app))
    for id, cell in after.cells.items():
        if before.cells.get(id) != cell:
            upsert(c, tables.cells, cell_row(after.run_id, cell))
    labels = {} if after.seen is None else after.seen.labels
    if labels != ({} if before.seen is None else before.seen.labels):
        c.execute(delete(tables.labels).where(tables.labels.c.run_id == after.run_id))
        rows = [
            {"run_id": after.run_id, "name": n[:LONGEST_NAME], "value": v[:LONGEST_NAME]} for n, v in labels.items()
        ]
        insert_new(c, tables.labels, rows)


def _save_device_runs(c: Connection, content: EventContent, at: datetime) -> None:
    """Writes every device run, those too whose figures the record does not take."""
    for fact in content.facts:
        if isinstance(fact, (facts.Measured, facts.Finished)) and fact.repeat:
            # The row of the cell has it.
            continue
        if isinstance(fact, facts.Measured):
            insert_new(c, tables.measurements, [measurement_row(content.run_id, fact, to_micros(at))])
        elif isinstance(fact, facts.Finished):
            run = {
                "run_id": content.run_id,
                "cell_id": fact.cell.id,
                "attempt": fact.attempt,
                "log_sha256": None if fact.log is None else fact.log.sha256,
                "samples_sha256": None if fact.samples is None else fact.samples.sha256,
            }
            insert_new(c, tables.device_runs, [run])


def _save_run(c: Connection, run: StoredRun, standing: Mapping[str, Any]) -> None:
    seen = run.record.seen
    values: dict[str, Any] = {
        "version": run.version,
        "converted": to_document(run.record.converted),
        "not_converted": to_document(run.record.not_converted),
        "canceled": to_document(run.record.canceled),
        **standing,
    }
    if seen is not None:
        values |= {
            "model_name": seen.model_name[:LONGEST_NAME],
            "model_version": seen.model_version[:LONGEST_NAME],
            "model_sha256": seen.model_sha256,
            "plan": to_document(seen.plan),
            "labels": dict(seen.labels),
            "trace_id": seen.trace_id,
            "started_at": to_micros(seen.started_at),
            "started_sure": seen.sure,
        }
    c.execute(update(tables.runs).where(tables.runs.c.run_id == run.record.run_id).values(**values))


def _standing(standing: Standing) -> dict[str, Any]:
    return {
        "due": standing.due,
        "deadline": to_micros(standing.deadline),
        "steps_done": standing.steps_done,
        "steps_known": standing.steps_known,
    }


def _save_lineage(
    c: Connection, run_id: str, kept: Sequence[LineageArtifact], execution: Execution | None, at: datetime
) -> None:
    for item in kept:
        artifact = item.artifact
        row = {
            "run_id": run_id,
            "sha256": artifact.sha256,
            "kind": item.kind,
            "size_bytes": artifact.size_bytes,
            "media_type": artifact.media_type,
        }
        insert_new(c, tables.artifacts, [row])
    if execution is None:
        return
    row = {name: getattr(execution, name) for name in ("id", "kind", "service", "event_id", "variant", "platform")}
    row |= {"run_id": run_id, "cell_id": execution.cell_id, "attempt": execution.attempt, "at": to_micros(at)}
    insert_new(c, tables.executions, [row])
    for table, blobs in ((tables.execution_inputs, execution.inputs), (tables.execution_outputs, execution.outputs)):
        insert_new(c, table, [{"run_id": run_id, "execution_id": execution.id, "sha256": blob} for blob in blobs])


def _save_change(c: Connection, run_id: str, version: int, event_type: str, text: str, at: datetime) -> None:
    row = {"run_id": run_id, "version": version, "event_type": event_type, "text": text, "at": to_micros(at)}
    insert_new(c, tables.changes, [row])


def _request(c: Connection, run_id: str, version: int, request: Request, assess: Assess) -> bool:
    row = c.execute(select(tables.runs).where(tables.runs.c.run_id == run_id).with_for_update()).one_or_none()
    if row is None or row.version != version:
        return False
    before = _stored(c, row)
    after = dataclasses.replace(before, record=fold(before.record, request.facts), version=version + 1)
    _save(c, before.record, after.record)
    _save_run(c, after, _standing(assess(after)))
    _save_outgoing(c, request.events, request.at)
    _save_change(c, run_id, after.version, request.events[0].headers["ce-type"], request.text, request.at)
    return True


def _save_outgoing(c: Connection, events: Iterable[Outgoing], at: datetime) -> None:
    rows = [
        {
            "id": event.id,
            "subject": event.subject,
            "headers": dict(event.headers),
            "data": base64.b64encode(event.data).decode(),
            "created_at": to_micros(at),
        }
        for event in events
    ]
    insert_new(c, tables.outbox, rows)


def _complete(c: Connection, run_id: str, version: int, completion: Completion, standing: Standing) -> bool:
    runs = tables.runs
    judgment = completion.judgment
    verdict = {
        "version": version + 1,
        "state": COMPLETED,
        "verdict": judgment.verdict.value,
        "reasons": list(judgment.reasons),
        "revision": completion.revision,
        "ended_at": to_micros(completion.ended_at),
        "report_sha256": completion.report.sha256,
        **_standing(standing),
    }
    change = update(runs).where(runs.c.run_id == run_id, runs.c.version == version).values(**verdict)
    if c.execute(change).rowcount != 1:
        return False
    event = completion.event
    _save_outgoing(c, [event], completion.ended_at)
    _save_lineage(c, run_id, [LineageArtifact(completion.report, "report")], completion.execution, completion.ended_at)
    text = "; ".join((judgment.verdict.value, *judgment.reasons[:5]))
    _save_change(c, run_id, version + 1, f"{event.subject}.v1", text, completion.ended_at)
    return True
