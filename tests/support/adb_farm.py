"""The farm `adb` over a real adb server with fake phones, and jobs for it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.farm_jobs import FolderFiles, benchmark_job, cell_on, request_of
from support.farm_peers.phone.adb_server import AdbServer
from support.farm_peers.phone.benchmark import HOST, benchmark_binary
from support.farm_peers.phone.phone import Phone, attached_phone
from support.farm_peers.phone.state import PhoneState
from windtunnel.farm_dispatcher.adapters.adb.adb_farm import AdbFarm
from windtunnel.farm_dispatcher.adapters.adb.run_script import Waits
from windtunnel.farm_dispatcher.domain.device_runs import Collected, JobFailure, Phase, Submitted
from windtunnel.farm_dispatcher.domain.devices import Device
from windtunnel.farm_dispatcher.domain.farm import Farm
from windtunnel.farm_dispatcher.domain.farm_settings import AdbSettings, PollSeconds
from windtunnel.farm_dispatcher.domain.jobs import DEVICE_FOLDER, Entry, FarmRunRequest

PATIENCE_S = 60.0


@dataclass
class Lab:
    """An adb server and the phones at it."""

    server: AdbServer
    folder: Path

    @contextlib.contextmanager
    def phone(self, name: str = "phone", state: PhoneState | None = None) -> Iterator[Phone]:
        """A phone that is attached for the time of a block."""
        with attached_phone(self.folder / name, state) as phone:
            self.attach(phone)
            yield phone
            self.server.adb("disconnect", phone.serial)

    def attach(self, phone: Phone) -> None:
        """Puts the cable in, and waits for the server to see it."""
        phone.plug()
        self.server.adb("disconnect", phone.serial)
        self.server.connect(phone.serial)
        self.server.wait_for(phone.serial, "device")

    def farm(
        self, *phones: Phone, home: str = "home", name: str = "bench", unplugged_s: float = 2.0, **settings: Any
    ) -> AdbFarm:
        """A farm of these phones alone: a test does not see those of others. `home`: of one dispatcher."""
        chosen = AdbSettings(
            name=name,
            server=self.server.address,
            serials=tuple(phone.serial for phone in phones),
            poll_seconds=PollSeconds(0.02, 0.1),
            **settings,
        )
        return AdbFarm(chosen, self.folder / home, Waits(patience_s=2, pause_s=1), unplugged_s)


class Jobs:
    """Executable jobs with a benchmark that runs models on the kernels of `runs_on`."""

    def __init__(self, folder: Path, runs_on: str = HOST, **binary: str) -> None:
        self.files = FolderFiles()
        program = folder / f"benchmark_model-{runs_on}"
        program.write_bytes(benchmark_binary(runs_on, **binary))
        self._program = self.files.add(program)

    def entry(
        self, device: Device, model: Path, number: int = 0, job: dict[str, Any] | None = None, **cell: Any
    ) -> Entry:
        """One cell. `job`: changes of the job."""
        made = cell_on(device, id=f"c-{number}", **cell)
        target = f"{DEVICE_FOLDER}/wt-{number}/model.tflite"
        made_job = benchmark_job(made, self.files.add(model), self._program, target)
        return Entry(f"cell-{number}", made, dataclasses.replace(made_job, **(job or {})))


async def ended(farm: Farm, submitted: Submitted) -> Phase:
    """Waits for the end of a farm run."""
    return await reached(farm, submitted, Phase.ENDED, Phase.LOST)


async def reached(farm: Farm, submitted: Submitted, *phases: Phase, words: str = "") -> Phase:
    """Waits until a farm run is in a phase, and says something."""
    async for polled in _polls(farm, submitted):
        if polled.phase in phases and words in polled.words:
            return Phase(polled.phase)
    raise AssertionError(f"{submitted.id} does not reach {phases} {words}")


async def _polls(farm: Farm, submitted: Submitted) -> AsyncIterator[Any]:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE_S
    while loop.time() < deadline:
        yield await farm.poll(submitted)
        await asyncio.sleep(0.02)


async def run(farm: AdbFarm, jobs: Jobs, request: FarmRunRequest, into: Path) -> Collected:
    submitted = await farm.submit(request, jobs.files)
    assert await ended(farm, submitted) is Phase.ENDED
    return await farm.collect(submitted, request, into)


async def request_for(farm: AdbFarm, jobs: Jobs, *models: Path, key: str = "wt-1", **changes: Any) -> FarmRunRequest:
    (device,) = await farm.devices()
    entries = (jobs.entry(device, model, number, **changes) for number, model in enumerate(models))
    return request_of(device, *entries, key=key)


def failure(collected: Collected, number: int = 0) -> JobFailure:
    found = collected.results[number].failure
    assert found is not None
    return found


def shell(bench: Lab, phone: Phone, command: str) -> str:
    return bench.server.adb("-s", phone.serial, "shell", command).stdout.decode()


def is_flying(phone: Phone) -> bool:
    return phone.state.airplane


async def until(condition: Callable[[], object], patience_s: float = 30.0) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_s
    while not condition():
        assert loop.time() < deadline
        await asyncio.sleep(0.02)
