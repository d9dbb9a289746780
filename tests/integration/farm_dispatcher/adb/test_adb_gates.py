"""When an attached phone may work, and that its settings are put back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.adb_farm import Jobs, Lab, ended, failure, reached, request_for, run, until
from support.farm_peers.phone.phone import Phone
from support.farm_peers.phone.state import PIXEL_8, Battery, PhoneState
from windtunnel.errors import FarmError
from windtunnel.farm_dispatcher.adapters.farm_registry import FARMS
from windtunnel.farm_dispatcher.domain.device_runs import Phase
from windtunnel.farm_dispatcher.domain.farm_settings import AdbSettings
from windtunnel.farm_dispatcher.settings import FarmDispatcherSettings
from windtunnel.farms.failure_kinds import FailureKind
from windtunnel.service.settings import InvalidSetting

pytestmark = pytest.mark.heavy
STAY_ON = ("global", "stay_on_while_plugged_in")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"level": 12}, "battery at 12 %, below 20 %"),
        ({"celsius": 43.5}, "battery at 43.5 C, above 40 C"),
        ({"status": 3}, "thermal status 3"),
    ],
)
async def test_a_phone_that_is_not_ready_waits(
    bench: Lab, phone: Phone, jobs: Jobs, model: Path, change: dict[str, Any], words: str
) -> None:
    """catchpoint/WebPageTest#180: no work for a phone that is too hot or too empty."""
    phone.state.battery.level = change.get("level", 87)
    phone.state.battery.celsius = change.get("celsius", 28.0)
    phone.state.thermal_status = change.get("status", 0)
    farm = bench.farm(phone)
    with pytest.raises(FarmError, match=words) as error:
        await farm.submit(await request_for(farm, jobs, model), jobs.files)
    assert error.value.retryable and not phone.state.benchmarks


async def test_a_board_without_a_battery_runs(
    bench: Lab, phone: Phone, jobs: Jobs, model: Path, tmp_path: Path
) -> None:
    phone.state.battery = Battery(level=0, celsius=90.0, present=False)
    farm = bench.farm(phone)
    assert (await run(farm, jobs, await request_for(farm, jobs, model), tmp_path / "into")).results[0].run is not None


async def test_a_phone_that_gets_hot_cools_down_between_jobs(
    bench: Lab, phone: Phone, jobs: Jobs, model: Path, tmp_path: Path
) -> None:
    farm = bench.farm(phone)
    request = await request_for(farm, jobs, model, model)
    phone.state.may_finish.clear()
    submitted = await farm.submit(request, jobs.files)
    await until(phone.state.started.is_set)
    phone.state.battery.celsius = 45.5
    phone.state.may_finish.set()
    await reached(farm, submitted, Phase.RUNNING, words="battery at 45.5 C, above 40 C")
    await ended(farm, submitted)
    collected = await farm.collect(submitted, request, tmp_path / "into")
    assert collected.results[0].run is not None
    found = failure(collected, 1)
    assert found.kind is FailureKind.INFRASTRUCTURE and "45.5" in found.message and len(phone.state.benchmarks) == 1


async def test_a_phone_cools_down_between_farm_runs(
    bench: Lab, phone: Phone, jobs: Jobs, model: Path, tmp_path: Path
) -> None:
    farm = bench.farm(phone, cool_down_seconds=3)
    await run(farm, jobs, await request_for(farm, jobs, model), tmp_path / "one")
    request = await request_for(farm, jobs, model, key="wt-2")
    submitted = await farm.submit(request, jobs.files)
    await reached(farm, submitted, Phase.RUNNING, words="cooling down")
    assert len(phone.state.benchmarks) == 1
    await ended(farm, submitted)
    assert (await farm.collect(submitted, request, tmp_path / "two")).results[0].run is not None


async def test_heat_during_a_job_makes_its_times_worthless(
    bench: Lab, phone: Phone, jobs: Jobs, model: Path, tmp_path: Path
) -> None:
    farm = bench.farm(phone)
    request = await request_for(farm, jobs, model)
    phone.state.may_finish.clear()
    submitted = await farm.submit(request, jobs.files)
    await until(phone.state.started.is_set)
    phone.state.thermal_status = 3
    phone.state.may_finish.set()
    await ended(farm, submitted)
    (result,) = (await farm.collect(submitted, request, tmp_path / "into")).results
    assert result.run is not None and result.run.conditions is not None
    assert result.run.conditions.unstable and "thermal status 3 after" in result.run.conditions.reason


async def test_settings_of_a_person_are_put_back(
    bench: Lab, phone: Phone, jobs: Jobs, model: Path, tmp_path: Path
) -> None:
    phone.state.settings[STAY_ON] = "2"
    phone.state.screen_on = False
    farm = bench.farm(phone, airplane=True)
    request = await request_for(farm, jobs, model)
    phone.state.faults.benchmark = "segv"
    phone.state.may_finish.clear()
    submitted = await farm.submit(request, jobs.files)
    await until(phone.state.started.is_set)
    assert (phone.state.settings[STAY_ON], phone.state.screen_on, phone.state.airplane) == ("15", True, True)
    phone.state.may_finish.set()
    await ended(farm, submitted)
    assert (phone.state.settings[STAY_ON], phone.state.airplane) == ("2", False)


async def test_radios_that_cannot_be_switched_are_told(bench: Lab, model: Path, jobs: Jobs, tmp_path: Path) -> None:
    state = PhoneState(properties={**PIXEL_8, "ro.build.version.sdk": "29", "ro.build.version.release": "10"})
    with bench.phone("ten", state) as phone:
        farm = bench.farm(phone, airplane=True)
        found = failure(await run(farm, jobs, await request_for(farm, jobs, model), tmp_path / "into"))
    assert "airplane" in found.message and found.kind is FailureKind.DEVICE


async def test_settings_that_cannot_be_put_back_are_told(
    bench: Lab, phone: Phone, jobs: Jobs, model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """DataDog/dd-sdk-android#3749: a restoration that fails must not look like one that worked."""
    phone.state.settings[STAY_ON] = "2"
    farm = bench.farm(phone)
    request = await request_for(farm, jobs, model)
    phone.state.may_finish.clear()
    submitted = await farm.submit(request, jobs.files)
    await until(phone.state.started.is_set)
    phone.state.faults.put_fails = (STAY_ON[1],)
    phone.state.may_finish.set()
    await ended(farm, submitted)
    await farm.collect(submitted, request, tmp_path / "into")
    assert "settings could not be put back" in caplog.text
    phone.state.faults.put_fails = ()
    await run(farm, jobs, await request_for(farm, jobs, model, key="wt-2"), tmp_path / "again")
    assert phone.state.settings[STAY_ON] == "2"


async def test_phones_that_cannot_be_used_do_not_hide_others(bench: Lab, phone: Phone, jobs: Jobs, model: Path) -> None:
    """mobile-dev-inc/dadb#55, XiaoMi/mace#615: one unauthorized phone, and no phone is listed."""
    with bench.phone("closed", PhoneState(properties={**PIXEL_8, "ro.product.model": "Other"})) as closed:
        farm = bench.farm(phone, closed)
        assert len(await farm.devices()) == 2
        request = await request_for(bench.farm(closed), jobs, model)
        closed.change_mode("unauthorized")
        bench.server.adb("disconnect", closed.serial)
        bench.server.connect(closed.serial)
        devices = {device.name: device.available for device in await farm.devices()}
        assert devices == {"Pixel 8": True, "Other": False}
        with pytest.raises(FarmError, match="unauthorized") as error:
            await farm.submit(request, jobs.files)
        assert (error.value.retryable, error.value.kind) == (False, "device")
        assert "allow USB debugging" in error.value.hint


async def test_an_offline_phone_is_asked_again(bench: Lab, phone: Phone, jobs: Jobs, model: Path) -> None:
    farm = bench.farm(phone)
    request = await request_for(farm, jobs, model)
    phone.change_mode("offline")
    bench.server.wait_for(phone.serial, "offline")
    with pytest.raises(FarmError, match="offline") as error:
        await farm.submit(request, jobs.files)
    assert (error.value.retryable, error.value.kind) == (True, "device")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"server": "somewhere"}, "'somewhere'"),
        ({"serials": ("192.168.1.5:5555",), "airplane": True}, "192.168.1.5:5555"),
    ],
)
async def test_settings_that_cannot_be(tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    host = FarmDispatcherSettings.model_validate({"home": tmp_path})
    with pytest.raises(InvalidSetting, match=words):
        async with FARMS["adb"](AdbSettings(name="bench", **settings), host):
            pass
