"""The use case behind `windtunnel bench`: one measurement on this host, without bus and stores."""

from __future__ import annotations

from pathlib import Path

from windtunnel.farm_dispatcher.adapters.local import LocalFarm, new_pool
from windtunnel.farm_dispatcher.domain import DeviceRun
from windtunnel.isolation import Pool

__all__ = ["bench", "new_pool"]


async def bench(model: Path, accelerator: str, threads: int, pool: Pool, *, lock: Path) -> DeviceRun:
    """Measures the .tflite file `model` on this host.

    Args:
        accelerator: "xnnpack", or "cpu" for no delegate.
        pool: as `new_pool` makes it: a fresh process for each measurement.
        lock: held meanwhile; `<home>/local-farm.lock`, which the service holds too when it measures.

    Raises InvalidInput, Unsupported, JobFailed, FarmError.
    """
    return await LocalFarm(pool, lock).measure(model, accelerator, threads)
