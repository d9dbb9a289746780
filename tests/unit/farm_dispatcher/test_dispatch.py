"""What the dispatcher knows of its farms, and cells that run for a caller who waits."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.farm_jobs import FolderFiles, model_job
from support.graphs import dense_model
from windtunnel.artifacts import ArtifactRef
from windtunnel.catalog import Catalog, CatalogEntry
from windtunnel.errors import FarmError, InvalidInput, JobFailed, NotFound, Unsupported, WindtunnelError
from windtunnel.farm_dispatcher.adapters.fake_farm import FakeFarm, FakeVendor
from windtunnel.farm_dispatcher.adapters.farms_file.read_farms import farms_of
from windtunnel.farm_dispatcher.domain.cells import Cell
from windtunnel.farm_dispatcher.domain.farm import Farm
from windtunnel.farm_dispatcher.domain.jobs import ExecutableJob
from windtunnel.farm_dispatcher.settings import FarmDispatcherSettings
from windtunnel.farm_dispatcher.use_cases.build_job import JobBuilder
from windtunnel.farm_dispatcher.use_cases.run_cells import Dispatcher
from windtunnel.plan import DeviceFilter

FILES = FolderFiles()


@pytest.fixture
def job(tmp_path: Path) -> ExecutableJob:
    return model_job(FILES.add(dense_model(tmp_path / "m.tflite")))


def dispatcher_of(**farms: Farm) -> Dispatcher:
    return Dispatcher(farms, JobBuilder(Catalog(), no_catalog), FILES)


async def no_catalog(entry: CatalogEntry) -> ArtifactRef:
    raise AssertionError(entry)


def cell(*, farm: str = "fake", skip_reason: str = "") -> Cell:
    return Cell("c-1", "int8", farm, "pixel", "host", "14", "cpu", 1, skip_reason)


async def test_cells_that_cannot_run_are_refused(tmp_path: Path, job: ExecutableJob) -> None:
    dispatcher = dispatcher_of(fake=FakeFarm())
    with pytest.raises(InvalidInput, match="no gpu there"):
        await dispatcher.run(cell(skip_reason="no gpu there"), job, tmp_path / "a")
    with pytest.raises(InvalidInput, match="'adb' is not set up"):
        await dispatcher.run(cell(farm="adb"), job, tmp_path / "b")


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (FarmError("the device is busy"), FarmError("the device is busy")),
        (FarmError("no such account", retryable=False, kind="quota"), FarmError("no such account", retryable=False)),
        (JobFailed("died of SIGSEGV", how="signal"), JobFailed("died of SIGSEGV", how="exit")),
        (InvalidInput("no model"), InvalidInput("no model")),
        (Unsupported("no op"), Unsupported("no op")),
    ],
)
async def test_who_waits_for_a_cell_gets_its_failure_as_an_error(
    tmp_path: Path, job: ExecutableJob, failure: WindtunnelError, error: WindtunnelError
) -> None:
    farm = FakeFarm(FakeVendor(failures=[failure]))
    with pytest.raises(type(error)) as raised:
        await dispatcher_of(fake=farm).run(cell(), job, tmp_path / "w")
    assert (str(raised.value), raised.value.retryable) == (str(error), error.retryable)


async def test_who_waits_for_a_cell_does_not_hear_of_throttling(tmp_path: Path, job: ExecutableJob) -> None:
    """A farm run that nobody asks for again would run on, and cost money."""
    farm = FakeFarm(FakeVendor(faults=[FarmError("429"), FarmError("503"), FarmError("429")]))
    await dispatcher_of(fake=farm).run(cell(), job, tmp_path / "w")
    assert farm.vendor.calls.count("submit") >= 1 and len(farm.vendor.runs) == 1


async def test_devices_of_one_farm_or_of_all() -> None:
    dispatcher = dispatcher_of(fake=FakeFarm())
    assert [device.name for device in await dispatcher.devices()] == ["pixel"]
    assert await dispatcher.devices("fake") == await dispatcher.devices()
    with pytest.raises(NotFound, match="'adb' is not set up"):
        await dispatcher.devices("adb")


async def test_planning_asks_only_the_farms_that_the_plan_names() -> None:
    dispatcher = dispatcher_of(fake=FakeFarm(), adb=FakeFarm(down=FarmError("down")))
    cells = await dispatcher.plan("run", "int8", [DeviceFilter("fake"), DeviceFilter("aws")])
    why = "farm 'aws' is not set up in this installation; it has fake and adb"
    assert [item.skip_reason for item in cells] == ["", why]
    with pytest.raises(FarmError, match="down"):
        await dispatcher.plan("run", "int8", [DeviceFilter("adb")])


async def test_unknown_farms_in_the_settings_are_named(tmp_path: Path) -> None:
    settings = FarmDispatcherSettings.model_validate({"home": tmp_path, "farms": "local, moon"})
    with pytest.raises(InvalidInput, match="'moon'"):
        farms_of(settings)
