"""Measurements that later runs may take instead of a new device run."""

from __future__ import annotations

from datetime import datetime, timedelta

from windtunnel.bus import Bucket, job_key
from windtunnel.farm_dispatcher.messages.job_messages import job_from_proto
from windtunnel.farm_dispatcher.messages.timestamps import from_timestamp
from windtunnel.v1 import events_pb2, farm_runs_pb2, types_pb2


class Measurements:
    """The last measurement of each (model, device, OS, accelerator, threads, shapes, app).

    Args:
        bucket: holds them.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def remember(self, finished: events_pb2.DeviceRunFinished) -> None:
        """Keeps a measurement, unless it was itself reused.

        Args:
            finished: how a cell ended.
        """
        if not finished.reused and finished.reuse_key:
            await self._bucket.put(finished.reuse_key, finished.SerializeToString(deterministic=True))

    async def fresh(
        self, queued: farm_runs_pb2.QueuedCell, reuse_seconds: int, now: datetime
    ) -> events_pb2.DeviceRunFinished | None:
        """A measurement that a cell may take.

        Args:
            queued: the cell.
            reuse_seconds: the greatest age; 0: none is taken.
            now: the time.

        Returns:
            How the cell ends by it; None: there is none that is fresh enough.
        """
        if not reuse_seconds:
            return None
        stored = await self._bucket.get(reuse_key(queued))
        if stored is None:
            return None
        found = events_pb2.DeviceRunFinished.FromString(stored)
        if now - from_timestamp(found.ended_at) > timedelta(seconds=reuse_seconds):
            return None
        found.run.CopyFrom(queued.run)
        found.cell.CopyFrom(queued.cell)
        found.attempt = 1
        found.reused = True
        if found.HasField("farm_run") and found.farm_run.HasField("cost_micro_usd"):
            found.farm_run.cost_micro_usd = 0
        return found


def reuse_key(queued: farm_runs_pb2.QueuedCell) -> str:
    """What a measurement depends on.

    Args:
        queued: a cell.

    Returns:
        A key of a bucket.
    """
    cell, job = queued.cell, job_from_proto(queued.job)
    app = "" if job.run_as == "executable" else job.blobs[0].sha256
    inputs = {
        "model": job.model_sha256,
        "app": app,
        "shapes": {shape.name: list(shape.shape) for shape in cell.input_shapes},
        **_place(cell),
    }
    return job_key("measured", inputs, {})


def _place(cell: types_pb2.Cell) -> dict[str, str | int]:
    return {
        "farm": cell.farm,
        "device": cell.device,
        "os_version": cell.os_version,
        "accelerator": cell.accelerator,
        "threads": cell.threads,
        "run_as": cell.run_as,
    }
