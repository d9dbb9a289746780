"""What the use cases need from outside: the stored runs, artifacts, and the metrics of this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime
from typing import Protocol

from windtunnel.artifacts import ArtifactRef
from windtunnel.metrics_store.domain import Judgment, RunRecord, facts
from windtunnel.metrics_store.domain.event_content import EventContent
from windtunnel.metrics_store.domain.latency_vs import Baseline, JobFigure
from windtunnel.metrics_store.domain.lineage import Execution, LineageArtifact
from windtunnel.metrics_store.domain.listings import Change, MeasuredCell, MeasurementFilter, RunFilter, RunSummary
from windtunnel.metrics_store.domain.stored_run import Assess, Completion, Outgoing, Request, Standing, StoredRun
from windtunnel.metrics_store.domain.values import CellSpec


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
        """Reads a run.

        Args:
            run_id: of the run.

        Returns:
            None: no event of it was recorded.
        """
        ...

    async def store_standing(self, run_id: str, version: int, standing: Standing) -> bool:
        """Stores how far a run is.

        Args:
            run_id: of the run.
            version: that the run must still have.
            standing: how far it is.

        Returns:
            False, and nothing is stored: the run is no longer at `version`.
        """
        ...

    async def complete(self, run_id: str, version: int, completion: Completion, standing: Standing) -> bool:
        """Stores a verdict and its event for the outbox in one transaction.

        Args:
            run_id: of the run.
            version: that the run must still have.
            completion: the verdict and its event.
            standing: how far it is.

        Returns:
            False, and nothing is stored, if the run is no longer at `version`.
        """
        ...

    async def request(self, run_id: str, version: int, request: Request, assess: Assess) -> bool:
        """Stores that a run waits for more jobs, and the events that ask for them, in one transaction.

        Args:
            run_id: of the run.
            version: that the run must still have.
            request: what is asked for.
            assess: says how far the run is then. Runs in the transaction: no I/O.

        Returns:
            False, and nothing is stored, if the run is no longer at `version`.
        """
        ...

    def to_judge(self, now: datetime) -> AsyncIterator[str]:
        """All runs whose verdict may be due or whose deadline has passed.

        Args:
            now: UTC.

        Returns:
            Their ids, oldest first.
        """
        ...

    async def running(self) -> int:
        """Returns how many runs have no verdict yet."""
        ...

    async def outgoing(self) -> Sequence[Outgoing]:
        """Returns events to publish, oldest first, at most 100, without those set aside."""
        ...

    async def published(self, id: str) -> None:
        """Removes an event from the outbox: the stream has it.

        Args:
            id: of the event.
        """
        ...

    async def set_aside(self, id: str, reason: str) -> None:
        """Keeps an event that the bus will never accept, with the reason; `outgoing` leaves it out from now on.

        Args:
            id: of the event.
            reason: why the bus does not accept it.
        """
        ...

    async def samples_of(self, run_id: str, cell_id: str, attempt: int) -> str | None:
        """The raw latencies of a device run.

        Args:
            run_id: of the run.
            cell_id: of the cell.
            attempt: from 1.

        Returns:
            Their SHA-256; None: it left none.
        """
        ...

    async def forget_inbox(self, before: datetime) -> int:
        """Removes the keys of old events, when the stream no longer has them.

        Args:
            before: of events recorded before, UTC.

        Returns:
            How many.
        """
        ...


class RunQueries(Protocol):
    """Lists and lineage, read only. Every method raises Unavailable."""

    async def run(self, run_id: str) -> RunSummary | None:
        """Reads one run.

        Args:
            run_id: of the run.

        Returns:
            None: there is no such run.
        """
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
        """Reads one page of measurements.

        Args:
            wanted: which measurements.
            page_size: as for `runs`.
            token: as for `runs`.

        Returns:
            The newest first, and the token of the next page; empty at the end.
        """
        ...

    async def changes(self, run_id: str, after: int) -> list[Change]:
        """What happened to a run.

        Args:
            run_id: of the run.
            after: a version of it.

        Returns:
            What happened after that version, oldest first.
        """
        ...

    async def lineage(self, run_id: str) -> tuple[list[LineageArtifact], list[Execution]]:
        """The artifacts of a run, and the executions that used and made them.

        Args:
            run_id: of the run.

        Returns:
            In the order of time.
        """
        ...


class LatencyHistory(Protocol):
    """Latencies of other runs, read only. Every method raises Unavailable."""

    async def baseline(self, model_name: str, cell: CellSpec, run_id: str, before: str) -> Baseline | None:
        """The cell of another run in the same place: variant, farm, device, OS version, accelerator and threads.

        Args:
            model_name: that the other run must have; empty: any.
            cell: to compare.
            run_id: of the other run; empty: the last one that passed.
            before: the run that is compared; it is never its own baseline.

        Returns:
            The last one whose latency can be trusted; one without jobs if there is none. None: there is no such run,
            or it has no measurement there.
        """
        ...

    async def past_jobs(self, cell: CellSpec, without: Collection[str]) -> Sequence[JobFigure]:
        """The latest jobs on a device that say something about what their cells asked for.

        Args:
            cell: on the device.
            without: ids of runs whose jobs are left out.

        Returns:
            The newest first, some hundreds at most.
        """
        ...

    async def knows(self, run_id: str) -> bool:
        """Whether there is such a run.

        Args:
            run_id: of the run.
        """
        ...


class BlobReader(Protocol):
    """Reading from the artifact store."""

    async def read_bytes(self, sha256: str, *, limit: int = ...) -> bytes:
        """Reads an artifact.

        Args:
            sha256: of the artifact.
            limit: the most bytes.

        Returns:
            The bytes.

        Raises:
            NotFound: there is no such artifact.
            InvalidInput: it is larger than `limit`.
            Unavailable: the store does not answer.
        """
        ...


class BlobWriter(Protocol):
    """Writing to the artifact store."""

    async def put_bytes(self, data: bytes) -> ArtifactRef:
        """Stores an artifact; the same bytes are the same artifact.

        Args:
            data: the bytes.

        Returns:
            Its name and size.

        Raises:
            Unavailable: the store does not answer.
        """
        ...


class RunMetrics(Protocol):
    """The metrics of this process."""

    def completed(self, run: RunRecord, judgment: Judgment) -> None:
        """Counts a verdict.

        Args:
            run: its record.
            judgment: the verdict.
        """
        ...

    def running(self, count: int) -> None:
        """Sets how many runs have no verdict.

        Args:
            count: how many.
        """
        ...

    def measured(self, model: str, version: str, fact: facts.Measured, seconds: Sequence[float]) -> None:
        """Observes the latencies of a device run. Of an unstable one only the number is kept.

        Args:
            model: its name.
            version: of the model.
            fact: the measurement.
            seconds: latencies.
        """
        ...
