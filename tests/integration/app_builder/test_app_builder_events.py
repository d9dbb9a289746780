"""variant.ready in, app.built or app.failed out, for each platform that the plan needs."""

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

from support.base_apk import apk_bytes
from support.bus_wires import Wire
from support.runtime import Outbox, make_runtime, publish, serving
from support.service_runtime import settings_in
from windtunnel.app_builder import SigningKey
from windtunnel.app_builder.__main__ import build
from windtunnel.app_builder.service import AppBuilderService
from windtunnel.app_builder.settings import AppBuilderSettings
from windtunnel.artifacts import LocalStore
from windtunnel.bus import decode, encode, subjects
from windtunnel.errors import Unavailable
from windtunnel.plan import parse_plan, plan_to_json
from windtunnel.service.protobuf_values import artifact_to_proto
from windtunnel.v1 import app_builder_pb2, events_pb2, types_pb2

ANSWERS = (subjects.APP_BUILT, subjects.APP_FAILED)
MODEL = b"\x1c\x00\x00\x00TFL3" + bytes(range(251)) * 400
LOCAL = {"farm": "local"}
PHONE = {"farm": "adb"}


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


async def ready(
    tmp_path: Path, *devices: dict[str, Any], variant: str = "int8", run_id: str = "run-1", model: bytes = MODEL
) -> events_pb2.VariantReady:
    store = LocalStore(tmp_path / "artifacts")
    plan = parse_plan({"apiVersion": "windtunnel/v1", "devices": list(devices)})
    return events_pb2.VariantReady(
        run=types_pb2.RunContext(run_id=run_id, plan=artifact_to_proto(await store.put_bytes(plan_to_json(plan)))),
        variant=types_pb2.Variant(name=variant, model=artifact_to_proto(await store.put_bytes(model))),
    )


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


async def test_the_host_app_holds_the_variant(wire: Wire, tmp_path: Path) -> None:
    event = await ready(tmp_path, LOCAL, {"farm": "arm", "threads": [1, 2]})
    event.input_shapes.add(name="image", shape=(1, 48, 48, 3))
    (answer,) = await answers_to(wire, tmp_path, settings(tmp_path), event)
    assert isinstance(answer, events_pb2.AppBuilt)
    assert (answer.run, answer.variant, answer.platform) == (event.run, "int8", "host")
    assert answer.device_platform == types_pb2.PLATFORM_HOST
    assert answer.model_sha256 == event.variant.model.sha256
    assert list(answer.input_shapes) == list(event.input_shapes)
    package = await package_of(tmp_path, answer)
    assert package.read("model.tflite") == MODEL
    assert json.loads(package.read("config.json"))["variant"] == "int8"


async def test_each_platform_of_the_plan_gets_its_app(wire: Wire, tmp_path: Path, key: SigningKey) -> None:
    event = await ready(tmp_path, LOCAL, PHONE, {"farm": "firebase", "device": "redfin"})
    given = with_base_app(tmp_path, key)
    host, android = await answers_to(wire, tmp_path, given, event, 2)
    assert (host.platform, android.platform) == ("host", "android")
    package = await package_of(tmp_path, android)
    assert package.read("assets/windtunnel/model.tflite") == MODEL
    assert android.model_sha256 == event.variant.model.sha256
    assert await _holds(tmp_path, android, key.certificate.public_bytes(Encoding.DER))
    assert not given.kept_signing_key.exists()


async def test_no_devices_no_apps(wire: Wire, tmp_path: Path) -> None:
    assert await answers_to(wire, tmp_path, settings(tmp_path), await ready(tmp_path), 0) == []


async def test_without_a_base_app_android_fails_alone(wire: Wire, tmp_path: Path) -> None:
    event = await ready(tmp_path, PHONE, LOCAL)
    failed, built = await answers_to(wire, tmp_path, settings(tmp_path), event, 2)
    assert isinstance(failed, events_pb2.AppFailed)
    assert (failed.run, failed.variant, failed.platform) == (event.run, "int8", "android")
    assert failed.device_platform == types_pb2.PLATFORM_ANDROID
    assert (failed.failure.code, failed.failure.service) == ("no_base_app", "app_builder")
    assert "WINDTUNNEL_ANDROID_BASE_APP" in failed.failure.hint
    assert isinstance(built, events_pb2.AppBuilt)
    assert built.platform == "host"


async def test_ios_fails_with_the_reason(wire: Wire, tmp_path: Path) -> None:
    event = await ready(tmp_path, {"farm": "aws", "platform": "ios"})
    (failed,) = await answers_to(wire, tmp_path, settings(tmp_path), event)
    assert (failed.platform, failed.failure.code) == ("ios", "unsupported")


@pytest.mark.parametrize("base", [b"PK no zip", apk_bytes(manifest=False)], ids=["no zip", "no manifest"])
async def test_a_base_app_that_is_none_fails(wire: Wire, tmp_path: Path, base: bytes) -> None:
    given = with_base_app(tmp_path, base=base)
    (failed,) = await answers_to(wire, tmp_path, given, await ready(tmp_path, PHONE))
    assert isinstance(failed, events_pb2.AppFailed)
    assert failed.failure.code == "invalid_input"


async def test_a_base_app_that_changed_fails(wire: Wire, tmp_path: Path) -> None:
    given = with_base_app(tmp_path)
    (tmp_path / "operator/base.apk").write_bytes(apk_bytes({"res/extra": b"other"}))
    (failed,) = await answers_to(wire, tmp_path, given, await ready(tmp_path, PHONE))
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
            await publish(bus, await ready(tmp_path, PHONE, run_id=run_id), run_id)
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
    events = [await ready(tmp_path, PHONE, variant=f"v-{number % 4}") for number in range(8)]
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
    event = await ready(tmp_path, LOCAL)
    blob = tmp_path / "artifacts/sha256" / event.variant.model.sha256[:2]
    blob.rename(tmp_path / "away")
    blob.touch()
    await publish(bus, event, "a")
    runtime = await make_runtime("app_builder", settings(tmp_path, attempts=1), bus, tmp_path)
    async with Outbox(bus, ANSWERS) as out, serving(build, runtime):
        failed = await out.next()
        await out.nothing()
    assert isinstance(failed, events_pb2.AppFailed)
    assert (failed.platform, failed.failure.code) == ("host", "unavailable")
    assert [letter.event_id for letter in await bus.dead_letters()] == ["a"]


async def test_a_fault_that_stays_fails_only_the_platform_that_meets_it(wire: Wire, tmp_path: Path) -> None:
    bus = await wire.open()
    given = with_base_app(tmp_path).model_copy(update={"attempts": 1})
    event = await ready(tmp_path, PHONE, LOCAL)
    # The store cannot say whether it has the base app.
    (tmp_path / "artifacts/sha256" / given.android_base_app_sha256[:2]).touch()
    await publish(bus, event, "a")
    runtime = await make_runtime("app_builder", given, bus, tmp_path)
    async with Outbox(bus, ANSWERS) as out, serving(build, runtime):
        built, failed = await out.next(), await out.next()
        await out.nothing()
    assert isinstance(built, events_pb2.AppBuilt)
    assert (built.platform, built.model_sha256) == ("host", event.variant.model.sha256)
    assert isinstance(failed, events_pb2.AppFailed)
    assert (failed.platform, failed.failure.code) == ("android", "unavailable")


async def test_an_app_that_was_built_but_never_announced_is_announced_in_the_end(wire: Wire, tmp_path: Path) -> None:
    bus = await wire.open()
    runtime = await make_runtime("app_builder", settings(tmp_path), bus, tmp_path)
    service = AppBuilderService(runtime, key=None, base_apps=runtime.sources, versions={})
    event = await ready(tmp_path, PHONE, LOCAL)
    request = app_builder_pb2.BuildRequest(
        platform="host", model_uri=f"sha256:{event.variant.model.sha256}", variant="int8"
    )
    context: Any = None
    stored = await service.Build(request, context)
    received = decode(*encode(event, id="a", source="/tests", run_id="run-1"))
    async with Outbox(bus, ANSWERS) as out:
        await service.on_failure(received, Unavailable("the bus does not answer"))
        failed, built = await out.next(), await out.next()
    assert isinstance(failed, events_pb2.AppFailed)
    assert failed.platform == "android"
    assert isinstance(built, events_pb2.AppBuilt)
    assert (built.platform, built.package) == ("host", stored.package)


async def test_a_plan_that_is_none_fails_every_platform(wire: Wire, tmp_path: Path) -> None:
    event = await ready(tmp_path, LOCAL)
    event.run.plan.sha256 = "0" * 64
    failed = await answers_to(wire, tmp_path, settings(tmp_path), event, 3)
    assert {(answer.platform, answer.failure.code) for answer in failed} == {
        ("host", "not_found"),
        ("android", "not_found"),
        ("ios", "not_found"),
    }


async def test_an_event_that_nobody_can_read_is_a_dead_letter(wire: Wire, tmp_path: Path) -> None:
    bus = await wire.open()
    event = await ready(tmp_path, LOCAL)
    subject, headers, _ = encode(event, id="broken", source="/tests", run_id="run-1")
    runtime = await make_runtime("app_builder", settings(tmp_path), bus, tmp_path)
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
