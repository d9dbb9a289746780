"""What every farm must do: the same suite for the local farm, the emulated one and the fake.

A new farm joins by a line in `open_farm` that opens it.
"""

from __future__ import annotations

import dataclasses
import math
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from support.arm import arm_system
from support.graphs import dense_model
from support.open_models import conv_model
from windtunnel.errors import InvalidInput
from windtunnel.farm_dispatcher.adapters import arm_farm as arm
from windtunnel.farm_dispatcher.adapters import local_farm as local
from windtunnel.farm_dispatcher.adapters.fake_farm import FakeFarm
from windtunnel.farm_dispatcher.domain.farm import Cell, Device, Farm
from windtunnel.farm_dispatcher.settings import FarmDispatcherSettings
from windtunnel.log_parser import parse_log

FARMS = ("local", "fake", pytest.param("arm", marks=pytest.mark.heavy))
# What a farm's devices are, whether it knows their cores, and whether it hands over every time by itself.
KNOWN = {"local": ("host", True, True), "fake": ("host", True, True), "arm": ("host", False, False)}
_OPEN = {"local": local.open_farm, "arm": arm.open_farm}


@asynccontextmanager
async def open_farm(name: str, home: Path) -> AsyncIterator[Farm]:
    if name == "fake":
        yield FakeFarm()
        return
    if name == "arm":
        arm_system()
    async with _OPEN[name](FarmDispatcherSettings.model_validate({"home": home})) as farm:
        yield farm


@pytest.fixture(params=FARMS)
async def farm(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Farm]:
    async with open_farm(request.param, tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return write_package(tmp_path / "app.zip", dense_model(tmp_path / "m.tflite").read_bytes())


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def write_package(path: Path, model: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.tflite", model)
    return path


def cell_on(device: Device, **changes: Any) -> Cell:
    cell = Cell(
        "c-1", "float32", device.farm, device.name, device.platform, device.os_version, device.accelerators[0], 1
    )
    return dataclasses.replace(cell, **changes)


async def test_devices_can_be_told_apart_and_have_accelerators(farm: Farm) -> None:
    devices = await farm.devices()
    assert devices
    assert len({(device.name, device.os_version) for device in devices}) == len(devices)
    for device in devices:
        assert (device.platform, bool(device.facts.cores)) == KNOWN[device.farm][:2]
        assert device.accelerators and all(device.accelerators)
        assert device.facts.name == device.name
        assert device.facts.runtime and device.facts.cpu
    assert list(await farm.devices()) == list(devices)


async def test_a_run_gives_a_whole_log_raw_samples_and_facts(farm: Farm, package: Path, workdir: Path) -> None:
    (device, *_) = await farm.devices()
    run = await farm.run(cell_on(device, threads=2), package, workdir)
    log = parse_log(run.log)
    assert log.unrecognized_lines == 0
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


async def test_every_accelerator_that_is_offered_runs(farm: Farm, package: Path, workdir: Path) -> None:
    (device, *_) = await farm.devices()
    for accelerator in device.accelerators:
        folder = workdir / accelerator
        folder.mkdir()
        run = await farm.run(cell_on(device, accelerator=accelerator), package, folder)
        assert parse_log(run.log).runs[0].accelerator_requested == accelerator


async def test_inputs_have_the_shapes_of_the_cell(farm: Farm, tmp_path: Path, workdir: Path) -> None:
    (device, *_) = await farm.devices()
    package = write_package(tmp_path / "open.zip", conv_model(tmp_path / "open.tflite").read_bytes())
    shapes = {"image": (1, 12, 10, 3)}
    run = await farm.run(cell_on(device, input_shapes=shapes), package, workdir)
    assert (run.input_shapes, run.shapes_known) == (shapes, True)
    (workdir / "again").mkdir()
    run = await farm.run(cell_on(device), package, workdir / "again")
    assert run.shapes_known is False


@pytest.mark.parametrize("change", [{"accelerator": "hexagon"}, {"threads": 0}])
async def test_a_cell_that_the_device_cannot_run_is_refused(
    farm: Farm, package: Path, workdir: Path, change: dict[str, Any]
) -> None:
    (device, *_) = await farm.devices()
    with pytest.raises(InvalidInput) as error:
        await farm.run(cell_on(device, **change), package, workdir)
    assert str(next(iter(change.values()))) in str(error.value)


async def test_broken_packages_are_refused(farm: Farm, tmp_path: Path, workdir: Path) -> None:
    (device, *_) = await farm.devices()
    broken = {name: tmp_path / name for name in ("empty", "text", "cut", "other", "squeezed")}
    whole = write_package(tmp_path / "whole", dense_model(tmp_path / "m.tflite").read_bytes()).read_bytes()
    broken["empty"].write_bytes(b"")
    broken["text"].write_text("no zip")
    broken["cut"].write_bytes(whole[: len(whole) // 2])
    with zipfile.ZipFile(broken["other"], "w") as archive:
        archive.writestr("readme", "hello")
    with zipfile.ZipFile(broken["squeezed"], "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.tflite", bytes(1 << 20))
    for name, path in broken.items():
        with pytest.raises(InvalidInput, match=name):
            await farm.run(cell_on(device), path, workdir)


async def test_a_failed_run_leaves_the_farm_usable(farm: Farm, package: Path, tmp_path: Path, workdir: Path) -> None:
    (device, *_) = await farm.devices()
    bad = write_package(tmp_path / "bad.zip", b"no model at all")
    with pytest.raises(InvalidInput):
        await farm.run(cell_on(device), bad, workdir)
    run = await farm.run(cell_on(device), package, workdir)
    assert parse_log(run.log).runs[0].error is None
