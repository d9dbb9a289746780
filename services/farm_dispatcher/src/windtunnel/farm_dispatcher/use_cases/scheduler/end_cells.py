"""How cells end: what a farm collected becomes artifacts and events, and a cell's outcome is stored once."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from google.protobuf.any_pb2 import Any as AnyMessage

from windtunnel.artifacts import Artifacts
from windtunnel.enum_words import FAILURE_KIND
from windtunnel.farm_dispatcher.domain.device_runs import DeviceRun, JobFailure, JobResult, Samples
from windtunnel.farm_dispatcher.messages.cell_messages import conditions_to_proto, facts_to_proto
from windtunnel.farm_dispatcher.messages.timestamps import to_timestamp
from windtunnel.farm_dispatcher.use_cases.scheduler.work import Work, name_of, outcome_key, trace_of
from windtunnel.farm_dispatcher.use_cases.stored.measurements import reuse_key
from windtunnel.farms.failure_kinds import FailureKind
from windtunnel.plan import shapes_to_proto
from windtunnel.service.protobuf_values import artifact_to_proto, cut_text
from windtunnel.v1 import events_pb2, farm_runs_pb2, types_pb2

SERVICE = "farm_dispatcher"
# Files of an edge log (docs/edge-log.md).
EDGE_LOG_SUFFIX: Final = ".mcap"
_LONGEST_DETAIL = 4000
Outcome = events_pb2.DeviceRunFinished | events_pb2.DeviceRunFailed


@dataclasses.dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a cell on a farm.

    Attributes:
        queued: the cell.
        info: the farm's own job; None: there was none.
        started: when it began.
    """

    queued: farm_runs_pb2.QueuedCell
    info: types_pb2.FarmRunInfo | None
    started: datetime


class CellEnder:
    """Says how cells ended.

    Args:
        work: of the scheduler.
    """

    def __init__(self, work: Work) -> None:
        self._work = work

    async def outcome_of(self, attempt: Attempt, result: JobResult) -> Outcome:
        """What became of a cell, its log and files stored.

        Args:
            attempt: at the cell.
            result: of its job.

        Returns:
            The event that says it.

        Raises:
            Unavailable: the store does not answer.
        """
        if result.run is not None:
            return await self._finished(attempt, result.run, result)
        assert result.failure is not None
        failed = self.failed(attempt.queued, result.failure, attempt.info)
        if result.log:
            failed.log.CopyFrom(await self._put_text(result.log))
        return failed

    def failed(
        self, queued: farm_runs_pb2.QueuedCell, failure: JobFailure, info: types_pb2.FarmRunInfo | None = None
    ) -> events_pb2.DeviceRunFailed:
        """The event of a cell that has no measurement.

        Args:
            queued: the cell.
            failure: why.
            info: the farm's own job; None: there was none.

        Returns:
            The event.
        """
        return events_pb2.DeviceRunFailed(
            run=queued.run,
            cell=queued.cell,
            attempt=max(1, queued.attempt),
            failure=failure_to_proto(failure),
            farm_run=info,
            repeat=queued.repeat,
            of_baseline=queued.of_baseline,
        )

    async def end(self, outcome: Outcome) -> None:
        """Stores an outcome, unless the cell has one, and publishes the one that is stored.

        Args:
            outcome: of a cell.
        """
        packed = AnyMessage()
        packed.Pack(outcome)

        async def compute() -> AnyMessage:
            return packed

        key = outcome_key(outcome.run.run_id, _name_of(outcome))
        await self.publish(await self._work.jobs.once(key, AnyMessage, compute))

    async def stored(self, queued: farm_runs_pb2.QueuedCell) -> AnyMessage | None:
        """The outcome of a cell that has ended.

        Args:
            queued: the cell.

        Returns:
            None: it has not.
        """
        return await self._work.jobs.stored(outcome_key(queued.run.run_id, name_of(queued)), AnyMessage)

    async def publish(self, packed: AnyMessage) -> None:
        """Publishes an outcome. Repeating it changes nothing.

        Args:
            packed: as it is stored.
        """
        outcome = unpacked(packed)
        parts = (_name_of(outcome), str(outcome.attempt))
        with trace_of(outcome.run):
            await self._work.publisher.publish(outcome, run_id=outcome.run.run_id, parts=parts)

    async def _finished(self, attempt: Attempt, run: DeviceRun, result: JobResult) -> events_pb2.DeviceRunFinished:
        pulled = {name: await self._put_file(path) for name, path in pulled_files(result.pulled)}
        return events_pb2.DeviceRunFinished(
            run=attempt.queued.run,
            cell=attempt.queued.cell,
            attempt=attempt.queued.attempt,
            log=await self._put_text(run.log),
            samples=await put_samples(self._work.artifacts, run.samples),
            device=facts_to_proto(run.facts),
            started_at=to_timestamp(attempt.started),
            ended_at=to_timestamp(self._work.clock()),
            input_shapes=shapes_to_proto(run.input_shapes),
            shapes_known=run.shapes_known,
            conditions=conditions_to_proto(run.conditions),
            farm_run=attempt.info,
            pulled=pulled,
            edge_logs=[pulled[name] for name in sorted(pulled) if name.endswith(EDGE_LOG_SUFFIX)],
            model=_model_of(attempt.queued.job),
            # A repeat is one of several jobs that are compared: none of them stands for the cell.
            reuse_key="" if attempt.queued.repeat else reuse_key(attempt.queued),
            repeat=attempt.queued.repeat,
            of_baseline=attempt.queued.of_baseline,
        )

    async def _put_text(self, text: str) -> types_pb2.Artifact:
        return artifact_to_proto(await self._work.artifacts.put_bytes(text.encode()), "text/plain")

    async def _put_file(self, path: Path) -> types_pb2.Artifact:
        return artifact_to_proto(await self._work.artifacts.put_file(path), "application/octet-stream")


def _model_of(job: farm_runs_pb2.Job) -> types_pb2.Artifact:
    """The model that a job runs; of an app that has it inside, only its SHA-256."""
    if job.WhichOneof("kind") == "executable":
        return job.executable.model.blob
    sha256 = job.app.model_sha256
    return next((file.blob for file in job.app.files if file.blob.sha256 == sha256), types_pb2.Artifact(sha256=sha256))


def pulled_files(pulled: Mapping[str, Path]) -> Iterator[tuple[str, Path]]:
    """The files that a job left on its device. A folder that was pulled is its files.

    Args:
        pulled: local copies of files and folders, by their paths on the device.

    Yields:
        Path on the device, and local copy.
    """
    for name, path in pulled.items():
        if not path.is_dir():
            yield name, path
            continue
        for file in sorted(path.rglob("*")):
            # A link could lead out of the folder.
            if file.is_file() and not file.is_symlink():
                yield f"{name.rstrip('/')}/{file.relative_to(path).as_posix()}", file


def _name_of(outcome: Outcome) -> str:
    same = farm_runs_pb2.QueuedCell(cell=outcome.cell, repeat=outcome.repeat, of_baseline=outcome.of_baseline)
    return name_of(same)


async def put_samples(artifacts: Artifacts, samples: Samples | None) -> types_pb2.Artifact | None:
    """Stores raw latencies as JSON: `unit`, `warmup` and `inference`.

    Args:
        artifacts: the store.
        samples: of a run.

    Returns:
        The artifact; None: there are none.

    Raises:
        Unavailable: the store does not answer.
    """
    if samples is None:
        return None
    data = {"unit": "us", "warmup": list(samples.warmup), "inference": list(samples.inference)}
    text = await asyncio.to_thread(json.dumps, data)
    return artifact_to_proto(await artifacts.put_bytes(text.encode()), "application/json")


def unpacked(packed: AnyMessage) -> Outcome:
    """An outcome as its event.

    Args:
        packed: as it is stored.

    Returns:
        The event.
    """
    failed = packed.Is(events_pb2.DeviceRunFailed.DESCRIPTOR)
    outcome: Outcome = events_pb2.DeviceRunFailed() if failed else events_pb2.DeviceRunFinished()
    packed.Unpack(outcome)
    return outcome


def failure_to_proto(failure: JobFailure) -> types_pb2.Failure:
    """The failure of a job on the wire. Texts are cut, so that the event always fits into a message.

    Args:
        failure: of the job.

    Returns:
        The message.
    """
    return types_pb2.Failure(
        code=failure.code,
        message=cut_text(failure.message),
        hint=cut_text(failure.hint),
        service=SERVICE,
        detail=failure.detail[-_LONGEST_DETAIL:],
        kind=FAILURE_KIND.number(failure.kind),
        field=failure.field,
    )


def canceled(*, late: bool) -> JobFailure:
    """The failure of a cell that nobody waits for any more.

    Args:
        late: the deadline of its run has passed; otherwise the run was canceled.

    Returns:
        The failure.
    """
    words = "the deadline of the run has passed" if late else "the run is canceled"
    return JobFailure(FailureKind.CANCELLED, words, code="canceled")
