"""Attempts at a cell, and which failures end them."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.farm_jobs import FolderFiles, model_job
from support.graphs import dense_model
from windtunnel.errors import FarmError, InvalidInput, JobFailed, NotFound, WindtunnelError
from windtunnel.farm_dispatcher.adapters.fake_farm import FakeFarm, FakeVendor
from windtunnel.farm_dispatcher.adapters.farms_file.read_farms import farms_of
from windtunnel.farm_dispatcher.domain.cells import Cell
from windtunnel.farm_dispatcher.domain.jobs import ExecutableJob
from windtunnel.farm_dispatcher.settings import FarmDispatcherSettings
from windtunnel.farm_dispatcher.use_cases.run_cells import Dispatcher, Patience
from windtunnel.plan import DeviceFilter

BUSY = FarmError("the device is busy")
REFUSED = FarmError("no such account", retryable=False)
CRASH = JobFailed("died of SIGSEGV", how="signal")


FILES = FolderFiles()


@pytest.fixture
def job(tmp_path: Path) -> ExecutableJob:
    return model_job(FILES.add(dense_model(tmp_path / "m.tflite")))


def cell(*, farm: str = "fake", skip_reason: str = "") -> Cell:
    return Cell("c-1", "int8", farm, "pixel", "host", "14", "cpu", 1, skip_reason)


@pytest.mark.parametrize(
    ("failures", "attempt", "error"),
    [
        ([], 1, None),
        ([BUSY], 2, None),
        ([BUSY, BUSY], 3, None),
        ([BUSY, BUSY, BUSY], 3, BUSY),
        ([REFUSED], 1, REFUSED),
        ([BUSY, CRASH], 2, CRASH),
    ],
)
async def test_only_what_may_pass_is_tried_again(
    tmp_path: Path,
    job: ExecutableJob,
    failures: list[WindtunnelError | None],
    attempt: int,
    error: WindtunnelError | None,
) -> None:
    farm = FakeFarm(FakeVendor(failures=list(failures)))
    attempted = await Dispatcher({"fake": farm}, Patience(3, 0.001)).run_patiently(cell(), job, FILES, tmp_path / "w")
    assert (attempted.attempt, str(attempted.error), attempted.run is None) == (attempt, str(error), error is not None)
    assert len(farm.ran) == attempt


async def test_cells_that_cannot_run_are_refused(tmp_path: Path, job: ExecutableJob) -> None:
    dispatcher = Dispatcher({"fake": FakeFarm()})
    with pytest.raises(InvalidInput, match="no gpu there"):
        await dispatcher.run(cell(skip_reason="no gpu there"), job, FILES, tmp_path / "a")
    with pytest.raises(InvalidInput, match="'adb' is not set up"):
        await dispatcher.run(cell(farm="adb"), job, FILES, tmp_path / "b")


async def test_devices_of_one_farm_or_of_all() -> None:
    dispatcher = Dispatcher({"fake": FakeFarm()})
    assert [device.name for device in await dispatcher.devices()] == ["pixel"]
    assert await dispatcher.devices("fake") == await dispatcher.devices()
    with pytest.raises(NotFound, match="'adb' is not set up"):
        await dispatcher.devices("adb")


async def test_planning_asks_only_the_farms_that_the_plan_names() -> None:
    dispatcher = Dispatcher({"fake": FakeFarm(), "adb": FakeFarm(down=FarmError("down"))})
    cells = await dispatcher.plan("run", "int8", [DeviceFilter("fake"), DeviceFilter("aws")])
    assert [item.skip_reason for item in cells] == ["", "farm 'aws' is not set up in this installation"]
    with pytest.raises(FarmError, match="down"):
        await dispatcher.plan("run", "int8", [DeviceFilter("adb")])


async def test_unknown_farms_in_the_settings_are_named(tmp_path: Path) -> None:
    settings = FarmDispatcherSettings.model_validate({"home": tmp_path, "farms": "local, moon"})
    with pytest.raises(InvalidInput, match="'moon'"):
        farms_of(settings)
