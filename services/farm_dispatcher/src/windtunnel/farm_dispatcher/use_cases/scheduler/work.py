"""What the parts of the scheduler share, and what they know of a cell that waits or runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from windtunnel.artifacts import Artifacts
from windtunnel.bus import Jobs, job_key
from windtunnel.bus.publisher import Publisher
from windtunnel.farm_dispatcher.domain.farm import Files
from windtunnel.farm_dispatcher.domain.jobs import Entry
from windtunnel.farm_dispatcher.messages.cell_messages import cell_from_proto
from windtunnel.farm_dispatcher.messages.job_messages import job_from_proto
from windtunnel.farm_dispatcher.messages.timestamps import from_timestamp
from windtunnel.farm_dispatcher.use_cases.stored.ledgers import Ledgers
from windtunnel.farm_dispatcher.use_cases.stored.records import Records
from windtunnel.service.cancellation import Cancellations
from windtunnel.telemetry import current_traceparent, trace_context, traceparent_in
from windtunnel.v1 import farm_runs_pb2, types_pb2


def utc_now() -> datetime:
    """The time now."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Work:
    """What the scheduler works with.

    Attributes:
        records: of farm runs.
        ledgers: of what is spent.
        jobs: results of cells that have ended.
        publisher: of events.
        artifacts: the store.
        files: artifacts as local files.
        canceled: runs that were canceled.
        backoff_s: wait before the second attempt at a cell, in seconds; it doubles.
        pauses_s: waits between two tries of a call that failed, in seconds; the last one repeats.
        clock: the time now.
    """

    records: Records
    ledgers: Ledgers
    jobs: Jobs
    publisher: Publisher
    artifacts: Artifacts
    files: Files
    canceled: Cancellations
    backoff_s: float = 2.0
    pauses_s: tuple[float, ...] = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
    clock: Callable[[], datetime] = utc_now


@contextlib.contextmanager
def trace_of(run: types_pb2.RunContext) -> Iterator[None]:
    """What is published inside belongs to the trace of a run: a scheduler works outside of any event.

    Args:
        run: of the cell.

    Yields:
        Nothing.
    """
    own = traceparent_in(run.trace_id)
    with trace_context(own) if own and not current_traceparent() else contextlib.nullcontext():
        yield


def name_of(queued: farm_runs_pb2.QueuedCell) -> str:
    """The name of a cell in farm runs: its id, and which repeat it is.

    Args:
        queued: the cell.

    Returns:
        Unique among the cells of a run.
    """
    whose = "b" if queued.of_baseline else "c"
    return f"{queued.cell.id}-r{queued.repeat}{whose}" if queued.repeat else queued.cell.id


def outcome_key(run_id: str, name: str) -> str:
    """The key under which the outcome of a cell is stored.

    Args:
        run_id: of the run.
        name: of the cell in farm runs.

    Returns:
        The key.
    """
    return job_key("run", {"run": run_id, "cell": name}, {})


def entry_of(name: str, queued: farm_runs_pb2.QueuedCell) -> Entry:
    """A queued cell as an entry of a farm run.

    Args:
        name: of the entry.
        queued: the cell.

    Returns:
        The entry.
    """
    return Entry(name, cell_from_proto(queued.cell), job_from_proto(queued.job))


def is_late(queued: farm_runs_pb2.QueuedCell, now: datetime) -> bool:
    """Whether the deadline of a cell has passed.

    Args:
        queued: the cell.
        now: the time.
    """
    return queued.HasField("deadline") and from_timestamp(queued.deadline) <= now
