"""Google's Developer Device Platform as a farm.

A farm run is one session of Device Run with one device. gcloud has no idempotent submission; only the API has
one, in v1alpha. So each session carries the key of its farm run as a label, and is looked for before another is made.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from windtunnel.accelerators import XNNPACK
from windtunnel.errors import FarmError
from windtunnel.farm_dispatcher.adapters.ddp import device_script
from windtunnel.farm_dispatcher.adapters.ddp.catalog import read_devices
from windtunnel.farm_dispatcher.adapters.ddp.gcloud import UPLOAD_S, Gcloud, list_flag
from windtunnel.farm_dispatcher.adapters.ddp.session_results import fetch, results_of
from windtunnel.farm_dispatcher.adapters.ddp.sessions import (
    KEY_LABEL,
    Session,
    created_name,
    created_url,
    labeled,
    read_session,
)
from windtunnel.farm_dispatcher.adapters.google_cloud.results_bucket import ResultsBucket
from windtunnel.farm_dispatcher.domain.cells import RunAs
from windtunnel.farm_dispatcher.domain.device_runs import Collected, JobResult, Phase, Polled, Submitted
from windtunnel.farm_dispatcher.domain.devices import Device
from windtunnel.farm_dispatcher.domain.farm import Farm, Files
from windtunnel.farm_dispatcher.domain.farm_settings import DdpSettings, HostSettings
from windtunnel.farm_dispatcher.domain.jobs import AppKind, FarmRunRequest
from windtunnel.farms.failure_kinds import FailureKind
from windtunnel.farms.properties import PHONES

# Device Run's limit of files that a session pushes.
_MOST_FILES: Final = 50
# A session that is looked for is young.
_MOST_LISTED: Final = 500
_NOTHING: Final = "-"


@asynccontextmanager
async def open_farm(settings: DdpSettings, host: HostSettings) -> AsyncIterator[Farm]:
    """Opens Device Run for a project. Nothing is asked before the first call.

    Args:
        settings: of the farm.
        host: of this service.

    Yields:
        The farm.

    Raises:
        InvalidSetting: `results` is not a gs:// folder.
    """
    bucket = ResultsBucket(settings.results, settings.endpoints.storage, settings.project)
    try:
        yield DdpFarm(settings, Gcloud(settings), bucket)
    finally:
        await asyncio.to_thread(bucket.close)


class DdpFarm:
    """Runs executables by Device Run.

    Args:
        settings: of the farm.
        gcloud: the command.
        bucket: of the results.
    """

    properties = PHONES
    default_accelerator = XNNPACK
    runs: tuple[RunAs, ...] = ("executable",)
    app_kinds: tuple[AppKind, ...] = ()

    def __init__(self, settings: DdpSettings, gcloud: Gcloud, bucket: ResultsBucket) -> None:
        self.settings = settings
        self._gcloud = gcloud
        self._bucket = bucket

    async def devices(self) -> Sequence[Device]:
        """Implements `Farm.devices`."""
        listed = (await self._gcloud.run("list the devices of Device Run", "devices", "list")).json
        if not isinstance(listed, list):
            raise FarmError("gcloud's list of devices is not JSON", retryable=False)
        return read_devices(listed, self.settings)

    async def find(self, key: str) -> Submitted | None:
        """Implements `Farm.find`."""
        words = ("sessions", "list", f"--limit={_MOST_LISTED}", "--sort-by=~createTime")
        found = labeled((await self._gcloud.run(f"look for session {key}", *words)).json, key)
        # Of two, the first one counts: the list begins with the youngest.
        return Submitted(found[-1]) if found else None

    async def submit(self, request: FarmRunRequest, files: Files) -> Submitted:
        """Implements `Farm.submit`."""
        if not device_script.executables(request):
            return Submitted(_NOTHING)
        known = await self.find(request.key)
        return known or await self._submit(request, files)

    async def poll(self, submitted: Submitted) -> Polled:
        """Implements `Farm.poll`."""
        if submitted.id == _NOTHING:
            return Polled(Phase.ENDED)
        session = await self._describe(submitted.id)
        return Polled(session.phase, session.words, submitted.url or self._url(session))

    async def collect(self, submitted: Submitted, request: FarmRunRequest, into: Path) -> Collected:
        """Implements `Farm.collect`."""
        refusals = (
            (index, device_script.refusal_of(entry, request.device)) for index, entry in enumerate(request.entries)
        )
        results = {index: JobResult(failure=failure) for index, failure in refusals if failure is not None}
        if submitted.id == _NOTHING:
            return Collected(tuple(results[index] for index in range(len(request.entries))))
        session = await self._describe(submitted.id)
        if session.phase is not Phase.ENDED:
            raise FarmError(f"session {submitted.id} has not ended: {session.words}")
        left = await asyncio.to_thread(fetch, self._bucket, session, into)
        results |= results_of(session, request, left)
        return Collected(tuple(results[index] for index in range(len(request.entries))), session.billed_minutes)

    async def cancel(self, submitted: Submitted) -> None:
        """Implements `Farm.cancel`."""
        if submitted.id == _NOTHING:
            return
        try:
            await self._gcloud.run(f"cancel session {submitted.id}", "sessions", "cancel", submitted.id)
        except FarmError as error:
            # What has ended cannot be canceled; anything else is an error.
            if error.retryable or (await self._describe(submitted.id)).phase is not Phase.ENDED:
                raise

    async def _describe(self, name: str) -> Session:
        what, words = f"read session {name}", ("sessions", "describe", name)
        try:
            try:
                output = await self._gcloud.run(what, *words, "--full")
            except FarmError as error:
                if error.kind != FailureKind.UNSUPPORTED:
                    raise
                # Versions that do not know the flag print what they know.
                output = await self._gcloud.run(what, *words)
        except FarmError as error:
            # A session is made in the background, and is not there at once.
            error.retryable = error.retryable or "NOT_FOUND" in error.message
            raise
        return read_session(output, name)

    async def _submit(self, request: FarmRunRequest, files: Files) -> Submitted:
        pushed = await self._pushed(request, files)
        with tempfile.TemporaryDirectory(prefix="windtunnel-ddp-") as folder:
            script = Path(folder, f"{request.key}.sh")
            script.write_text(device_script.script_of(request), encoding="utf-8", newline="\n")
            words = [
                *("sessions", "submit", "android-executable", "--async"),
                f"--device={request.device.name}",
                f"--executable={script}",
                f"--executable-timeout={device_script.timeout_of(request)}s",
                list_flag("other-files-to-push", _pushes(pushed, request.key, Path(folder))),
                f"--paths-to-pull={device_script.folder_of(request.key)}/out",
                f"--bucket-name={self._bucket.name}",
                f"--labels={KEY_LABEL}={request.key}",
                # The scheduler says whether anything is tried again.
                "--flaky-test-attempts=1",
            ]
            output = await self._gcloud.run(f"start session {request.key}", *words, longest_s=UPLOAD_S)
        name = created_name(output)
        if not name:
            raise FarmError(f"gcloud started a session for {request.key} and did not name it")
        return Submitted(name, created_url(output), "PENDING")

    async def _pushed(self, request: FarmRunRequest, files: Files) -> Mapping[str, Path]:
        """Local files by their hashes: each artifact once.

        Raises:
            FarmError: Device Run does not push so many.
        """
        blobs = dict.fromkeys(blob for _, _, job in device_script.executables(request) for blob in job.blobs)
        if len(blobs) > _MOST_FILES:
            raise FarmError(
                f"{len(blobs)} files are more than the {_MOST_FILES} that Device Run pushes",
                retryable=False,
                hint="set cells_per_run lower in farms.yaml",
                kind=FailureKind.UNSUPPORTED,
            )
        return {blob.sha256: await files.path(blob) for blob in blobs}

    def _url(self, session: Session) -> str:
        folder = session.folder.removeprefix("gs://") or f"{self._bucket.name}/automation/sessions"
        return f"https://console.cloud.google.com/storage/browser/{folder}/{session.name}"


def _pushes(pushed: Mapping[str, Path], key: str, folder: Path) -> list[str]:
    """SOURCE=TARGET for gcloud, which uploads files under their own names: no two may have the same."""
    for sha256, local in pushed.items():
        (folder / sha256).symlink_to(local.absolute())
    return [f"{folder / sha256}={device_script.folder_of(key)}/blobs/{sha256}" for sha256 in pushed]
