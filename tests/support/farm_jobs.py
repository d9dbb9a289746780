"""Cells and jobs for farms, without a bus and a store."""

from __future__ import annotations

import atexit
import dataclasses
import hashlib
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from support.base_apk import apk_bytes
from support.farm_peers.google.benchmark_program import write_program
from support.farm_peers.phone.benchmark import benchmark_binary
from windtunnel.artifacts import ArtifactRef
from windtunnel.farm_dispatcher.domain.cells import Cell
from windtunnel.farm_dispatcher.domain.device_runs import DeviceRun, JobResult
from windtunnel.farm_dispatcher.domain.devices import Device
from windtunnel.farm_dispatcher.domain.farm import Farm
from windtunnel.farm_dispatcher.domain.jobs import (
    DEVICE_FOLDER,
    AppJob,
    Entry,
    ExecutableJob,
    FarmRunRequest,
    Job,
    PushedFile,
)
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


def job_for(files: FolderFiles, device: Device, model: Path, cell: Cell, name: str = "cell") -> Job:
    """The job of a cell: on a phone with a benchmark for it, elsewhere with the farm's own."""
    blob = files.add(model)
    if device.platform == "host":
        return model_job(blob)
    if device.farm == "firebase":
        return game_loop_job(cell, blob, files.add(_benchmark_app()))
    program = _host_benchmark() if device.farm == "ddp" else _phone_benchmark()
    return benchmark_job(cell, blob, files.add(program), f"{DEVICE_FOLDER}/{name}/model.tflite")


def game_loop_job(cell: Cell, model: ArtifactRef, app: ArtifactRef) -> AppJob:
    """TFLite's benchmark app with a pushed model."""
    scenarios = {("cpu", 1): 1, ("cpu", 2): 2, ("xnnpack", 1): 4, ("xnnpack", 2): 5}
    found = scenarios.get((cell.accelerator, cell.threads))
    return AppJob(
        app,
        "android",
        "game_loop",
        "org.tensorflow.lite.benchmark",
        model.sha256,
        () if found is None else (found,),
        files=(PushedFile(model, f"{DEVICE_FOLDER}/graph"),),
        timeout_s=120.0,
    )


def benchmark_job(cell: Cell, model: ArtifactRef, program: ArtifactRef, target: str) -> ExecutableJob:
    """TFLite's benchmark tool with the arguments of a cell."""
    arguments = [f"--graph={target}", f"--num_threads={cell.threads}"]
    arguments.append(f"--use_xnnpack={'true' if cell.accelerator == 'xnnpack' else 'false'}")
    if cell.input_shapes:
        shapes = [",".join(map(str, shape)) for shape in cell.input_shapes.values()]
        arguments += [f"--input_layer={','.join(cell.input_shapes)}", f"--input_layer_shape={':'.join(shapes)}"]
    return ExecutableJob(
        model=PushedFile(model, target),
        binary=PushedFile(program, f"{DEVICE_FOLDER}/benchmark_model"),
        arguments=tuple(arguments),
        timeout_s=120.0,
    )


@cache
def _phone_benchmark() -> Path:
    folder = tempfile.mkdtemp(prefix="windtunnel-benchmark-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder, "benchmark_model")
    path.write_bytes(benchmark_binary())
    return path


@cache
def _host_benchmark() -> Path:
    return write_program(Path(tempfile.mkdtemp(prefix="windtunnel-benchmark-"), "benchmark_model"))


@cache
def _benchmark_app() -> Path:
    path = Path(tempfile.mkdtemp(prefix="windtunnel-benchmark-"), "benchmark.apk")
    path.write_bytes(apk_bytes())
    return path


def request_of(device: Device, *entries: Entry, key: str = "wt-1") -> FarmRunRequest:
    return FarmRunRequest(key, device, entries, 600.0)


async def run_job(farm: Farm, device: Device, model: Path, into: Path, key: str = "wt-1", **changes: Any) -> JobResult:
    """The result of one cell that is submitted, waited for and collected."""
    files = FolderFiles()
    cell = cell_on(device, **changes)
    entry = Entry("cell", cell, job_for(files, device, model, cell))
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
