"""Asking for more jobs while a comparison of latencies is undecided."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from windtunnel.bus import encode, event_id, subjects
from windtunnel.metrics_store.domain import RunRecord
from windtunnel.metrics_store.domain.facts import RepeatsRequested
from windtunnel.metrics_store.domain.latency_vs import CellComparison
from windtunnel.metrics_store.domain.record import CellState
from windtunnel.metrics_store.domain.stored_run import Outgoing, Request
from windtunnel.metrics_store.messages.encode_messages import repeats_event
from windtunnel.telemetry import current_traceparent


def request_repeats(
    run: RunRecord, comparisons: Mapping[str, CellComparison], source: str, at: datetime
) -> Request | None:
    """What to ask for.

    Args:
        run: its record.
        comparisons: of its cells with their baselines, by cell id.
        source: of the events.
        at: the time now, UTC.

    Returns:
        None: every comparison is decided, or more jobs would not help. The same for the same record.
    """
    facts, events = [], []
    for cell_id, comparison in sorted(comparisons.items()):
        cell = run.cells[cell_id]
        if not comparison.wanted or not _can_run(run, cell, comparison):
            continue
        fact = _next(cell, comparison)
        facts.append(fact)
        events.append(_event(run, cell, comparison, fact, source))
    if not events:
        return None
    labels = ", ".join(f"{run.cells[fact.cell_id].spec.label} {fact.pairs}" for fact in facts)
    return Request(tuple(facts), tuple(events), at, f"more pairs of jobs are wanted: {labels}")


def _can_run(run: RunRecord, cell: CellState, comparison: CellComparison) -> bool:
    """Both files must be known."""
    assert comparison.baseline is not None
    return run.variant(cell.spec.variant).model is not None and comparison.baseline.model is not None


def _next(cell: CellState, comparison: CellComparison) -> RepeatsRequested:
    assert comparison.baseline is not None
    first = max((one.first + one.pairs for one in cell.requests), default=1)
    return RepeatsRequested(cell.spec.id, len(cell.requests) + 1, first, comparison.wanted, comparison.baseline.run_id)


def _event(
    run: RunRecord, cell: CellState, comparison: CellComparison, fact: RepeatsRequested, source: str
) -> Outgoing:
    # Named by its round: asked for twice, it is one request.
    id = event_id(subjects.REPEATS_REQUESTED, run.run_id, fact.cell_id, str(fact.round))
    subject, headers, data = encode(
        repeats_event(run, cell, comparison, fact),
        id=id,
        source=source,
        run_id=run.run_id,
        traceparent=current_traceparent(),
    )
    return Outgoing(id, subject, headers, data)
