"""The farm `adb` over Debian's adb server and fake phones that run the model for real; and all that goes wrong."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.adb_farm import Jobs, Lab, ended, reached
from support.arm import arm_system
from support.farm_jobs import FolderFiles, cell_on, request_of
from support.farm_peers.phone.adb_server import adb_server
from support.farm_peers.phone.apk.maker import PACKAGE, TEST_PACKAGE, base_app, manifest, signed_app
from support.farm_peers.phone.benchmark import ARM
from support.farm_peers.phone.phone import Phone
from support.farm_peers.phone.state import ANCIENT, OLD_PHONE, PIXEL_8, Battery, PhoneState
from support.graphs import dense_model
from support.servers import free_port
from windtunnel.app_builder import BenchmarkConfig, BuildRequest, Platform, SigningKey, build
from windtunnel.errors import FarmError
from windtunnel.farm_dispatcher.adapters.adb.adb_farm import AdbFarm
from windtunnel.farm_dispatcher.adapters.farm_registry import FARMS
from windtunnel.farm_dispatcher.domain.device_runs import Collected, JobFailure, Phase
from windtunnel.farm_dispatcher.domain.farm_settings import AdbSettings
from windtunnel.farm_dispatcher.domain.jobs import DEVICE_FOLDER, AppJob, Entry, FarmRunRequest, PushedFile
from windtunnel.farm_dispatcher.settings import FarmDispatcherSettings
from windtunnel.farms.failure_kinds import FailureKind
from windtunnel.log_parser import parse_log
from windtunnel.service.settings import InvalidSetting

pytestmark = pytest.mark.heavy
OLD_SUMMARY = "Inference timings in us: Init: 1, First inference: 2, Warmup (avg): 3, Inference (avg): 4"
STAY_ON = ("global", "stay_on_while_plugged_in")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    with adb_server(folder / "adb") as server:
        yield Lab(server, folder)


@pytest.fixture
def bench(lab: Lab, tmp_path: Path) -> Iterator[Lab]:
    """The same server, and a folder for this test."""
    yield Lab(lab.server, tmp_path)


@pytest.fixture
def phone(bench: Lab) -> Iterator[Phone]:
    with bench.phone() as attached:
        yield attached


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return dense_model(tmp_path / "m.tflite")


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    return Jobs(tmp_path)


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return SigningKey.generate()


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


async def test_a_model_runs_on_arm_kernels_of_an_attached_phone(
    bench: Lab, phone: Phone, model: Path, tmp_path: Path
) -> None:
    arm_system()
    jobs, farm = Jobs(tmp_path, ARM), bench.farm(phone)
    collected = await run(farm, jobs, await request_for(farm, jobs, model, threads=2), tmp_path / "into")
    (result,) = collected.results
    assert result.run is not None and collected.billed_minutes is None
    (parsed,) = parse_log(result.run.log).runs
    assert parsed.error is None and not parsed.truncated and parsed.threads == 2
    assert result.run.instance == phone.serial
    # Nothing of the job stays, but for what saves the next push.
    assert (
        not phone.file(f"{DEVICE_FOLDER}/wt-0").exists() and not phone.file(f"{DEVICE_FOLDER}/benchmark_model").exists()
    )
    assert not phone.file(f"{DEVICE_FOLDER}/windtunnel/lease").exists()
    assert STAY_ON not in phone.state.settings


async def test_what_runs_has_the_models_bytes(
    bench: Lab, phone: Phone, jobs: Jobs, model: Path, tmp_path: Path
) -> None:
    farm = bench.farm(phone)
    request = await request_for(farm, jobs, model)
    phone.state.may_finish.clear()
    submitted = await farm.submit(request, jobs.files)
    await until(phone.state.started.is_set)
    there = phone.file(request.entries[0].job.pushed[0].target).read_bytes()  # type: ignore[union-attr]
    assert hashlib.sha256(there).hexdigest() == request.entries[0].job.model_sha256
    phone.state.may_finish.set()
    await ended(farm, submitted)


async def test_only_what_is_missing_is_pushed(
    bench: Lab, phone: Phone, jobs: Jobs, model: Path, tmp_path: Path
) -> None:
    farm = bench.farm(phone)
    await run(farm, jobs, await request_for(farm, jobs, model), tmp_path / "one")
    phone.state.pushes.clear()
    await run(farm, jobs, await request_for(farm, jobs, model, key="wt-2"), tmp_path / "two")
    assert [path.rpartition("/")[2] for path in phone.state.pushes] == ["run.sh"]
    # A file with other bytes is as good as none.
    (blob,) = [one for one in phone.file(f"{DEVICE_FOLDER}/windtunnel/blobs").iterdir() if one.stat().st_size < 100_000]
    blob.write_bytes(b"x" + blob.read_bytes()[1:])
    phone.state.pushes.clear()
    collected = await run(farm, jobs, await request_for(farm, jobs, model, key="wt-3"), tmp_path / "three")
    assert len(phone.state.pushes) == 2 and collected.results[0].run is not None


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


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("segv", FailureKind.TEST, "crashed with SIGSEGV"),
        ("abort", FailureKind.TEST, "memory ran out"),
        ("oom", FailureKind.TEST, "memory ran out"),
        ("exit", FailureKind.TEST, "Failed to invoke"),
        ("no_summary", FailureKind.INFRASTRUCTURE, "ends before the summary"),
    ],
)
async def test_bad_ends_of_a_program(
    bench: Lab, phone: Phone, jobs: Jobs, model: Path, tmp_path: Path, fault: str, kind: FailureKind, words: str
) -> None:
    farm = bench.farm(phone)
    phone.state.faults.benchmark = fault
    collected = await run(farm, jobs, await request_for(farm, jobs, model), tmp_path / "into")
    found = failure(collected)
    assert (found.kind, words in found.message) == (kind, True), found
    assert "STARTING!" in collected.results[0].log and found.detail and found.instance == phone.serial


async def test_a_program_that_takes_too_long_is_ended(
    bench: Lab, phone: Phone, jobs: Jobs, model: Path, tmp_path: Path
) -> None:
    farm = bench.farm(phone)
    phone.state.may_finish.clear()
    request = await request_for(farm, jobs, model, job={"timeout_s": 2.0})
    collected = await run(farm, jobs, request, tmp_path / "into")
    assert failure(collected).kind is FailureKind.TIMEOUT and "2 s" in failure(collected).message
    assert not any("benchmark" in name for _, _, name in phone.processes.running())


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


async def test_a_program_for_other_phones_does_not_fit(bench: Lab, phone: Phone, model: Path, tmp_path: Path) -> None:
    jobs, farm = Jobs(tmp_path, abi="armeabi-v7a"), bench.farm(phone)
    found = failure(await run(farm, jobs, await request_for(farm, jobs, model), tmp_path / "into"))
    assert found.kind is FailureKind.DEVICE and "not executable" in found.message


async def test_pushed_libraries_are_found(bench: Lab, phone: Phone, model: Path, tmp_path: Path) -> None:
    """alibaba/MNN#87: the loader does not look in the folder of the library."""
    jobs, farm = Jobs(tmp_path, needs="libfoo.so"), bench.farm(phone)
    request = await request_for(farm, jobs, model)
    found = failure(await run(farm, jobs, request, tmp_path / "into"))
    assert found.kind is FailureKind.DEVICE and "libfoo.so" in found.message
    library = tmp_path / "libfoo.so"
    library.write_bytes(b"\x7fELF")
    files = (PushedFile(jobs.files.add(library), f"{DEVICE_FOLDER}/libraries/libfoo.so"),)
    request = await request_for(farm, jobs, model, key="wt-2", job={"files": files})
    assert (await run(farm, jobs, request, tmp_path / "again")).results[0].run is not None


async def test_a_program_whose_mode_is_lost_runs(
    bench: Lab, phone: Phone, jobs: Jobs, model: Path, tmp_path: Path
) -> None:
    """larq/compute-engine#665: the pushed benchmark is not executable."""
    phone.state.faults.mode_lost = True
    farm = bench.farm(phone)
    assert (await run(farm, jobs, await request_for(farm, jobs, model), tmp_path / "into")).results[0].run is not None


async def test_a_full_phone_says_so(bench: Lab, phone: Phone, jobs: Jobs, model: Path) -> None:
    """openatx/adbutils#101: a refused push that says only FAIL; ubports/ubports-installer#4039: no space left."""
    farm = bench.farm(phone)
    phone.state.free_bytes = 100_000
    with pytest.raises(FarmError, match="No space left on device") as error:
        await farm.submit(await request_for(farm, jobs, model), jobs.files)
    assert (error.value.retryable, error.value.kind) == (False, "device")
    assert not phone.file(f"{DEVICE_FOLDER}/windtunnel/lease").exists()


async def test_room_of_earlier_farm_runs_is_taken(
    bench: Lab, phone: Phone, jobs: Jobs, model: Path, tmp_path: Path
) -> None:
    farm = bench.farm(phone)
    await run(farm, jobs, await request_for(farm, jobs, model), tmp_path / "one")
    old = phone.file(f"{DEVICE_FOLDER}/windtunnel/blobs/{'0' * 64}")
    old.write_bytes(bytes(1000))
    phone.state.free_bytes = 1000
    fresh = tmp_path / "fresh.tflite"
    fresh.write_bytes(model.read_bytes() + bytes(64))
    with pytest.raises(FarmError, match="No space left"):
        await farm.submit(await request_for(farm, jobs, fresh, key="wt-2"), jobs.files)
    assert not old.exists()


async def test_bytes_that_change_on_the_way_do_not_run(bench: Lab, phone: Phone, jobs: Jobs, model: Path) -> None:
    farm = bench.farm(phone)
    phone.state.faults.damaged_push = True
    with pytest.raises(FarmError, match="other bytes") as error:
        await farm.submit(await request_for(farm, jobs, model), jobs.files)
    assert error.value.retryable and not phone.state.benchmarks


async def test_bytes_that_change_before_the_run_do_not_run(
    bench: Lab, phone: Phone, jobs: Jobs, model: Path, tmp_path: Path
) -> None:
    farm = bench.farm(phone)
    other = tmp_path / "other.tflite"
    other.write_bytes(model.read_bytes() + bytes(64))
    request = await request_for(farm, jobs, model, other)
    phone.state.may_finish.clear()
    submitted = await farm.submit(request, jobs.files)
    await until(phone.state.started.is_set)
    blob = phone.file(f"{DEVICE_FOLDER}/windtunnel/blobs/{request.entries[1].job.model_sha256}")
    blob.write_bytes(b"x" + blob.read_bytes()[1:])
    phone.state.may_finish.set()
    await ended(farm, submitted)
    collected = await farm.collect(submitted, request, tmp_path / "into")
    assert collected.results[0].run is not None
    assert failure(collected, 1).kind is FailureKind.INFRASTRUCTURE and len(phone.state.benchmarks) == 1


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


async def test_a_phone_without_exit_codes(bench: Lab, model: Path, tmp_path: Path) -> None:
    """web-infra-dev/midscene#2630: on old phones the shell of adb drops exit codes."""
    state = PhoneState(properties=dict(OLD_PHONE), features=ANCIENT)
    jobs = Jobs(tmp_path, abi="armeabi-v7a")
    with bench.phone("old", state) as phone:
        farm = bench.farm(phone)
        (device,) = await farm.devices()
        assert (device.title, device.abis, device.soc) == ("LGE Nexus 5", ("armeabi-v7a", "armeabi"), "msm8974")
        collected = await run(farm, jobs, await request_for(farm, jobs, model), tmp_path / "into")
        assert collected.results[0].run is not None
        phone.state.faults.benchmark = "segv"
        collected = await run(farm, jobs, await request_for(farm, jobs, model, key="wt-2"), tmp_path / "again")
        assert "SIGSEGV" in failure(collected).message


async def test_files_are_pulled(bench: Lab, phone: Phone, jobs: Jobs, model: Path, tmp_path: Path) -> None:
    farm = bench.farm(phone)
    extra = tmp_path / "inputs.bin"
    extra.write_bytes(b"inputs")
    target = f"{DEVICE_FOLDER}/data dir/it's.bin"
    job = {
        "files": (PushedFile(jobs.files.add(extra), target),),
        "pull": (target, f"{DEVICE_FOLDER}/data dir", "/nothing"),
    }
    collected = await run(farm, jobs, await request_for(farm, jobs, model, job=job), tmp_path / "into")
    pulled = collected.results[0].pulled
    assert set(pulled) == {target, f"{DEVICE_FOLDER}/data dir"}
    assert pulled[target].read_bytes() == b"inputs"
    assert (pulled[f"{DEVICE_FOLDER}/data dir"] / "it's.bin").read_bytes() == b"inputs"


async def test_no_server_is_said_and_none_is_started(tmp_path: Path) -> None:
    port = free_port()
    farm = AdbFarm(AdbSettings(name="bench", server=f"127.0.0.1:{port}"), tmp_path)
    with pytest.raises(FarmError, match=f"127.0.0.1:{port} does not answer") as error:
        await farm.devices()
    assert error.value.retryable and f"adb -P {port} start-server" in error.value.hint


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


class Apps:
    """App jobs with a real, signed APK."""

    def __init__(self, folder: Path, key: SigningKey) -> None:
        self.files = FolderFiles()
        self._folder = folder
        self._key = key

    def built(self, name: str, model: Path, document: bytes | None = None, key: SigningKey | None = None) -> Path:
        folder = self._folder / name
        folder.mkdir()
        config = BenchmarkConfig(run_id="run-1", variant="float32", num_threads=2)
        base = base_app(folder / "base.apk", document)
        return build(BuildRequest(Platform.ANDROID, model, config, folder / "app.apk", base), key or self._key).path

    def entry(self, farm_device: Any, apk: Path, **changes: Any) -> Entry:
        blob = self.files.add(apk)
        job = {
            "package": blob, "platform": "android", "kind": "activity", "package_name": PACKAGE,
            "model_sha256": "0" * 64, "timeout_s": 60.0, **changes,
        }  # fmt: skip
        return Entry("cell-0", cell_on(farm_device, run_as="app"), AppJob(**job))

    async def run(self, farm: AdbFarm, into: Path, apk: Path, key: str = "wt-1", **changes: Any) -> Collected:
        (device,) = await farm.devices()
        request = request_of(device, self.entry(device, apk, **changes), key=key)
        submitted = await farm.submit(request, self.files)
        assert await ended(farm, submitted) is Phase.ENDED
        return await farm.collect(submitted, request, into)


@pytest.fixture
def apps(tmp_path: Path, key: SigningKey) -> Apps:
    return Apps(tmp_path, key)


async def test_an_app_runs_by_its_intent(bench: Lab, phone: Phone, apps: Apps, model: Path, tmp_path: Path) -> None:
    apk, farm = apps.built("app", model), bench.farm(phone)
    # Left by a job before; its clock may be ahead.
    phone.log.ahead = datetime.timedelta(seconds=5)
    phone.log.write(77, "I", "tflite", OLD_SUMMARY)
    phone.log.ahead = datetime.timedelta()
    collected = await apps.run(farm, tmp_path / "into", apk, arguments={"args": "--num_threads=3 --use_xnnpack=true"})
    (result,) = collected.results
    assert result.run is not None, result.failure
    (parsed,) = parse_log(result.run.log).runs
    assert parsed.threads == 3 and parsed.error is None and not parsed.truncated
    assert not phone.packages.installed and not phone.processes.apps


@pytest.mark.parametrize("kind", ["game_loop", "instrumentation"])
async def test_other_kinds_of_app_jobs(
    bench: Lab, phone: Phone, apps: Apps, model: Path, tmp_path: Path, kind: str, key: SigningKey
) -> None:
    apk, farm = apps.built("app", model), bench.farm(phone)
    tests = apps.files.add(signed_app(tmp_path / "tests.apk", key, manifest(TEST_PACKAGE, tests=PACKAGE)))
    changes: dict[str, Any] = {"kind": kind, "scenarios": (2,)}
    if kind == "instrumentation":
        changes["test_package"] = tests
    collected = await apps.run(farm, tmp_path / "into", apk, **changes)
    (result,) = collected.results
    assert result.run is not None, result.failure
    assert parse_log(result.run.log).runs[0].error is None
    phone.state.faults.benchmark = "segv"
    found = failure(await apps.run(farm, tmp_path / "again", apk, "wt-2", **changes))
    assert found.kind is FailureKind.TEST and "SIGSEGV" in found.message and "Fatal signal 11" in found.detail


async def test_an_app_of_another_key_is_replaced(
    bench: Lab, phone: Phone, apps: Apps, model: Path, tmp_path: Path
) -> None:
    """pytorch/executorch#8492: INSTALL_FAILED_UPDATE_INCOMPATIBLE until somebody removes the old app."""
    older = apps.built("older", model, key=SigningKey.generate())
    assert bench.server.adb("-s", phone.serial, "install", str(older)).returncode == 0
    collected = await apps.run(bench.farm(phone), tmp_path / "into", apps.built("app", model))
    assert collected.results[0].run is not None


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("INSTALL_FAILED_INSUFFICIENT_STORAGE: no room", FailureKind.DEVICE),
        ("INSTALL_FAILED_USER_RESTRICTED: Install canceled by user", FailureKind.DEVICE),
        ("INSTALL_FAILED_INTERNAL_ERROR", FailureKind.INFRASTRUCTURE),
        ("INSTALL_FAILED_SOMETHING_NEW", FailureKind.OTHER),
    ],
)
async def test_refused_installations(
    bench: Lab, phone: Phone, apps: Apps, model: Path, tmp_path: Path, code: str, kind: FailureKind
) -> None:
    phone.state.faults.install = code
    found = failure(await apps.run(bench.farm(phone), tmp_path / "into", apps.built("app", model)))
    assert (found.kind, found.field) == (kind, code.partition(":")[0]) and code.partition(":")[0] in found.message


async def test_an_app_with_a_flipped_byte_is_refused(
    bench: Lab, phone: Phone, apps: Apps, model: Path, tmp_path: Path
) -> None:
    apk = apps.built("app", model)
    data = bytearray(apk.read_bytes())
    data[len(data) // 2] ^= 1
    apk.write_bytes(data)
    found = failure(await apps.run(bench.farm(phone), tmp_path / "into", apk))
    assert found.kind is FailureKind.TEST and found.field.startswith("INSTALL_PARSE_FAILED")


async def test_an_app_that_never_ends_is_ended(
    bench: Lab, phone: Phone, apps: Apps, model: Path, tmp_path: Path
) -> None:
    phone.state.may_finish.clear()
    found = failure(await apps.run(bench.farm(phone), tmp_path / "into", apps.built("app", model), timeout_s=3.0))
    assert found.kind is FailureKind.TIMEOUT and not phone.processes.apps


async def test_an_app_without_that_activity(bench: Lab, phone: Phone, apps: Apps, model: Path, tmp_path: Path) -> None:
    found = failure(
        await apps.run(bench.farm(phone), tmp_path / "into", apps.built("app", model), package_name="no.such")
    )
    assert found.kind is FailureKind.TEST and "does not exist" in found.message
