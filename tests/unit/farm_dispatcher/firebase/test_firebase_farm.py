"""Firebase Test Lab through its real clients, against a server that answers from Google's API descriptions."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from support.base_apk import apk_bytes
from support.farm_peers.google.lab import INFRASTRUCTURE, NO_RESULT_URL, Behavior
from support.farm_peers.google.open_farms import BUCKET, OpenFarm, kinds_of, open_google_farm
from support.farm_peers.google.server import Fault, Quota
from support.graphs import dense_model
from windtunnel.errors import FarmError
from windtunnel.farm_dispatcher.adapters.firebase import test_lab_client
from windtunnel.farm_dispatcher.domain.device_runs import Phase
from windtunnel.log_parser import parse_log
from windtunnel.service.settings import InvalidSetting

MATRICES = "testing.projects.testMatrices"


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[OpenFarm]:
    async with open_google_farm("firebase", tmp_path) as opened:
        yield opened


@pytest.fixture
def model(tmp_path: Path) -> bytes:
    return dense_model(tmp_path / "m.tflite").read_bytes()


async def test_devices_are_those_of_the_catalog(lab: OpenFarm) -> None:
    devices = {(device.name, device.os_version): device for device in await lab.farm.devices()}
    pixel = devices["shiba", "14"]
    assert (pixel.title, pixel.maker, pixel.kind, pixel.form_factor) == ("Pixel 8", "Google", "physical", "phone")
    assert (pixel.abis[0], pixel.price_per_minute_usd, pixel.available) == ("arm64-v8a", Decimal("0.0834"), True)
    virtual = devices["MediumPhone.arm", "11"]
    assert (virtual.kind, virtual.price_per_minute_usd) == ("virtual", Decimal("0.0167"))
    assert "gpu" in pixel.accelerators and "gpu" not in virtual.accelerators
    assert not devices["x1q", "10"].available
    # A phone that the account may only look at is not listed.
    assert not [name for name, _ in devices if name == "tango"]
    assert not lab.peer.authorizations


@pytest.mark.heavy
async def test_a_game_loop_runs_the_model_that_was_sent(lab: OpenFarm, model: bytes) -> None:
    lab.peer.lab.usual = Behavior(run_s=61.5)
    request = await lab.request("shiba", lab.app(model, 4, pull=("/sdcard/benchmark_output",)))
    submitted = await lab.farm.submit(request, lab.files)
    assert submitted.words == "VALIDATING"
    seen = await lab.ended(submitted)
    assert list(dict.fromkeys(one.phase for one in seen)) == [Phase.QUEUED, Phase.RUNNING, Phase.ENDED]
    assert seen[-1].url.startswith("https://console.firebase.google.com/")
    collected = await lab.collect(submitted, request)
    (result,) = collected.results
    assert result.run is not None and result.seconds == 61.5
    assert collected.billed_minutes == 2
    (parsed,) = parse_log(result.run.log).runs
    assert (parsed.accelerator_requested, parsed.threads, parsed.inference.count) == ("xnnpack", 1, 3)
    (received,) = lab.peer.lab.received
    assert received.model == hashlib.sha256(model).hexdigest()
    (path,) = result.pulled
    assert path == "/sdcard/benchmark_output/benchmark_result_xnnpack_1thread"
    assert result.pulled[path].read_text().startswith("config_key,")


@pytest.mark.heavy
async def test_scenarios_of_one_model_share_a_matrix_and_its_minute(lab: OpenFarm, model: bytes) -> None:
    lab.peer.lab.usual = Behavior(run_s=40)
    request = await lab.request("shiba", *(lab.app(model, scenario) for scenario in (1, 4, 5)))
    collected = await lab.run(request)
    assert len(lab.peer.matrices.matrices) == 1
    assert collected.billed_minutes == 1
    logs = [result.run.log for result in collected.results if result.run is not None]
    found = [(run.accelerator_requested, run.threads) for log in logs for run in parse_log(log).runs]
    assert found == [("cpu", 1), ("xnnpack", 1), ("xnnpack", 2)]


async def test_other_models_and_other_apps_have_matrices_of_their_own(lab: OpenFarm, model: bytes) -> None:
    other = apk_bytes({"assets/x": b"x"})
    jobs = (lab.app(model, 4), lab.app(b"another model", 5), lab.app(model, 5, package=other), lab.app(model, 6))
    submitted = await lab.farm.submit(await lab.request("shiba", *jobs), lab.files)
    assert len(submitted.id.split(",")) == 3
    loops = [
        one.body["testSpecification"]["androidTestLoop"]["scenarios"] for one in lab.peer.matrices.matrices.values()
    ]
    assert loops == [[4, 6], [5], [5]]
    folders = {
        one.body["resultStorage"]["googleCloudStorage"]["gcsPath"] for one in lab.peer.matrices.matrices.values()
    }
    assert folders == {f"gs://{BUCKET}/windtunnel/runs/wt-1/{number}" for number in range(3)}


async def test_a_crash_spares_the_scenarios_before_it(lab: OpenFarm, model: bytes) -> None:
    lab.peer.lab.usual = Behavior(crash="native", crashes_at=5)
    collected = await lab.run(await lab.request("shiba", *(lab.app(model, scenario) for scenario in (4, 5, 6))))
    # The last one had no turn: it is tried again.
    assert kinds_of(collected) == ["", "test", "infrastructure"]
    assert collected.billed_minutes == 2
    crashed = collected.results[1]
    assert crashed.failure is not None and crashed.failure.field == "outcome.failureDetail.crashed"
    assert "SIGSEGV" in crashed.log and "backtrace" in crashed.failure.detail
    assert not collected.results[2].log


async def test_the_shapes_of_a_cell_are_those_of_the_file(lab: OpenFarm, model: bytes) -> None:
    request = await lab.request("shiba", lab.app(model))
    (entry,) = request.entries
    shaped = dataclasses.replace(entry, cell=dataclasses.replace(entry.cell, input_shapes={"input": (1, 8)}))
    (result,) = (await lab.run(dataclasses.replace(request, entries=(shaped,)))).results
    assert result.run is not None
    assert (result.run.input_shapes, result.run.shapes_known) == ({}, None)


async def test_a_model_that_cannot_run_fails_alone(lab: OpenFarm, model: bytes) -> None:
    jobs = (lab.app(model, 4), lab.app(b"no model at all", 5), lab.app(model, 5))
    collected = await lab.run(await lab.request("shiba", *jobs))
    assert kinds_of(collected) == ["", "test", ""]
    failure = collected.results[1].failure
    assert failure is not None and "TFLite error" in failure.message


async def test_what_test_lab_cannot_run_fails_without_a_matrix(lab: OpenFarm, model: bytes) -> None:
    jobs = (lab.executable(model), lab.app(model, kind="xctest", platform="ios"), lab.app(model, scenarios=()))
    collected = await lab.run(await lab.request("shiba", *jobs))
    assert kinds_of(collected) == ["unsupported"] * 3
    assert (collected.billed_minutes, len(lab.peer.matrices.matrices)) == (None, 0)


async def test_the_same_key_starts_one_matrix(lab: OpenFarm, model: bytes) -> None:
    request = await lab.request("shiba", lab.app(model))
    assert await lab.farm.find(request.key) is None
    first = await lab.farm.submit(request, lab.files)
    assert await lab.farm.submit(request, lab.files) == first
    found = await lab.farm.find(request.key)
    assert found is not None and found.id == first.id
    assert len(lab.peer.matrices.matrices) == 1
    await lab.farm.cancel(first)


async def test_a_matrix_is_found_before_it_is_noted(lab: OpenFarm, model: bytes) -> None:
    request = await lab.request("shiba", lab.app(model, 4), lab.app(b"other", 4))
    # The package, two models, and what is asked for are written before the matrices are noted.
    lab.peer.faults.append(Fault("storage.objects.insert", "PERMISSION_DENIED", after=4))
    with pytest.raises(FarmError, match=r"matrices\.json"):
        await lab.farm.submit(request, lab.files)
    made = list(lab.peer.matrices.matrices)
    found = await lab.farm.find(request.key)
    assert found is not None and found.id.split(",") == made == list(lab.peer.matrices.matrices)
    await lab.farm.cancel(found)


@pytest.mark.parametrize("method", [f"{MATRICES}.create", "storage.objects.insert"])
@pytest.mark.parametrize("kind", ["lost", "dropped", "status"])
async def test_an_answer_that_is_lost_loses_and_doubles_nothing(
    lab: OpenFarm, model: bytes, method: str, kind: str
) -> None:
    request = await lab.request("shiba", lab.app(model))
    # The client of the bucket asks again by itself, after a second.
    lab.peer.faults.append(Fault(method, "UNAVAILABLE", times=4 if method.startswith(MATRICES) else 1, kind=kind))
    submitted = None
    for _ in range(6):
        try:
            submitted = await lab.farm.submit(request, lab.files)
            break
        except FarmError as error:
            assert error.retryable and error.kind == "infrastructure"
    assert submitted is not None
    assert len(lab.peer.matrices.matrices) == 1
    await lab.farm.cancel(submitted)


async def test_uploads_are_made_once(lab: OpenFarm, model: bytes) -> None:
    for key in ("wt-1", "wt-2"):
        submitted = await lab.farm.submit(await lab.request("shiba", lab.app(model), key=key), lab.files)
        await lab.farm.cancel(submitted)
    names = [name for _, name in lab.peer.buckets.uploads if "/inputs/" in name]
    assert len(names) == len(set(names)) == 2
    assert {name.endswith(".apk") for name in names} == {True, False}


@pytest.mark.parametrize(
    ("behavior", "kind", "minutes"),
    [
        (INFRASTRUCTURE, "infrastructure", 0),
        (NO_RESULT_URL, "infrastructure", 0),
        (Behavior(execution_state="ERROR", billed_s=0, files_lost=True), "infrastructure", 0),
        (Behavior(outcome={"summary": "inconclusive"}, billed_s=0), "infrastructure", 0),
        (Behavior(files_lost=True), "infrastructure", 2),
        (Behavior(crash="oom", run_s=30), "test", 1),
        (Behavior(crash="hang", run_s=300.1), "timeout", 6),
        (Behavior(invalid="TEST_QUOTA_EXCEEDED"), "quota", 0),
        (Behavior(invalid="NO_SIGNATURE"), "test", 0),
        (Behavior(steps_late=True), "", 2),
        (Behavior(files_late=True), "", 2),
    ],
)
async def test_how_a_matrix_ends(lab: OpenFarm, model: bytes, behavior: Behavior, kind: str, minutes: int) -> None:
    lab.peer.lab.coming.append(behavior)
    request = await lab.request("shiba", lab.app(model))
    submitted = await lab.farm.submit(request, lab.files)
    await lab.ended(submitted)
    for _ in range(20):
        try:
            collected = await lab.collect(submitted, request)
            break
        except FarmError as error:
            assert error.retryable and (behavior.steps_late or behavior.files_late or behavior.files_lost)
            lab.advance(5)
    assert kinds_of(collected) == [kind]
    assert collected.billed_minutes == minutes


async def test_a_device_that_does_not_fit(lab: OpenFarm, model: bytes) -> None:
    collected = await lab.run(await lab.request("Nexus6", lab.app(model)))
    assert kinds_of(collected) == ["device"]
    assert collected.billed_minutes == 0
    broken = await lab.run(await lab.request("shiba", lab.app(model, package=b"no zip"), key="wt-2"))
    (result,) = broken.results
    assert result.failure is not None and "MALFORMED_APK" in result.failure.message


async def test_a_device_that_has_left_the_catalog(lab: OpenFarm, model: bytes) -> None:
    request = await lab.request("shiba", lab.app(model))
    object.__setattr__(request.device, "os_version", "99")
    with pytest.raises(FarmError) as error:
        await lab.farm.submit(request, lab.files)
    assert (error.value.retryable, error.value.kind) == (False, "device")


async def test_cancel_ends_it_and_costs_what_ran(lab: OpenFarm, model: bytes) -> None:
    lab.peer.lab.usual = Behavior(run_s=600)
    request = await lab.request("shiba", lab.app(model))
    submitted = await lab.farm.submit(request, lab.files)
    lab.advance(12 + 90)
    assert (await lab.farm.poll(submitted)).phase is Phase.RUNNING
    for _ in range(2):
        await lab.farm.cancel(submitted)
    assert (await lab.farm.poll(submitted)).phase is Phase.ENDED
    collected = await lab.collect(submitted, request)
    assert kinds_of(collected) == ["cancelled"]
    assert collected.billed_minutes == 2


@pytest.mark.parametrize("fault", [
    Fault("testing.*", "UNAVAILABLE"), Fault("testing.*", "INTERNAL"), Fault("testing.*", kind="garbage"),
    Fault("testing.*", "RESOURCE_EXHAUSTED", message="Insufficient test quota."),
    Fault("testing.*", kind="dropped", times=4),
])  # fmt: skip
async def test_faults_on_the_way_are_asked_again(lab: OpenFarm, model: bytes, fault: Fault) -> None:
    submitted = await lab.farm.submit(await lab.request("shiba", lab.app(model)), lab.files)
    lab.peer.faults.append(
        Fault(fault.method, fault.status, fault.times, fault.kind, fault.message, fault.retry_after_s)
    )
    with pytest.raises(FarmError) as error:
        await lab.farm.poll(submitted)
    assert error.value.retryable
    assert error.value.kind == ("quota" if fault.status == "RESOURCE_EXHAUSTED" else "infrastructure")
    lab.peer.faults.clear()
    assert (await lab.farm.poll(submitted)).phase is Phase.QUEUED
    await lab.farm.cancel(submitted)


@pytest.mark.parametrize(("status", "kind"), [("PERMISSION_DENIED", "other"), ("INVALID_ARGUMENT", "other"),
                                              ("UNAUTHENTICATED", "other")])  # fmt: skip
async def test_refusals_are_not_asked_again(lab: OpenFarm, model: bytes, status: str, kind: str) -> None:
    request = await lab.request("shiba", lab.app(model))
    lab.peer.faults.append(Fault(f"{MATRICES}.create", status, message="not you"))
    with pytest.raises(FarmError, match="not you") as error:
        await lab.farm.submit(request, lab.files)
    assert (error.value.retryable, error.value.kind) == (False, kind)


async def test_a_quota_on_questions_loses_nothing(lab: OpenFarm, model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_lab_client, "_now", lab.peer.lab.clock.now)
    lab.peer.quotas.append(Quota(f"{MATRICES}.get", 2, 60))
    request = await lab.request("shiba", lab.app(model))
    submitted = await lab.farm.submit(request, lab.files)
    throttled = 0
    while True:
        lab.advance(10)
        try:
            if (await lab.farm.poll(submitted)).phase is Phase.ENDED:
                break
        except FarmError as error:
            assert error.kind == "quota"
            throttled += 1
            asked = lab.peer.calls[f"{MATRICES}.get"]
            # Test Lab said how long to wait, and is not asked again before.
            with pytest.raises(FarmError, match="asked to wait"):
                await lab.farm.poll(submitted)
            assert lab.peer.calls[f"{MATRICES}.get"] == asked
    lab.advance(60)
    assert throttled > 0
    assert kinds_of(await lab.collect(submitted, request)) == [""]


async def test_servers_on_this_machine_are_asked_without_a_proxy(
    tmp_path: Path, model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with open_google_farm("firebase", tmp_path) as lab:
        assert await lab.farm.devices()
        submitted = await lab.farm.submit(await lab.request("shiba", lab.app(model)), lab.files)
        await lab.farm.cancel(submitted)


async def test_a_slow_answer_does_not_hold_the_loop(lab: OpenFarm) -> None:
    lab.peer.faults.append(Fault("testing.*", kind="slow", seconds=0.3))
    asked = asyncio.create_task(lab.farm.devices())
    turns = 0
    while not asked.done():
        await asyncio.sleep(0.01)
        turns += 1
    assert turns > 10 and await asked


async def test_steps_that_are_not_there_yet_are_asked_for_again(lab: OpenFarm, model: bytes) -> None:
    request = await lab.request("shiba", lab.app(model))
    submitted = await lab.farm.submit(request, lab.files)
    await lab.ended(submitted)
    lab.peer.faults.append(Fault("toolresults.*", "NOT_FOUND", message="Execution not found"))
    with pytest.raises(FarmError) as error:
        await lab.collect(submitted, request)
    assert error.value.retryable
    assert kinds_of(await lab.collect(submitted, request)) == [""]


async def test_instrumentation_takes_its_arguments_as_variables(lab: OpenFarm, model: bytes) -> None:
    test = lab.add("test.apk", apk_bytes({"assets/t": b"t"}))
    job = lab.app(model, kind="instrumentation", test_package=test, scenarios=(), arguments={"model": "a,b=c"})
    submitted = await lab.farm.submit(await lab.request("shiba", job), lab.files)
    (matrix,) = lab.peer.matrices.matrices.values()
    specification = matrix.body["testSpecification"]
    assert set(specification["androidInstrumentationTest"]) == {"appApk", "testApk"}
    assert specification["testSetup"]["environmentVariables"] == [{"key": "model", "value": "a,b=c"}]
    await lab.farm.cancel(submitted)


@pytest.mark.parametrize("results", ["s3://b/x", "gs://", "gs://b/a b", "gs://b/../c", "/tmp"])
async def test_results_must_be_a_folder_of_cloud_storage(tmp_path: Path, results: str) -> None:
    with pytest.raises(InvalidSetting, match="gs://"):
        async with open_google_farm("firebase", tmp_path, results=results):
            pass
