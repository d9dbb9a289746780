"""Programs on attached phones: their files, their ends, and the model on ARM kernels."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from support.adb_farm import Jobs, Lab, ended, failure, request_for, run, until
from support.arm import arm_system
from support.farm_peers.phone.benchmark import ARM
from support.farm_peers.phone.phone import Phone
from support.farm_peers.phone.state import ANCIENT, OLD_PHONE, PhoneState
from windtunnel.errors import FarmError
from windtunnel.farm_dispatcher.domain.jobs import DEVICE_FOLDER, PushedFile
from windtunnel.farms.failure_kinds import FailureKind
from windtunnel.log_parser import parse_log

pytestmark = pytest.mark.heavy
STAY_ON = ("global", "stay_on_while_plugged_in")


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
