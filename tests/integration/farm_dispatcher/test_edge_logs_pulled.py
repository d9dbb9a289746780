"""Edge logs that an app left on its device: folders that are pulled become files, and the event names the logs."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.farm_scheduler import FarmLab, finished
from support.service_runtime import open_bus
from windtunnel.artifacts.stores.port import ArtifactRef
from windtunnel.bus import Bus
from windtunnel.catalog import Catalog
from windtunnel.farm_dispatcher.adapters.fake_farm import FAKE_DEVICE, FakeFarm, FakeVendor
from windtunnel.farm_dispatcher.domain.cells import Cell
from windtunnel.farm_dispatcher.domain.device_runs import Collected, Submitted
from windtunnel.farm_dispatcher.domain.jobs import App, FarmRunRequest
from windtunnel.farm_dispatcher.use_cases.build_job import JobBuilder
from windtunnel.farm_dispatcher.use_cases.scheduler.end_cells import pulled_files
from windtunnel.plan import Plan

FOLDER = "/sdcard/Android/data/org.example/files/windtunnel"


@pytest.fixture(params=["memory", "nats"])
async def bus(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bus]:
    async with open_bus(request.param, tmp_path / "nats") as opened:
        yield opened


class LoggingFarm(FakeFarm):
    """A farm whose app leaves a folder with two files of an edge log and another file."""

    async def collect(self, submitted: Submitted, request: FarmRunRequest, into: Path) -> Collected:
        collected = await super().collect(submitted, request, into)
        folder = into / "pull"
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("s-000002.mcap", "s-000001.mcap", "notes.txt"):
            (folder / name).write_text(name)
        results = tuple(dataclasses.replace(one, pulled={FOLDER: folder}) for one in collected.results)
        return dataclasses.replace(collected, results=results)


async def test_the_event_names_model_and_logs(bus: Bus, tmp_path: Path) -> None:
    lab = FarmLab(bus, {"fake": LoggingFarm(FakeVendor(), (FAKE_DEVICE,))}, tmp_path)
    cells = await lab.cells([FAKE_DEVICE], 1)
    async with lab.scheduling() as scheduler:
        await scheduler.queue.queue(await lab.context(), Plan(), cells)
        (message,) = finished(await lab.ended(1))
    assert set(message.pulled) == {f"{FOLDER}/{name}" for name in ("s-000001.mcap", "s-000002.mcap", "notes.txt")}
    texts = [await lab.artifacts.read_bytes(log.sha256) for log in message.edge_logs]
    assert texts == [b"s-000001.mcap", b"s-000002.mcap"]
    assert message.model.sha256 == (await lab.model()).sha256


def test_a_folder_is_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.mcap").touch()
    (folder / "deep" / "b.mcap").touch()
    (folder / "link.mcap").symlink_to("/etc/hostname")
    (tmp_path / "one.txt").touch()
    found = dict(pulled_files({"/sdcard/log/": folder, "/sdcard/one.txt": tmp_path / "one.txt"}))
    assert list(found) == ["/sdcard/log/a.mcap", "/sdcard/log/deep/b.mcap", "/sdcard/one.txt"]


@pytest.mark.parametrize(("platform", "pulled"), [("android", (FOLDER,)), ("ios", ())])
def test_android_apps_are_asked_for_their_log(platform: str, pulled: tuple[str, ...]) -> None:
    async def fetch(entry: object) -> ArtifactRef:
        raise AssertionError(f"nothing is fetched: {entry}")

    app = App(ArtifactRef("a" * 64, 1), platform, package_name="org.example")
    cell = Cell("id", "int8", "bench", "pixel", platform, "14", "cpu", 1)
    job = JobBuilder(Catalog(()), fetch).app(cell, app, ArtifactRef("b" * 64, 1), 60)
    assert job.pull == pulled
