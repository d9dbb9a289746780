"""App jobs of AWS Device Farm: APKs in the app slot and next to it, IPAs with their XCTest package."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import replace
from importlib import resources
from typing import Any

import pytest

from support.farm_jobs import cell_on
from support.farm_peers.aws.bench import TARGET, AwsBench
from support.farm_peers.aws.faults import Outcome
from support.farm_peers.phone.apk.binary_xml import parse
from support.farm_peers.phone.apk.signature import signer_of
from windtunnel.artifacts import ArtifactRef
from windtunnel.errors import FarmError, InvalidInput, Unsupported, UserError
from windtunnel.farm_dispatcher.adapters.aws.package import placeholder_app
from windtunnel.farm_dispatcher.domain.device_runs import Phase
from windtunnel.farm_dispatcher.domain.jobs import AppJob, Entry, FarmRunRequest, PushedFile
from windtunnel.farms.failure_kinds import FailureKind
from windtunnel.log_parser import parse_log

pytestmark = pytest.mark.heavy

PACKAGE = "org.tensorflow.lite.benchmark"
LOG = """\
INFO: STARTING!
INFO: Num threads: [2]
INFO: Graph: [model.tflite]
INFO: Loaded model model.tflite
INFO: Initialized session in 5ms.
INFO: Inference timings in us: Init: 5000, First inference: 1200, Warmup (avg): 1200, Inference (avg): 1150
"""
IOS_LOG = "".join(f"2026-10-05 12:00:01.234 TFLiteBenchmark[321:4567] {line}\n" for line in LOG.splitlines())


def archive(**files: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as made:
        for name, text in files.items():
            made.writestr(name, text)
    return stream.getvalue()


def apk(bench: AwsBench, text: str = "model") -> ArtifactRef:
    return bench.blob(archive(**{"AndroidManifest.xml": "x", "assets/model.tflite": text}))


def android(package: ArtifactRef, kind: Any = "activity", **changes: Any) -> AppJob:
    job = AppJob(package, "android", kind, PACKAGE, package.sha256, timeout_s=20.0)
    return replace(job, **changes)


def am(bench: AwsBench) -> list[str]:
    """What `am` was asked for."""
    return (bench.peer.phones[-1].folder / "am.log").read_text().splitlines()


async def test_an_app_runs_and_its_log_is_that_of_the_system(bench: AwsBench) -> None:
    bench.peer.runs.phone_options = {"app_log": LOG}
    package = apk(bench)
    args = "--num_threads=2 --graph=model.tflite"
    (result,) = (await bench.run(android(package, arguments={"args": args}))).results
    assert result.run is not None, result.failure
    (parsed,) = parse_log(result.run.log).runs
    assert (parsed.init_us, parsed.threads) == (5000, 2)
    (run,) = bench.peer.runs.by_arn.values()
    assert bench.peer.uploads.by_arn[run.request["appArn"]].sha256 == package.sha256
    # Device Farm itself installs what is in the app slot.
    assert bench.peer.phones[0].installed() == []
    assert am(bench) == [f"start -W -S -n {PACKAGE}/.BenchmarkModelActivity --es args {args}"]


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("game_loop", {"scenarios": (4,)}, ["com.google.intent.action.TEST_LOOP", "--ei scenario 4", f"-p {PACKAGE}"]),
        (
            "instrumentation",
            {"arguments": {"class": "a.B#c"}},
            ["instrument -w", "-e class a.B#c"],
        ),
    ],
)
async def test_kinds_of_apps(bench: AwsBench, kind: str, changes: dict[str, Any], words: list[str]) -> None:
    bench.peer.runs.phone_options = {"app_log": LOG}
    (result,) = (await bench.run(android(apk(bench), kind, **changes))).results
    assert result.run is not None, result.failure
    (asked,) = am(bench)
    assert all(word in asked for word in words), asked


async def test_apps_after_the_first_are_installed_through_adb(bench: AwsBench) -> None:
    bench.peer.runs.phone_options = {"app_log": LOG}
    one, two, tests = apk(bench, "one"), apk(bench, "two"), apk(bench, "tests")
    jobs = [android(one), android(two, test_package=tests), android(one)]
    results = (await bench.run(*jobs)).results
    assert all(result.run is not None for result in results)
    installed = [sha256 for sha256, _ in bench.peer.phones[0].installed()]
    assert installed == [two.sha256, tests.sha256]


async def test_files_of_an_app_are_pushed_and_verified(bench: AwsBench) -> None:
    bench.peer.runs.phone_options = {"app_log": LOG}
    model = bench.blob(b"model next to the app")
    await bench.run(android(apk(bench), files=(PushedFile(model, f"{TARGET}/model.tflite"),)))
    digest = hashlib.sha256(b"model next to the app").hexdigest()
    assert bench.peer.phones[0].received() == [(digest, f"{TARGET}/model.tflite")]


async def test_an_app_that_logs_nothing_of_a_benchmark_has_no_figures(bench: AwsBench) -> None:
    (result,) = (await bench.run(android(apk(bench)))).results
    log = result.log or (result.run.log if result.run else "")
    assert not [run for run in parse_log(log).runs if run.inference.avg_us is not None]


@pytest.mark.parametrize(
    ("content", "error", "says"),
    [
        (archive(**{"base/manifest/AndroidManifest.xml": "x", "BundleConfig.pb": "x"}), Unsupported, "App Bundle"),
        (archive(a="b"), InvalidInput, "not an APK"),
        (archive(**{"Payload/A.app/Info.plist": "x"}), InvalidInput, "not an APK"),
        (b"no zip", InvalidInput, "not a zip"),
    ],
)
async def test_what_is_no_app_for_the_platform_is_refused_before_it_is_uploaded(
    bench: AwsBench, content: bytes, error: type[UserError], says: str
) -> None:
    request = await bench.request(android(bench.blob(content)))
    with pytest.raises(error, match=says):
        await bench.submit(request)
    assert not bench.peer.uploads.by_arn


async def ios_request(bench: AwsBench, *texts: str) -> FarmRunRequest:
    device = await bench.device("Apple iPhone 15", "17.2")
    tests = bench.blob(archive(a="tests"))
    entries = []
    for number, text in enumerate(texts):
        package = bench.blob(archive(**{"Payload/A.app/Info.plist": text}))
        job = AppJob(package, "ios", "xctest", "org.a", package.sha256, timeout_s=300.0, test_package=tests)
        entries.append(Entry(f"e{number}", cell_on(device), job))
    return FarmRunRequest("wt-ios", device, tuple(entries), 900.0)


async def test_an_ios_app_runs_with_its_xctest_package(bench: AwsBench) -> None:
    bench.peer.runs.ios_log = IOS_LOG
    request = await ios_request(bench, "one")
    submitted = await bench.submit(request)
    await bench.wait(submitted)
    (result,) = (await bench.collect(submitted, request)).results
    assert result.run is not None, result.failure
    assert "Inference timings in us" in result.run.log
    (run,) = bench.peer.runs.by_arn.values()
    assert (run.name, run.request["test"]["type"], run.platform) == ("wt-ios", "XCTEST", "IOS")
    assert bench.peer.calls["ListArtifacts"] <= 4


async def test_ios_apps_of_a_farm_run_are_runs_of_their_own(bench: AwsBench) -> None:
    bench.peer.runs.ios_log = IOS_LOG
    bench.peer.faults.outcomes += [Outcome(minutes=1.5), Outcome(result="FAILED", minutes=2.25), Outcome(minutes=1.0)]
    request = await ios_request(bench, "one", "two", "three")
    submitted = await bench.submit(request)
    assert (await bench.submit(request)).id == submitted.id
    found = await bench.farm.find(request.key)
    assert found is not None and found.id == submitted.id
    assert len(bench.peer.runs.by_arn) == 3
    assert (await bench.farm.poll(submitted)).phase is not Phase.ENDED
    await bench.wait(submitted)
    collected = await bench.collect(submitted, request)
    first, second, third = collected.results
    assert first.run is not None and third.run is not None
    assert second.failure is not None and second.failure.kind is FailureKind.TEST
    assert str(collected.billed_minutes) == "4.75"


async def test_a_farm_run_that_was_submitted_in_part_is_completed(bench: AwsBench) -> None:
    request = await ios_request(bench, "one", "two")
    submitted = await bench.submit(request)
    last = submitted.id.split(",")[1]
    del bench.peer.runs.by_arn[last]
    assert await bench.farm.find(request.key) is None
    again = await bench.submit(request)
    assert again.id.split(",")[0] == submitted.id.split(",")[0]
    assert len(bench.peer.runs.by_arn) == 2
    await bench.farm.cancel(again)
    await bench.wait(again)
    kinds = [result.failure.kind for result in (await bench.collect(again, request)).results if result.failure]
    assert kinds == [FailureKind.CANCELLED, FailureKind.CANCELLED]


async def test_an_ios_app_without_tests_is_refused(bench: AwsBench) -> None:
    request = await ios_request(bench, "one")
    (entry,) = request.entries
    assert isinstance(entry.job, AppJob)
    bare = replace(request, entries=(replace(entry, job=replace(entry.job, test_package=None)),))
    with pytest.raises(InvalidInput, match="XCTest"):
        await bench.submit(bare)


async def test_jobs_of_another_platform_are_refused(bench: AwsBench) -> None:
    ios, phone = await bench.device("Apple iPhone 15", "17.2"), await bench.device()
    app = (await ios_request(bench, "one")).entries[0].job
    for device, job in ((ios, bench.job()), (ios, android(apk(bench))), (phone, app)):
        request = FarmRunRequest("wt-1", device, (Entry("e0", cell_on(device), job),), 60.0)
        with pytest.raises(FarmError) as error:
            await bench.submit(request)
        assert (error.value.kind, error.value.retryable) == (FailureKind.UNSUPPORTED, False)
    assert not bench.peer.uploads.by_arn


def test_the_app_of_runs_that_need_none_installs_and_has_no_code() -> None:
    content = placeholder_app()
    assert signer_of(content, 24) == signer_of(content, 34)
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        assert package.namelist() == ["AndroidManifest.xml"]
        manifest = parse(package.read("AndroidManifest.xml"))
    assert manifest.attributes["package"] == "io.windtunnel.placeholder"
    assert manifest.all("application")[0].attributes["hasCode"] is False
    assert manifest.all("uses-sdk")[0].attributes["minSdkVersion"] == 24
    assert (resources.files("windtunnel.farm_dispatcher.adapters.aws") / "placeholder.apk").is_file()
