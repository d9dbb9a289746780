"""Cells and jobs for farms, without a bus and a store."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from windtunnel.artifacts import ArtifactRef
from windtunnel.farm_dispatcher.domain.cells import Cell
from windtunnel.farm_dispatcher.domain.device_runs import DeviceRun, JobResult
from windtunnel.farm_dispatcher.domain.devices import Device
from windtunnel.farm_dispatcher.domain.farm import Farm
from windtunnel.farm_dispatcher.domain.jobs import DEVICE_FOLDER, Entry, ExecutableJob, FarmRunRequest, PushedFile
from windtunnel.farm_dispatcher.use_cases.run_once import run_once


class FolderFiles:
    """Artifacts that are files of a test."""

    def __init__(self) -> None:
        self._paths: dict[ArtifactRef, Path] = {}

    def add(self, path: Path) -> ArtifactRef:
        content = path.read_bytes()
        blob = ArtifactRef(hashlib.sha256(content).hexdigest(), len(content))
        self._paths[blob] = path
        return blob

    async def path(self, blob: ArtifactRef) -> Path:
        return self._paths[blob]


def cell_on(device: Device, **changes: Any) -> Cell:
    cell = Cell(
        "c-1", "float32", device.farm, device.name, device.platform, device.os_version, device.accelerators[0], 1
    )
    return dataclasses.replace(cell, **changes)


def model_job(model: ArtifactRef) -> ExecutableJob:
    return ExecutableJob(PushedFile(model, f"{DEVICE_FOLDER}/model.tflite"))


def request_of(device: Device, *entries: Entry, key: str = "wt-1") -> FarmRunRequest:
    return FarmRunRequest(key, device, entries, 600.0)


async def run_job(farm: Farm, device: Device, model: Path, into: Path, key: str = "wt-1", **changes: Any) -> JobResult:
    """The result of one cell that is submitted, waited for and collected."""
    files = FolderFiles()
    entry = Entry("cell", cell_on(device, **changes), model_job(files.add(model)))
    folder = into / key
    folder.mkdir(parents=True)
    _, collected = await run_once(farm, request_of(device, entry, key=key), files, folder)
    (result,) = collected.results
    return result


async def run_of(farm: Farm, device: Device, model: Path, into: Path, key: str = "wt-1", **changes: Any) -> DeviceRun:
    """The run of one cell that must succeed."""
    result = await run_job(farm, device, model, into, key, **changes)
    assert result.run is not None, result.failure
    return result.run
