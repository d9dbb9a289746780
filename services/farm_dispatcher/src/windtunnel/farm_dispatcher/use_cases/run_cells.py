"""The use cases: list devices, plan cells, run one cell for a caller who waits."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from windtunnel.artifacts.stores.port import ArtifactRef
from windtunnel.errors import FarmError, InvalidInput, JobFailed, NotFound, Unsupported, WindtunnelError
from windtunnel.farm_dispatcher.domain.cells import Cell
from windtunnel.farm_dispatcher.domain.device_runs import DeviceRun, JobFailure, Submitted
from windtunnel.farm_dispatcher.domain.devices import Device
from windtunnel.farm_dispatcher.domain.estimates import CostEstimate, estimate
from windtunnel.farm_dispatcher.domain.farm import Farm, Files
from windtunnel.farm_dispatcher.domain.jobs import App, Entry, FarmRunRequest, Job, new_key
from windtunnel.farm_dispatcher.use_cases.build_job import JobBuilder
from windtunnel.farm_dispatcher.use_cases.device_list import DeviceList
from windtunnel.farm_dispatcher.use_cases.list_devices import Listing, list_devices
from windtunnel.farm_dispatcher.use_cases.plan_cells import expand, nearest_farm, offer_of
from windtunnel.farm_dispatcher.use_cases.run_once import run_once
from windtunnel.farms.failure_kinds import FailureKind
from windtunnel.plan import DeviceFilter

NO_PROBLEMS: Final[Mapping[str, str]] = MappingProxyType({})
# A farm may be busy or silent for so long before that is an error: what runs there costs money.
_PATIENCE_S: Final = 60.0


class Dispatcher:
    """Knows the farms of this installation.

    Args:
        farms: by name.
        jobs: makes the jobs of cells.
        files: artifacts as local files.
    """

    def __init__(self, farms: Mapping[str, Farm], jobs: JobBuilder, files: Files) -> None:
        self._farms = farms
        self._jobs = jobs
        self._files = files
        # An event asks for the device of each of its cells.
        self._devices = {name: DeviceList(farm) for name, farm in farms.items()}

    async def devices(self, only: str = "") -> list[Device]:
        """The devices of all farms, or of one.

        Args:
            only: name of the farm; empty: all.

        Returns:
            The devices.

        Raises:
            NotFound: the farm is not set up.
            FarmError: a farm does not answer.
        """
        return [device for farm in self._chosen(only).values() for device in await farm.devices()]

    async def listing(self, only: str = "") -> Listing:
        """The devices of all farms, or of one; a farm that fails does not hide the others.

        Args:
            only: name of the farm; empty: all.

        Returns:
            The devices, and which farms failed.

        Raises:
            NotFound: the farm is not set up.
        """
        return await list_devices(self._chosen(only))

    @property
    def farm_names(self) -> tuple[str, ...]:
        """The names of all farms."""
        return tuple(self._farms)

    def _chosen(self, only: str) -> Mapping[str, Farm]:
        if only and only not in self._farms:
            raise NotFound(
                f"farm {only!r} is not set up in this installation", hint=nearest_farm(only, self.farm_names)
            )
        return {only: self._farms[only]} if only else self._farms

    async def plan(self, run_id: str, variant: str, filters: Sequence[DeviceFilter]) -> tuple[Cell, ...]:
        """The cells that filters mean today for one variant of a run.

        Args:
            run_id: of the run.
            variant: its name.
            filters: of the plan.

        Returns:
            The cells.

        Raises:
            FarmError: a farm does not answer.
            InvalidInput: there are too many.
        """
        cells, _ = await self.plan_with_costs(run_id, variant, filters)
        return cells

    async def plan_with_costs(
        self, run_id: str, variant: str, filters: Sequence[DeviceFilter]
    ) -> tuple[tuple[Cell, ...], tuple[CostEstimate, ...]]:
        """The cells of `plan`, and what they are expected to cost if they run now.

        Args:
            run_id: of the run.
            variant: its name.
            filters: of the plan.

        Returns:
            The cells, and an estimate for each farm that runs some of them.

        Raises:
            FarmError: a farm does not answer.
            InvalidInput: there are too many.
        """
        wanted = dict.fromkeys(item.farm for item in filters if item.farm in self._farms)
        found = await asyncio.gather(*(offer_of(self._farms[name]) for name in wanted))
        offers = dict(zip(wanted, found, strict=True))
        # Thousands of cells take a while: not in the loop, which keeps leases and answers calls.
        cells = await asyncio.to_thread(expand, run_id, variant, filters, offers, self.farm_names)
        costs = [estimate(self._farms[name].settings, offer.devices, cells) for name, offer in offers.items()]
        return cells, tuple(cost for cost in costs if cost is not None)

    def farm_of(self, cell: Cell) -> Farm:
        """The farm that runs a cell.

        Args:
            cell: of a plan.

        Returns:
            The farm.

        Raises:
            InvalidInput: the cell cannot run.
        """
        if cell.skip_reason:
            raise InvalidInput(f"cell {cell.id} cannot run: {cell.skip_reason}")
        if cell.farm not in self._farms:
            raise InvalidInput(f"farm {cell.farm!r} is not set up in this installation")
        return self._farms[cell.farm]

    async def executable_job(self, cell: Cell, model: ArtifactRef) -> Job:
        """The job of a cell that runs as an executable.

        Args:
            cell: what to run.
            model: the variant's .tflite file.

        Returns:
            The job.

        Raises:
            WindtunnelError: as from `JobBuilder.executable`.
            FarmError: the farm does not answer, or has no such device any more.
        """
        farm = self.farm_of(cell)
        abis = (await device_of(self._devices[cell.farm], cell)).abis if cell.farm_properties.platform != "host" else ()
        return await self._jobs.executable(cell, model, _timeout(farm), abis)

    async def app_job(
        self, cell: Cell, apps: Sequence[App], model: ArtifactRef, problems: Mapping[str, str] = NO_PROBLEMS
    ) -> Job:
        """The job of a cell that runs inside an app.

        Args:
            cell: what to run.
            apps: that hold the model, of several kinds.
            model: the variant's .tflite file.
            problems: why apps could not be built, by kind.

        Returns:
            The job.

        Raises:
            WindtunnelError: as from `JobBuilder.app`.
            Unsupported: the farm takes none of the apps.
        """
        farm = self.farm_of(cell)
        by_kind = {app.kind: app for app in apps}
        for kind in farm.app_kinds:
            if kind in by_kind:
                return self._jobs.app(cell, by_kind[kind], model, _timeout(farm))
        known = ", ".join(farm.app_kinds) or "none"
        why = "".join(f"; {kind}: {problems[kind]}" for kind in farm.app_kinds if kind in problems)
        raise Unsupported(
            f"farm {cell.farm!r} takes apps of kind {known}; there is {', '.join(by_kind) or 'none'}{why}",
            hint="name a base app of such a kind in the catalog (WINDTUNNEL_CATALOG_FILE)",
        )

    async def run(self, cell: Cell, job: Job, into: Path) -> tuple[Submitted, DeviceRun]:
        """Runs a cell once, without records: for a caller who waits.

        Args:
            cell: what to run.
            job: what its farm runs for it.
            into: a new folder for files.

        Returns:
            The farm run, and the run of the cell.

        Raises:
            InvalidInput: the cell cannot run.
            FarmError: the farm failed.
        """
        farm = self.farm_of(cell)
        into.mkdir(parents=True)
        device = await device_of(DeviceList(farm), cell)
        request = FarmRunRequest(new_key(), device, (Entry("cell", cell, job),), job.timeout_s)
        submitted, collected = await run_once(farm, request, self._files, into, patience_s=_PATIENCE_S)
        (result,) = collected.results
        if result.run is None:
            assert result.failure is not None
            raise error_of(result.failure)
        return submitted, result.run


def _timeout(farm: Farm) -> float:
    return farm.settings.timeout_minutes * 60


def error_of(failure: JobFailure) -> WindtunnelError:
    """The failure of a job as an error, for a caller who waits for it.

    Args:
        failure: of the job.

    Returns:
        The error.
    """
    if failure.kind is FailureKind.INFRASTRUCTURE:
        return FarmError(failure.message, hint=failure.hint)
    if failure.code == JobFailed.code:
        how = "timeout" if failure.kind is FailureKind.TIMEOUT else "exit"
        return JobFailed(failure.message, how=how, stderr=failure.detail, hint=failure.hint)
    kinds: dict[str, type[WindtunnelError]] = {kind.code: kind for kind in (InvalidInput, Unsupported)}
    if failure.code in kinds:
        return kinds[failure.code](failure.message, hint=failure.hint)
    return FarmError(failure.message, retryable=False, hint=failure.hint, kind=failure.kind)


async def device_of(devices: DeviceList, cell: Cell) -> Device:
    """The device of a cell as its farm offers it now.

    Args:
        devices: of the farm of the cell.
        cell: of a plan.

    Returns:
        The device.

    Raises:
        FarmError: the farm does not offer it any more, or does not answer.
    """
    device = await devices.find(cell.device, cell.os_version)
    if device is not None:
        return device
    raise FarmError(f"device {cell.device!r} is gone", retryable=False, kind="device")
