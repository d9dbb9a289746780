"""model.trained in, model.converted or model.failed out, with a .tflite, which needs no TensorFlow."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from google.protobuf.message import Message

from support.graphs import GraphWriter
from support.runtime import Outbox, make_runtime
from support.service_runtime import settings_in
from windtunnel.bus import Event, decode, encode, subjects
from windtunnel.bus.memory import MemoryBus
from windtunnel.converter.service import ConverterService
from windtunnel.converter.settings import ConverterSettings
from windtunnel.converter.use_cases.convert_model import tool_versions
from windtunnel.errors import InvalidInput, NotFound
from windtunnel.isolation import InlinePool
from windtunnel.service.run_inputs import plan_of
from windtunnel.v1 import events_pb2, plan_pb2, types_pb2

ANSWERS = (subjects.MODEL_CONVERTED, subjects.MODEL_FAILED)


@dataclass
class Bench:
    """A converter on the fake bus."""

    service: ConverterService
    bus: MemoryBus
    model: types_pb2.Model


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    graph = GraphWriter()
    source = graph.tensor("image", (1, 2))
    out = graph.dense("logits", source, np.eye(2, dtype=np.float32), np.zeros(2, np.float32))
    path = graph.write(tmp_path / "model.tflite", [source], [out])
    bus = MemoryBus()
    settings = settings_in(tmp_path, ConverterSettings)
    runtime = await make_runtime("converter", settings, bus, tmp_path)
    runs, plans = await bus.bucket(subjects.RUNS_BUCKET), await bus.bucket(subjects.PLANS_BUCKET)
    service = ConverterService(runtime, InlinePool(), runs=runs, plans=plans, versions=tool_versions())
    stored = await runtime.artifacts.put_file(path)
    return Bench(service, bus, types_pb2.Model(name="digits", version="7", uri=stored.uri))


def trained(message: Message) -> Event:
    return decode(*encode(message, id="a", source="/tests", run_id=""))


async def test_a_redelivered_event_has_the_start_of_the_first(bench: Bench) -> None:
    event = trained(events_pb2.ModelTrained(model=bench.model))
    before = datetime.now(UTC)
    async with Outbox(bench.bus, ANSWERS) as out:
        with pytest.raises(InvalidInput):
            await bench.service.on_model_trained(trained(_with_a_wrong_plan(bench)))
        taken_up = datetime.now(UTC)
        await asyncio.sleep(0.05)
        await bench.service.on_model_trained(event)
        converted = await out.next()
    assert isinstance(converted, events_pb2.ModelConverted)
    started = converted.run.started_at.ToDatetime(tzinfo=UTC)
    assert before <= started <= taken_up
    assert converted.check.passed
    assert converted.tool_versions == tool_versions()


async def test_a_failure_has_the_start_of_the_run_too(bench: Bench) -> None:
    event = trained(events_pb2.ModelTrained(model=bench.model))
    async with Outbox(bench.bus, ANSWERS) as out:
        await bench.service.on_model_trained(event)
        converted = await out.next()
        await bench.service.on_failure(event, InvalidInput("bad"))
        failed = await out.next()
    assert isinstance(converted, events_pb2.ModelConverted)
    assert isinstance(failed, events_pb2.ModelFailed)
    assert failed.run.started_at == converted.run.started_at


async def test_an_announcement_in_protobuf_with_a_wrong_plan_names_its_model(bench: Bench) -> None:
    event = trained(_with_a_wrong_plan(bench))
    async with Outbox(bench.bus, ANSWERS) as out:
        await bench.service.on_failure(event, InvalidInput("bad"))
        failed = await out.next()
    assert isinstance(failed, events_pb2.ModelFailed)
    assert (failed.run.model_name, failed.run.model_version) == ("digits", "7")


def _with_a_wrong_plan(bench: Bench) -> events_pb2.ModelTrained:
    return events_pb2.ModelTrained(model=bench.model, plan_uri="sha256:" + "0" * 64, plan_name="nightly")


async def test_the_event_says_in_which_shapes_samples_reach_the_model(bench: Bench) -> None:
    event = trained(events_pb2.ModelTrained(model=bench.model))
    async with Outbox(bench.bus, ANSWERS) as out:
        await bench.service.on_model_trained(event)
        converted = await out.next()
    assert isinstance(converted, events_pb2.ModelConverted)
    assert converted.input_shapes == [types_pb2.InputShape(name="image", shape=[1, 2])]
    names = [tensor.signature_name for tensor in (*converted.facts.inputs, *converted.facts.outputs)]
    assert names == ["in_0", "out_0"]


async def test_a_plan_gives_the_shape_of_an_open_input(bench: Bench, tmp_path: Path) -> None:
    graph = GraphWriter()
    source = graph.tensor("image", (1, 1), signature=(-1, -1))
    twice = graph.tensor("twice", (1, 1), signature=(-1, -1))
    graph.op("ADD", [source, source], [twice], schema.AddOptionsT())
    stored = await bench.service._runtime.artifacts.put_file(graph.write(tmp_path / "open.tflite", [source], [twice]))
    plan = plan_pb2.Plan(api_version="windtunnel/v1", input_shapes=[types_pb2.InputShape(name="image", shape=[1, 5])])
    shapes = []
    async with Outbox(bench.bus, ANSWERS) as out:
        for number, one in enumerate((plan_pb2.Plan(api_version="windtunnel/v1"), plan)):
            model = types_pb2.Model(name="open", version="1", uri=stored.uri)
            message = events_pb2.ModelTrained(model=model, plan=one, run_id=f"run-{number}")
            await bench.service.on_model_trained(decode(*encode(message, id=str(number), source="/tests", run_id="")))
            converted = await out.next()
            assert isinstance(converted, events_pb2.ModelConverted)
            shapes.append([list(shape.shape) for shape in converted.input_shapes])
    assert shapes == [[], [[1, 5]]]


async def test_a_quantized_file_is_tested_as_what_it_is(bench: Bench, tmp_path: Path) -> None:
    graph = GraphWriter()
    source = graph.tensor("image", (1, 4), "int8", scales=[0.1])
    out = graph.tensor("out", (1, 4), "int8", scales=[0.1])
    graph.op("RELU", [source], [out])
    stored = await bench.service._runtime.artifacts.put_file(graph.write(tmp_path / "int8.tflite", [source], [out]))
    event = trained(events_pb2.ModelTrained(model=types_pb2.Model(name="small", version="1", uri=stored.uri)))
    async with Outbox(bench.bus, ANSWERS) as out_box:
        await bench.service.on_model_trained(event)
        converted = await out_box.next()
    assert isinstance(converted, events_pb2.ModelConverted)
    assert converted.facts.precision == "int8"
    assert "conversion.quantized" in [finding.code for finding in converted.check.findings]
    plan = await plan_of(converted.run, bench.service._runtime.artifacts)
    assert [variant.name for variant in plan.variants] == ["int8"]


async def failure(bench: Bench, message: events_pb2.ModelTrained) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        await bench.service.on_model_trained(trained(message))
    return caught.value


async def test_a_run_that_cannot_start_is_not_blamed_on_the_model(bench: Bench) -> None:
    with pytest.raises(NotFound) as unknown:
        await bench.service.on_model_trained(trained(events_pb2.ModelTrained(model=bench.model, plan_name="nigthly")))
    assert unknown.value.code == "unknown_plan"
    unhashed = types_pb2.Model(name="m", version="1", uri="https://models.example.com/m.tflite")
    message = events_pb2.ModelTrained(model=unhashed, run_id="run-2")
    with pytest.raises(InvalidInput) as missing:
        await bench.service.on_model_trained(decode(*encode(message, id="b", source="/tests", run_id="")))
    assert missing.value.code == "sha256_missing"


async def test_a_fault_of_the_samples_is_told_from_one_of_the_model(bench: Bench, tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", x=np.zeros((3, 5), np.float32))
    stored = await bench.service._runtime.artifacts.put_file(tmp_path / "other.npz")
    plan = plan_pb2.Plan(api_version="windtunnel/v1", data=plan_pb2.DataSet(samples=stored.uri))
    error = await failure(bench, events_pb2.ModelTrained(model=bench.model, plan=plan))
    assert error.code == "invalid_samples"
    assert error.message.startswith("data.samples: input 'image' of the model takes [1, 2]")


async def test_samples_that_are_not_there_are_a_fault_of_the_plan(bench: Bench, tmp_path: Path) -> None:
    plan = plan_pb2.Plan(api_version="windtunnel/v1", data=plan_pb2.DataSet(samples=(tmp_path / "no.npz").as_uri()))
    error = await failure(bench, events_pb2.ModelTrained(model=bench.model, plan=plan))
    assert error.code == "invalid_plan"
    assert error.message.startswith("data.samples: ") and "no.npz" in error.message
