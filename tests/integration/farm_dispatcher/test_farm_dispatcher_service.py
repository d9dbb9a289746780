"""The farm dispatcher on a bus: cells planned once, each run alone, and what is reported of those that fail."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from support.bus_wires import running, until
from support.graphs import GraphWriter, dense_model
from support.service_runtime import Listener, open_bus, publish_garbage, run_context, settings_in
from windtunnel.bus import Bus, Event, Policy, Worker, subjects
from windtunnel.bus.memory import MemoryBus
from windtunnel.bus.publisher import Publisher
from windtunnel.errors import FarmError, JobFailed, Unavailable, WindtunnelError
from windtunnel.farm_dispatcher.adapters.fake_farm import FakeFarm
from windtunnel.farm_dispatcher.adapters.host import local_farm as local
from windtunnel.farm_dispatcher.domain.farm import Farm
from windtunnel.farm_dispatcher.domain.farm_settings import LocalSettings, PollSeconds
from windtunnel.farm_dispatcher.service import FarmDispatcherService
from windtunnel.farm_dispatcher.settings import FarmDispatcherSettings
from windtunnel.farm_dispatcher.use_cases.run_cells import Dispatcher, Patience
from windtunnel.log_parser import measure, parse_log
from windtunnel.plan import DeviceFilter, Plan, VariantSpec
from windtunnel.rpc import RpcServer
from windtunnel.service.protobuf_values import artifact_to_proto
from windtunnel.service.runtime import Runtime, runtime_on
from windtunnel.v1 import events_pb2, farm_dispatcher_pb2, farm_dispatcher_pb2_grpc, plan_pb2, types_pb2

TOPICS = [
    subjects.CELLS_PLANNED,
    subjects.CELLS_FAILED,
    subjects.DEVICE_RUN_FINISHED,
    subjects.DEVICE_RUN_FAILED,
]
POLICY = Policy(ack_wait_s=5, attempts=2, backoff_s=(0.05,))
# "adb" is one of the farms that a plan may name; here the fake answers for it.
MATRIX = DeviceFilter("adb", accelerator=("cpu", "xnnpack", "gpu"), threads=(1, 2))


class Bench:
    """A farm dispatcher on a bus."""

    def __init__(self, runtime: Runtime[FarmDispatcherSettings], service: FarmDispatcherService, folder: Path) -> None:
        self.runtime = runtime
        self.service = service
        self.folder = folder
        self.listener = Listener(runtime.bus)

    def planner(self) -> Worker:
        return Worker(
            self.runtime.bus,
            "farm_dispatcher_plan",
            [subjects.VARIANT_READY],
            self.service.on_variant_ready,
            on_failure=self.service.on_plan_failure,
            policy=POLICY,
        )

    def runner(self) -> Worker:
        return Worker(
            self.runtime.bus,
            "farm_dispatcher_run",
            [subjects.APP_BUILT],
            self.service.on_app_built,
            on_failure=self.service.on_run_failure,
            policy=POLICY,
        )

    async def context(self, *filters: DeviceFilter, run_id: str = "run-1") -> types_pb2.RunContext:
        plan = Plan(variants=(VariantSpec("float32"),), devices=filters)
        return await run_context(self.runtime, run_id, plan)

    async def ready(self, run: types_pb2.RunContext, shapes: Sequence[types_pb2.InputShape] = ()) -> None:
        message = events_pb2.VariantReady(run=run, variant=types_pb2.Variant(name="float32"), input_shapes=shapes)
        await self.runtime.publisher.publish(message, run_id=run.run_id, parts=("float32",))

    async def built(
        self,
        run: types_pb2.RunContext,
        model: bytes | None = None,
        *parts: str,
        shapes: Sequence[types_pb2.InputShape] = (),
        platform: Mapping[str, Any] = MappingProxyType({"platform": "host"}),
    ) -> None:
        package = self.folder / "app.zip"
        with zipfile.ZipFile(package, "w") as archive:
            archive.writestr("model.tflite", model or dense_model(self.folder / "m.tflite").read_bytes())
        stored = await self.runtime.artifacts.put_file(package)
        message = events_pb2.AppBuilt(
            run=run, variant="float32", package=artifact_to_proto(stored), input_shapes=shapes, **platform
        )
        await self.runtime.publisher.publish(message, run_id=run.run_id, parts=("float32", "host", *parts))

    async def heard(self, count: int) -> list[Any]:
        """The first `count` messages: of several types, each with fields of its own."""

        def enough(messages: Sequence[Message]) -> bool:
            return len(messages) >= count

        return await self.listener.collect(enough, topics=TOPICS)


async def bench_on(bus: Bus, farms: Mapping[str, Farm], home: Path) -> Bench:
    runtime = await runtime_on(bus, "farm_dispatcher", settings_in(home / "home", FarmDispatcherSettings))
    service = FarmDispatcherService(runtime, Dispatcher(farms, Patience(3, 0.01)))
    return Bench(runtime, service, home)


@pytest.fixture(params=["memory", "nats"])
async def bus(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bus]:
    async with open_bus(request.param, tmp_path / "nats") as opened:
        yield opened


@pytest.fixture
def farm() -> FakeFarm:
    return FakeFarm()


@pytest.fixture
async def bench(bus: Bus, farm: FakeFarm, tmp_path: Path) -> Bench:
    return await bench_on(bus, {"adb": farm}, tmp_path)


async def test_cells_are_planned_and_those_that_can_run_do(bench: Bench, farm: FakeFarm) -> None:
    run = await bench.context(MATRIX, DeviceFilter("firebase"))
    await bench.ready(run)
    await bench.built(run)
    async with running(bench.planner(), bench.runner()):
        heard = await bench.heard(5)
    (planned,) = [message for message in heard if isinstance(message, events_pb2.CellsPlanned)]
    assert [(cell.accelerator, cell.threads, bool(cell.skip_reason)) for cell in planned.cells] == [
        ("cpu", 1, False), ("cpu", 2, False), ("xnnpack", 1, False), ("xnnpack", 2, False),
        ("gpu", 1, True), ("gpu", 2, True), ("", 1, True),
    ]  # fmt: skip
    finished = [message for message in heard if isinstance(message, events_pb2.DeviceRunFinished)]
    able = {cell.id: cell for cell in planned.cells if not cell.skip_reason}
    assert {message.cell.id for message in finished} == set(able)
    for message in finished:
        assert message.cell == able[message.cell.id]
        assert (message.attempt, message.device.name, message.device.nodes_total) == (1, "pixel", 0)
        assert not message.device.HasField("nodes_total")
        assert message.started_at.ToDatetime() <= message.ended_at.ToDatetime()
        log = parse_log(await bench.runtime.artifacts.read_bytes(message.log.sha256))
        assert log.unrecognized_lines == 0
        samples = json.loads(await bench.runtime.artifacts.read_bytes(message.samples.sha256))
        assert samples["unit"] == "us"
        assert measure(log.runs[0], samples["inference"]).latency_ms.samples == len(samples["inference"]) == 4


async def test_the_app_may_be_there_before_the_plan(bench: Bench, farm: FakeFarm) -> None:
    run = await bench.context(DeviceFilter("adb"))
    await bench.built(run)
    async with running(bench.runner()):
        (finished,) = await bench.heard(1)
    # Meanwhile the device has gone: both handlers still speak of the same cells.
    farm.offered = ()
    await bench.ready(run)
    async with running(bench.planner()):
        _, planned = await bench.heard(2)
    assert [cell.id for cell in planned.cells] == [finished.cell.id]
    assert planned.cells[0].skip_reason == ""


FED = [types_pb2.InputShape(name="image", shape=(1, 48, 48, 3))]


@pytest.mark.parametrize("first", ["variant", "app"])
async def test_cells_run_in_the_shapes_in_which_samples_reach_the_model(
    bench: Bench, farm: FakeFarm, first: str
) -> None:
    run = await bench.context(DeviceFilter("adb"))
    if first == "app":
        await bench.built(run, shapes=FED)
        async with running(bench.runner()):
            await bench.heard(1)
    await bench.ready(run, FED)
    await bench.built(run, None, "replayed", shapes=FED)
    async with running(bench.planner(), bench.runner()):
        heard = await bench.heard(2)
    (planned,) = [message for message in heard if isinstance(message, events_pb2.CellsPlanned)]
    (finished,) = [message for message in heard if isinstance(message, events_pb2.DeviceRunFinished)]
    assert list(planned.cells[0].input_shapes) == list(finished.input_shapes) == FED
    assert [entry.cell.input_shapes for entry in farm.ran] == [{"image": (1, 48, 48, 3)}]
    assert finished.shapes_known
    assert finished.conditions.HasField("other_load_cores") and not finished.conditions.unstable


async def test_the_plan_gives_shapes_where_samples_do_not(bench: Bench, farm: FakeFarm) -> None:
    shapes = {"image": (1, 224, 224, 3)}
    plan = Plan(variants=(VariantSpec("float32"),), devices=(DeviceFilter("adb"),), input_shapes=shapes)
    await bench.built(await run_context(bench.runtime, "run-1", plan))
    async with running(bench.runner()):
        (finished,) = await bench.heard(1)
    assert [tuple(shape.shape) for shape in finished.input_shapes] == [(1, 224, 224, 3)]
    assert farm.ran[0].cell.input_shapes == shapes


async def test_a_size_that_nobody_gives_is_said(bench: Bench) -> None:
    await bench.built(await bench.context(DeviceFilter("adb")))
    async with running(bench.runner()):
        (finished,) = await bench.heard(1)
    assert finished.HasField("shapes_known") and not finished.shapes_known


async def test_the_same_messages_twice_run_and_say_everything_once(bench: Bench, farm: FakeFarm) -> None:
    run = await bench.context(DeviceFilter("adb"))
    await bench.built(run)
    await bench.built(run, None, "replayed")
    marker = await bench.context(DeviceFilter("adb"), run_id="run-2")
    await bench.built(marker)
    async with running(bench.runner()):
        heard = await bench.heard(2)
    assert [message.run.run_id for message in heard] == ["run-1", "run-2"]
    assert len(farm.ran) == 2


BUSY = FarmError("the device is busy")
CRASH = JobFailed("died of SIGSEGV", how="signal", stderr="Fatal Python error")


@pytest.mark.parametrize(
    ("failures", "attempt", "code"),
    [
        ([BUSY, BUSY], 3, ""),
        ([BUSY, BUSY, BUSY], 3, "farm"),
        ([CRASH], 1, "job_failed"),
    ],
)
async def test_a_cell_is_tried_again_where_that_can_help(
    bench: Bench, farm: FakeFarm, failures: list[WindtunnelError | None], attempt: int, code: str
) -> None:
    farm.fail(failures)
    await bench.built(await bench.context(DeviceFilter("adb")))
    async with running(bench.runner()):
        (message,) = await bench.heard(1)
    assert isinstance(message, events_pb2.DeviceRunFailed if code else events_pb2.DeviceRunFinished)
    assert message.attempt == attempt
    if isinstance(message, events_pb2.DeviceRunFailed):
        assert message.failure.code == code
        assert message.failure.service == "farm_dispatcher"


async def test_a_cell_that_fails_does_not_stop_the_others(bench: Bench, farm: FakeFarm) -> None:
    farm.fail([None, CRASH, None])
    await bench.built(await bench.context(DeviceFilter("adb", threads=(1, 2, 3, 4))))
    async with running(bench.runner()):
        heard = await bench.heard(4)
    kinds = [type(message) for message in heard]
    assert (kinds.count(events_pb2.DeviceRunFinished), kinds.count(events_pb2.DeviceRunFailed)) == (3, 1)


async def test_a_farm_that_stays_down_fails_the_planning(bench: Bench, farm: FakeFarm) -> None:
    farm.down = FarmError("the farm does not answer")
    await bench.ready(await bench.context(DeviceFilter("adb")))
    async with running(bench.planner()):
        (failed,) = await bench.heard(1)
    assert isinstance(failed, events_pb2.CellsFailed)
    assert (failed.variant, failed.failure.code) == ("float32", "farm")


async def test_a_package_that_is_gone_fails_its_cells(bench: Bench, farm: FakeFarm) -> None:
    run = await bench.context(DeviceFilter("adb", threads=(1, 2)))
    await bench.built(run)
    stored = await bench.runtime.artifacts.put_file(bench.folder / "app.zip")
    await bench.runtime.artifacts.delete(stored.sha256)
    async with running(bench.runner()):
        heard = await bench.heard(2)
    assert [message.cell.threads for message in heard] == [1, 2]
    assert {message.failure.code for message in heard} == {"not_found"}


async def test_a_cell_that_failed_stays_failed(bench: Bench, farm: FakeFarm) -> None:
    """A redelivery must not take back what was published: the device would do now."""
    farm.fail([CRASH])
    run = await bench.context(DeviceFilter("adb"))
    await bench.built(run)
    await bench.built(run, None, "replayed")
    marker = await bench.context(DeviceFilter("adb"), run_id="run-2")
    await bench.built(marker)
    async with running(bench.runner()):
        heard = await bench.heard(2)
    assert [(message.run.run_id, type(message)) for message in heard] == [
        ("run-1", events_pb2.DeviceRunFailed), ("run-2", events_pb2.DeviceRunFinished),
    ]  # fmt: skip
    assert len(farm.ran) == 2


async def _give_up(bench: Bench, service: FarmDispatcherService) -> None:
    """The next `app.built` is given up at once."""

    async def never(event: Event) -> None:
        raise Unavailable("the store does not answer")

    policy = Policy(ack_wait_s=5, attempts=1)
    topics = [subjects.APP_BUILT]
    worker = Worker(bench.runtime.bus, "given_up", topics, never, on_failure=service.on_run_failure, policy=policy)
    async with running(worker):
        await bench.heard(len(bench.listener.events) + 1)


async def test_runs_that_are_given_up_before_anything_is_planned_are_told(bench: Bench, farm: FakeFarm) -> None:
    run = await bench.context(DeviceFilter("adb", threads=(1, 2)))
    await bench.built(run)
    await _give_up(bench, bench.service)
    await bench.ready(run)
    async with running(bench.planner()):
        *failed, planned = await bench.heard(3)
    assert {message.cell.id for message in failed} == {cell.id for cell in planned.cells}
    assert {message.failure.code for message in failed} == {"unavailable"}


async def test_runs_that_cannot_even_be_planned_fail_the_planning(bench: Bench, farm: FakeFarm) -> None:
    farm.down = FarmError("the farm does not answer")
    await bench.built(await bench.context(DeviceFilter("adb")))
    await _give_up(bench, bench.service)
    (failed,) = await bench.heard(1)
    assert isinstance(failed, events_pb2.CellsFailed)
    assert (failed.variant, failed.failure.code) == ("float32", "farm")


async def test_a_run_that_ended_but_was_never_announced_is_announced_in_the_end(
    bench: Bench, farm: FakeFarm, tmp_path: Path
) -> None:
    """The first dispatcher ran the cells on another bus' stream: only the results are shared."""
    run = await bench.context(DeviceFilter("adb", threads=(1, 2)))
    farm.fail([None, CRASH])
    silent = dataclasses.replace(bench.runtime, publisher=Publisher(MemoryBus(), "farm_dispatcher"))
    elsewhere = FarmDispatcherService(silent, Dispatcher({"adb": farm}, Patience(3, 0.01)))
    await bench.built(run)
    worker = Worker(
        bench.runtime.bus,
        "elsewhere",
        [subjects.APP_BUILT],
        elsewhere.on_app_built,
        on_failure=elsewhere.on_run_failure,
        policy=POLICY,
    )
    async with running(worker):
        await until(lambda: len(farm.ran) == 2, "both cells have run")
    await _give_up(bench, bench.service)
    heard = await bench.heard(2)
    assert {type(message) for message in heard} == {events_pb2.DeviceRunFinished, events_pb2.DeviceRunFailed}
    assert [m.failure.code for m in heard if isinstance(m, events_pb2.DeviceRunFailed)] == ["job_failed"]


async def test_what_nobody_can_read_is_a_dead_letter_and_no_more(bench: Bench, farm: FakeFarm) -> None:
    for subject in (subjects.VARIANT_READY, subjects.APP_BUILT):
        await publish_garbage(bench.runtime.bus, subject)
    run = await bench.context(DeviceFilter("adb"))
    await bench.ready(run)
    await bench.built(run)
    async with running(bench.planner(), bench.runner()):
        await bench.heard(2)
    letters = await bench.runtime.bus.dead_letters()
    assert sorted(letter.subject for letter in letters) == [subjects.APP_BUILT, subjects.VARIANT_READY]


async def test_apps_of_another_platform_are_not_ours(bench: Bench, farm: FakeFarm) -> None:
    run = await bench.context(DeviceFilter("adb"))
    message = events_pb2.AppBuilt(run=run, variant="float32", platform="android")
    await bench.runtime.publisher.publish(message, run_id=run.run_id, parts=("float32", "android"))
    await bench.built(run)
    async with running(bench.runner()):
        heard = await bench.heard(1)
    assert [type(message) for message in heard] == [events_pb2.DeviceRunFinished]


@pytest.mark.parametrize(
    "named",
    [{"platform": "host"}, {"device_platform": types_pb2.PLATFORM_HOST}],
    ids=["an older app builder", "the enum alone"],
)
async def test_an_app_says_its_platform_by_text_or_enum(bench: Bench, farm: FakeFarm, named: dict[str, Any]) -> None:
    run = await bench.context(DeviceFilter("adb"))
    await bench.built(run, platform=named)
    async with running(bench.runner()):
        (finished,) = await bench.heard(1)
    assert isinstance(finished, events_pb2.DeviceRunFinished)
    assert (finished.cell.platform, finished.cell.device_platform) == ("host", types_pb2.PLATFORM_HOST)


async def test_the_local_farm_measures_and_survives_a_model_that_it_cannot_run(tmp_path: Path) -> None:
    settings = settings_in(tmp_path / "home", FarmDispatcherSettings)
    async with local.open_farm(LocalSettings(name="local", poll_seconds=PollSeconds(0.02, 0.1)), settings) as farm:
        bench = await bench_on(MemoryBus(), {"local": farm}, tmp_path)
        writer = GraphWriter()
        source, output = writer.tensor("in", (1, 4)), writer.tensor("out", (1, 4))
        writer.op("Frobnicate", [source], [output])
        odd = writer.write(tmp_path / "odd.tflite", [source], [output])
        filters = DeviceFilter("local", accelerator=("xnnpack", "cpu", "gpu"))
        await bench.built(await bench.context(filters, run_id="odd"), odd.read_bytes())
        await bench.built(await bench.context(filters, run_id="good"))
        async with running(bench.runner()):
            heard = await bench.heard(4)
    assert [(message.run.run_id, type(message)) for message in heard] == [
        ("odd", events_pb2.DeviceRunFailed), ("odd", events_pb2.DeviceRunFailed),
        ("good", events_pb2.DeviceRunFinished), ("good", events_pb2.DeviceRunFinished),
    ]  # fmt: skip
    assert "Frobnicate" in heard[0].failure.message
    by_accelerator = {message.cell.accelerator: message for message in heard[2:]}
    assert by_accelerator["xnnpack"].device.nodes_delegated == by_accelerator["xnnpack"].device.nodes_total == 4
    assert by_accelerator["cpu"].device.nodes_delegated == 0


async def test_devices_plans_and_runs_by_grpc(tmp_path: Path) -> None:
    bench = await bench_on(MemoryBus(), {"adb": FakeFarm()}, tmp_path)
    register = farm_dispatcher_pb2_grpc.add_FarmDispatcherServiceServicer_to_server
    server = RpcServer([("S", lambda s: register(bench.service, s))])
    await server.start("127.0.0.1", 0)
    await bench.built(await bench.context(DeviceFilter("adb")))
    package = await bench.runtime.artifacts.put_file(tmp_path / "app.zip")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = farm_dispatcher_pb2_grpc.FarmDispatcherServiceStub(channel)
        (device,) = (await stub.ListDevices(farm_dispatcher_pb2.ListDevicesRequest())).devices
        assert (device.name, list(device.accelerators), device.facts.cores) == ("pixel", ["cpu", "xnnpack"], 9)
        assert (device.platform, device.device_platform) == ("host", types_pb2.PLATFORM_HOST)
        request = farm_dispatcher_pb2.PlanCellsRequest(
            run_id="r", variant="int8", devices=[plan_pb2.DeviceFilter(farm="adb", threads=[1, 2])]
        )
        cells = (await stub.PlanCells(request)).cells
        assert [cell.threads for cell in cells] == [1, 2]
        answer = await stub.RunCell(farm_dispatcher_pb2.RunCellRequest(cell=cells[0], package_uri=package.uri))
        assert parse_log(await bench.runtime.artifacts.read_bytes(answer.log.sha256)).runs[0].error is None
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.ListDevices(farm_dispatcher_pb2.ListDevicesRequest(farm="aws"))
        assert error.value.code() is grpc.StatusCode.NOT_FOUND
    await server.stop(0)
