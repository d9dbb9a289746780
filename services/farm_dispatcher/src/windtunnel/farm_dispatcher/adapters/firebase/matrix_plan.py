"""Which test matrices a farm run needs, and what each asks for.

Entries share a matrix, and so a started minute, where one run of the app can do both: the same app, no file of one in
the place of another's, another scenario. The plan follows from the request alone, so that it can be made again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from windtunnel.artifacts import ArtifactRef
from windtunnel.farm_dispatcher.adapters.cell_refusals import cell_refusal, unsupported
from windtunnel.farm_dispatcher.adapters.firebase.catalog import Environment
from windtunnel.farm_dispatcher.domain.device_runs import JobFailure
from windtunnel.farm_dispatcher.domain.devices import Device
from windtunnel.farm_dispatcher.domain.jobs import AppJob, Entry, FarmRunRequest

# Test Lab's own limits of one execution, in seconds.
LONGEST_S: Final[Mapping[str, float]] = {"physical": 45 * 60.0, "virtual": 60 * 60.0}
_PUSHED_TO: Final = ("/sdcard/", "/data/local/tmp/")
_PULLED_FROM: Final = ("/sdcard", "/storage", "/data/local/tmp")


@dataclass(frozen=True, slots=True)
class Planned:
    """An entry of a matrix: its place in the request, and the scenario that it runs (0: not a game loop)."""

    index: int
    entry: Entry
    job: AppJob
    scenario: int


@dataclass(frozen=True, slots=True)
class MatrixPlan:
    """What a farm run does: entries by matrix, and those that Test Lab cannot run, by their places."""

    matrices: tuple[tuple[Planned, ...], ...]
    refused: Mapping[int, JobFailure]


def plan_matrices(request: FarmRunRequest) -> MatrixPlan:
    """Divides a farm run.

    Args:
        request: of it.

    Returns:
        The same for the same request.
    """
    matrices: list[list[Planned]] = []
    refused: dict[int, JobFailure] = {}
    for index, entry in enumerate(request.entries):
        planned = _planned(index, entry, request.device)
        if isinstance(planned, JobFailure):
            refused[index] = planned
            continue
        for matrix in matrices:
            if _fits(planned, matrix):
                matrix.append(planned)
                break
        else:
            matrices.append([planned])
    return MatrixPlan(tuple(map(tuple, matrices)), refused)


def _planned(index: int, entry: Entry, device: Device) -> Planned | JobFailure:
    job, refused = entry.job, cell_refusal(entry.cell, device)
    if refused is not None:
        return refused
    if not isinstance(job, AppJob):
        return unsupported("Test Lab runs apps, not executables", "run_as: app, or another farm")
    if job.platform != "android" or job.kind not in ("game_loop", "instrumentation"):
        return unsupported(f"this farm does not run an app of kind {job.kind} for {job.platform}", "take another farm")
    bad = [file.target for file in job.files if not file.target.startswith(_PUSHED_TO)]
    if bad:
        return unsupported(f"Test Lab does not push to {bad[0]}", f"push below {' or '.join(_PUSHED_TO)}")
    if job.kind == "instrumentation":
        if job.test_package is None:
            return unsupported("an instrumentation needs a test package")
        return Planned(index, entry, job, 0)
    if len(job.scenarios) != 1 or job.scenarios[0] < 1:
        asked = f"accelerator {entry.cell.accelerator!r} with {entry.cell.threads} threads"
        return unsupported(f"{asked} is not one scenario of the game loop, but {len(job.scenarios)}")
    return Planned(index, entry, job, job.scenarios[0])


def _fits(planned: Planned, matrix: Sequence[Planned]) -> bool:
    first = matrix[0]
    if planned.scenario == 0 or first.scenario == 0 or planned.job.package != first.job.package:
        return False
    if any(planned.scenario == other.scenario for other in matrix):
        return False
    # The app of one scenario sees the files of all: they must be its own.
    mine = {file.target: file.blob for file in planned.job.files}
    theirs = {file.target: file.blob for other in matrix for file in other.job.files}
    return mine == theirs or not mine.keys() & theirs.keys()


def matrix_body(
    request: FarmRunRequest,
    matrix: Sequence[Planned],
    environment: Environment,
    addresses: Mapping[ArtifactRef, str],
    results: str,
) -> dict[str, Any]:
    """The TestMatrix for the Testing API.

    Args:
        request: of the farm run.
        matrix: its entries.
        environment: the device.
        addresses: gs:// addresses of the artifacts.
        results: gs:// address of the folder of its results.

    Returns:
        JSON.
    """
    device = {
        "androidModelId": environment.model,
        "androidVersionId": environment.version,
        "locale": environment.locale,
        "orientation": environment.orientation,
    }
    wanted = sum(planned.job.timeout_s for planned in matrix)
    limit = LONGEST_S.get(request.device.kind, LONGEST_S["physical"])
    return {
        "clientInfo": {"name": "windtunnel", "clientInfoDetails": [{"key": "farm_run", "value": request.key}]},
        "environmentMatrix": {"androidDeviceList": {"androidDevices": [device]}},
        "testSpecification": {
            **_test(matrix, addresses),
            "testTimeout": f"{round(min(wanted, limit))}s",
            "testSetup": _setup(matrix, addresses),
            "disableVideoRecording": True,
            "disablePerformanceMetrics": True,
        },
        "resultStorage": {"googleCloudStorage": {"gcsPath": results}},
        # A failed test is not tried again: whether it was the farm's fault is for the scheduler to say.
        "flakyTestAttempts": 0,
    }


def _test(matrix: Sequence[Planned], addresses: Mapping[ArtifactRef, str]) -> dict[str, Any]:
    job = matrix[0].job
    app = {"gcsPath": addresses[job.package]}
    if job.test_package is not None and job.kind == "instrumentation":
        return {"androidInstrumentationTest": {"appApk": app, "testApk": {"gcsPath": addresses[job.test_package]}}}
    # Test Lab reads the name of the app from its manifest.
    return {"androidTestLoop": {"appApk": app, "scenarios": [planned.scenario for planned in matrix]}}


def _setup(matrix: Sequence[Planned], addresses: Mapping[ArtifactRef, str]) -> dict[str, Any]:
    files = {file.target: file.blob for planned in matrix for file in planned.job.files}
    pulled = dict.fromkeys(
        path.rstrip("/") for planned in matrix for path in planned.job.pull if path.startswith(_PULLED_FROM)
    )
    setup: dict[str, Any] = {
        "filesToPush": [
            {"regularFile": {"content": {"gcsPath": addresses[blob]}, "devicePath": target}}
            for target, blob in files.items()
        ],
        "directoriesToPull": list(pulled),
    }
    job = matrix[0].job
    if job.kind == "instrumentation":
        setup["environmentVariables"] = [{"key": key, "value": value} for key, value in job.arguments.items()]
    return {name: value for name, value in setup.items() if value}
