"""The use case behind `windtunnel bench`: one measurement on this host, without bus and stores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from windtunnel.farm_dispatcher.adapters.benchmark.measurement import NO_PATIENCE, Patience
from windtunnel.farm_dispatcher.adapters.host.local_farm import LocalFarm, new_pool
from windtunnel.farm_dispatcher.domain.device_runs import DeviceRun
from windtunnel.input_shapes import Shapes
from windtunnel.isolation import Pool, Progress

__all__ = ["Patience", "bench", "new_pool"]


async def bench(
    model: Path,
    accelerator: str,
    threads: int,
    pool: Pool,
    *,
    lock: Path,
    shapes: Shapes | None = None,
    patience: Patience = NO_PATIENCE,
    on_progress: Callable[[Progress], None] | None = None,
) -> DeviceRun:
    """Measures a .tflite file on this host.

    Args:
        model: the file.
        accelerator: "xnnpack", or "cpu" for no delegate.
        threads: CPU threads.
        pool: as `new_pool` makes it: a fresh process for each measurement.
        lock: held meanwhile; `<home>/local-farm.lock`, which the service holds too when it measures.
        shapes: of the inputs, by any of their names; a dynamic dimension that they do not give is 1.
        patience: how often an unstable measurement is repeated.
        on_progress: called with the progress.

    Returns:
        The run.

    Raises:
        InvalidInput: the model or the shapes cannot be used.
        Unsupported: the runtime lacks an op of the model.
        JobFailed: the model ended the process, or took too long.
        FarmError: the host did not become free.
    """
    return await LocalFarm(pool, lock, patience).measure(model, accelerator, threads, shapes, on_progress)
