"""Firebase Test Lab as a farm.

A farm run is one test matrix, or several where its entries cannot share one. The id of a request makes starting it
idempotent on Test Lab's side. Two small files in the farm run's own folder of the bucket make it possible to find it
again: what Test Lab is asked for, written before, and which matrices that made, written after.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from windtunnel.accelerators import XNNPACK
from windtunnel.artifacts import ArtifactRef
from windtunnel.errors import FarmError
from windtunnel.farm_dispatcher.adapters.firebase.catalog import Catalog, Environment, read_catalog
from windtunnel.farm_dispatcher.adapters.firebase.matrix_plan import MatrixPlan, Planned, matrix_body, plan_matrices
from windtunnel.farm_dispatcher.adapters.firebase.matrix_results import (
    ENDED,
    Ended,
    fetch_files,
    require_complete,
    results_of,
)
from windtunnel.farm_dispatcher.adapters.firebase.test_lab_client import TestLabClient
from windtunnel.farm_dispatcher.adapters.google_cloud.results_bucket import ResultsBucket
from windtunnel.farm_dispatcher.domain.cells import RunAs
from windtunnel.farm_dispatcher.domain.device_runs import Collected, JobResult, Phase, Polled, Submitted
from windtunnel.farm_dispatcher.domain.devices import Device
from windtunnel.farm_dispatcher.domain.farm import Farm, Files
from windtunnel.farm_dispatcher.domain.farm_settings import FirebaseSettings, HostSettings
from windtunnel.farm_dispatcher.domain.jobs import AppKind, FarmRunRequest
from windtunnel.farms.failure_kinds import FailureKind
from windtunnel.farms.properties import PHONES

# The catalog changes by the week.
_CATALOG_S: Final = 3600.0
# A log that is missing is looked for so many times: files may come later than the end of the matrix.
_LOOKS: Final = 6
_ASKED: Final = "request.json"
_MADE: Final = "matrices.json"


@asynccontextmanager
async def open_farm(settings: FirebaseSettings, host: HostSettings) -> AsyncIterator[Farm]:
    """Opens Test Lab for a project. Nothing is asked before the first call.

    Args:
        settings: of the farm.
        host: of this service.

    Yields:
        The farm.

    Raises:
        InvalidSetting: `results` is not a gs:// folder.
    """
    client = TestLabClient(settings.project, settings.endpoints)
    bucket = ResultsBucket(settings.results, settings.endpoints.storage, settings.project)
    try:
        yield FirebaseFarm(settings, client, bucket)
    finally:
        await asyncio.to_thread(client.close)
        await asyncio.to_thread(bucket.close)


class FirebaseFarm:
    """Runs apps on Test Lab.

    Args:
        settings: of the farm.
        client: of its APIs.
        bucket: of uploads and results.
    """

    properties = PHONES
    default_accelerator = XNNPACK
    runs: tuple[RunAs, ...] = ("app",)
    app_kinds: tuple[AppKind, ...] = ("game_loop", "instrumentation")

    def __init__(self, settings: FirebaseSettings, client: TestLabClient, bucket: ResultsBucket) -> None:
        self.settings = settings
        self._client = client
        self._bucket = bucket
        self._catalog: Catalog | None = None
        self._catalog_until = 0.0
        self._looks: dict[str, int] = {}

    async def devices(self) -> Sequence[Device]:
        """Implements `Farm.devices`."""
        return (await asyncio.to_thread(self._read_catalog, 0.0)).devices

    async def find(self, key: str) -> Submitted | None:
        """Implements `Farm.find`. What was asked for without a known answer is asked for again: none starts twice."""
        return await asyncio.to_thread(self._find, key)

    async def submit(self, request: FarmRunRequest, files: Files) -> Submitted:
        """Implements `Farm.submit`."""
        plan = plan_matrices(request)
        environment = await asyncio.to_thread(self._environment, request.device)
        addresses = await self._upload(plan, files)
        bodies = [
            matrix_body(request, matrix, environment, addresses, self._bucket.uri(_folder(request.key), str(number)))
            for number, matrix in enumerate(plan.matrices)
        ]
        return await asyncio.to_thread(self._start, request.key, bodies)

    async def poll(self, submitted: Submitted) -> Polled:
        """Implements `Farm.poll`."""
        matrices = [await asyncio.to_thread(self._client.get, one) for one in _split(submitted.id)]
        states = [_state_of(matrix) for matrix in matrices]
        urls = (str(matrix.get("resultStorage", {}).get("resultsUrl", "")) for matrix in matrices)
        words, url = ", ".join(states), next((one for one in urls if one), "")
        if all(state in ENDED for state in states):
            return Polled(Phase.ENDED, words, url)
        return Polled(Phase.RUNNING if "RUNNING" in states else Phase.QUEUED, words, url)

    async def collect(self, submitted: Submitted, request: FarmRunRequest, into: Path) -> Collected:
        """Implements `Farm.collect`."""
        return await asyncio.to_thread(self._collect, _split(submitted.id), request, into)

    async def cancel(self, submitted: Submitted) -> None:
        """Implements `Farm.cancel`."""
        for matrix in _split(submitted.id):
            await asyncio.to_thread(self._client.cancel, matrix)

    def _read_catalog(self, longest_s: float) -> Catalog:
        """The catalog; one that is not older than `longest_s` is not read again."""
        if self._catalog is None or time.monotonic() > self._catalog_until - _CATALOG_S + longest_s:
            self._catalog = read_catalog(self._client.catalog(), self.settings)
            self._catalog_until = time.monotonic() + _CATALOG_S
        return self._catalog

    def _environment(self, device: Device) -> Environment:
        found = self._read_catalog(_CATALOG_S).environments.get((device.name, device.os_version))
        if found is None:
            raise FarmError(
                f"Test Lab's catalog has no {device.name} with Android {device.os_version}",
                retryable=False,
                hint="`windtunnel devices` lists what it has",
                kind=FailureKind.DEVICE,
            )
        return found

    async def _upload(self, plan: MatrixPlan, files: Files) -> Mapping[ArtifactRef, str]:
        jobs = [planned.job for matrix in plan.matrices for planned in matrix]
        packages = {job.package for job in jobs} | {job.test_package for job in jobs}
        addresses = {}
        for blob in dict.fromkeys(blob for job in jobs for blob in job.blobs):
            path = await files.path(blob)
            suffix = ".apk" if blob in packages else ""
            addresses[blob] = await asyncio.to_thread(self._bucket.upload_once, path, blob, suffix)
        return addresses

    def _find(self, key: str) -> Submitted | None:
        made = self._bucket.read_text(self._file(key, _MADE))
        if made is not None:
            return Submitted(_joined(json.loads(made)))
        asked = self._bucket.read_text(self._file(key, _ASKED))
        return None if asked is None else self._start(key, json.loads(asked))

    def _start(self, key: str, bodies: Sequence[Mapping[str, Any]]) -> Submitted:
        self._bucket.put_once(self._file(key, _ASKED), json.dumps(bodies))
        started = [self._client.create(body, f"{key}-{number}") for number, body in enumerate(bodies)]
        ids = [str(matrix["testMatrixId"]) for matrix in started]
        self._bucket.put_once(self._file(key, _MADE), json.dumps(ids))
        return Submitted(_joined(ids), words=", ".join(_state_of(matrix) for matrix in started))

    def _collect(self, ids: Sequence[str], request: FarmRunRequest, into: Path) -> Collected:
        plan = plan_matrices(request)
        environment = self._environment(request.device)
        results = {index: JobResult(failure=failure) for index, failure in plan.refused.items()}
        ended = [self._ended(one) for one in ids]
        for number, (one, matrix) in enumerate(zip(ended, plan.matrices, strict=True)):
            results |= self._collect_matrix(one, matrix, number, request, environment, into / str(number))
        minutes = sum((one.billed_minutes for one in ended), start=Decimal(0)) if ended else None
        return Collected(tuple(results[index] for index in range(len(request.entries))), minutes)

    def _ended(self, matrix_id: str) -> Ended:
        matrix = self._client.get(matrix_id)
        if matrix.get("state") not in ENDED:
            raise FarmError(f"test matrix {matrix_id} has not ended: {matrix.get('state')}")
        execution = matrix.get("resultStorage", {}).get("toolResultsExecution")
        steps = self._client.steps(execution) if execution else []
        require_complete(matrix, steps)
        return Ended(matrix, steps)

    def _collect_matrix(
        self,
        ended: Ended,
        matrix: Sequence[Planned],
        number: int,
        request: FarmRunRequest,
        environment: Environment,
        into: Path,
    ) -> dict[int, JobResult]:
        folder = self._bucket.path(_folder(request.key), str(number))
        files = fetch_files(self._bucket, folder, environment, into)
        if ended.failure is None and not files.log:
            self._require_looked(folder)
        self._looks.pop(folder, None)
        return results_of(ended, matrix, files, request.device.facts)

    def _require_looked(self, folder: str) -> None:
        """Refuses to say that there is no log before it was looked for often enough.

        Raises:
            FarmError: look again later.
        """
        self._looks[folder] = self._looks.get(folder, 0) + 1
        if self._looks[folder] < _LOOKS:
            raise FarmError(f"there is no logcat in {folder} yet")

    def _file(self, key: str, name: str) -> str:
        return self._bucket.path(_folder(key), name)


def _folder(key: str) -> str:
    """Of a farm run: no two share one, since the paths of results do not name the matrix."""
    return f"runs/{key}"


def _joined(ids: Sequence[str]) -> str:
    return ",".join(ids) or "-"


def _split(joined: str) -> list[str]:
    return [] if joined == "-" else joined.split(",")


def _state_of(matrix: Mapping[str, Any]) -> str:
    """RUNNING can only be set on executions, says the description; people want to see it of the matrix."""
    state = str(matrix.get("state", "TEST_STATE_UNSPECIFIED"))
    inside = {execution.get("state") for execution in matrix.get("testExecutions", ())}
    return "RUNNING" if state == "PENDING" and "RUNNING" in inside else state
