"""What the use cases need from outside: the stored runs, artifacts, and the metrics of this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Protocol

from windtunnel.artifacts import ArtifactRef
from windtunnel.metrics_store.domain import Judgement, RunRecord, facts
from windtunnel.metrics_store.domain.event_content import EventContent
from windtunnel.metrics_store.domain.lineage import Execution, LineageArtifact
from windtunnel.metrics_store.domain.listings import Change, MeasuredCell, MeasurementFilter, RunFilter, RunSummary
from windtunnel.metrics_store.domain.stored_run import Assess, Completion, Outgoing, Standing, StoredRun


class RunRepository(Protocol):
    """The state of all runs, the inbox of events and the outbox of verdicts. Every method raises Unavailable."""

    async def record(
        self, content: EventContent, *, key: str, event_type: str, at: datetime, assess: Assess
    ) -> Standing | None:
        """Stores what an event says, once, in one transaction with its key.

        Args:
            content: what the event says.
            key: identifies the event, see `event_key`.
            event_type: the CloudEvents type, kept for people who watch the run.
            at: when the event arrived, UTC.
            assess: says how far the run is, from its state after the event. Runs in the transaction: no I/O.

        Returns:
            How far the run is after the event; None if `key` was recorded before, and nothing was stored.
        """
        ...

    async def load(self, run_id: str) -> StoredRun | None:
        """Returns the run, or None if no event of it was recorded."""
        ...

    async def store_standing(self, run_id: str, version: int, standing: Standing) -> bool:
        """Stores how far a run is. Returns False, and stores nothing, if the run is no longer at `version`."""
        ...

    async def complete(self, run_id: str, version: int, completion: Completion, standing: Standing) -> bool:
        """Stores a verdict and its event for the outbox in one transaction.

        Returns:
            False, and nothing is stored, if the run is no longer at `version`.
        """
        ...

    def to_judge(self, now: datetime) -> AsyncIterator[str]:
        """Yields the ids of all runs whose verdict may be due or whose deadline is before `now`, oldest first."""
        ...

    async def running(self) -> int:
        """Returns how many runs have no verdict yet."""
        ...

    async def outgoing(self) -> Sequence[Outgoing]:
        """Returns events to publish, oldest first, at most 100, without those set aside."""
        ...

    async def published(self, id: str) -> None:
        """Removes an event from the outbox: the stream has it."""
        ...

    async def set_aside(self, id: str, reason: str) -> None:
        """Keeps an event that the bus will never accept, with the reason; `outgoing` leaves it out from now on."""
        ...

    async def samples_of(self, run_id: str, cell_id: str, attempt: int) -> str | None:
        """Returns the SHA-256 of the raw latencies of a device run, or None if it left none."""
        ...

    async def forget_inbox(self, before: datetime) -> int:
        """Removes the keys of events recorded before `before`. Returns how many."""
        ...


class RunQueries(Protocol):
    """Lists and lineage, read only. Every method raises Unavailable."""

    async def run(self, run_id: str) -> RunSummary | None:
        """Returns one run, or None."""
        ...

    async def runs(self, wanted: RunFilter, page_size: int, token: str) -> tuple[list[RunSummary], str]:
        """Returns one page of runs, newest first.

        Args:
            wanted: the filter.
            page_size: rows at most; 0 is the default of 50, more than 1000 is 1000.
            token: empty for the first page; then the token that came with the page before.

        Returns:
            The rows, and the token of the next page, empty at the end.

        Raises:
            InvalidInput: the token does not belong to this list and filter.
        """
        ...

    async def measurements(
        self, wanted: MeasurementFilter, page_size: int, token: str
    ) -> tuple[list[MeasuredCell], str]:
        """Returns one page of measurements, newest first. Arguments and errors as of `runs`."""
        ...

    async def changes(self, run_id: str, after: int) -> list[Change]:
        """Returns what happened to a run after its version `after`, oldest first."""
        ...

    async def lineage(self, run_id: str) -> tuple[list[LineageArtifact], list[Execution]]:
        """Returns the artifacts of a run, and the executions that used and made them in the order of time."""
        ...


class BlobReader(Protocol):
    """Reading from the artifact store."""

    async def read_bytes(self, sha256: str, *, limit: int = ...) -> bytes:
        """Returns an artifact of at most `limit` bytes. Raises NotFound, InvalidInput, Unavailable."""
        ...


class BlobWriter(Protocol):
    """Writing to the artifact store."""

    async def put_bytes(self, data: bytes) -> ArtifactRef:
        """Stores an artifact; the same bytes are the same artifact. Raises Unavailable."""
        ...


class RunMetrics(Protocol):
    """The metrics of this process."""

    def completed(self, run: RunRecord, judgement: Judgement) -> None:
        """Counts a verdict."""
        ...

    def running(self, count: int) -> None:
        """Sets how many runs have no verdict."""
        ...

    def measured(self, model: str, version: str, fact: facts.Measured, seconds: Sequence[float]) -> None:
        """Observes the latencies of a device run, in seconds. Of an unstable one only the number is kept."""
        ...
