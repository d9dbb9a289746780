"""cells.planned in, app.built or app.failed out, for each platform that a cell needs."""

from __future__ import annotations

import asyncio
import hashlib
import json
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from support.app_cells import cell
from support.base_apk import apk_bytes
from support.base_ipa import ipa_bytes
from support.bus_wires import Wire
from support.runtime import Outbox, make_runtime, publish, serving
from support.service_runtime import settings_in
from windtunnel.app_builder import SigningKey
from windtunnel.app_builder.__main__ import build
from windtunnel.app_builder.service import AppBuilderService
from windtunnel.app_builder.settings import AppBuilderSettings
from windtunnel.artifacts import LocalStore, SourceReader
from windtunnel.bus import decode, encode, subjects
from windtunnel.errors import Unavailable
from windtunnel.service.protobuf_values import artifact_to_proto
from windtunnel.v1 import app_builder_pb2, events_pb2, types_pb2

ANSWERS = (subjects.APP_BUILT, subjects.APP_FAILED)
MODEL = b"\x1c\x00\x00\x00TFL3" + bytes(range(251)) * 400
HOST = cell("host", "executable")
PHONE = cell("android")
IPHONE = cell("ios")


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return SigningKey.generate()


def settings(tmp_path: Path, **given: Any) -> AppBuilderSettings:
    return settings_in(tmp_path, AppBuilderSettings, **given)


def with_base_app(tmp_path: Path, key: SigningKey | None = None, base: bytes | None = None) -> AppBuilderSettings:
    """Settings with a base app, and with `key` in files of the operator's."""
    data = apk_bytes() if base is None else base
    path = tmp_path / "operator/base.apk"
    path.parent.mkdir()
    path.write_bytes(data)
    given = {"android_base_app": f"file://{path}", "android_base_app_sha256": hashlib.sha256(data).hexdigest()}
    if key is not None:
        for name, pem in zip(("key", "cert"), key.to_pem(), strict=True):
            (path.parent / f"{name}.pem").write_bytes(pem)
            given[f"android_signing_{name}"] = str(path.parent / f"{name}.pem")
    return settings(tmp_path, **given)


def with_ios_app(tmp_path: Path, **given: Any) -> AppBuilderSettings:
    path = tmp_path / "operator/base.ipa"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(ipa_bytes())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return settings(tmp_path, ios_base_app=f"file://{path}", ios_base_app_sha256=digest, **given)


async def planned(
    tmp_path: Path, *cells: types_pb2.Cell, variant: str = "int8", run_id: str = "run-1", model: bytes = MODEL
) -> events_pb2.CellsPlanned:
    stored = await LocalStore(tmp_path / "artifacts").put_bytes(model)
    run = types_pb2.RunContext(run_id=run_id)
    return events_pb2.CellsPlanned(run=run, variant=variant, cells=cells, model=artifact_to_proto(stored))


async def answers_to(wire: Wire, tmp_path: Path, given: AppBuilderSettings, event: Any, count: int = 1) -> list[Any]:
    """All that the service answers to one event."""
    bus = await wire.open()
    await publish(bus, event, "a")
    runtime = await make_runtime("app_builder", given, bus, tmp_path)
    async with Outbox(bus, ANSWERS) as out, serving(build, runtime):
        answers = [await out.next() for _ in range(count)]
        await out.nothing(0.3)
    return answers


async def package_of(tmp_path: Path, answer: events_pb2.AppBuilt) -> zipfile.ZipFile:
    return zipfile.ZipFile(BytesIO(await LocalStore(tmp_path / "artifacts").read_bytes(answer.package.sha256)))


async def test_the_app_holds_the_variant(wire: Wire, tmp_path: Path, key: SigningKey) -> None:
    event = await planned(tmp_path, HOST, PHONE, cell("android"))
    event.input_shapes.add(name="image", shape=(1, 48, 48, 3))
    given = with_base_app(tmp_path, key)
    (answer,) = await answers_to(wire, tmp_path, given, event)
    assert isinstance(answer, events_pb2.AppBuilt)
    assert (answer.run, answer.variant, answer.platform) == (event.run, "int8", "android")
    assert answer.device_platform == types_pb2.PLATFORM_ANDROID
    assert answer.model_sha256 == event.model.sha256
    assert list(answer.input_shapes) == list(event.input_shapes)
    package = await package_of(tmp_path, answer)
    assert package.read("assets/windtunnel/model.tflite") == MODEL
    assert json.loads(package.read("assets/windtunnel/config.json"))["variant"] == "int8"
    assert await _holds(tmp_path, answer, key.certificate.public_bytes(Encoding.DER))
    assert not given.kept_signing_key.exists()


@pytest.mark.parametrize(
    "cells",
    [
        [],
        [HOST],
        [cell("host", "app")],
        [cell("android", "executable"), cell("ios", "")],
        [cell("android", skip_reason="the aws farm has no device 'Pixel 99'")],
        [cell("", skip_reason="farm 'aws' is not set up in this installation")],
        [cell("windows")],
    ],
)
async def test_cells_that_need_no_app_get_none(wire: Wire, tmp_path: Path, cells: list[types_pb2.Cell]) -> None:
    assert await answers_to(wire, tmp_path, settings(tmp_path), await planned(tmp_path, *cells), 0) == []


async def test_without_a_base_app_android_fails_alone(wire: Wire, tmp_path: Path) -> None:
    event = await planned(tmp_path, PHONE, IPHONE, cell("android", "executable"))
    failed, built = await answers_to(wire, tmp_path, with_ios_app(tmp_path), event, 2)
    assert isinstance(failed, events_pb2.AppFailed)
    assert (failed.run, failed.variant, failed.platform) == (event.run, "int8", "android")
    assert failed.device_platform == types_pb2.PLATFORM_ANDROID
    assert (failed.failure.code, failed.failure.service) == ("no_base_app", "app_builder")
    assert "WINDTUNNEL_ANDROID_BASE_APP" in failed.failure.hint
    assert isinstance(built, events_pb2.AppBuilt)
    assert built.platform == "ios"


async def test_cells_without_a_model_fail(wire: Wire, tmp_path: Path) -> None:
    event = await planned(tmp_path, PHONE)
    event.ClearField("model")
    (failed,) = await answers_to(wire, tmp_path, with_base_app(tmp_path), event)
    assert isinstance(failed, events_pb2.AppFailed)
    assert failed.failure.code == "invalid_input" and "'int8' are planned without a model" in failed.failure.message


async def test_ios_fails_with_the_reason(wire: Wire, tmp_path: Path) -> None:
    event = await planned(tmp_path, IPHONE)
    (failed,) = await answers_to(wire, tmp_path, settings(tmp_path), event)
    assert (failed.platform, failed.failure.code) == ("ios", "unsupported")


@pytest.mark.parametrize("base", [b"PK no zip", apk_bytes(manifest=False)], ids=["no zip", "no manifest"])
async def test_a_base_app_that_is_none_fails(wire: Wire, tmp_path: Path, base: bytes) -> None:
    given = with_base_app(tmp_path, base=base)
    (failed,) = await answers_to(wire, tmp_path, given, await planned(tmp_path, PHONE))
    assert isinstance(failed, events_pb2.AppFailed)
    assert failed.failure.code == "invalid_input"


async def test_a_base_app_that_changed_fails(wire: Wire, tmp_path: Path) -> None:
    given = with_base_app(tmp_path)
    (tmp_path / "operator/base.apk").write_bytes(apk_bytes({"res/extra": b"other"}))
    (failed,) = await answers_to(wire, tmp_path, given, await planned(tmp_path, PHONE))
    assert "sha256" in failed.failure.message
    assert given.android_base_app_sha256 in failed.failure.message


async def test_the_same_variant_gives_the_same_app_in_every_run(wire: Wire, tmp_path: Path, key: SigningKey) -> None:
    bus = await wire.open()
    given = with_base_app(tmp_path, key)
    async with (
        Outbox(bus, ANSWERS) as out,
        serving(build, await make_runtime("app_builder", given, bus, tmp_path)),
    ):
        packages = []
        for run_id in ("run-1", "run-2"):
            await publish(bus, await planned(tmp_path, PHONE, run_id=run_id), run_id)
            answer = await out.next()
            assert isinstance(answer, events_pb2.AppBuilt)
            packages.append(answer.package)
            # What is built already needs no base app any more.
            (tmp_path / "operator/base.apk").unlink(missing_ok=True)
    assert packages[0] == packages[1]


async def test_two_workers_sign_with_one_made_key_and_say_it_once(wire: Wire, tmp_path: Path) -> None:
    bus, other = await wire.open(), await wire.open()
    given = with_base_app(tmp_path)
    first = await make_runtime("app_builder", given, bus, tmp_path)
    second = await make_runtime("app_builder", given, other, tmp_path)
    events = [await planned(tmp_path, PHONE, variant=f"v-{number % 4}") for number in range(8)]
    async with Outbox(bus, ANSWERS) as out, serving(build, first), serving(build, second):
        await asyncio.gather(*(publish(bus, event, f"e-{number}") for number, event in enumerate(events)))
        answers = [await out.next() for _ in range(4)]
        await out.nothing(1.0)
    assert given.kept_signing_key.stat().st_mode & 0o777 == 0o600
    pem = given.kept_signing_key.read_bytes()
    certificate = SigningKey.load_pem(pem, pem).certificate.public_bytes(Encoding.DER)
    assert {answer.variant for answer in answers if isinstance(answer, events_pb2.AppBuilt)} == {
        "v-0",
        "v-1",
        "v-2",
        "v-3",
    }
    for answer in answers:
        assert isinstance(answer, events_pb2.AppBuilt)
        assert await _holds(tmp_path, answer, certificate)


async def test_a_store_that_stays_away_fails_what_is_not_built(wire: Wire, tmp_path: Path) -> None:
    bus = await wire.open()
    event = await planned(tmp_path, IPHONE)
    blob = tmp_path / "artifacts/sha256" / event.model.sha256[:2]
    blob.rename(tmp_path / "away")
    blob.touch()
    await publish(bus, event, "a")
    runtime = await make_runtime("app_builder", with_ios_app(tmp_path, attempts=1), bus, tmp_path)
    async with Outbox(bus, ANSWERS) as out, serving(build, runtime):
        failed = await out.next()
        await out.nothing()
    assert isinstance(failed, events_pb2.AppFailed)
    assert (failed.platform, failed.failure.code) == ("ios", "unavailable")
    assert [letter.event_id for letter in await bus.dead_letters()] == ["a"]


async def test_a_fault_that_stays_fails_only_the_platform_that_meets_it(wire: Wire, tmp_path: Path) -> None:
    bus = await wire.open()
    android = with_base_app(tmp_path)
    both = {name: getattr(android, name) for name in ("android_base_app", "android_base_app_sha256")}
    given = with_ios_app(tmp_path, attempts=1, **both)
    event = await planned(tmp_path, PHONE, IPHONE)
    # The store cannot say whether it has the base app.
    (tmp_path / "artifacts/sha256" / given.android_base_app_sha256[:2]).touch()
    await publish(bus, event, "a")
    runtime = await make_runtime("app_builder", given, bus, tmp_path)
    async with Outbox(bus, ANSWERS) as out, serving(build, runtime):
        built, failed = await out.next(), await out.next()
        await out.nothing()
    assert isinstance(built, events_pb2.AppBuilt)
    assert (built.platform, built.model_sha256) == ("ios", event.model.sha256)
    assert isinstance(failed, events_pb2.AppFailed)
    assert (failed.platform, failed.failure.code) == ("android", "unavailable")


async def test_an_app_that_was_built_but_never_announced_is_announced_in_the_end(wire: Wire, tmp_path: Path) -> None:
    bus = await wire.open()
    runtime = await make_runtime("app_builder", with_ios_app(tmp_path), bus, tmp_path)
    base_apps = SourceReader(runtime.artifacts, (tmp_path / "operator",), 10_000_000)
    service = AppBuilderService(runtime, key=None, base_apps=base_apps, versions={})
    event = await planned(tmp_path, PHONE, IPHONE)
    request = app_builder_pb2.BuildRequest(platform="ios", model_uri=f"sha256:{event.model.sha256}", variant="int8")
    context: Any = None
    stored = await service.Build(request, context)
    received = decode(*encode(event, id="a", source="/tests", run_id="run-1"))
    async with Outbox(bus, ANSWERS) as out:
        await service.on_failure(received, Unavailable("the bus does not answer"))
        failed, built = await out.next(), await out.next()
    assert isinstance(failed, events_pb2.AppFailed)
    assert failed.platform == "android"
    assert isinstance(built, events_pb2.AppBuilt)
    assert (built.platform, built.package) == ("ios", stored.package)


async def test_an_event_that_nobody_can_read_is_a_dead_letter(wire: Wire, tmp_path: Path) -> None:
    bus = await wire.open()
    event = await planned(tmp_path, IPHONE)
    subject, headers, _ = encode(event, id="broken", source="/tests", run_id="run-1")
    runtime = await make_runtime("app_builder", with_ios_app(tmp_path), bus, tmp_path)
    async with Outbox(bus, ANSWERS) as out, serving(build, runtime):
        await bus.publish(subject, headers, b"\xff\xff\xff")
        await publish(bus, event, "good")
        assert isinstance(await out.next(), events_pb2.AppBuilt)
        await out.nothing()
    assert [letter.event_id for letter in await bus.dead_letters()] == ["broken"]


async def _holds(tmp_path: Path, answer: events_pb2.AppBuilt, certificate: bytes) -> bool:
    """Whether the package's signing block carries a certificate."""
    data = await LocalStore(tmp_path / "artifacts").read_bytes(answer.package.sha256)
    return certificate in data
