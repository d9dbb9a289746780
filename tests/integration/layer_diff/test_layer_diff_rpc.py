"""LayerDiffService over a real channel."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2

from support.models import DigitsModels, digits_model
from support.runtime import health_of, listed_services, make_runtime, serving
from support.service_runtime import settings_in
from windtunnel.bus.memory import MemoryBus
from windtunnel.errors import InvalidInput
from windtunnel.layer_diff.__main__ import build
from windtunnel.layer_diff.settings import LayerDiffSettings
from windtunnel.rpc import from_rpc_error
from windtunnel.v1 import layer_diff_pb2, layer_diff_pb2_grpc, plan_pb2

pytestmark = pytest.mark.heavy

NAME = "windtunnel.v1.LayerDiffService"
PIPELINE = json.dumps({"schema": "windtunnel.pipeline/1", "task": "classification", "steps": [{"op": "mirror"}]})


@pytest.fixture(scope="module")
def digits() -> DigitsModels:
    return digits_model()


@pytest.fixture
async def channel(tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    runtime = await make_runtime("layer_diff", settings_in(tmp_path, LayerDiffSettings), MemoryBus(), tmp_path)
    async with serving(build, runtime) as channel:
        yield channel


@pytest.fixture
def uris(digits: DigitsModels, tmp_path: Path) -> dict[str, str]:
    """file:// URIs of the float model, the int8 one and a few samples."""
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    with np.load(digits.samples) as arrays:
        np.savez(inbox / "samples.npz", x=arrays["x"][:10], y=arrays["y"][:10])
    for name in ("float32", "int8"):
        shutil.copy(digits.variants[name], inbox / f"{name}.tflite")
    names = {"reference_uri": "float32.tflite", "candidate_uri": "int8.tflite", "samples_uri": "samples.npz"}
    return {field: f"file://{inbox}/{name}" for field, name in names.items()}


async def compare(channel: grpc.aio.Channel, **request: Any) -> layer_diff_pb2.CompareResponse:
    stub = layer_diff_pb2_grpc.LayerDiffServiceStub(channel)
    return await stub.Compare(layer_diff_pb2.CompareRequest(**request), timeout=60)


async def test_health_and_reflection(channel: grpc.aio.Channel) -> None:
    assert await health_of(channel, NAME) == health_pb2.HealthCheckResponse.SERVING
    assert NAME in await listed_services(channel)


async def test_the_request_may_name_the_task(channel: grpc.aio.Channel, uris: dict[str, str]) -> None:
    answer = await compare(channel, **uris, task=plan_pb2.Task(name="classification", metric="f1_macro"))
    assert (answer.candidate.task, answer.candidate.metric) == ("classification", "f1_macro")
    assert answer.candidate.main == answer.candidate.figures["f1_macro"] > 0.7
    assert answer.candidate.figures["top1"] == answer.candidate.top1
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await compare(channel, **uris, task=plan_pb2.Task(name="classification", metric="miou"))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "the task classification has no metric 'miou'" in str(caught.value.details())


async def test_two_models_are_compared(channel: grpc.aio.Channel, uris: dict[str, str]) -> None:
    answer = await compare(channel, **uris)
    assert answer.reference.samples == 10
    assert answer.reference.top1 > 0.8
    assert 0.0 < answer.layers.max_nrmse < 0.10
    assert answer.diagnosis.size_bytes > 0
    assert not answer.synthetic_samples


async def test_without_samples(channel: grpc.aio.Channel, uris: dict[str, str]) -> None:
    del uris["samples_uri"]
    answer = await compare(channel, **uris, nrmse_threshold=1e-9)
    assert answer.synthetic_samples
    assert answer.layers.first_over


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"candidate_uri": ""}, "candidate_uri is empty"),
        ({"nrmse_threshold": -1.0}, "the threshold -1.0 is not positive"),
        ({"preprocessing_json": "{"}, "preprocessing_json is not JSON"),
        ({"preprocessing_json": PIPELINE}, "raw images are uint8 RGB"),
        ({"candidate_uri": "file:///etc/passwd"}, "not below a folder that file:// may read"),
    ],
)
async def test_what_cannot_be_compared_is_refused(
    channel: grpc.aio.Channel, uris: dict[str, str], changed: dict[str, Any], says: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await compare(channel, **{**uris, **changed})
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    error = from_rpc_error(caught.value)
    assert isinstance(error, InvalidInput)
    assert says in error.message
