"""The quantizer on a bus, with real children: what it publishes for each variant, whatever happens to the others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.message import Message
from numpy.typing import NDArray

from support.bus_wires import running
from support.graphs import GraphWriter, dense_model
from support.service_runtime import Listener, open_bus, publish_garbage, run_context, settings_in
from windtunnel.artifacts import ArtifactRef
from windtunnel.bus import Bus, Event, Policy, Worker, subjects
from windtunnel.bus.memory import MemoryBus
from windtunnel.diagnosis.quantize.make_variant import tool_versions
from windtunnel.errors import Unavailable
from windtunnel.isolation import ChildPool
from windtunnel.plan import DataSet, Plan, VariantSpec
from windtunnel.quantizer.service import QuantizerService
from windtunnel.quantizer.settings import QuantizerSettings
from windtunnel.rpc import RpcServer
from windtunnel.service.protobuf_values import artifact_to_proto, facts_to_proto
from windtunnel.service.runtime import Runtime, runtime_on
from windtunnel.tflite import read_model
from windtunnel.v1 import events_pb2, plan_pb2, quantizer_pb2, quantizer_pb2_grpc, types_pb2

TOPICS = [subjects.VARIANT_READY, subjects.VARIANT_FAILED, subjects.MODEL_FAILED]
BUILTIN = ("float32", "float16", "dynamic_range", "int8", "int16x8")
# The handler does not look at the context of a call.
NO_CONTEXT: Any = None
DRAW = np.random.default_rng(5)


@pytest.fixture(params=["memory", "nats"])
async def bus(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bus]:
    async with open_bus(request.param, tmp_path / "nats") as opened:
        yield opened


@pytest.fixture
async def pool() -> AsyncIterator[ChildPool]:
    async with ChildPool(
        preload=("windtunnel.diagnosis.quantize.litert_quantizer",), timeout_s=120, memory_mb=4000
    ) as opened:
        yield opened


class Bench:
    """A quantizer on a bus, and a converted model for it."""

    def __init__(self, runtime: Runtime[QuantizerSettings], service: QuantizerService, folder: Path) -> None:
        self.runtime = runtime
        self.service = service
        self.folder = folder
        self.listener = Listener(runtime.bus)

    def worker(self, policy: Policy | None = None) -> Worker:
        return Worker(
            self.runtime.bus,
            "quantizer",
            [subjects.MODEL_CONVERTED],
            self.service.on_model_converted,
            on_failure=self.service.on_failure,
            policy=policy or Policy(ack_wait_s=5, attempts=2, backoff_s=(0.05,)),
        )

    async def samples(self, x: NDArray[Any]) -> str:
        path = self.folder / f"{abs(hash(x.tobytes()))}.npz"
        np.savez(path, x=x)
        return (await self.runtime.artifacts.put_file(path)).uri

    async def converted(self, plan: Plan, run_id: str = "run-1") -> events_pb2.ModelConverted:
        model = dense_model(self.folder / "float.tflite")
        stored = await self.runtime.artifacts.put_file(model)
        return events_pb2.ModelConverted(
            run=await run_context(self.runtime, run_id, plan),
            model=artifact_to_proto(stored),
            facts=facts_to_proto(read_model(model)),
            input_shapes=[types_pb2.InputShape(name="in_0", shape=[1, 3])],
        )

    async def publish(self, plan: Plan, run_id: str = "run-1") -> events_pb2.ModelConverted:
        message = await self.converted(plan, run_id)
        await self.runtime.publisher.publish(message, run_id=run_id)
        return message

    async def heard(self, count: int) -> list[Any]:
        """The first `count` messages: of several types, each with fields of its own."""

        def enough(messages: Sequence[Message]) -> bool:
            return len(messages) >= count

        return await self.listener.collect(enough, topics=TOPICS)


async def bench_on(bus: Bus, pool: ChildPool, home: Path) -> Bench:
    runtime = await runtime_on(bus, "quantizer", settings_in(home / "home", QuantizerSettings))
    return Bench(runtime, QuantizerService(runtime, pool, versions=tool_versions()), home)


@pytest.fixture
async def bench(bus: Bus, pool: ChildPool, tmp_path: Path) -> Bench:
    return await bench_on(bus, pool, tmp_path)


def variants(*names: str) -> tuple[VariantSpec, ...]:
    return tuple(VariantSpec(name) for name in names)


def normal(count: int, width: int = 8) -> NDArray[np.float32]:
    return DRAW.normal(0, 1, (count, width)).astype(np.float32)


async def test_each_variant_of_the_plan_is_announced(bench: Bench) -> None:
    plan = Plan(data=DataSet(calibration=await bench.samples(normal(12))), variants=variants(*BUILTIN))
    sent = await bench.publish(plan)
    async with running(bench.worker()):
        ready = await bench.heard(5)
    assert [message.variant.name for message in ready] == list(BUILTIN)
    by_name = {message.variant.name: message.variant for message in ready}
    assert by_name["float32"].model == sent.model
    assert by_name["float32"].facts == sent.facts
    for name, variant in by_name.items():
        path = await bench.runtime.artifacts.path(variant.model.sha256)
        assert facts_to_proto(read_model(path)) == variant.facts
        assert variant.model.size_bytes == path.stat().st_size
        assert dict(variant.tool_versions) == ({} if name == "float32" else tool_versions())
        assert variant.calibration_samples == (12 if name.startswith("int") else 0)
        assert not variant.calibration_from_samples
    assert all(message.run == sent.run and message.float_model == sent.model for message in ready)


async def test_calibration_is_drawn_from_the_first_samples_and_said_so(bench: Bench) -> None:
    await bench.publish(Plan(data=DataSet(samples=await bench.samples(normal(130))), variants=variants("int8")))
    async with running(bench.worker()):
        (ready,) = await bench.heard(1)
    assert (ready.variant.calibration_samples, ready.variant.calibration_from_samples) == (100, True)


async def test_a_variant_that_cannot_be_made_fails_alone(bench: Bench) -> None:
    await bench.publish(Plan(variants=variants("int8", "float16", "int16x8", "float32")))
    async with running(bench.worker()):
        messages = await bench.heard(4)
    failed = {m.variant: m for m in messages if isinstance(m, events_pb2.VariantFailed)}
    ready = {m.variant.name for m in messages if isinstance(m, events_pb2.VariantReady)}
    assert (set(failed), ready) == ({"int8", "int16x8"}, {"float16", "float32"})
    assert failed["int8"].step == events_pb2.VariantFailed.STEP_QUANTIZE
    assert failed["int8"].failure.code == "invalid_plan"
    assert "data.calibration" in failed["int8"].failure.hint


async def test_a_file_that_is_quantized_already_is_its_own_variant(bench: Bench) -> None:
    message = await bench.converted(Plan(variants=variants("int8", "float16")))
    graph = GraphWriter()
    source, out = (graph.tensor(name, (1, 4), "int8", scales=[0.1]) for name in ("in", "out"))
    graph.op("RELU", [source], [out])
    path = graph.write(bench.folder / "int8.tflite", [source], [out])
    message.model.CopyFrom(artifact_to_proto(await bench.runtime.artifacts.put_file(path)))
    message.facts.CopyFrom(facts_to_proto(read_model(path)))
    await bench.runtime.publisher.publish(message, run_id="run-1")
    async with running(bench.worker()):
        messages = await bench.heard(2)
    (ready,) = (one for one in messages if isinstance(one, events_pb2.VariantReady))
    (failed,) = (one for one in messages if isinstance(one, events_pb2.VariantFailed))
    assert (ready.variant.name, ready.variant.model) == ("int8", message.model)
    assert (failed.variant, failed.failure.code) == ("float16", "already_quantized")
    assert "the model is int8 already" in failed.failure.message


async def test_a_calibration_set_of_another_shape_fails_what_needs_it(bench: Bench) -> None:
    calibration = await bench.samples(normal(5, width=9))
    await bench.publish(Plan(data=DataSet(calibration=calibration), variants=variants("int8", "dynamic_range")))
    async with running(bench.worker()):
        first, second = await bench.heard(2)
    assert isinstance(first, events_pb2.VariantFailed)
    assert "calibration set" in first.failure.message and "9" in first.failure.message
    assert isinstance(second, events_pb2.VariantReady)


async def test_a_killed_worker_is_followed_by_one_that_goes_on(bench: Bench) -> None:
    plan = Plan(variants=variants("float16", "dynamic_range"))
    message = await bench.converted(plan)
    # The first worker made float16, stored its result, and died before it could publish it.
    request = quantizer_pb2.QuantizeRequest(
        model_uri=f"sha256:{message.model.sha256}", variant=plan_pb2.VariantSpec(name="float16")
    )
    stored = await bench.service.Quantize(request, NO_CONTEXT)
    await bench.runtime.publisher.publish(message, run_id="run-1")
    async with running(bench.worker()):
        first, second = await bench.heard(2)
    # The wall time of the first making: it was not made again.
    assert (first.variant.name, first.duration_ms) == ("float16", stored.duration_ms)
    assert second.variant.name == "dynamic_range"


async def test_the_same_message_twice_says_everything_once(bench: Bench) -> None:
    plan = Plan(variants=variants("float16", "float32", "int8"))
    message = await bench.publish(plan)
    # Under another id, as a replay: the handler runs again. The run after it marks the end.
    await bench.runtime.publisher.publish(message, run_id="run-1", parts=("again",))
    await bench.publish(Plan(variants=variants("float32")), run_id="run-2")
    async with running(bench.worker()):
        heard = await bench.heard(4)
    assert [message.run.run_id for message in heard] == ["run-1", "run-1", "run-1", "run-2"]


async def test_a_model_that_is_gone_fails_what_is_made_of_it(bench: Bench) -> None:
    plan = Plan(variants=variants("float32", "float16"))
    message = await bench.publish(plan)
    await bench.runtime.artifacts.delete(message.model.sha256)
    async with running(bench.worker()):
        messages = await bench.heard(2)
    assert isinstance(messages[0], events_pb2.VariantReady)
    assert isinstance(messages[1], events_pb2.VariantFailed)
    assert messages[1].failure.code == "not_found"


async def test_a_fault_that_stays_fails_only_what_it_keeps_from_being_made(bench: Bench) -> None:
    message = await bench.publish(Plan(variants=variants("float16", "float32")))
    blob = await bench.runtime.artifacts.path(message.model.sha256)
    blob.parent.rename(bench.folder / "away")
    blob.parent.touch()
    async with running(bench.worker()):
        ready, failed = await bench.heard(2)
    assert isinstance(ready, events_pb2.VariantReady)
    assert (ready.variant.name, ready.variant.model) == ("float32", message.model)
    assert isinstance(failed, events_pb2.VariantFailed)
    assert (failed.variant, failed.failure.code) == ("float16", "unavailable")


async def test_what_was_made_but_never_announced_is_announced_in_the_end(bench: Bench) -> None:
    message = await bench.publish(Plan(variants=variants("float16", "dynamic_range", "float32")))
    request = quantizer_pb2.QuantizeRequest(
        model_uri=f"sha256:{message.model.sha256}", variant=plan_pb2.VariantSpec(name="float16")
    )
    stored = await bench.service.Quantize(request, NO_CONTEXT)

    async def never(event: Event) -> None:
        raise Unavailable("the store does not answer")

    policy = Policy(ack_wait_s=5, attempts=1, backoff_s=(0.05,))
    worker = Worker(
        bench.runtime.bus, "q", [subjects.MODEL_CONVERTED], never, on_failure=bench.service.on_failure, policy=policy
    )
    async with running(worker):
        messages = await bench.heard(3)
    ready = {m.variant.name: m.variant.model for m in messages if isinstance(m, events_pb2.VariantReady)}
    assert ready == {"float16": stored.variant.model, "float32": message.model}
    # The shapes in which samples reach the model are those of its variants.
    shapes = [m.input_shapes for m in messages if isinstance(m, events_pb2.VariantReady)]
    assert shapes == [message.input_shapes, message.input_shapes]
    assert [m.variant for m in messages if isinstance(m, events_pb2.VariantFailed)] == ["dynamic_range"]


async def test_a_plan_that_is_gone_ends_the_run(bench: Bench) -> None:
    message = await bench.publish(Plan(variants=variants("float32")))
    await bench.runtime.artifacts.delete(message.run.plan.sha256)
    async with running(bench.worker()):
        (failed,) = await bench.heard(1)
    assert isinstance(failed, events_pb2.ModelFailed)
    assert failed.failure.code == "not_found"


async def test_what_nobody_can_read_is_a_dead_letter_and_no_more(bench: Bench) -> None:
    await publish_garbage(bench.runtime.bus, subjects.MODEL_CONVERTED)
    await bench.publish(Plan(variants=variants("float32")))
    async with running(bench.worker()):
        await bench.heard(1)
    assert [letter.subject for letter in await bench.runtime.bus.dead_letters()] == [subjects.MODEL_CONVERTED]


async def test_quantize_by_grpc(pool: ChildPool, tmp_path: Path) -> None:
    bench = await bench_on(MemoryBus(), pool, tmp_path)
    server = RpcServer([("S", lambda s: quantizer_pb2_grpc.add_QuantizerServiceServicer_to_server(bench.service, s))])
    await server.start("127.0.0.1", 0)
    model = await bench.runtime.artifacts.put_file(dense_model(tmp_path / "m.tflite"))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = quantizer_pb2_grpc.QuantizerServiceStub(channel)

        async def ask(name: str, **more: str) -> quantizer_pb2.QuantizeResponse:
            request = quantizer_pb2.QuantizeRequest(
                model_uri=model.uri, variant=plan_pb2.VariantSpec(name=name), **more
            )
            answer: quantizer_pb2.QuantizeResponse = await stub.Quantize(request)
            return answer

        answer = await ask("int8", calibration_uri=await bench.samples(normal(7)))
        assert answer.variant.calibration_samples == 7
        assert answer.duration_ms > 0
        assert await bench.runtime.artifacts.stat(answer.variant.model.sha256) == ArtifactRef(
            answer.variant.model.sha256, answer.variant.model.size_bytes
        )
        assert (await ask("float32")).variant.model.sha256 == model.sha256
        for name, more in (("int8", {}), ("int9", {}), ("float16", {"preprocessing_json": "{"})):
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await ask(name, **more)
            assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    await server.stop(0)
