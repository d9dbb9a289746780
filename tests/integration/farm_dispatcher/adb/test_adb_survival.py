"""Farm runs on attached phones while cables, phones, servers and dispatchers come and go."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.adb_farm import Jobs, Lab, ended, failure, is_flying, reached, request_for, run, shell, until
from support.farm_peers.phone.adb_server import adb_server
from support.farm_peers.phone.phone import Phone
from support.servers import free_port
from windtunnel.errors import FarmError
from windtunnel.farm_dispatcher.adapters.adb.adb_farm import AdbFarm
from windtunnel.farm_dispatcher.domain.device_runs import Phase
from windtunnel.farm_dispatcher.domain.farm_settings import AdbSettings
from windtunnel.farm_dispatcher.domain.jobs import DEVICE_FOLDER, FarmRunRequest
from windtunnel.farms.failure_kinds import FailureKind

pytestmark = pytest.mark.heavy
STAY_ON = ("global", "stay_on_while_plugged_in")


async def test_a_cable_that_comes_back_costs_nothing(
    bench: Lab, phone: Phone, jobs: Jobs, model: Path, tmp_path: Path
) -> None:
    farm = bench.farm(phone, unplugged_s=60.0)
    request = await request_for(farm, jobs, model)
    phone.state.may_finish.clear()
    submitted = await farm.submit(request, jobs.files)
    await until(phone.state.started.is_set)
    phone.unplug()
    await reached(farm, submitted, Phase.RUNNING, words="unplugged")
    phone.state.may_finish.set()
    bench.attach(phone)
    assert await ended(farm, submitted) is Phase.ENDED
    collected = await farm.collect(submitted, request, tmp_path / "into")
    assert collected.results[0].run is not None and len(phone.state.benchmarks) == 1


async def test_a_phone_that_is_gone_in_mid_run_is_infrastructure(
    bench: Lab, phone: Phone, jobs: Jobs, model: Path, tmp_path: Path
) -> None:
    farm = bench.farm(phone, unplugged_s=0.5)
    request = await request_for(farm, jobs, model, model)
    phone.state.may_finish.clear()
    submitted = await farm.submit(request, jobs.files)
    await until(phone.state.started.is_set)
    phone.unplug()
    assert await ended(farm, submitted) is Phase.ENDED
    collected = await farm.collect(submitted, request, tmp_path / "into")
    assert [failure(collected, n).kind for n in (0, 1)] == [FailureKind.INFRASTRUCTURE] * 2
    assert failure(collected).instance == phone.serial and "unplugged" in failure(collected).message


async def test_canceling_on_a_phone_that_is_gone_ends(
    bench: Lab, phone: Phone, jobs: Jobs, model: Path, tmp_path: Path
) -> None:
    farm = bench.farm(phone, unplugged_s=1.0)
    request = await request_for(farm, jobs, model)
    phone.state.may_finish.clear()
    submitted = await farm.submit(request, jobs.files)
    await until(phone.state.started.is_set)
    phone.unplug()
    await reached(farm, submitted, Phase.RUNNING, words="unplugged")
    with pytest.raises(FarmError) as error:
        await farm.cancel(submitted)
    assert error.value.retryable
    assert await ended(farm, submitted) is Phase.ENDED
    await farm.cancel(submitted)


async def test_a_dispatcher_that_dies_loses_and_doubles_nothing(
    bench: Lab, phone: Phone, jobs: Jobs, model: Path, tmp_path: Path
) -> None:
    first = bench.farm(phone)
    request = await request_for(first, jobs, model, model)
    phone.state.may_finish.clear()
    submitted = await first.submit(request, jobs.files)
    await until(phone.state.started.is_set)
    # Another process, on another host, that knows nothing but the key.
    second = bench.farm(phone, home="another")
    found = await second.find(request.key)
    assert found is not None and found.id == submitted.id
    assert (await second.submit(request, jobs.files)).id == submitted.id
    phone.state.may_finish.set()
    assert await ended(second, found) is Phase.ENDED
    collected = await second.collect(found, request, tmp_path / "into")
    assert all(result.run is not None for result in collected.results)
    assert len(phone.state.benchmarks) == 2


async def test_a_farm_run_that_never_began_begins_anew(
    bench: Lab, phone: Phone, jobs: Jobs, model: Path, tmp_path: Path
) -> None:
    farm = bench.farm(phone)
    request = await request_for(farm, jobs, model)
    shell(bench, phone, f"mkdir -p {DEVICE_FOLDER}/windtunnel/runs/wt-1/started")
    submitted = await farm.submit(request, jobs.files)
    assert await ended(farm, submitted) is Phase.LOST
    collected = await run(farm, jobs, request, tmp_path / "into")
    assert collected.results[0].run is not None


async def test_a_reboot_is_infrastructure_and_settings_are_put_back(
    bench: Lab, phone: Phone, jobs: Jobs, model: Path, tmp_path: Path
) -> None:
    farm = bench.farm(phone, airplane=True)
    request = await request_for(farm, jobs, model, model)
    submitted = await farm.submit(request, jobs.files)
    await until(lambda: phone.file(f"{DEVICE_FOLDER}/windtunnel/runs/wt-1/entries/0/rc").exists())
    phone.state.may_finish.clear()
    await until(lambda: len(phone.state.benchmarks) == 2)
    assert is_flying(phone)
    phone.reboot()
    phone.state.may_finish.set()
    bench.attach(phone)
    assert await ended(farm, submitted) is Phase.ENDED
    collected = await farm.collect(submitted, request, tmp_path / "into")
    # What was measured before counts.
    assert collected.results[0].run is not None
    assert failure(collected, 1).kind is FailureKind.INFRASTRUCTURE
    assert not is_flying(phone)
    again = await run(farm, jobs, await request_for(farm, jobs, model, key="wt-2"), tmp_path / "again")
    assert again.results[0].run is not None


async def test_a_phone_that_cannot_run_the_script_is_not_asked_forever(
    bench: Lab, phone: Phone, jobs: Jobs, model: Path, tmp_path: Path
) -> None:
    farm = bench.farm(phone)
    phone.file("/system/bin/input").unlink()
    phone.file("/system/bin/mkdir").unlink()
    phone.file("/system/bin/mkdir").write_text(
        '#!/system/bin/sh\n[ "$2" != entries/0 ] && exec toybox mkdir "$@"\necho broken >&2; kill -9 $PPID\n'
    )
    phone.file("/system/bin/mkdir").chmod(0o755)
    found = failure(await run(farm, jobs, await request_for(farm, jobs, model), tmp_path / "into"))
    assert found.kind is FailureKind.INFRASTRUCTURE and "broken" in found.message


async def test_one_farm_run_at_a_time_on_a_phone(
    bench: Lab, phone: Phone, jobs: Jobs, model: Path, tmp_path: Path
) -> None:
    first, second = bench.farm(phone), bench.farm(phone, home="another")
    request = await request_for(first, jobs, model)
    other = await request_for(second, jobs, model, key="wt-2")
    phone.state.may_finish.clear()
    submitted = await first.submit(request, jobs.files)
    await until(phone.state.started.is_set)
    with pytest.raises(FarmError, match="busy with wt-1") as error:
        await second.submit(other, jobs.files)
    assert error.value.retryable and len(phone.state.benchmarks) == 1
    phone.state.may_finish.set()
    await ended(first, submitted)
    assert (await run(second, jobs, other, tmp_path / "into")).results[0].run is not None


async def test_a_stale_lease_is_taken_over(bench: Lab, phone: Phone, jobs: Jobs, model: Path, tmp_path: Path) -> None:
    lease = f"{DEVICE_FOLDER}/windtunnel/lease"
    shell(bench, phone, f"mkdir -p {lease}; echo wt-dead > {lease}/owner; echo 2000000000 > {lease}/until")
    farm = bench.farm(phone)
    request = await request_for(farm, jobs, model)
    with pytest.raises(FarmError, match="busy with wt-dead"):
        await farm.submit(request, jobs.files)
    shell(bench, phone, f"echo 1000 > {lease}/until")
    assert (await run(farm, jobs, request, tmp_path / "into")).results[0].run is not None


async def test_phones_of_one_model_share_the_work(
    bench: Lab, phone: Phone, jobs: Jobs, model: Path, tmp_path: Path
) -> None:
    with bench.phone("second") as other:
        farm = bench.farm(phone, other)
        (device,) = await farm.devices()
        phone.state.may_finish.clear()
        other.state.may_finish.clear()
        keys = ("wt-1", "wt-2")
        requests = [await request_for(farm, jobs, model, key=one) for one in keys]
        submitted = [await farm.submit(request, jobs.files) for request in requests]
        assert {one.id for one in submitted} != {submitted[0].id} and device.available
        for one in (phone, other):
            one.state.may_finish.set()
        for given, request in zip(submitted, requests, strict=True):
            await ended(farm, given)
            assert (await farm.collect(given, request, tmp_path / request.key)).results[0].run is not None
        for avoided, chosen in ((phone, other), (other, phone)):
            request = FarmRunRequest(f"wt-{avoided.port}", device, requests[0].entries, 600.0, (avoided.serial,))
            result = (await run(farm, jobs, request, tmp_path / request.key)).results[0]
            assert result.run is not None and result.run.instance == chosen.serial


async def test_a_canceled_farm_run_keeps_what_was_measured(
    bench: Lab, phone: Phone, jobs: Jobs, model: Path, tmp_path: Path
) -> None:
    farm = bench.farm(phone, airplane=True)
    request = await request_for(farm, jobs, model, model, model)
    submitted = await farm.submit(request, jobs.files)
    await until(lambda: phone.file(f"{DEVICE_FOLDER}/windtunnel/runs/wt-1/entries/0/rc").exists())
    phone.state.may_finish.clear()
    await until(lambda: len(phone.state.benchmarks) == 2)
    await farm.cancel(submitted)
    await farm.cancel(submitted)
    assert await ended(farm, submitted) is Phase.ENDED
    await farm.cancel(submitted)
    collected = await farm.collect(submitted, request, tmp_path / "into")
    assert collected.results[0].run is not None
    assert [failure(collected, n).kind for n in (1, 2)] == [FailureKind.CANCELLED] * 2
    assert not is_flying(phone) and STAY_ON not in phone.state.settings
    assert not phone.file(f"{DEVICE_FOLDER}/windtunnel/lease").exists()


async def test_a_cable_pulled_in_mid_push(bench: Lab, phone: Phone, jobs: Jobs, model: Path, tmp_path: Path) -> None:
    farm = bench.farm(phone)
    request = await request_for(farm, jobs, model)
    phone.state.faults.send_stops_after = 70_000
    with pytest.raises(FarmError) as error:
        await farm.submit(request, jobs.files)
    assert error.value.retryable
    phone.state.faults.send_stops_after = None
    bench.attach(phone)
    assert (await run(farm, jobs, request, tmp_path / "into")).results[0].run is not None


async def test_a_lease_that_is_lost_while_files_are_pushed(
    bench: Lab, phone: Phone, jobs: Jobs, model: Path, tmp_path: Path
) -> None:
    farm = bench.farm(phone)
    request = await request_for(farm, jobs, model)
    lease = f"{DEVICE_FOLDER}/windtunnel/lease"
    phone.state.on_push = lambda: shell(bench, phone, f"echo wt-9 > {lease}/owner; echo 2000000000 > {lease}/until")
    with pytest.raises(FarmError, match="given to wt-9"):
        await farm.submit(request, jobs.files)
    assert not phone.state.benchmarks


async def test_a_server_that_is_away_is_not_a_phone_that_is_away(
    phone: Phone, jobs: Jobs, model: Path, tmp_path: Path
) -> None:
    with adb_server(tmp_path / "first") as server:
        bench = Lab(server, tmp_path)
        bench.attach(phone)
        farm = bench.farm(phone, unplugged_s=0.1)
        request = await request_for(farm, jobs, model)
        phone.state.may_finish.clear()
        submitted = await farm.submit(request, jobs.files)
        await until(phone.state.started.is_set)
    with pytest.raises(FarmError, match="does not answer") as error:
        await farm.poll(submitted)
    assert error.value.retryable
    phone.state.may_finish.set()
    with adb_server(tmp_path / "second", server.port):
        assert await ended(farm, submitted) is Phase.ENDED
        assert (await farm.collect(submitted, request, tmp_path / "into")).results[0].run is not None


async def test_no_server_is_said_and_none_is_started(tmp_path: Path) -> None:
    port = free_port()
    farm = AdbFarm(AdbSettings(name="bench", server=f"127.0.0.1:{port}"), tmp_path)
    with pytest.raises(FarmError, match=f"127.0.0.1:{port} does not answer") as error:
        await farm.devices()
    assert error.value.retryable and f"adb -P {port} start-server" in error.value.hint
