"""Devices, cells and farms."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from windtunnel.farms import PHONES, FarmProperties
from windtunnel.run_conditions import RunConditions


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What is known about a device; empty or None: not known. Nodes are those of the model that it ran."""

    name: str
    cpu: str = ""
    cores: int | None = None
    memory_bytes: int | None = None
    os: str = ""
    os_version: str = ""
    # Inference runtime and its version, for example "ai-edge-litert 2.3.0".
    runtime: str = ""
    nodes_delegated: int | None = None
    nodes_total: int | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """A device that a farm offers now; one that exists with several OS versions is several devices of one name.

    `platform` is host, android or ios; `accelerators` are those that can be asked for, cpu meaning no delegate.
    """

    farm: str
    name: str
    platform: str
    os_version: str
    accelerators: tuple[str, ...]
    facts: DeviceFacts


@dataclass(frozen=True, slots=True)
class Cell:
    """One (variant, device, OS, accelerator, threads) of a run.

    `skip_reason` is not empty where the farm cannot run it; its other fields then say what was asked for, empty
    where anything would have done.
    """

    id: str
    variant: str
    farm: str
    device: str
    platform: str
    os_version: str
    accelerator: str
    threads: int
    skip_reason: str = ""
    # Shapes that the inputs are to have, by name; empty: the model's own, a dynamic dimension taken as 1.
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    # What its farm says of all its devices.
    farm_properties: FarmProperties = PHONES


def cell_id(run_id: str, variant: str, *fields: str | int) -> str:
    """The id of a cell, so that planning twice plans the same cells.

    Args:
        run_id: of the run.
        variant: its name.
        *fields: the cell's other fields.

    Returns:
        The same for the same fields.
    """
    text = "\0".join((run_id, variant, *map(str, fields)))
    return f"c-{hashlib.sha256(text.encode()).hexdigest()[:20]}"


@dataclass(frozen=True, slots=True)
class Samples:
    """Raw latencies in microseconds, in the order in which they were taken."""

    warmup: tuple[float, ...]
    inference: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class DeviceRun:
    """One run of a cell: the benchmark log as its tool printed it, raw latencies if there are any, facts.

    `input_shapes` by tensor name are those that the inputs had. `shapes_known`: see `input_shapes.choose_shapes`;
    None: the farm does not say. `conditions` None: not recorded. `zeroed_inputs`: indices that were 0, because the
    model refuses random ones.
    """

    log: str
    samples: Samples | None
    facts: DeviceFacts
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    shapes_known: bool | None = None
    conditions: RunConditions | None = None
    zeroed_inputs: tuple[str, ...] = ()


class FarmSettings(Protocol):
    """What the adapters of farms take from the settings of the service."""

    @property
    def job_timeout_s(self) -> float:
        """The longest measurement, in seconds."""
        ...

    @property
    def job_memory_mb(self) -> int:
        """The most memory of a measurement, in MB."""
        ...

    @property
    def quiet_wait_s(self) -> float:
        """The longest wait for a quiet host, in seconds."""
        ...

    @property
    def farm_names(self) -> tuple[str, ...]:
        """The farms to open."""
        ...

    @property
    def local_lock(self) -> Path:
        """The lock of measurements on this host."""
        ...


class Farm(Protocol):
    """What runs apps on devices. One module in `adapters`, one entry in `farm_registry.FARMS`."""

    @property
    def properties(self) -> FarmProperties:
        """What holds for all its devices; each cell carries it to whoever judges the run."""
        ...

    @property
    def default_accelerator(self) -> str:
        """What a cell uses where the plan names no accelerator."""
        ...

    @property
    def parallel(self) -> int:
        """How many cells may run at once."""
        ...

    async def devices(self) -> Sequence[Device]:
        """The devices that can be used now. Raises FarmError."""
        ...

    async def run(self, cell: Cell, package: Path, workdir: Path) -> DeviceRun:
        """Runs an app once.

        Args:
            cell: what to run.
            package: the app.
            workdir: private to this call.

        Returns:
            The run.

        Raises:
            FarmError: the farm failed; `retryable`: another attempt may succeed.
            InvalidInput: the package cannot be used.
            JobFailed: the model ended the process that runs it.
        """
        ...
