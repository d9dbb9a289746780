"""`windtunnel bench --device`: a model on a device of a farm, without a server."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from windtunnel.artifacts import ArtifactRef, Artifacts, SourceReader, open_store
from windtunnel.catalog import Catalog, fetch, read_catalog
from windtunnel.farm_dispatcher.bench_on_farm import (
    JobBuilder,
    Measured,
    Target,
    Wanted,
    measure_on,
    require_budget,
    target_of,
)
from windtunnel.farm_dispatcher.installed_farms import installed_farms, open_installed
from windtunnel.farm_dispatcher.settings import FarmDispatcherSettings
from windtunnel.service.settings import load

if TYPE_CHECKING:
    from windtunnel.farm_dispatcher.bench_on_farm import App
    from windtunnel.farm_dispatcher.domain.device_runs import Polled, Submitted


@dataclass(frozen=True, slots=True)
class DeviceBench:
    """One measurement on a farm.

    Attributes:
        model: the .tflite file.
        wanted: what is to run, and where.
        key: of the farm run.
        resume: the farm run was started before under this key.
        farms_file: farms.yaml; None: that of the environment.
        catalog_file: of base apps and benchmark binaries; None: that of the environment.
    """

    model: Path
    wanted: Wanted
    key: str
    resume: bool
    farms_file: Path | None
    catalog_file: Path | None


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who is informed how far a measurement is.

    Attributes:
        on_target: called with the device before anything starts.
        on_state: called with what the farm says.
        on_cancel: called before the farm is asked to cancel.
    """

    on_target: Callable[[Target], None]
    on_state: Callable[[Submitted, Polled], None]
    on_cancel: Callable[[], None]


async def bench_on_device(bench: DeviceBench, watcher: Watcher) -> tuple[Target, Measured]:
    """Measures a model on a device of a farm.

    Args:
        bench: what to measure.
        watcher: is informed how far it is.

    Returns:
        Where it ran, and what became of it.

    Raises:
        NotFound: no such farm, device, benchmark binary, or farm run to resume.
        InvalidInput: the device cannot run it.
        FarmError: the farm failed, or the budget does not suffice.
    """
    settings = load(FarmDispatcherSettings)
    path = bench.catalog_file or settings.catalog_path
    catalog = read_catalog(path) if path else Catalog()
    artifacts = open_store(settings.artifact_store, cache=settings.home_folder / "cache")
    sources = SourceReader(
        artifacts, settings.allowed_roots, settings.max_source_bytes, https_hosts=settings.allowed_hosts
    )
    jobs = JobBuilder(catalog, lambda entry: fetch(entry, artifacts, sources))
    async with open_installed(installed_farms(bench.farms_file), [bench.wanted.farm]) as farms:
        target = await target_of(farms, bench.wanted)
        watcher.on_target(target)
        if not bench.resume:
            require_budget(target)
        model = await artifacts.put_file(bench.model)
        apps = await _apps(target, model, catalog, artifacts, sources)
        job = await target.job(jobs, model, apps)
        with tempfile.TemporaryDirectory(prefix="windtunnel-bench-") as folder:
            measured = await measure_on(
                target,
                job,
                artifacts,
                Path(folder),
                bench.key,
                resume=bench.resume,
                on_state=watcher.on_state,
                on_cancel=watcher.on_cancel,
            )
    return target, measured


async def _apps(
    target: Target, model: ArtifactRef, catalog: Catalog, artifacts: Artifacts, sources: SourceReader
) -> list[App]:
    """The app with the model inside; none for a cell that runs as an executable."""
    if target.cell.run_as != "app":
        return []
    from windtunnel.cli.local.app_of_model import AppMaker

    maker = AppMaker(catalog, artifacts, sources, target.cell.accelerator, target.cell.threads)
    return [await maker.app(model, target.device.platform, target.farm.app_kinds)]
