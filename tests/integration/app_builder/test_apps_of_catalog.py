"""Base apps of the catalog: one package for each kind of app job, on Android and iOS."""

from __future__ import annotations

import hashlib
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml

from support.android_manifest import manifest
from support.apk_verifier import check
from support.app_cells import cell
from support.apple_verifier import check_bundle
from support.base_apk import apk_bytes
from support.base_ipa import BUNDLE, PASSWORD, ROOT, Apple, ipa_bytes
from support.bus_wires import Wire
from support.runtime import Outbox, make_runtime, publish, serving
from support.service_runtime import settings_in
from windtunnel.app_builder.__main__ import build
from windtunnel.app_builder.settings import AppBuilderSettings
from windtunnel.artifacts import LocalStore
from windtunnel.bus import subjects
from windtunnel.bus.memory import MemoryBus
from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.rpc import from_rpc_error
from windtunnel.service.protobuf_values import artifact_to_proto
from windtunnel.v1 import app_builder_pb2, app_builder_pb2_grpc, events_pb2, types_pb2

MODEL = b"\x1c\x00\x00\x00TFL3" + bytes(range(251)) * 40
TARGET = "org.tensorflow.lite.benchmark"
RUNNER = "androidx.test.runner.AndroidJUnitRunner"
LOOPS = manifest(f"{TARGET}.firebase", min_sdk=26, game_loop=True, metadata={"com.google.test.loops": 10})
TESTS = manifest(f"{TARGET}.test", instrumentation=(RUNNER, TARGET))
APPS = {
    "android_app": apk_bytes(),
    "game_loop_app": apk_bytes(manifest=LOOPS),
    "android_test_app": apk_bytes(manifest=TESTS),
    "ios_app": ipa_bytes(),
}


def settings(tmp_path: Path, apps: dict[str, bytes], wrong: str = "", **given: Any) -> AppBuilderSettings:
    """Settings with a catalog of apps next to it; `wrong`: the one whose hash is not that of its file."""
    folder = tmp_path / "operator"
    folder.mkdir()
    entries = []
    for kind, data in apps.items():
        (folder / kind).write_bytes(data)
        sha256 = "0" * 64 if kind == wrong else hashlib.sha256(data).hexdigest()
        entries.append({"name": kind, "kind": kind, "path": kind, "sha256": sha256, "size_bytes": len(data)})
    text = yaml.safe_dump({"apiVersion": "windtunnel/v1", "entries": entries})
    (folder / "catalog.yaml").write_text(text)
    return settings_in(tmp_path, AppBuilderSettings, catalog_file=str(folder / "catalog.yaml"), **given)


async def answer(wire: Wire, tmp_path: Path, given: AppBuilderSettings, platform: str) -> Any:
    """What the service answers for cells on phones of one platform."""
    stored = await LocalStore(tmp_path / "artifacts").put_bytes(MODEL)
    event = events_pb2.CellsPlanned(
        run=types_pb2.RunContext(run_id="run-1"),
        variant="int8",
        cells=[cell(platform)],
        model=artifact_to_proto(stored),
    )
    bus = await wire.open()
    await publish(bus, event, "a")
    runtime = await make_runtime("app_builder", given, bus, tmp_path)
    async with Outbox(bus, (subjects.APP_BUILT, subjects.APP_FAILED)) as out, serving(build, runtime):
        found = await out.next()
        await out.nothing(0.2)
    return found


async def bytes_of(tmp_path: Path, artifact: types_pb2.Artifact) -> bytes:
    return await LocalStore(tmp_path / "artifacts").read_bytes(artifact.sha256)


async def test_every_kind_of_app_job_gets_its_package(wire: Wire, tmp_path: Path) -> None:
    built = await answer(wire, tmp_path, settings(tmp_path, APPS), "android")
    assert isinstance(built, events_pb2.AppBuilt)
    activity, loop, instrumentation = built.apps
    assert built.package == activity.package
    assert (activity.kind, activity.package_name, activity.min_os) == (types_pb2.APP_KIND_ACTIVITY, TARGET, "24")
    assert (loop.kind, loop.package_name) == (types_pb2.APP_KIND_GAME_LOOP, f"{TARGET}.firebase")
    assert (loop.min_os, loop.scenarios, list(loop.abis)) == ("26", 10, ["arm64-v8a"])
    assert (instrumentation.kind, instrumentation.package) == (types_pb2.APP_KIND_INSTRUMENTATION, activity.package)
    assert (instrumentation.test_package_name, instrumentation.test_runner) == (f"{TARGET}.test", RUNNER)
    for app in built.apps:
        data = await bytes_of(tmp_path, app.package)
        check(data, int(app.min_os))
        with zipfile.ZipFile(BytesIO(data)) as archive:
            inside = archive.read("assets/windtunnel/model.tflite")
        assert hashlib.sha256(inside).hexdigest() == built.model_sha256 == hashlib.sha256(MODEL).hexdigest()
        assert not app.HasField("failure")
    check(await bytes_of(tmp_path, instrumentation.test_package), 24)


async def test_a_base_app_that_cannot_be_used_fails_its_kind_alone(wire: Wire, tmp_path: Path) -> None:
    apps = {**APPS, "game_loop_app": apk_bytes(), "android_test_app": apk_bytes()}
    built = await answer(wire, tmp_path, settings(tmp_path, apps), "android")
    activity, loop, instrumentation = built.apps
    assert activity.package.sha256 and not activity.HasField("failure")
    for app, says in ((loop, "is of kind activity, not game_loop"), (instrumentation, "has no instrumentation")):
        assert not app.package.sha256
        assert says in app.failure.message and app.failure.code == "invalid_input"
        assert "of the catalog" in app.failure.message and app.failure.hint
    assert (loop.kind, instrumentation.kind) == (types_pb2.APP_KIND_GAME_LOOP, types_pb2.APP_KIND_INSTRUMENTATION)


async def test_a_base_app_with_another_hash_is_not_used(wire: Wire, tmp_path: Path) -> None:
    given = settings(tmp_path, {"android_app": APPS["android_app"]}, wrong="android_app")
    failed = await answer(wire, tmp_path, given, "android")
    assert isinstance(failed, events_pb2.AppFailed)
    assert "android_app android_app of the catalog" in failed.failure.message and "sha256" in failed.failure.message
    assert not await LocalStore(tmp_path / "artifacts").stat(hashlib.sha256(APPS["android_app"]).hexdigest())


async def test_a_base_app_in_the_settings_takes_the_place_of_the_catalogs(wire: Wire, tmp_path: Path) -> None:
    own = apk_bytes(manifest=manifest("org.example.own"))
    (tmp_path / "own.apk").write_bytes(own)
    given = settings(
        tmp_path, APPS, android_base_app=(tmp_path / "own.apk").as_uri(),
        android_base_app_sha256=hashlib.sha256(own).hexdigest(),
    )  # fmt: skip
    built = await answer(wire, tmp_path, given, "android")
    assert [app.package_name for app in built.apps[:2]] == ["org.example.own", f"{TARGET}.firebase"]
    assert "tests org.tensorflow.lite.benchmark, and the app is org.example.own" in built.apps[2].failure.message


async def test_an_ipa_without_a_key_is_left_for_the_farm_to_sign(wire: Wire, tmp_path: Path) -> None:
    built = await answer(wire, tmp_path, settings(tmp_path, APPS), "ios")
    (app,) = built.apps
    assert (built.device_platform, app.package_name, list(app.signatures)) == (types_pb2.PLATFORM_IOS, BUNDLE, [])
    with zipfile.ZipFile(BytesIO(await bytes_of(tmp_path, app.package))) as archive:
        assert archive.read(f"{ROOT}benchmark_data/model.tflite") == MODEL


async def test_an_ipa_goes_with_its_xctest_package(wire: Wire, tmp_path: Path) -> None:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("Tests.xctest/Info.plist", b"x")
    tests = stream.getvalue()
    built = await answer(wire, tmp_path, settings(tmp_path, {**APPS, "ios_test_app": tests}), "ios")
    plain, tested = built.apps
    assert (plain.kind, tested.kind) == (types_pb2.APP_KIND_ACTIVITY, types_pb2.APP_KIND_XCTEST)
    assert plain.package == tested.package and not plain.test_package.sha256
    assert await bytes_of(tmp_path, tested.test_package) == tests
    assert tested.test_package.size_bytes == len(tests)


async def test_a_package_without_tests_fails_its_kind_alone(wire: Wire, tmp_path: Path) -> None:
    built = await answer(wire, tmp_path, settings(tmp_path, {**APPS, "ios_test_app": apk_bytes()}), "ios")
    plain, tested = built.apps
    assert plain.package.sha256 and "has no .xctest bundle inside" in tested.failure.message


@pytest.mark.heavy
async def test_an_ipa_is_signed_with_the_key_of_the_settings(wire: Wire, tmp_path: Path) -> None:
    p12, profile = Apple().write(tmp_path)
    (tmp_path / "password").write_bytes(PASSWORD)
    given = settings(
        tmp_path, APPS, ios_p12=str(p12), ios_profile=str(profile), ios_p12_password_file=str(tmp_path / "password")
    )
    built = await answer(wire, tmp_path, given, "ios")
    assert list(built.apps[0].signatures) == ["apple"]
    with zipfile.ZipFile(BytesIO(await bytes_of(tmp_path, built.package))) as archive:
        check_bundle({name.removeprefix(ROOT): archive.read(name) for name in archive.namelist()}, "TFLiteBenchmark")


async def test_a_request_may_ask_for_a_kind(tmp_path: Path) -> None:
    given = settings(tmp_path, {kind: APPS[kind] for kind in ("android_app", "game_loop_app")})
    model = await LocalStore(tmp_path / "artifacts").put_bytes(MODEL)
    request = app_builder_pb2.BuildRequest(
        model_uri=f"sha256:{model.sha256}", variant="int8", device_platform=types_pb2.PLATFORM_ANDROID
    )
    runtime = await make_runtime("app_builder", given, MemoryBus(), tmp_path)
    async with serving(build, runtime) as channel:
        stub = app_builder_pb2_grpc.AppBuilderServiceStub(channel)
        assert (await stub.Build(request)).app.package_name == TARGET
        request.app_kind = types_pb2.APP_KIND_GAME_LOOP
        assert (await stub.Build(request)).app.package_name == f"{TARGET}.firebase"
        request.app_kind = types_pb2.APP_KIND_INSTRUMENTATION
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Build(request)
    error = from_rpc_error(caught.value)
    assert (type(error), error.code) == (Unsupported, "no_base_app")
    assert "there are activity, game_loop" in error.message


async def test_a_catalog_that_cannot_be_read_ends_the_start(tmp_path: Path) -> None:
    given = settings_in(tmp_path, AppBuilderSettings, catalog_file=str(tmp_path / "gone.yaml"))
    runtime = await make_runtime("app_builder", given, MemoryBus(), tmp_path)
    with pytest.raises(InvalidInput, match=r"gone\.yaml cannot be read"):
        await build(runtime)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"ios_base_app": "s3://a/b.ipa"}, "the base app needs its SHA-256"),
        ({"ios_p12": "dev.p12"}, "go together"),
        ({"ios_profile": "dev.mobileprovision"}, "go together"),
    ],
)
def test_settings_of_ios_that_do_not_fit_together(given: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        AppBuilderSettings(**given)  # type: ignore[arg-type]
