"""The farm `arm`: ARM64 processors, emulated on this host. The kernels are those of phones, the times mean nothing.

A cell that ran shows that the runtime takes the model on such a processor and survives it. Whether its numbers are
right is what the layer comparison of the variant and `windtunnel kernels` show.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import windtunnel.errors
from windtunnel.accelerators import XNNPACK
from windtunnel.arm_emulator import CPUS, LITERT, in_words, missing, run_arm
from windtunnel.artifacts import ArtifactRef
from windtunnel.errors import FarmError, NotFound, Unavailable
from windtunnel.farm_dispatcher.adapters.benchmark import benchmark_log
from windtunnel.farm_dispatcher.adapters.benchmark import emulated_benchmark as emulated
from windtunnel.farm_dispatcher.adapters.benchmark.delegation import Delegation
from windtunnel.farm_dispatcher.adapters.benchmark.measurement import Measured
from windtunnel.farm_dispatcher.adapters.host.local_farm import (
    ACCELERATORS,
    exclusively,
    model_of,
    require_cell,
    with_nodes,
)
from windtunnel.farm_dispatcher.adapters.in_process.held_runs import HeldFarm
from windtunnel.farm_dispatcher.domain.cells import Cell, RunAs
from windtunnel.farm_dispatcher.domain.device_runs import DeviceRun, JobResult
from windtunnel.farm_dispatcher.domain.devices import Device, DeviceFacts
from windtunnel.farm_dispatcher.domain.farm import Farm
from windtunnel.farm_dispatcher.domain.farm_settings import ArmSettings, HostSettings
from windtunnel.farm_dispatcher.domain.jobs import AppKind, Entry
from windtunnel.farms.properties import EMULATED_HOST
from windtunnel.isolation import ChildPool, Pool
from windtunnel.service.settings import InvalidSetting

FARM: Final = "arm"
_SYSTEM, _VERSION = "Debian", "12"
# Where the emulated Python finds the measurement.
_PACKAGES: Final = (
    Path(windtunnel.errors.__file__).absolute().parents[1],
    Path(__file__).absolute().parents[4],
)


@asynccontextmanager
async def open_farm(settings: ArmSettings, host: HostSettings) -> AsyncIterator[Farm]:
    """Opens the emulated processors.

    Args:
        settings: of the farm.
        host: of this service.

    Yields:
        The farm.

    Raises:
        InvalidSetting: the emulator or its system is missing.
    """
    lacking = missing()
    if lacking:
        names, todo = in_words(lacking)
        raise InvalidSetting(f"farm {settings.name!r} needs {names}", hint=f"run: {todo}")
    # Each run is a process of its own under the emulator; the child watches it, and takes it along when it ends.
    timeout_s, memory_mb = host.job_timeout_s, host.job_memory_mb
    preload = ("windtunnel.arm_emulator",)
    async with ChildPool(preload=preload, timeout_s=timeout_s, memory_mb=memory_mb, lazy=True) as pool:
        farm = ArmFarm(pool, host.local_lock, memory_mb, settings)
        try:
            yield farm
        finally:
            await farm.close()


class ArmFarm(HeldFarm):
    """Runs .tflite files under emulation. `lock` keeps it from disturbing measurements of this host.

    Args:
        pool: where native code runs.
        lock: held while a cell runs.
        memory_mb: the most memory of a run, in MB.
        settings: of the farm; None: the defaults.
    """

    properties = EMULATED_HOST
    default_accelerator = XNNPACK
    runs: tuple[RunAs, ...] = ("executable",)
    app_kinds: tuple[AppKind, ...] = ()

    def __init__(self, pool: Pool, lock: Path, memory_mb: int, settings: ArmSettings | None = None) -> None:
        super().__init__()
        self.settings = settings or ArmSettings(name=FARM)
        self._pool = pool
        self._lock = lock
        self._memory_mb = memory_mb

    async def devices(self) -> Sequence[Device]:
        """Implements `Farm.devices`."""
        return [
            Device(self.settings.name, cpu, "host", _VERSION, ACCELERATORS, _facts(cpu), kind="emulated", soc=cpu)
            for cpu in CPUS
        ]

    async def _run_entry(self, entry: Entry, paths: Mapping[ArtifactRef, Path]) -> JobResult:
        with tempfile.TemporaryDirectory(prefix="windtunnel-cell-") as folder:
            return JobResult(run=await self._measure(entry.cell, model_of(entry, paths), Path(folder)))

    async def _measure(self, cell: Cell, model: Path, workdir: Path) -> DeviceRun:
        require_cell(FARM, cell.accelerator, cell.threads)
        result = workdir / "measured.json"
        job = {
            "model": str(model.absolute()),
            "accelerator": cell.accelerator,
            "threads": cell.threads,
            "shapes": dict(cell.input_shapes),
        }
        async with exclusively(self._lock):
            try:
                await self._pool.run(_job, {**job, "result": str(result.absolute())}, cell.device, self._memory_mb)
            except (Unavailable, NotFound) as error:
                raise FarmError(error.message, hint=error.hint) from error
        measured = _read(json.loads(result.read_text(encoding="utf-8")))
        log = benchmark_log.render(measured, warmup=emulated.WARMUP, inference=emulated.INFERENCE)
        facts = with_nodes(_facts(cell.device), measured)
        return DeviceRun(
            log, None, facts, measured.input_shapes, measured.shapes_known, zeroed_inputs=measured.zeroed_inputs
        )


def _job(job: dict[str, Any], cpu: str, memory_mb: int) -> None:
    run_arm(job, cpu, script=Path(emulated.__file__).absolute(), packages=_PACKAGES, memory_mb=memory_mb)


def _facts(cpu: str) -> DeviceFacts:
    return DeviceFacts(
        name=cpu,
        cpu=f"{cpu}, emulated by qemu-user",
        os=_SYSTEM,
        os_version=_VERSION,
        runtime=f"ai-edge-litert {LITERT}",
    )


def _read(values: dict[str, Any]) -> Measured:
    """What `emulated` wrote."""
    series = {name: tuple(values[name]) for name in ("warmup_us", "inference_us")}
    shapes = {name: tuple(shape) for name, shape in values["input_shapes"].items()}
    # Other load on the host says nothing about times that mean nothing.
    others = {"delegation": Delegation(**values["delegation"]), "input_shapes": shapes, "conditions": None}
    others["zeroed_inputs"] = tuple(values["zeroed_inputs"])
    return Measured(**{**values, **series, **others})
