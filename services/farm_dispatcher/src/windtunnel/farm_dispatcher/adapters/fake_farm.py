"""A farm for tests: it behaves like a real one, runs nothing, and fails on request."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from windtunnel.errors import FarmError, InvalidInput, WindtunnelError
from windtunnel.farm_dispatcher.adapters.benchmark import benchmark_log
from windtunnel.farm_dispatcher.adapters.benchmark.delegation import Delegation
from windtunnel.farm_dispatcher.adapters.benchmark.measurement import Measured
from windtunnel.farm_dispatcher.adapters.host_bundle import unpack_model
from windtunnel.farm_dispatcher.domain.farm import Cell, Device, DeviceFacts, DeviceRun, Samples
from windtunnel.farms import THIS_HOST, FarmProperties
from windtunnel.run_conditions import RunConditions
from windtunnel.tflite import read_model

FAKE_DEVICE = Device(
    "fake",
    "pixel",
    "host",
    "14",
    ("cpu", "xnnpack"),
    DeviceFacts("pixel", "Tensor G3", 9, 8 << 30, "Android", "14", "LiteRT"),
)
QUIET = RunConditions(other_load_cores=0.0, spread=0.1, drift=0.0)
_TIMES_US = (1200.5, 1100.0, 1300.25, 1150.0)


@dataclass
class FakeFarm:
    """Offers `offered`; each run takes the next of `failures` and raises it, and succeeds when there is none."""

    offered: tuple[Device, ...] = (FAKE_DEVICE,)
    failures: list[WindtunnelError | None] = field(default_factory=list)
    # Raised instead of listing devices.
    down: WindtunnelError | None = None
    properties: FarmProperties = THIS_HOST
    default_accelerator: str = "cpu"
    parallel: int = 2
    ran: list[Cell] = field(default_factory=list)

    def fail(self, errors: Iterable[WindtunnelError | None]) -> None:
        """Adds what the next runs raise.

        Args:
            errors: None: that run succeeds.
        """
        self.failures.extend(errors)

    async def devices(self) -> Sequence[Device]:
        """Implements `Farm.devices`."""
        if self.down is not None:
            raise self.down
        return self.offered

    async def run(self, cell: Cell, package: Path, workdir: Path) -> DeviceRun:
        """Implements `Farm.run`."""
        device = next((item for item in self.offered if item.name == cell.device), None)
        if device is None:
            raise FarmError(f"device {cell.device!r} is gone", retryable=False)
        if cell.accelerator not in device.accelerators:
            raise InvalidInput(f"accelerator {cell.accelerator!r} is not on device {device.name!r}")
        if cell.threads < 1:
            raise InvalidInput(f"{cell.threads} threads cannot run a model")
        model = await asyncio.to_thread(unpack_model, package, workdir)
        await asyncio.to_thread(read_model, model)
        self.ran.append(cell)
        if self.failures and (error := self.failures.pop(0)) is not None:
            raise error
        measured = Measured(
            model.stat().st_size, cell.accelerator, cell.threads, 5000.0, _TIMES_US[:1], _TIMES_US, 1.5, 2.25,
            Delegation(0, 4, 0, 1),
        )  # fmt: skip
        log, samples = benchmark_log.render(measured), Samples(_TIMES_US[:1], _TIMES_US)
        shapes = cell.input_shapes or {"input": (1, 8)}
        return DeviceRun(log, samples, device.facts, shapes, bool(cell.input_shapes), QUIET)
