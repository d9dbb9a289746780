"""The use case behind `windtunnel bench --device`: one measurement on a farm, without bus and records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from windtunnel.artifacts import ArtifactRef, Artifacts
from windtunnel.errors import FarmError, InvalidInput, NotFound, WindtunnelError
from windtunnel.farm_dispatcher.adapters.artifact_files import ArtifactFiles
from windtunnel.farm_dispatcher.domain.cells import Cell, RunAs
from windtunnel.farm_dispatcher.domain.device_runs import JobResult, Polled, Submitted
from windtunnel.farm_dispatcher.domain.devices import Device
from windtunnel.farm_dispatcher.domain.estimates import expected_cost
from windtunnel.farm_dispatcher.domain.farm import Farm
from windtunnel.farm_dispatcher.domain.jobs import App, Entry, FarmRunRequest, Job, new_key
from windtunnel.farm_dispatcher.domain.money import bill, micro_usd, usd
from windtunnel.farm_dispatcher.installed_farms import InstalledFarms
from windtunnel.farm_dispatcher.use_cases.build_job import JobBuilder
from windtunnel.farm_dispatcher.use_cases.plan_cells import expand, offer_of
from windtunnel.farm_dispatcher.use_cases.run_cells import error_of
from windtunnel.farm_dispatcher.use_cases.run_once import run_once
from windtunnel.farms.failure_kinds import FailureKind
from windtunnel.plan import DeviceFilter

__all__ = [
    "App",
    "JobBuilder",
    "Measured",
    "Target",
    "Wanted",
    "failure_of",
    "measure_on",
    "new_key",
    "require_budget",
    "target_of",
    "usd",
]

# A farm may be busy or silent for so long before the command gives up: what runs there costs money.
_PATIENCE_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to run, and where.

    Attributes:
        farm: name of the farm.
        device: "DEVICE" or "DEVICE@OS", as the farm knows it.
        accelerator: as cells spell it; empty: the farm's default.
        threads: of the CPU.
        run_as: None: the farm's default.
        shapes: of the inputs; empty: the model's own.
    """

    farm: str
    device: str
    accelerator: str = ""
    threads: int = 1
    run_as: RunAs | None = None
    shapes: Mapping[str, tuple[int, ...]] | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """A cell on a device that its farm offers now.

    Attributes:
        farm: that runs it.
        device: that runs it.
        cell: what to run.
        estimate: what it is expected to cost, in millionths of a US dollar; None: nothing.
    """

    farm: Farm
    device: Device
    cell: Cell
    estimate: int | None

    @property
    def timeout_s(self) -> float:
        """The longest run, in seconds."""
        return self.farm.settings.timeout_minutes * 60

    async def job(self, jobs: JobBuilder, model: ArtifactRef, apps: Sequence[App]) -> Job:
        """What the farm runs.

        Args:
            jobs: makes jobs.
            model: the .tflite file.
            apps: that hold the model, the preferred one first; for a cell that runs inside an app.

        Returns:
            The job.

        Raises:
            WindtunnelError: as from `JobBuilder`.
        """
        if self.cell.run_as == "app":
            return jobs.app(self.cell, apps[0], model, self.timeout_s)
        return await jobs.executable(self.cell, model, self.timeout_s, self.device.abis)


@dataclass(frozen=True, slots=True)
class Measured:
    """What became of a measurement.

    Attributes:
        submitted: the farm run as the farm knows it.
        words: the farm's last word on its state.
        result: the run, or how it failed.
        cost: the bill, in millionths of a US dollar; None: the farm bills nothing.
    """

    submitted: Submitted
    words: str
    result: JobResult
    cost: int | None


async def target_of(farms: InstalledFarms, wanted: Wanted) -> Target:
    """Finds the device and makes the cell.

    Args:
        farms: that are open.
        wanted: what is to run, and where.

    Returns:
        The target.

    Raises:
        NotFound: the farm has no such device.
        InvalidInput: the device cannot run it.
        FarmError: the farm does not answer, or the device cannot be used now.
    """
    farm = farms.require(wanted.farm)
    offer = await offer_of(farm)
    devices = offer.devices
    name, os_version = _split(wanted.device, devices)
    ways: Sequence[RunAs] = () if wanted.run_as is None else (wanted.run_as,)
    one = DeviceFilter(
        wanted.farm,
        device=(name,),
        os_version=(os_version,) if os_version else (),
        accelerator=(wanted.accelerator,) if wanted.accelerator else (),
        threads=(wanted.threads,),
        run_as=tuple(ways),
    )
    cells = expand("", "", [one], {wanted.farm: offer})
    usable = [cell for cell in cells if not cell.skip_reason]
    if not usable:
        kind = InvalidInput if any(device.name == name for device in devices) else NotFound
        raise kind(cells[0].skip_reason, hint=f"`windtunnel devices --farm {wanted.farm}` lists its devices")
    return _target(farm, devices, usable, wanted.shapes or {})


def _target(
    farm: Farm, devices: Sequence[Device], cells: Sequence[Cell], shapes: Mapping[str, tuple[int, ...]]
) -> Target:
    """The newest of the systems that the device exists with, an available one if there is one.

    Raises:
        FarmError: none can be used now.
    """
    by_place = {(device.name, device.os_version): device for device in devices}
    places = [(by_place[cell.device, cell.os_version], cell) for cell in cells]
    device, cell = max(places, key=lambda one: (one[0].available, _version(one[0].os_version)))
    if not device.available:
        raise FarmError(
            f"device {device.name!r} of farm {farm.settings.name!r} cannot be used now",
            retryable=False,
            hint="choose another one: `windtunnel devices --available`",
            kind="device",
        )
    return Target(farm, device, replace(cell, input_shapes=shapes), expected_cost(device, 1))


def require_budget(target: Target) -> None:
    """Checks that the budget of a run suffices.

    Args:
        target: what is to run.

    Raises:
        FarmError: it does not.
    """
    limit = target.farm.settings.budget_usd.run
    if limit is not None and target.estimate is not None and target.estimate > micro_usd(limit):
        raise FarmError(
            f"the budget of a run on farm {target.farm.settings.name!r} is {limit:.2f} USD; this is expected to cost "
            f"{usd(target.estimate):.2f} USD",
            retryable=False,
            hint="raise budget_usd.run in farms.yaml",
            kind=FailureKind.BUDGET,
        )


async def measure_on(
    target: Target,
    job: Job,
    artifacts: Artifacts,
    into: Path,
    key: str,
    *,
    resume: bool,
    on_state: Callable[[Submitted, Polled], None],
    on_cancel: Callable[[], None],
) -> Measured:
    """Runs a job and waits for its end. A caller who gives up cancels it on the farm.

    Args:
        target: where it runs.
        job: what runs.
        artifacts: hold what the job names.
        into: an empty folder for files.
        key: of the farm run.
        resume: the farm run was submitted before under this key; it is not submitted again.
        on_state: called with what the farm says.
        on_cancel: called before the farm is asked to cancel it.

    Returns:
        The run or its failure, and the bill.

    Raises:
        NotFound: there is no such farm run to resume.
        FarmError: the farm failed.
    """
    farm, request = target.farm, FarmRunRequest(key, target.device, (Entry("cell", target.cell, job),), job.timeout_s)
    found = await farm.find(key) if resume else None
    if resume and found is None:
        raise NotFound(
            f"farm {farm.settings.name!r} has no farm run {key!r}", hint="start a new one: leave --resume out"
        )
    words: list[str] = []

    def noted(submitted: Submitted, polled: Polled) -> None:
        words[:] = [polled.words]
        on_state(submitted, polled)

    submitted, collected = await run_once(
        farm,
        request,
        ArtifactFiles(artifacts),
        into,
        noted,
        found=found,
        patience_s=_PATIENCE_S,
        on_cancel=on_cancel,
    )
    (result,) = collected.results
    cost = bill(target.device.price_per_minute_usd, collected.billed_minutes)
    return Measured(submitted, "".join(words), result, cost)


def failure_of(measured: Measured) -> WindtunnelError | None:
    """How a measurement failed.

    Args:
        measured: what became of it.

    Returns:
        None: it did not.
    """
    failure = measured.result.failure
    return None if failure is None else error_of(failure)


def _split(text: str, devices: Sequence[Device]) -> tuple[str, str]:
    """Name and OS version. A name may hold an "@" itself."""
    if any(device.name == text for device in devices):
        return text, ""
    name, separator, os_version = text.rpartition("@")
    return (name, os_version) if separator else (text, "")


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in text.split("."))
