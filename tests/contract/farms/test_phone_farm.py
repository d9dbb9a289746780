"""What every farm of phones must do, with its peer. A farm joins by a line in `OPEN`.

Jobs carry a benchmark program, which prints fixed figures; models whose bytes are FAILS end it with status 1.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

import pytest

from support.farm_jobs import FolderFiles, cell_on, request_of
from support.farm_peers.aws.bench import AwsBench
from support.farm_peers.aws.server import start_aws_peer
from windtunnel.farm_dispatcher.domain.device_runs import Submitted
from windtunnel.farm_dispatcher.domain.devices import Device
from windtunnel.farm_dispatcher.domain.farm import Farm
from windtunnel.farm_dispatcher.domain.jobs import Entry, ExecutableJob, FarmRunRequest
from windtunnel.farms.failure_kinds import FailureKind
from windtunnel.log_parser import parse_log

pytestmark = pytest.mark.heavy


class PhoneBench(Protocol):
    """A farm of phones with its peer."""

    files: FolderFiles

    @property
    def farm(self) -> Farm:
        """The adapter."""
        ...

    async def device(self) -> Device:
        """One that runs executables."""
        ...

    def job(self, model: bytes = ...) -> ExecutableJob:
        """A job for it."""
        ...

    async def wait(self, submitted: Submitted) -> list[str]:
        """Lets time pass until a farm run has ended."""
        ...


@asynccontextmanager
async def _aws(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PhoneBench]:
    with start_aws_peer(folder / "farm") as peer:
        for name, value in peer.environment.items():
            monkeypatch.setenv(name, value)
        bench = await asyncio.to_thread(AwsBench.make, peer, folder / "bench")
        yield bench
        bench.close()


OPEN: Mapping[str, Callable[[Path, pytest.MonkeyPatch], AbstractAsyncContextManager[PhoneBench]]] = {"aws": _aws}


@pytest.fixture(params=OPEN)
async def bench(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[PhoneBench]:
    async with OPEN[request.param](tmp_path, monkeypatch) as opened:
        yield opened


async def request_for(bench: PhoneBench, *models: bytes, key: str = "wt-1") -> FarmRunRequest:
    device = await bench.device()
    entries = [Entry(f"e{n}", cell_on(device, id=f"c-{n}"), bench.job(model)) for n, model in enumerate(models)]
    return request_of(device, *entries, key=key)


async def test_devices_are_unique_and_say_what_they_run(bench: PhoneBench) -> None:
    devices = await bench.farm.devices()
    assert len({(one.name, one.os_version) for one in devices}) == len(devices) > 0
    for one in devices:
        assert one.platform in {"android", "ios"}
        assert bench.farm.default_accelerator in one.accelerators
        assert (one.facts.name, one.facts.os_version) == (one.name, one.os_version)
        assert one.farm == bench.farm.settings.name
    assert list(await bench.farm.devices()) == list(devices)


async def test_every_entry_has_its_own_result(bench: PhoneBench, tmp_path: Path) -> None:
    request = await request_for(bench, b"one", b"FAILS", b"three")
    submitted = await bench.farm.submit(request, bench.files)
    await bench.wait(submitted)
    collected = await bench.farm.collect(submitted, request, tmp_path / "into")
    first, second, third = collected.results
    for result in (first, third):
        assert result.run is not None, result.failure
        (parsed,) = parse_log(result.run.log).runs
        assert parsed.inference.avg_us is not None and not parsed.truncated
        assert result.run.instance
    assert second.failure is not None and second.failure.kind is FailureKind.TEST
    assert second.log and second.failure.field
    assert collected.billed_minutes is not None and collected.billed_minutes > 0


async def test_the_same_key_is_one_farm_run(bench: PhoneBench) -> None:
    request = await request_for(bench, b"one")
    assert await bench.farm.find(request.key) is None
    first, second = await bench.farm.submit(request, bench.files), await bench.farm.submit(request, bench.files)
    found = await bench.farm.find(request.key)
    assert found is not None and first.id == second.id == found.id
    assert await bench.farm.find("wt-another") is None


async def test_a_canceled_farm_run_ends_and_canceling_again_changes_nothing(bench: PhoneBench, tmp_path: Path) -> None:
    request = await request_for(bench, b"one", b"two")
    submitted = await bench.farm.submit(request, bench.files)
    await bench.farm.cancel(submitted)
    await bench.farm.cancel(submitted)
    await bench.wait(submitted)
    await bench.farm.cancel(submitted)
    collected = await bench.farm.collect(submitted, request, tmp_path / "into")
    assert [result.failure and result.failure.kind for result in collected.results] == [FailureKind.CANCELLED] * 2


async def test_collecting_again_gives_the_same(bench: PhoneBench, tmp_path: Path) -> None:
    request = await request_for(bench, b"one")
    submitted = await bench.farm.submit(request, bench.files)
    await bench.wait(submitted)
    once = await bench.farm.collect(submitted, request, tmp_path / "once")
    again = await bench.farm.collect(submitted, request, tmp_path / "again")
    assert once == again
