"""Scheduling of farm runs. ScheduleRun has no client token: the run's name is the key, and it is looked up first."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from windtunnel.artifacts import ArtifactRef
from windtunnel.errors import FarmError, InvalidInput
from windtunnel.farm_dispatcher.adapters.aws.catalog import Catalog
from windtunnel.farm_dispatcher.adapters.aws.client import DeviceFarmClient, LostAnswer, RefusedCall
from windtunnel.farm_dispatcher.adapters.aws.package import (
    files_of,
    placeholder_app,
    require_app,
    require_size,
    write_package,
)
from windtunnel.farm_dispatcher.adapters.aws.parts import Names, parts_of
from windtunnel.farm_dispatcher.adapters.aws.run_index import RunIndex
from windtunnel.farm_dispatcher.adapters.aws.test_spec import COOL_DOWN_S, SPEC
from windtunnel.farm_dispatcher.adapters.aws.uploads import Uploads
from windtunnel.farm_dispatcher.domain.farm import Files
from windtunnel.farm_dispatcher.domain.jobs import AppJob, FarmRunRequest
from windtunnel.farms.failure_kinds import FailureKind

log = logging.getLogger(__name__)
LEAST_MINUTES, MOST_MINUTES = 5, 150
# For setting up, pushing, pulling and tearing down, and for pushing the files of one entry.
_SETUP_S: Final = 240.0
_PUSH_S: Final = 30.0
# After a lost answer the run may take a moment to appear in lists. Until then it is not scheduled again.
_LOOKS_S: Final = (1.0, 2.0, 4.0)
_SETTLED_S: Final = 20.0


@dataclass
class Submitter:
    """Starts farm runs of a project.

    Attributes:
        client: of the service.
        project: its ARN.
        catalog: its devices.
        uploads: its uploads.
        runs: its runs.
    """

    client: DeviceFarmClient
    project: str
    catalog: Catalog
    uploads: Uploads
    runs: RunIndex
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)
    # When the answer for a name was lost.
    _lost: dict[str, float] = field(default_factory=dict)

    async def submit(self, request: FarmRunRequest, files: Files) -> list[dict[str, Any]]:
        """Schedules what a request needs, once for each key: one run, or one for each entry.

        Args:
            request: what to run.
            files: gives its artifacts.

        Returns:
            The runs as the service shows them.

        Raises:
            FarmError: one is refused, or it is not known whether it was scheduled.
            InvalidInput: a job cannot be run this way.
        """
        require_platform(request)
        parts = parts_of(request)
        lock = self._locks.setdefault(request.key, asyncio.Lock())
        try:
            async with lock:
                found = await self.runs.find(Names(request.key, len(parts)))
                return [found.get(part.key) or await self._submit(part, files) for part in parts]
        finally:
            self._locks.pop(request.key, None)

    async def _submit(self, part: FarmRunRequest, files: Files) -> dict[str, Any]:
        minutes = timeout_minutes(part)
        if self.client.clock() - self._lost.get(part.key, float("-inf")) < _SETTLED_S:
            raise FarmError(f"it is not known yet whether AWS Device Farm has run {part.key}: its answer was lost")
        device = await self.catalog.described(part.device)
        arns = await self._prepare(part, files)
        try:
            return await self._schedule(part, schedule_request(self.project, part, device, minutes, arns))
        except RefusedCall as error:
            if error.kind != FailureKind.OTHER or await self.uploads.are_ready(arns.values()):
                raise
            log.info("an upload is gone: %s", error)
            self.uploads.forget()
            arns = await self._prepare(part, files)
            return await self._schedule(part, schedule_request(self.project, part, device, minutes, arns))

    async def _schedule(self, request: FarmRunRequest, scheduled: dict[str, Any]) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = (await self.client.call_once("schedule_run", **scheduled))["run"]
            return answer
        except LostAnswer as error:
            return await self._look(request.key, error)
        except RefusedCall as error:
            if error.service_code == "IdempotencyException":
                return await self._look(request.key, error)
            raise

    async def _look(self, key: str, error: FarmError) -> dict[str, Any]:
        """The run whose answer was lost: it must not be scheduled again before it is known that it was not.

        Raises:
            FarmError: it does not appear; the same request is asked for again later.
        """
        self._lost[key] = self.client.clock()
        for wait_s in _LOOKS_S:
            await self.client.sleep(wait_s)
            found = await self.runs.find(Names(key, 1))
            if found:
                log.info("farm run %s was scheduled, its answer was lost", key)
                del self._lost[key]
                return found[key]
        raise FarmError(error.message, kind=FailureKind.INFRASTRUCTURE) from error

    async def _prepare(self, request: FarmRunRequest, files: Files) -> dict[str, str]:
        """Uploads what a run needs.

        Returns:
            The ARNs, by their names in ScheduleRun.
        """
        job = request.entries[0].job
        if isinstance(job, AppJob) and job.platform == "ios":
            return await self._prepare_ios(job, files)
        installed = job.package if isinstance(job, AppJob) else None
        with tempfile.TemporaryDirectory(prefix="windtunnel-aws-") as name:
            folder = Path(name)
            app, sha256 = await self._app(installed, files, folder)
            package, spec = folder / "package.zip", folder / "spec.yml"
            paths = {blob: await files.path(blob) for blob in files_of(request, installed)}
            await asyncio.to_thread(write_package, package, request, paths, installed)
            await asyncio.to_thread(spec.write_text, SPEC)
            spec_hash = hashlib.sha256(SPEC.encode()).hexdigest()
            arns = await _all_or_first_error(
                self.uploads.arn("ANDROID_APP", sha256, app),
                self.uploads.arn("APPIUM_PYTHON_TEST_PACKAGE", await asyncio.to_thread(hash_file, package), package),
                self.uploads.arn("APPIUM_PYTHON_TEST_SPEC", spec_hash, spec),
            )
        return dict(zip(("appArn", "testPackageArn", "testSpecArn"), arns, strict=True))

    async def _app(self, installed: ArtifactRef | None, files: Files, folder: Path) -> tuple[Path, str]:
        """What goes into the app slot. A run of executables has one too: the service wants an app there."""
        if installed is not None:
            return await self._checked(installed, "android", files), installed.sha256
        content = placeholder_app()
        path = folder / "placeholder.apk"
        await asyncio.to_thread(path.write_bytes, content)
        return path, hashlib.sha256(content).hexdigest()

    async def _checked(self, app: ArtifactRef, platform: str, files: Files) -> Path:
        require_size("the app", app.size_bytes)
        path = await files.path(app)
        await asyncio.to_thread(require_app, path, platform)
        return path

    async def _prepare_ios(self, job: AppJob, files: Files) -> dict[str, str]:
        if job.test_package is None or job.kind != "xctest":
            raise InvalidInput(
                "AWS Device Farm runs an iOS app only with its XCTest package", hint="give the app job a test package"
            )
        app = await self._checked(job.package, "ios", files)
        arns = await _all_or_first_error(
            self.uploads.arn("IOS_APP", job.package.sha256, app),
            self.uploads.arn("XCTEST_TEST_PACKAGE", job.test_package.sha256, await files.path(job.test_package)),
        )
        return dict(zip(("appArn", "testPackageArn"), arns, strict=True))


def require_platform(request: FarmRunRequest) -> None:
    """Refuses jobs that the platform of the device does not run.

    Args:
        request: of the farm run.

    Raises:
        FarmError: it has such a job.
    """
    platform = request.device.platform
    for entry in request.entries:
        wanted = entry.job.platform if isinstance(entry.job, AppJob) else "android"
        if wanted != platform:
            what = "an executable" if not isinstance(entry.job, AppJob) else f"an app for {wanted}"
            raise FarmError(
                f"{request.device.name} runs {platform}, the job is {what}",
                retryable=False,
                hint="ask for run_as: app" if platform == "ios" else "",
                kind=FailureKind.UNSUPPORTED,
            )


def timeout_minutes(request: FarmRunRequest) -> int:
    """The job timeout of a run: what its entries may take, and what Device Farm takes around them.

    Args:
        request: of the farm run.

    Returns:
        Within the service's limits.

    Raises:
        FarmError: it needs more than the service allows.
    """
    longest = max(entry.job.timeout_s for entry in request.entries)
    if longest > MOST_MINUTES * 60:
        raise FarmError(
            f"a job may take {longest / 60:.0f} minutes, AWS Device Farm allows {MOST_MINUTES}",
            retryable=False,
            kind=FailureKind.UNSUPPORTED,
        )
    pauses = COOL_DOWN_S * (len(request.entries) - 1) + _PUSH_S * len(request.entries)
    asked = max(request.timeout_s, sum(entry.job.timeout_s for entry in request.entries))
    return min(MOST_MINUTES, max(LEAST_MINUTES, math.ceil((asked + pauses + _SETUP_S) / 60)))


def schedule_request(
    project: str, request: FarmRunRequest, device: Mapping[str, Any], minutes: int, arns: Mapping[str, str]
) -> dict[str, Any]:
    """The parameters of ScheduleRun.

    Args:
        project: its ARN.
        request: of the farm run.
        device: as the service shows it.
        minutes: the job timeout.
        arns: of the uploads, by their names in ScheduleRun.

    Returns:
        The parameters: one device, pinned by its ARN, which stands for a model with an OS version.
    """
    tests = {name: arn for name, arn in arns.items() if name != "appArn"}
    kind = "APPIUM_PYTHON" if "testSpecArn" in tests else "XCTEST"
    return {
        "projectArn": project,
        "appArn": arns["appArn"],
        "name": request.key,
        "test": {"type": kind, **tests},
        "deviceSelectionConfiguration": {"filters": _filters(device, request.avoid), "maxDevices": 1},
        "executionConfiguration": {"jobTimeoutMinutes": minutes, "videoCapture": False},
    }


def _filters(device: Mapping[str, Any], avoid: Sequence[str]) -> list[dict[str, Any]]:
    filters = [
        {"attribute": "ARN", "operator": "EQUALS", "values": [device["arn"]]},
        {"attribute": "OS_VERSION", "operator": "EQUALS", "values": [device["os"]]},
    ]
    own = {instance["arn"] for instance in device.get("instances") or ()}
    avoided = sorted(own & set(avoid))
    if avoided and own - set(avoid):
        filters.append({"attribute": "INSTANCE_ARN", "operator": "NOT_IN", "values": avoided})
    return filters


def hash_file(path: Path) -> str:
    """The SHA-256 of a file. Blocks.

    Args:
        path: of it.

    Returns:
        In hexadecimal digits.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


async def _all_or_first_error(*uploads: Any) -> list[str]:
    """Waits for all, so that no upload reads a file that is already gone, and raises the first error."""
    results = await asyncio.gather(*uploads, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [str(result) for result in results]
