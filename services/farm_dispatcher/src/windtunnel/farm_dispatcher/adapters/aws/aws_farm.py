"""The farm `aws`: AWS Device Farm.

Jobs run through adb in a test spec of type APPIUM_PYTHON. The test package carries the benchmark program, the models
and a script. It runs several entries one after the other. iOS apps run as XCTEST.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from windtunnel.accelerators import XNNPACK
from windtunnel.errors import FarmError
from windtunnel.farm_dispatcher.adapters.aws.artifacts import fetch_artifacts
from windtunnel.farm_dispatcher.adapters.aws.catalog import Catalog
from windtunnel.farm_dispatcher.adapters.aws.client import DeviceFarmClient, RefusedCall, open_client
from windtunnel.farm_dispatcher.adapters.aws.parts import Names, arns_of, parts_of, submitted_of, web_page
from windtunnel.farm_dispatcher.adapters.aws.results import collected_of
from windtunnel.farm_dispatcher.adapters.aws.run_index import RunIndex
from windtunnel.farm_dispatcher.adapters.aws.submit import Submitter
from windtunnel.farm_dispatcher.adapters.aws.uploads import Uploads
from windtunnel.farm_dispatcher.domain.cells import RunAs
from windtunnel.farm_dispatcher.domain.device_runs import Collected, JobFailure, JobResult, Phase, Polled, Submitted
from windtunnel.farm_dispatcher.domain.devices import Device
from windtunnel.farm_dispatcher.domain.farm import Farm, Files
from windtunnel.farm_dispatcher.domain.farm_settings import AwsSettings, HostSettings
from windtunnel.farm_dispatcher.domain.jobs import AppKind, FarmRunRequest
from windtunnel.farms.failure_kinds import FailureKind
from windtunnel.farms.properties import PHONES

# How far a run is, by its status. Those with PENDING wait for the service, a free slot or a device.
PHASES: Final[Mapping[str, Phase]] = {
    "PENDING": Phase.QUEUED,
    "PENDING_CONCURRENCY": Phase.QUEUED,
    "PENDING_DEVICE": Phase.QUEUED,
    "PROCESSING": Phase.QUEUED,
    "SCHEDULING": Phase.QUEUED,
    "PREPARING": Phase.RUNNING,
    "RUNNING": Phase.RUNNING,
    "STOPPING": Phase.RUNNING,
    "COMPLETED": Phase.ENDED,
}
# Results of runs whose test ran. Their artifacts may take a moment to appear.
_RAN: Final = frozenset({"PASSED", "WARNED", "FAILED"})
_ARTIFACTS_LATE_S: Final = (2.0, 5.0, 10.0)
# Not of the service: somebody deleted the run there.
DELETED: Final = "DELETED"


@asynccontextmanager
async def open_farm(settings: AwsSettings, host: HostSettings) -> AsyncIterator[Farm]:
    """Opens AWS Device Farm. Nothing is asked for yet.

    Args:
        settings: of the farm.
        host: of this service; not used.

    Yields:
        The farm.
    """
    client = DeviceFarmClient(await asyncio.to_thread(_new_client, settings))
    try:
        yield AwsFarm(client, settings)
    finally:
        client.close()


def _new_client(settings: AwsSettings) -> Any:
    from botocore.exceptions import BotoCoreError

    try:
        return open_client(settings.region)
    except BotoCoreError as error:
        raise FarmError(f"farm {settings.name!r}: {error}", retryable=False, kind=FailureKind.OTHER) from error


class AwsFarm:
    """Implements `Farm`.

    Args:
        client: of the service.
        settings: of the farm.
    """

    properties = PHONES
    default_accelerator = XNNPACK
    runs: tuple[RunAs, ...] = ("executable", "app")
    app_kinds: tuple[AppKind, ...] = ("instrumentation", "game_loop", "activity", "xctest")

    def __init__(self, client: DeviceFarmClient, settings: AwsSettings) -> None:
        self.settings = settings
        self._client = client
        self._catalog = Catalog(client, settings)
        self._runs = RunIndex(client, settings.project)
        uploads = Uploads(client, settings.project)
        self._submitter = Submitter(client, settings.project, self._catalog, uploads, self._runs)

    async def devices(self) -> Sequence[Device]:
        """Implements `Farm.devices`."""
        return await self._catalog.devices()

    async def find(self, key: str) -> Submitted | None:
        """Implements `Farm.find`. Without one of its parts a farm run is not submitted; submitting it adds the part."""
        names = Names(key)
        runs = names.whole(await self._runs.find(names))
        return None if runs is None else submitted_of(runs, self.settings.region)

    async def submit(self, request: FarmRunRequest, files: Files) -> Submitted:
        """Implements `Farm.submit`."""
        return submitted_of(await self._submitter.submit(request, files), self.settings.region)

    async def poll(self, submitted: Submitted) -> Polled:
        """Implements `Farm.poll`. The run that is least far speaks for all."""
        runs = [await self._run_or_deleted(arn) for arn in arns_of(submitted)]
        # A status of a later version of the service: it is there, and has not ended.
        phases = [_phase(run.get("status", "")) for run in runs]
        order = (Phase.RUNNING, Phase.QUEUED, Phase.ENDED)
        phase, run = min(zip(phases, runs, strict=True), key=lambda pair: order.index(pair[0]))
        return Polled(phase, run.get("status", ""), web_page(run, self.settings.region))

    async def collect(self, submitted: Submitted, request: FarmRunRequest, into: Path) -> Collected:
        """Implements `Farm.collect`."""
        parts = [
            await self._collect(arn, part, into / f"run-{number}")
            for number, (arn, part) in enumerate(zip(arns_of(submitted), parts_of(request), strict=True))
        ]
        billed = [part.billed_minutes for part in parts if part.billed_minutes is not None]
        results = tuple(result for part in parts for result in part.results)
        return Collected(results, sum(billed, Decimal(0)) if billed else None)

    async def cancel(self, submitted: Submitted) -> None:
        """Implements `Farm.cancel`."""
        for arn in arns_of(submitted):
            try:
                run = await self._run(arn)
                if run.get("status") not in {"COMPLETED", "STOPPING"}:
                    await self._client.call("stop_run", arn=arn)
            except RefusedCall as error:
                # It has ended in between, or was deleted.
                if error.service_code not in {"ArgumentException", "NotFoundException"}:
                    raise

    async def _collect(self, arn: str, part: FarmRunRequest, into: Path) -> Collected:
        run = await self._run_or_deleted(arn)
        if run.get("status") == DELETED:
            failure = JobFailure(FailureKind.CANCELLED, "the run was deleted from AWS Device Farm", field="GetRun")
            return Collected(tuple(JobResult(failure=failure) for _ in part.entries))
        if run.get("status") != "COMPLETED":
            raise FarmError(f"the run has not ended: it is {run.get('status')}")
        jobs = await self._client.all_pages("list_jobs", "jobs", arn=arn)
        left = await fetch_artifacts(self._client, arn, [job["arn"] for job in jobs], into)
        for wait_s in _ARTIFACTS_LATE_S if run.get("result") in _RAN else ():
            # An iOS app leaves a log only.
            if left.has_customer_artifacts or (part.device.platform == "ios" and left.device_log):
                break
            await self._client.sleep(wait_s)
            left = await fetch_artifacts(self._client, arn, [job["arn"] for job in jobs], into)
        return await asyncio.to_thread(collected_of, run, jobs, left, part, _pinned(run))

    async def _run_or_deleted(self, arn: str) -> dict[str, Any]:
        try:
            return await self._run(arn)
        except RefusedCall as error:
            if error.service_code != "NotFoundException":
                raise
            return {"arn": arn, "status": DELETED}

    async def _run(self, arn: str) -> dict[str, Any]:
        run: dict[str, Any] = (await self._client.call("get_run", arn=arn))["run"]
        return run


def _phase(status: str) -> Phase:
    return Phase.ENDED if status == DELETED else PHASES.get(status, Phase.RUNNING)


def _pinned(run: Mapping[str, Any]) -> str:
    """The ARN of the device that a run was pinned to; empty: it does not say."""
    filters = (run.get("deviceSelectionResult") or {}).get("filters") or ()
    for one in filters:
        if one.get("attribute") == "ARN" and one.get("operator") == "EQUALS":
            return str(one["values"][0])
    return ""
