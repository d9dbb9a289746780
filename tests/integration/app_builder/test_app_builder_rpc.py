"""AppBuilderService over a real channel."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from support.runtime import health_of, listed_services, make_runtime, serving
from support.service_runtime import settings_in
from windtunnel.app_builder.__main__ import build
from windtunnel.app_builder.settings import AppBuilderSettings
from windtunnel.bus.memory import MemoryBus
from windtunnel.errors import InvalidInput, NotFound, Unsupported
from windtunnel.rpc import from_rpc_error
from windtunnel.service import settings as settings_module
from windtunnel.v1 import app_builder_pb2, app_builder_pb2_grpc, types_pb2

NAME = "windtunnel.v1.AppBuilderService"
MODEL = b"\x1c\x00\x00\x00TFL3 a model"


@pytest.fixture
async def channel(tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    runtime = await make_runtime("app_builder", settings_in(tmp_path, AppBuilderSettings), MemoryBus(), tmp_path)
    async with serving(build, runtime) as channel:
        yield channel


@pytest.fixture
def model_uri(tmp_path: Path) -> str:
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox/m.tflite").write_bytes(MODEL)
    return f"file://{tmp_path}/inbox/m.tflite"


async def build_app(channel: grpc.aio.Channel, **request: Any) -> app_builder_pb2.BuildResponse:
    stub = app_builder_pb2_grpc.AppBuilderServiceStub(channel)
    return await stub.Build(app_builder_pb2.BuildRequest(**request), timeout=30)


async def test_health_and_reflection(channel: grpc.aio.Channel) -> None:
    assert await health_of(channel, NAME) == health_pb2.HealthCheckResponse.SERVING
    assert NAME in await listed_services(channel)


@pytest.mark.parametrize("platform", [{"platform": "host"}, {"device_platform": types_pb2.PLATFORM_HOST}])
async def test_the_host_app_is_built(channel: grpc.aio.Channel, model_uri: str, platform: dict[str, Any]) -> None:
    answer = await build_app(channel, model_uri=model_uri, variant="int8", **platform)
    assert answer.model_sha256 == hashlib.sha256(MODEL).hexdigest()
    assert answer.package.size_bytes > len(MODEL)
    assert answer.package.media_type == "application/zip"


@pytest.mark.parametrize(
    ("changed", "status", "kind", "code"),
    [
        ({"platform": "android"}, grpc.StatusCode.FAILED_PRECONDITION, Unsupported, "no_base_app"),
        ({"platform": "ios"}, grpc.StatusCode.FAILED_PRECONDITION, Unsupported, "unsupported"),
        ({"platform": ""}, grpc.StatusCode.INVALID_ARGUMENT, InvalidInput, "invalid_input"),
        ({"platform": "symbian"}, grpc.StatusCode.INVALID_ARGUMENT, InvalidInput, "invalid_input"),
        ({"variant": "../int8"}, grpc.StatusCode.INVALID_ARGUMENT, InvalidInput, "invalid_input"),
        ({"model_uri": ""}, grpc.StatusCode.INVALID_ARGUMENT, InvalidInput, "invalid_input"),
        ({"model_uri": f"sha256:{'0' * 64}"}, grpc.StatusCode.NOT_FOUND, NotFound, "not_found"),
    ],
)
async def test_what_cannot_be_built_is_refused(
    channel: grpc.aio.Channel, model_uri: str, changed: dict[str, str], status: grpc.StatusCode, kind: type, code: str
) -> None:
    request = {"model_uri": model_uri, "variant": "int8", "platform": "host", **changed}
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await build_app(channel, **request)
    error = from_rpc_error(caught.value)
    assert (caught.value.code(), type(error), error.code) == (status, kind, code)
    assert error.hint


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"BASE_APP": "s3://apps/base.apk"}, "WINDTUNNEL_ANDROID_BASE_APP_SHA256='': .*64 lower-case hex digits"),
        ({"BASE_APP": "s3://a/b", "BASE_APP_SHA256": "abc"}, "WINDTUNNEL_ANDROID_BASE_APP_SHA256='abc'"),
        ({"SIGNING_KEY": "key.pem"}, "WINDTUNNEL_ANDROID_SIGNING_CERT='': .*go together"),
        ({"SIGNING_CERT": "cert.pem"}, "WINDTUNNEL_ANDROID_SIGNING_CERT='cert.pem': .*go together"),
    ],
)
def test_settings_that_do_not_fit_together_are_named(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], says: str
) -> None:
    for name in list(os.environ):
        if name.startswith("WINDTUNNEL_"):
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(f"WINDTUNNEL_ANDROID_{name}", value)
    with pytest.raises(InvalidInput, match=says):
        settings_module.load(AppBuilderSettings)


async def test_a_configured_key_that_cannot_be_read_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("no key")
    files = {"android_signing_key": str(tmp_path / "key.pem"), "android_signing_cert": str(tmp_path / "key.pem")}
    runtime = await make_runtime(
        "app_builder", settings_in(tmp_path, AppBuilderSettings, **files), MemoryBus(), tmp_path
    )
    with pytest.raises(InvalidInput, match="signing key cannot be read"):
        await build(runtime)
