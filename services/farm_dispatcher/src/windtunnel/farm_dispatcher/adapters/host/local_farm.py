"""The farm `local`: this host, one device called "host". One measurement at a time, across processes too."""

from __future__ import annotations

import asyncio
import dataclasses
import fcntl
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from windtunnel.accelerators import BUILTIN, XNNPACK, spelled_in_cells
from windtunnel.artifacts import ArtifactRef
from windtunnel.cell_warnings import zeroed_words
from windtunnel.errors import FarmError, InvalidInput, Unavailable, Unsupported
from windtunnel.farm_dispatcher.adapters.benchmark import benchmark_log
from windtunnel.farm_dispatcher.adapters.benchmark.measurement import NO_PATIENCE, Measured, Patience
from windtunnel.farm_dispatcher.adapters.host.host_facts import host_facts
from windtunnel.farm_dispatcher.adapters.in_process.held_runs import HeldFarm
from windtunnel.farm_dispatcher.domain.cells import RunAs
from windtunnel.farm_dispatcher.domain.device_runs import DeviceRun, JobResult, Samples
from windtunnel.farm_dispatcher.domain.devices import Device, DeviceFacts
from windtunnel.farm_dispatcher.domain.farm import Farm
from windtunnel.farm_dispatcher.domain.farm_settings import HostSettings, LocalSettings
from windtunnel.farm_dispatcher.domain.jobs import AppKind, Entry, ExecutableJob
from windtunnel.farms.properties import THIS_HOST
from windtunnel.input_shapes import Shapes
from windtunnel.isolation import ChildPool, Pool, Progress
from windtunnel.tflite import read_model, require_values

FARM: Final = "local"
DEVICE: Final = "host"
ACCELERATORS: Final = (spelled_in_cells(BUILTIN), spelled_in_cells(XNNPACK))
_POLL_S = 0.05
log = logging.getLogger(__name__)


@asynccontextmanager
async def open_farm(settings: LocalSettings, host: HostSettings) -> AsyncIterator[Farm]:
    """Opens the local farm with its child process.

    Args:
        settings: of the farm.
        host: of this service.

    Yields:
        The farm.
    """
    async with new_pool(host.job_timeout_s, host.job_memory_mb) as pool:
        farm = LocalFarm(pool, host.local_lock, Patience(own_s=host.quiet_wait_s), settings)
        try:
            yield farm
        finally:
            await farm.close()


def new_pool(timeout_s: float, memory_mb: int) -> ChildPool:
    """A pool for measurements: each has a fresh, warm process of its own, so that its memory is the model's.

    Args:
        timeout_s: limit of a measurement, in seconds.
        memory_mb: limit of a measurement, in MB.

    Returns:
        The pool, not yet started.
    """
    return ChildPool(
        preload=("windtunnel.farm_dispatcher.adapters.benchmark.measure_model",),
        size=1,
        timeout_s=timeout_s,
        memory_mb=memory_mb,
        max_jobs=1,
        lazy=True,
    )


class LocalFarm(HeldFarm):
    """Runs .tflite files in a child process. `lock` is a file that a measurement holds.

    Args:
        pool: where native code runs.
        lock: held while a cell runs.
        patience: how often an unstable measurement is repeated.
        settings: of the farm; None: the defaults.
    """

    properties = THIS_HOST
    default_accelerator = XNNPACK
    runs: tuple[RunAs, ...] = ("executable",)
    app_kinds: tuple[AppKind, ...] = ()

    def __init__(
        self, pool: Pool, lock: Path, patience: Patience = NO_PATIENCE, settings: LocalSettings | None = None
    ) -> None:
        super().__init__()
        self.settings = settings or LocalSettings(name=FARM)
        self._pool = pool
        self._lock = lock
        self._patience = patience
        self._was_unstable = False

    async def devices(self) -> Sequence[Device]:
        """Implements `Farm.devices`."""
        facts = await asyncio.to_thread(host_facts, DEVICE)
        return [Device(self.settings.name, DEVICE, "host", facts.os_version, ACCELERATORS, facts, kind="host")]

    async def _run_entry(self, entry: Entry, paths: Mapping[ArtifactRef, Path]) -> JobResult:
        cell = entry.cell
        run = await self.measure(model_of(entry, paths), cell.accelerator, cell.threads, cell.input_shapes)
        return JobResult(run=run)

    async def measure(
        self,
        model: Path,
        accelerator: str,
        threads: int,
        shapes: Shapes | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> DeviceRun:
        """Measures a bare .tflite file.

        Args:
            model: the file.
            accelerator: of the cell.
            threads: CPU threads.
            shapes: of the inputs, by name; None: as in the file.
            on_progress: called with the progress.

        Returns:
            The run.

        Raises:
            FarmError: as from `Farm.run`.
        """
        require_cell(FARM, accelerator, threads)
        async with exclusively(self._lock):
            try:
                measured = await self._pool.run(
                    _job, model.absolute(), accelerator, threads, shapes, self._patience_now(), on_progress=on_progress
                )
            except Unavailable as error:
                raise FarmError(error.message, hint=error.hint) from error
        self._was_unstable = measured.conditions is not None and measured.conditions.unstable
        if measured.zeroed_inputs:
            log.warning(zeroed_words(measured.zeroed_inputs))
        facts = await asyncio.to_thread(host_facts, DEVICE)
        return DeviceRun(
            log=benchmark_log.render(measured),
            samples=Samples(measured.warmup_us, measured.inference_us),
            facts=with_nodes(facts, measured),
            input_shapes=measured.input_shapes,
            shapes_known=measured.shapes_known,
            conditions=measured.conditions,
            zeroed_inputs=measured.zeroed_inputs,
        )

    def _patience_now(self) -> Patience:
        """The patience with a busy host. One that stayed busy through all of it is not waited for again and again."""
        if not self._was_unstable:
            return self._patience
        return dataclasses.replace(self._patience, own_s=min(self._patience.own_s, self._patience.others_s))


def model_of(entry: Entry, paths: Mapping[ArtifactRef, Path]) -> Path:
    """The .tflite file of an entry.

    Args:
        entry: of a farm run.
        paths: of the artifacts.

    Returns:
        The file.

    Raises:
        Unsupported: the job is an app.
    """
    if not isinstance(entry.job, ExecutableJob):
        raise Unsupported(f"cell {entry.cell.id} runs as an app, which this host cannot", hint="run_as: executable")
    return paths[entry.job.model.blob]


def require_cell(farm: str, accelerator: str, threads: int) -> None:
    """Refuses what a farm on this host cannot run.

    Args:
        farm: its name, for the message.
        accelerator: of the cell.
        threads: of the cell.

    Raises:
        InvalidInput: it cannot run them.
    """
    if accelerator not in ACCELERATORS:
        known = " and ".join(ACCELERATORS)
        raise InvalidInput(f"accelerator {accelerator!r} is not on this host", hint=f"the {farm} farm has {known}")
    if threads < 1:
        raise InvalidInput(f"{threads} threads cannot run a model", hint="give 1 or more")


def _job(model: Path, accelerator: str, threads: int, shapes: Shapes | None, patience: Patience) -> Measured:
    # Imported in the child: this process never loads the runtime.
    from windtunnel.farm_dispatcher.adapters.benchmark import measure_model as benchmark

    require_values(read_model(model))
    return benchmark.measure(model, accelerator, threads, shapes, benchmark.Procedure(patience=patience))


def with_nodes(facts: DeviceFacts, measured: Measured) -> DeviceFacts:
    """The facts of a device with the nodes of the model that it ran.

    Args:
        facts: of the device.
        measured: the measurement.

    Returns:
        The facts.
    """
    found = measured.delegation
    return dataclasses.replace(facts, nodes_delegated=found.nodes_delegated, nodes_total=found.nodes_total)


@asynccontextmanager
async def exclusively(lock: Path) -> AsyncIterator[None]:
    """Locks out every other process on this host; the lock is released when the process ends, however it ends.

    Args:
        lock: the file.

    Yields:
        Nothing.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("ab") as file:
        # Asking again and again, since a blocking call could not be canceled.
        for wait in itertools.repeat(_POLL_S):
            if _try_lock(file.fileno()):
                break
            await asyncio.sleep(wait)
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
