"""Submitting and following without a system: what the client does by itself."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import grpc
import pytest

from windtunnel.bus import subjects
from windtunnel.bus.memory import MemoryBus
from windtunnel.client import AsyncClient, Client, Progress
from windtunnel.client import async_run as module
from windtunnel.client import client as client_module
from windtunnel.client.async_run import AsyncRun
from windtunnel.client.endpoints import Endpoints
from windtunnel.client.sync import Run
from windtunnel.errors import Conflict, InvalidInput, NotFound, Unavailable
from windtunnel.v1 import events_pb2, metrics_store_pb2, types_pb2


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> MemoryBus:
    made = MemoryBus()

    async def connect(*_: object, **__: object) -> MemoryBus:
        return made

    monkeypatch.setattr(client_module, "connect", connect)
    return made


@pytest.fixture
def endpoints(tmp_path: Path) -> Endpoints:
    # Nobody listens on port 1.
    return Endpoints("nats://127.0.0.1:1", {"metrics_store": "127.0.0.1:1"}, str(tmp_path / "artifacts"), tmp_path)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"weights")
    return path


async def announced(bus: MemoryBus) -> int:
    subscription = await bus.subscribe("reader", [subjects.MODEL_TRAINED], ack_wait_s=30, max_pending=100)
    return len(await subscription.fetch(100, 0.1))


async def test_a_used_run_id_is_refused(bus: MemoryBus, endpoints: Endpoints, model: Path) -> None:
    async with AsyncClient(endpoints) as client:
        assert (await client.submit(model, run_id="own-name")).run_id == "own-name"
        with pytest.raises(Conflict, match="'own-name' already exists"):
            await client.submit(model, run_id="own-name")
        assert (await client.submit(model)).run_id != (await client.submit(model)).run_id
        assert await announced(bus) == 3


async def test_an_optional_variant_with_a_recipe_file_stays_optional(
    bus: MemoryBus, endpoints: Endpoints, model: Path
) -> None:
    (model.parent / "own-name.json").write_text('[{"regex": ".*", "operation": "*", "algorithm_key": "no_quantize"}]')
    plan = model.parent / "plan.yaml"
    plan.write_text(
        "apiVersion: windtunnel/v1\ndevices: [{farm: local}]\n"
        "variants: [float32, {name: own-name, recipe: own-name.json, optional: true}]\n"
    )
    async with AsyncClient(endpoints) as client:
        await client.submit(model, plan=plan)
        subscription = await bus.subscribe("reader", [subjects.MODEL_TRAINED], ack_wait_s=30, max_pending=100)
        (delivery,) = await subscription.fetch(1, 0.1)
    variants = events_pb2.ModelTrained.FromString(delivery.data).plan.variants
    assert [(variant.name, variant.may_be_missing) for variant in variants] == [("float32", False), ("own-name", True)]
    assert "no_quantize" in variants[1].recipe_json


async def test_a_run_id_that_is_not_allowed_is_refused(bus: MemoryBus, endpoints: Endpoints, model: Path) -> None:
    async with AsyncClient(endpoints) as client:
        with pytest.raises(InvalidInput, match="run_id is 'not allowed'"):
            await client.submit(model, run_id="not allowed")
        assert await announced(bus) == 0


async def test_an_https_model_is_announced_with_its_hash(bus: MemoryBus, endpoints: Endpoints) -> None:
    async with AsyncClient(endpoints) as client:
        await client.submit("https://models.example.com/ssd.keras", sha256="ab" * 32)
        subscription = await bus.subscribe("reader", [subjects.MODEL_TRAINED], ack_wait_s=30, max_pending=100)
        (delivery,) = await subscription.fetch(1, 0.1)
    sent = events_pb2.ModelTrained.FromString(delivery.data).model
    assert (sent.name, sent.uri, sent.sha256) == ("ssd", "https://models.example.com/ssd.keras", "ab" * 32)


@pytest.mark.parametrize(
    ("uri", "sha256", "words"),
    [
        ("https://models.example.com/ssd.keras", None, "has no sha256"),
        ("https://models.example.com/ssd.keras", "abc", "sha256 is 'abc'"),
        ("http://models.example.com/ssd.keras", "ab" * 32, "cannot be fetched|local file"),
    ],
)
async def test_an_address_without_a_hash_is_refused_at_once(
    bus: MemoryBus, endpoints: Endpoints, uri: str, sha256: str | None, words: str
) -> None:
    async with AsyncClient(endpoints) as client:
        with pytest.raises(InvalidInput, match=words):
            await client.submit(uri, sha256=sha256)
        assert await announced(bus) == 0


async def test_a_store_that_is_not_there_is_not_waited_for_for_ever(
    endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.3)
    async with AsyncClient(endpoints) as client:
        with pytest.raises(Unavailable, match=r"metrics store at 127\.0\.0\.1:1 does not answer"):
            async for _ in client.run("r").watch():
                pass


async def get_plan(
    request: metrics_store_pb2.GetPlanRequest, context: grpc.aio.ServicerContext[Any, Any]
) -> metrics_store_pb2.GetPlanResponse:
    """The one plan that is stored is called nightly."""
    if request.name != "nightly":
        await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no plan {request.name!r}")
    return metrics_store_pb2.GetPlanResponse()


async def test_a_plan_that_is_not_stored_is_refused_at_once(bus: MemoryBus, endpoints: Endpoints, model: Path) -> None:
    server = grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(
        get_plan,
        request_deserializer=metrics_store_pb2.GetPlanRequest.FromString,
        response_serializer=metrics_store_pb2.GetPlanResponse.SerializeToString,
    )
    name = metrics_store_pb2.DESCRIPTOR.services_by_name["MetricsStoreService"].full_name
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {"GetPlan": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    asked = dataclasses.replace(endpoints, grpc={**endpoints.grpc, "metrics_store": f"127.0.0.1:{port}"})
    try:
        async with AsyncClient(asked) as client:
            with pytest.raises(NotFound, match="there is no plan 'nigthly'"):
                await client.submit(model, plan_name="nigthly")
            assert await announced(bus) == 0
            await client.submit(model, plan_name="nightly")
            assert await announced(bus) == 1
    finally:
        await server.stop(None)


async def slow_watch(
    request: metrics_store_pb2.WatchRunRequest, context: object
) -> AsyncGenerator[metrics_store_pb2.WatchRunResponse, None]:
    """Reports the state of the run, and takes longer than the client's patience to end it."""
    run = metrics_store_pb2.Run(run_id=request.run_id)
    yield metrics_store_pb2.WatchRunResponse(run=run)
    await asyncio.sleep(1)
    run.verdict = types_pb2.VERDICT_PASSED
    yield metrics_store_pb2.WatchRunResponse(run=run)


async def test_a_run_may_take_its_time(endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.5)
    server = grpc.aio.server()
    method = grpc.unary_stream_rpc_method_handler(
        slow_watch,
        request_deserializer=metrics_store_pb2.WatchRunRequest.FromString,
        response_serializer=metrics_store_pb2.WatchRunResponse.SerializeToString,
    )
    name = metrics_store_pb2.DESCRIPTOR.services_by_name["MetricsStoreService"].full_name
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {"WatchRun": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    found = Endpoints(endpoints.nats, {"metrics_store": f"127.0.0.1:{port}"}, endpoints.artifacts, endpoints.home)
    async with AsyncClient(found) as client:
        assert [step.verdict async for step in client.run("r").watch()] == [None, "passed"]
    await server.stop(0)


def test_a_client_that_cannot_be_made_leaves_no_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINDTUNNEL_HOME", str(tmp_path))
    monkeypatch.delenv("WINDTUNNEL_NATS_URL", raising=False)
    before = threading.active_count()
    with pytest.raises(Unavailable):
        Client()
    assert threading.active_count() == before


class _Endless(AsyncRun):
    """A run that never ends, and says when nobody watches it any more."""

    watchers = 0

    async def watch(self) -> AsyncGenerator[Progress, None]:
        self.watchers += 1
        try:
            while True:
                yield Progress(self.run_id, "running", None, 1, 2, "")
        finally:
            self.watchers -= 1


def watchers_of(run: _Endless) -> int:
    return run.watchers


def test_leaving_early_ends_the_watching(endpoints: Endpoints) -> None:
    with Client(endpoints) as client:
        run = _Endless(AsyncClient(endpoints), "r")
        steps = Run(client, run).watch()
        assert next(steps).run_id == "r"
        assert watchers_of(run) == 1
        steps.close()
        assert watchers_of(run) == 0
    client.close()
