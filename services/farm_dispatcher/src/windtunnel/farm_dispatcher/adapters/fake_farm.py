"""A farm for tests: it behaves like a vendor's, runs nothing, and fails on request.

`FakeVendor` is the other side of the wire and outlives the processes that talk to it; `FakeFarm` is the adapter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Final

from windtunnel.errors import FarmError, WindtunnelError
from windtunnel.farm_dispatcher.adapters.benchmark import benchmark_log
from windtunnel.farm_dispatcher.adapters.benchmark.delegation import Delegation
from windtunnel.farm_dispatcher.adapters.benchmark.measurement import Measured
from windtunnel.farm_dispatcher.domain.cells import RunAs
from windtunnel.farm_dispatcher.domain.device_runs import (
    Collected,
    DeviceRun,
    JobFailure,
    JobResult,
    Phase,
    Polled,
    Samples,
    Submitted,
)
from windtunnel.farm_dispatcher.domain.devices import Device, DeviceFacts
from windtunnel.farm_dispatcher.domain.farm import Files
from windtunnel.farm_dispatcher.domain.farm_settings import FarmSettings, PollSeconds
from windtunnel.farm_dispatcher.domain.job_failures import failure_of
from windtunnel.farm_dispatcher.domain.jobs import AppKind, Entry, FarmRunRequest
from windtunnel.farms.failure_kinds import FailureKind
from windtunnel.farms.properties import THIS_HOST, FarmProperties
from windtunnel.run_conditions import RunConditions

FAKE_DEVICE: Final = Device(
    "fake",
    "pixel",
    "host",
    "14",
    ("cpu", "xnnpack"),
    DeviceFacts("pixel", "Tensor G3", 9, 8 << 30, "Android", "14", "LiteRT"),
)
FAKE_SETTINGS: Final = FarmSettings(name="fake", parallel=2, poll_seconds=PollSeconds(0.01, 0.05))
QUIET: Final = RunConditions(other_load_cores=0.0, spread=0.1, drift=0.0)
_TIMES_US: Final = (1200.5, 1100.0, 1300.25, 1150.0)
_SECONDS_PER_ENTRY: Final = 30.0


@dataclass
class _VendorRun:
    request: FarmRunRequest
    # The bytes of the models as they were received, by hash, so that tests see what reached the device.
    models: dict[str, bytes]
    polls: int = 0
    canceled: bool = False
    results: tuple[JobResult, ...] = ()


@dataclass
class FakeVendor:
    """What the vendor knows. Failures are taken in their order: one for each entry that runs.

    Attributes:
        polls_until_end: a farm run is queued at the first question, then running, and has ended at this one.
        lost_answers: how many submissions are carried out and answered with an error.
        calls: names of the calls that came in.
        ran: the cells of all entries that ran, in order.
    """

    polls_until_end: int = 1
    lost_answers: int = 0
    failures: list[WindtunnelError | JobFailure | None] = field(default_factory=list)
    # Raised by the next calls, whatever they ask for.
    faults: list[FarmError] = field(default_factory=list)
    runs: dict[str, _VendorRun] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    ran: list[Entry] = field(default_factory=list)

    def called(self, name: str) -> None:
        """Notes a call, and fails it if a fault is due.

        Args:
            name: of the call.

        Raises:
            FarmError: a fault is due.
        """
        self.calls.append(name)
        if self.faults:
            raise self.faults.pop(0)

    def start(self, request: FarmRunRequest, models: dict[str, bytes]) -> None:
        """Starts a farm run, once for each key.

        Args:
            request: of it.
            models: as received, by hash.
        """
        if request.key not in self.runs:
            self.runs[request.key] = _VendorRun(request, models)

    def poll(self, key: str) -> Phase:
        """How far a farm run is; each question brings it on.

        Args:
            key: of it.

        Returns:
            Queued at first.
        """
        run = self.runs[key]
        run.polls += 1
        if run.polls < self.polls_until_end and not run.canceled:
            return Phase.QUEUED if run.polls == 1 else Phase.RUNNING
        if not run.results:
            run.results = tuple(self._result(run, entry) for entry in run.request.entries)
        return Phase.ENDED

    def _result(self, run: _VendorRun, entry: Entry) -> JobResult:
        if run.canceled:
            return JobResult(failure=JobFailure(FailureKind.CANCELLED, "stopped"), seconds=0.0)
        self.ran.append(entry)
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            said = failure if isinstance(failure, JobFailure) else failure_of(failure)
            return JobResult(failure=said, seconds=_SECONDS_PER_ENTRY)
        return JobResult(run=_device_run(run, entry), seconds=_SECONDS_PER_ENTRY)


def _device_run(run: _VendorRun, entry: Entry) -> DeviceRun:
    cell = entry.cell
    size = max(len(content) for content in run.models.values())
    measured = Measured(
        size, cell.accelerator, cell.threads, 5000.0, _TIMES_US[:1], _TIMES_US, 1.5, 2.25, Delegation(0, 4, 0, 1)
    )
    shapes = cell.input_shapes or {"input": (1, 8)}
    return DeviceRun(
        benchmark_log.render(measured),
        Samples(_TIMES_US[:1], _TIMES_US),
        run.request.device.facts,
        shapes,
        bool(cell.input_shapes),
        QUIET,
        instance="pixel-1",
    )


@dataclass
class FakeFarm:
    """The adapter to a `FakeVendor`."""

    vendor: FakeVendor = field(default_factory=FakeVendor)
    offered: tuple[Device, ...] = (FAKE_DEVICE,)
    # Raised instead of listing devices.
    down: WindtunnelError | None = None
    properties: FarmProperties = THIS_HOST
    default_accelerator: str = "cpu"
    runs: tuple[RunAs, ...] = ("executable",)
    app_kinds: tuple[AppKind, ...] = ("game_loop",)
    settings: FarmSettings = FAKE_SETTINGS

    def fail(self, errors: Iterable[WindtunnelError | JobFailure | None]) -> None:
        """Adds what becomes of the next entries.

        Args:
            errors: None: that entry succeeds.
        """
        self.vendor.failures.extend(errors)

    @property
    def ran(self) -> list[Entry]:
        """All entries that ran."""
        return self.vendor.ran

    async def devices(self) -> Sequence[Device]:
        """Implements `Farm.devices`."""
        if self.down is not None:
            raise self.down
        return self.offered

    async def find(self, key: str) -> Submitted | None:
        """Implements `Farm.find`."""
        self.vendor.called("find")
        return _submitted(key) if key in self.vendor.runs else None

    async def submit(self, request: FarmRunRequest, files: Files) -> Submitted:
        """Implements `Farm.submit`."""
        paths = {blob.sha256: await files.path(blob) for entry in request.entries for blob in entry.job.blobs}
        models = {sha256: await asyncio.to_thread(path.read_bytes) for sha256, path in paths.items()}
        self.vendor.called("submit")
        self.vendor.start(request, models)
        if self.vendor.lost_answers:
            self.vendor.lost_answers -= 1
            raise FarmError("the answer was lost")
        return _submitted(request.key)

    async def poll(self, submitted: Submitted) -> Polled:
        """Implements `Farm.poll`."""
        self.vendor.called("poll")
        phase = self.vendor.poll(submitted.id.removeprefix("v-"))
        return Polled(phase, phase.value.upper(), submitted.url)

    async def collect(self, submitted: Submitted, request: FarmRunRequest, into: Path) -> Collected:
        """Implements `Farm.collect`."""
        self.vendor.called("collect")
        run = self.vendor.runs[submitted.id.removeprefix("v-")]
        seconds = sum(result.seconds or 0.0 for result in run.results)
        return Collected(run.results, Decimal(-(-int(seconds) // 60)))

    async def cancel(self, submitted: Submitted) -> None:
        """Implements `Farm.cancel`."""
        self.vendor.called("cancel")
        self.vendor.runs[submitted.id.removeprefix("v-")].canceled = True


def _submitted(key: str) -> Submitted:
    return Submitted(f"v-{key}", f"https://farm.example/{key}", "PENDING")
