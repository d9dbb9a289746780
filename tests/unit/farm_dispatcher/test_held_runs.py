"""Farm runs that are tasks of this process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from support.bus_wires import until
from windtunnel.artifacts import ArtifactRef
from windtunnel.farm_dispatcher.adapters.fake_farm import FAKE_DEVICE
from windtunnel.farm_dispatcher.adapters.in_process.held_runs import HeldRuns
from windtunnel.farm_dispatcher.domain.cells import Cell
from windtunnel.farm_dispatcher.domain.device_runs import JobFailure, JobResult, Phase
from windtunnel.farm_dispatcher.domain.jobs import Entry, ExecutableJob, FarmRunRequest, PushedFile
from windtunnel.farms.failure_kinds import FailureKind

MODEL = ArtifactRef("0" * 64, 1)
RESULT = JobResult(failure=JobFailure(FailureKind.TEST, "it ran"))


class _Files:
    async def path(self, blob: ArtifactRef) -> Path:
        return Path("model.tflite")


def _request(key: str) -> FarmRunRequest:
    cell = Cell("cell", "int8", "fake", "pixel", "host", "14", "cpu", 1)
    return FarmRunRequest(key, FAKE_DEVICE, (Entry("cell", cell, ExecutableJob(PushedFile(MODEL, "/m"))),), 60)


async def test_what_was_collected_does_not_stay_in_memory() -> None:
    async def run(entry: Entry, paths: Mapping[ArtifactRef, Path]) -> JobResult:
        return RESULT

    runs = HeldRuns(run)
    for number in range(200):
        request = _request(f"wt-{number}")
        submitted = await runs.submit(request, _Files())
        await until(lambda submitted=submitted: runs.poll(submitted).phase is Phase.ENDED, "it has ended")  # type: ignore[misc]
        # A collection may be repeated: the store may not have answered.
        assert runs.collect(submitted, request) == runs.collect(submitted, request)
    assert len(runs._held) < 100
    assert runs.find("wt-199") is not None and runs.find("wt-0") is None


async def test_who_cancels_can_be_canceled_too() -> None:
    stopping = asyncio.Event()

    async def run(entry: Entry, paths: Mapping[ArtifactRef, Path]) -> JobResult:
        try:
            await asyncio.Event().wait()
        finally:
            await stopping.wait()
        return RESULT

    runs = HeldRuns(run)
    submitted = await runs.submit(_request("wt-1"), _Files())
    await asyncio.sleep(0)
    canceling = asyncio.create_task(runs.cancel(submitted))
    await asyncio.sleep(0)
    canceling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await canceling
    stopping.set()
    await runs.close()
