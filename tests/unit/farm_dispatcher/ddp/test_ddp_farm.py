"""Device Run through a gcloud that is a program of its own, and through the bucket."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from support.farm_peers.google.fake_gcloud import CallFault, FakeGcloud, SessionBehavior
from support.farm_peers.google.open_farms import OpenFarm, kinds_of, open_google_farm
from support.graphs import dense_model
from support.open_models import conv_model
from windtunnel.errors import FarmError
from windtunnel.farm_dispatcher.adapters.ddp.device_script import read_exit
from windtunnel.farm_dispatcher.adapters.ddp.gcloud import Gcloud, Output
from windtunnel.farm_dispatcher.adapters.ddp.sessions import created_name, labeled, read_session
from windtunnel.farm_dispatcher.domain.device_runs import Phase
from windtunnel.farm_dispatcher.domain.farm_settings import DdpSettings
from windtunnel.log_parser import parse_log

pytestmark = pytest.mark.heavy


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[OpenFarm]:
    async with open_google_farm("ddp", tmp_path) as opened:
        yield opened


@pytest.fixture
def model(tmp_path: Path) -> bytes:
    return dense_model(tmp_path / "m.tflite").read_bytes()


def gcloud_of(lab: OpenFarm) -> FakeGcloud:
    assert lab.gcloud is not None
    return lab.gcloud


def sessions_of(lab: OpenFarm) -> list[dict[str, Any]]:
    return list(gcloud_of(lab).state()["sessions"])


async def test_devices_are_the_android_ones_that_run_jobs(lab: OpenFarm) -> None:
    devices = {device.name: device for device in await lab.farm.devices()}
    assert set(devices) == {"shiba-34", "caiman-35", "pa3q-35", "mediumphone-arm-34", "tango-34"}
    pixel = devices["shiba-34"]
    assert (pixel.title, pixel.os_version, pixel.kind, pixel.abis) == ("Pixel 8", "14", "physical", ("arm64-v8a",))
    assert pixel.price_per_minute_usd == Decimal("0.0834")
    assert devices["mediumphone-arm-34"].price_per_minute_usd == Decimal("0.0167")
    assert pixel.available and not devices["tango-34"].available


async def test_entries_of_a_device_share_one_session(lab: OpenFarm, model: bytes, tmp_path: Path) -> None:
    gcloud_of(lab).behave(SessionBehavior(run_s=95))
    other = conv_model(tmp_path / "other.tflite").read_bytes()
    jobs = (
        lab.executable(model),
        lab.executable(b"no model at all"),
        lab.executable(other, "--num_threads=2", pull=("/data/local/tmp/windtunnel/bin",)),
        lab.executable(model, "--gadget=1"),
        lab.app(model),
    )
    request = await lab.request("shiba-34", *jobs)
    submitted = await lab.farm.submit(request, lab.files)
    assert submitted.url.startswith("https://console.cloud.google.com/")
    seen = await lab.ended(submitted)
    assert list(dict.fromkeys(one.phase for one in seen)) == [Phase.QUEUED, Phase.RUNNING, Phase.ENDED]
    collected = await lab.collect(submitted, request)
    assert kinds_of(collected) == ["", "test", "", "test", "unsupported"]
    assert (len(sessions_of(lab)), collected.billed_minutes) == (1, Decimal(2))
    first, second, third, fourth, _ = collected.results
    assert first.run is not None and third.run is not None
    assert all(one.seconds is not None and 0 < one.seconds < 60 for one in (first, second, third, fourth))
    assert first.run.instance == "39081FDJH0001"
    assert first.run.conditions is not None and not first.run.conditions.unstable
    runs = [parse_log(one.run.log).runs[0] for one in (first, third) if one.run is not None]
    assert [(run.accelerator_requested, run.threads) for run in runs] == [("xnnpack", 1), ("cpu", 2)]
    assert second.failure is not None and second.failure.field == "exit status 1"
    assert fourth.failure is not None and "Unconsumed cmdline flags: --gadget" in fourth.failure.detail
    (pulled,) = third.pulled
    assert pulled == "/data/local/tmp/windtunnel/bin/benchmark_model"
    (received,) = gcloud_of(lab).state()["received"]
    hashes = {hashlib.sha256(data).hexdigest() for data in (model, other)}
    assert hashes < set(received["files"].values())
    # Each artifact is pushed once: the program, two models, and a file that is not a model.
    assert len(received["files"]) == 4


async def test_the_same_key_starts_one_session(lab: OpenFarm, model: bytes) -> None:
    request = await lab.request("shiba-34", lab.executable(model))
    assert await lab.farm.find(request.key) is None
    # The session is made, and gcloud's answer does not come back.
    gcloud_of(lab).fail(CallFault("android-executable", "ERROR: gcloud crashed (ConnectionError): reset", lost=True))
    with pytest.raises(FarmError) as error:
        await lab.farm.submit(request, lab.files)
    assert error.value.retryable
    found = await lab.farm.find(request.key)
    again = await lab.farm.submit(request, lab.files)
    assert found is not None and again.id == found.id
    assert len(sessions_of(lab)) == 1


@pytest.mark.parametrize(
    ("behavior", "kind"),
    [
        (SessionBehavior(result="ERROR", cause="INFRA", reason="DEVICE_LOST", files_lost=True), "infrastructure"),
        (SessionBehavior(result="ERROR"), "infrastructure"),
        (SessionBehavior(result="TIMED_OUT", files_lost=True), "timeout"),
        (SessionBehavior(files_lost=True), "infrastructure"),
        (SessionBehavior(suspended_s=100), ""),
        (SessionBehavior(created_after_s=12), ""),
    ],
)
async def test_how_a_session_ends(lab: OpenFarm, model: bytes, behavior: SessionBehavior, kind: str) -> None:
    gcloud_of(lab).behave(behavior)
    request = await lab.request("shiba-34", lab.executable(model))
    submitted = await lab.farm.submit(request, lab.files)
    words: list[str] = []
    waits = 0
    while not words or not words[-1].startswith("DONE"):
        try:
            words.append((await lab.farm.poll(submitted)).words)
        except FarmError as error:
            assert error.retryable and behavior.created_after_s
            waits += 1
        lab.advance(10)
    assert kinds_of(await lab.collect(submitted, request)) == [kind]
    assert ("SUSPENDED" in words, waits > 0) == (behavior.suspended_s > 0, behavior.created_after_s > 0)


async def test_cancel_can_be_repeated(lab: OpenFarm, model: bytes) -> None:
    request = await lab.request("shiba-34", lab.executable(model), lab.executable(model))
    submitted = await lab.farm.submit(request, lab.files)
    lab.advance(20)
    for _ in range(2):
        await lab.farm.cancel(submitted)
    await lab.ended(submitted)
    collected = await lab.collect(submitted, request)
    assert kinds_of(collected) == ["cancelled", "cancelled"]
    assert collected.billed_minutes == 1


async def test_a_program_that_hangs_is_ended_alone(lab: OpenFarm, model: bytes, tmp_path: Path) -> None:
    job = lab.executable(model, timeout_s=1.0)
    hangs = lab.add("hangs", b"#!/bin/sh\nsleep 30\n")
    slow = lab.executable(model, timeout_s=1.0)
    slow = type(slow)(slow.model, slow.binary and type(slow.binary)(hangs, "/data/local/tmp/hangs"), timeout_s=1.0)
    missing = type(slow)(job.model, type(job.model)(lab.add("other", b"\x7fELF not"), "/data/local/tmp/bin/x"))
    request = await lab.request("shiba-34", slow, lab.executable(model), missing)
    assert kinds_of(await lab.run(request)) == ["timeout", "", "device"]


async def test_a_file_that_arrives_damaged_is_not_measured(lab: OpenFarm, model: bytes) -> None:
    gcloud_of(lab).behave(SessionBehavior(damaged=hashlib.sha256(model).hexdigest()))
    (result,) = (await lab.run(await lab.request("shiba-34", lab.executable(model)))).results
    assert result.failure is not None
    assert (result.failure.kind.value, result.failure.field) == ("infrastructure", "artifacts/sha256.txt")


async def test_nothing_to_run_asks_nothing(lab: OpenFarm, model: bytes) -> None:
    request = await lab.request("shiba-34", lab.executable(model, binary=None))
    calls = len(gcloud_of(lab).state()["calls"])
    collected = await lab.run(request)
    assert (kinds_of(collected), collected.billed_minutes) == (["unsupported"], None)
    assert len(gcloud_of(lab).state()["calls"]) == calls


async def test_gcloud_gets_no_credentials_for_this_machine(lab: OpenFarm) -> None:
    await lab.farm.devices()
    (call,) = gcloud_of(lab).state()["calls"]
    assert call["environment"]["CLOUDSDK_AUTH_DISABLE_CREDENTIALS"] == "true"
    assert call["environment"]["CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE"] == f"{lab.peer.url}/"
    assert call["arguments"][:4] == ["beta", "device-run", "devices", "list"]


async def test_a_gcloud_that_is_not_there_or_hangs(tmp_path: Path) -> None:
    settings = DdpSettings(name="ddp", project="p", results="gs://bkt", gcloud=str(tmp_path / "none"))
    with pytest.raises(FarmError, match="cannot be run") as missing:
        await Gcloud(settings).run("list", "devices", "list")
    assert (missing.value.retryable, missing.value.kind) == (False, "unsupported")
    hanging = tmp_path / "gcloud"
    hanging.write_text("#!/bin/sh\nexec sleep 60\n")
    hanging.chmod(0o755)
    settings = DdpSettings(name="ddp", project="p", results="gs://bkt", gcloud=str(hanging))
    began = time.monotonic()
    with pytest.raises(FarmError, match="did not end") as slow:
        await Gcloud(settings).run("list", "devices", "list", longest_s=0.2)
    assert slow.value.retryable and time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("output", "name"),
    [
        (Output("", "Creating session [session-cc6509d5] in location [global].\n"), "session-cc6509d5"),
        (Output('{"name": "projects/p/locations/global/sessions/s-1"}', ""), "s-1"),
        (Output('{"name": "projects/p/locations/global/operations/o-1", "metadata": '
                '{"target": "projects/p/locations/global/sessions/s-2"}}', ""), "s-2"),
        (Output("", "nothing"), ""),
    ],
)  # fmt: skip
def test_the_name_of_a_new_session(output: Output, name: str) -> None:
    assert created_name(output) == name


@pytest.mark.parametrize(
    ("text", "words", "phase"),
    [
        ("Session [s-1] status is [RUNNING].\nJob status: 1 running\n", "RUNNING", Phase.RUNNING),
        ("Session [s-1] status is [PENDING].\n", "PENDING", Phase.QUEUED),
        ("Session [s-1] finished with result [PASSED].\nJOB NAME\n", "DONE PASSED", Phase.ENDED),
        ("Session [s-1] finished with result [FAILED].\n", "DONE FAILED", Phase.ENDED),
        ("something new", "STATUS_TYPE_UNSPECIFIED", Phase.QUEUED),
    ],
)
def test_a_session_in_gclouds_sentences(text: str, words: str, phase: Phase) -> None:
    session = read_session(Output(text, ""), "s-1")
    assert (session.words, session.phase, session.billed_minutes) == (words, phase, Decimal(0))


def test_a_key_is_found_wherever_the_labels_are() -> None:
    label = {"labels": {"windtunnel-key": "wt-1"}}
    listed = [
        {"name": "p/sessions/a", "sessionConfig": {"jobConfigs": [label]}},
        {"name": "p/sessions/b", **label},
        {"name": "p/sessions/c", "labels": {"windtunnel-key": "wt-2"}},
        {"name": "p/sessions/d", "sessionReport": {"jobReports": [label]}},
    ]
    assert labeled(listed, "wt-1") == ["a", "b", "d"]
    assert labeled(None, "wt-1") == []


@pytest.mark.parametrize(
    ("text", "status", "seconds"),
    [("0 12.50 14.00\n", 0, 1.5), ("139 1798000000 1798000002", 139, 2.0), ("1 5 4", 1, 0.0)],
)
def test_how_a_program_ended(text: str, status: int, seconds: float) -> None:
    ran = read_exit(text)
    assert ran is not None and (ran.status, ran.seconds) == (status, seconds)


@pytest.mark.parametrize("text", ["", "0", "0 1", "x 1 2", "0 1 2 3", "-1 1 2"])
def test_an_end_that_was_not_written_whole(text: str) -> None:
    assert read_exit(text) is None
