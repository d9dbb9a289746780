"""What every farm must do: the same suite for every adapter and for the fake.

A new farm joins by a line in `open_farm` that opens it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from support.adb_farm import Lab
from support.arm import arm_system
from support.farm_jobs import FolderFiles, cell_on, job_for, request_of, run_job, run_of
from support.farm_peers.google.open_farms import open_google_farm
from support.farm_peers.phone.adb_server import adb_server
from support.graphs import dense_model
from support.open_models import conv_model
from windtunnel.farm_dispatcher.adapters.fake_farm import FakeFarm
from windtunnel.farm_dispatcher.adapters.farm_registry import FARMS as KINDS
from windtunnel.farm_dispatcher.domain.device_runs import Phase
from windtunnel.farm_dispatcher.domain.devices import Device
from windtunnel.farm_dispatcher.domain.farm import Farm
from windtunnel.farm_dispatcher.domain.farm_settings import ArmSettings, LocalSettings, PollSeconds
from windtunnel.farm_dispatcher.domain.jobs import Entry
from windtunnel.farm_dispatcher.settings import FarmDispatcherSettings
from windtunnel.farms.failure_kinds import FailureKind
from windtunnel.log_parser import parse_log

FARMS = (
    "local",
    "fake",
    pytest.param("arm", marks=pytest.mark.heavy),
    pytest.param("adb", marks=pytest.mark.heavy),
    pytest.param("firebase", marks=pytest.mark.heavy),
    pytest.param("ddp", marks=pytest.mark.heavy),
)
# What a farm's devices are, whether it knows their cores, and whether it hands over every time by itself.
KNOWN = {
    "local": ("host", True, True),
    "fake": ("host", True, True),
    "arm": ("host", False, False),
    "adb": ("android", True, False),
    "firebase": ("android", False, False),
    "ddp": ("android", False, False),
}
POLL = PollSeconds(0.02, 0.1)
SETTINGS = {
    "local": LocalSettings(name="local", poll_seconds=POLL),
    "arm": ArmSettings(name="arm", poll_seconds=POLL),
}


@asynccontextmanager
async def open_farm(name: str, home: Path) -> AsyncIterator[Farm]:
    if name == "fake":
        yield FakeFarm()
        return
    if name == "adb":
        with adb_server(home / "adb") as server, Lab(server, home).phone() as phone:
            yield Lab(server, home).farm(phone, name="adb")
        return
    if name in ("firebase", "ddp"):
        async with open_google_farm(name, home, time_passes=True) as google:
            yield google.farm
        return
    if name == "arm":
        arm_system()
    async with KINDS[name](SETTINGS[name], FarmDispatcherSettings.model_validate({"home": home})) as farm:
        yield farm


@pytest.fixture(params=FARMS)
async def farm(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Farm]:
    async with open_farm(request.param, tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return dense_model(tmp_path / "m.tflite")


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


async def test_devices_can_be_told_apart_and_have_accelerators(farm: Farm) -> None:
    devices = await farm.devices()
    assert devices
    assert len({(device.name, device.os_version) for device in devices}) == len(devices)
    for device in devices:
        assert (device.platform, bool(device.facts.cores)) == KNOWN[device.farm][:2]
        assert device.accelerators and all(device.accelerators)
        assert device.facts.name == device.name
        # What a phone runs models with comes with the job.
        assert device.facts.cpu and (device.facts.runtime or device.platform != "host")
    assert list(await farm.devices()) == list(devices)


async def test_a_run_gives_a_whole_log_raw_samples_and_facts(farm: Farm, model: Path, workdir: Path) -> None:
    (device, *_) = await farm.devices()
    run = await run_of(farm, device, model, workdir, threads=2)
    log = parse_log(run.log)
    # A logcat has lines of others between.
    assert log.unrecognized_lines == 0 or device.farm == "firebase"
    (parsed,) = log.runs
    assert parsed.error is None and not parsed.truncated
    assert parsed.threads == 2
    assert parsed.accelerator_requested == device.accelerators[0]
    assert parsed.init_us is not None and parsed.init_us > 0
    assert run.facts.name == device.name
    assert (run.samples is not None) == KNOWN[device.farm][2]
    if run.samples is not None:
        assert run.samples.inference and run.samples.warmup
        assert len(run.samples.inference) == parsed.inference.count
        assert len(run.samples.warmup) == parsed.warmup.count
        assert all(math.isfinite(time) and time > 0 for time in (*run.samples.warmup, *run.samples.inference))


async def test_every_accelerator_that_is_offered_runs(farm: Farm, model: Path, workdir: Path) -> None:
    (device, *_) = await farm.devices()
    for accelerator in device.accelerators:
        run = await run_of(farm, device, model, workdir, f"wt-{accelerator}", accelerator=accelerator)
        assert parse_log(run.log).runs[0].accelerator_requested == accelerator


async def test_inputs_have_the_shapes_of_the_cell(farm: Farm, tmp_path: Path, workdir: Path) -> None:
    (device, *_) = await farm.devices()
    if device.farm == "firebase":
        pytest.skip("the game loop takes the shapes of the file")
    model = conv_model(tmp_path / "open.tflite")
    shapes = {"image": (1, 12, 10, 3)}
    run = await run_of(farm, device, model, workdir, "wt-1", input_shapes=shapes)
    assert (run.input_shapes, run.shapes_known) == (shapes, True)
    run = await run_of(farm, device, model, workdir, "wt-2")
    # False, or None from a farm that does not say.
    assert not run.shapes_known


@pytest.mark.parametrize("change", [{"accelerator": "hexagon"}, {"threads": 0}])
async def test_a_cell_that_the_device_cannot_run_fails(
    farm: Farm, model: Path, workdir: Path, change: dict[str, Any]
) -> None:
    if isinstance(farm, FakeFarm):
        pytest.skip("it runs nothing")
    (device, *_) = await farm.devices()
    result = await run_job(farm, device, model, workdir, **change)
    assert result.failure is not None
    assert str(next(iter(change.values()))) in result.failure.message


async def test_a_model_that_cannot_run_fails_alone(farm: Farm, model: Path, tmp_path: Path, workdir: Path) -> None:
    if isinstance(farm, FakeFarm):
        pytest.skip("it runs nothing")
    (device, *_) = await farm.devices()
    (tmp_path / "bad.tflite").write_bytes(b"no model at all")
    files = FolderFiles()
    models = (model, tmp_path / "bad.tflite", model)
    entries = [entry_of(files, device, path, number) for number, path in enumerate(models)]
    request = request_of(device, *entries)
    submitted = await farm.submit(request, files)
    await ended(farm, submitted)
    collected = await farm.collect(submitted, request, workdir)
    first, second, third = collected.results
    assert first.run is not None and third.run is not None
    assert second.failure is not None and second.failure.kind is FailureKind.TEST


async def test_the_same_key_is_one_farm_run(farm: Farm, model: Path, workdir: Path) -> None:
    (device, *_) = await farm.devices()
    files = FolderFiles()
    request = request_of(device, entry_of(files, device, model, 0))
    assert await farm.find(request.key) is None
    first = await farm.submit(request, files)
    second = await farm.submit(request, files)
    found = await farm.find(request.key)
    assert found is not None and first.id == second.id == found.id
    await ended(farm, first)
    once = await farm.collect(first, request, workdir)
    again = await farm.collect(first, request, workdir)
    assert once.results[0].run is not None and again.results[0].run is not None
    assert once.results[0].run.log == again.results[0].run.log
    assert once.billed_minutes == again.billed_minutes


async def test_a_canceled_farm_run_ends(farm: Farm, model: Path, workdir: Path) -> None:
    (device, *_) = await farm.devices()
    files = FolderFiles()
    entries = [entry_of(files, device, model, number) for number in range(3)]
    request = request_of(device, *entries)
    submitted = await farm.submit(request, files)
    await farm.cancel(submitted)
    await farm.cancel(submitted)
    await ended(farm, submitted)
    collected = await farm.collect(submitted, request, workdir)
    assert len(collected.results) == 3
    last = collected.results[-1].failure
    assert last is not None and last.kind is FailureKind.CANCELLED


def entry_of(files: FolderFiles, device: Device, model: Path, number: int) -> Entry:
    cell = cell_on(device, id=f"c-{number}")
    return Entry(f"cell-{number}", cell, job_for(files, device, model, cell, f"cell-{number}"))


async def ended(farm: Farm, submitted: Any) -> None:
    """Waits for the end of a farm run."""
    deadline = asyncio.get_running_loop().time() + 120
    for _ in iter(lambda: asyncio.get_running_loop().time() < deadline, False):
        if (await farm.poll(submitted)).phase is Phase.ENDED:
            return
        await asyncio.sleep(0.02)
    pytest.fail("the farm run does not end")
