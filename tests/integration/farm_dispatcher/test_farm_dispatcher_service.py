"""The farm dispatcher on a bus: cells planned once, each run alone, and what is reported of those that fail."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import zipfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from support.bus_wires import running
from support.graphs import GraphWriter, dense_model
from support.open_models import conv_model
from support.service_runtime import Listener, open_bus, publish_garbage, run_context, settings_in
from windtunnel.artifacts import ArtifactRef
from windtunnel.bus import Bus, Event, Policy, Worker, subjects
from windtunnel.bus.memory import MemoryBus
from windtunnel.bus.worker import FailureHandler
from windtunnel.catalog import Catalog, CatalogEntry
from windtunnel.errors import FarmError, InvalidInput, JobFailed, Unavailable, WindtunnelError
from windtunnel.farm_dispatcher.__main__ import scheduler_on
from windtunnel.farm_dispatcher.adapters.artifact_files import ArtifactFiles
from windtunnel.farm_dispatcher.adapters.fake_farm import FAKE_DEVICE, FAKE_SETTINGS, FakeFarm, FakeVendor
from windtunnel.farm_dispatcher.adapters.host import local_farm as local
from windtunnel.farm_dispatcher.domain.cells import RunAs
from windtunnel.farm_dispatcher.domain.device_runs import JobFailure
from windtunnel.farm_dispatcher.domain.farm import Farm
from windtunnel.farm_dispatcher.domain.farm_settings import Budget, LocalSettings, PollSeconds
from windtunnel.farm_dispatcher.domain.jobs import AppJob, ExecutableJob
from windtunnel.farm_dispatcher.service import FarmDispatcherService
from windtunnel.farm_dispatcher.settings import FarmDispatcherSettings
from windtunnel.farm_dispatcher.use_cases.build_job import JobBuilder
from windtunnel.farm_dispatcher.use_cases.run_cells import Dispatcher
from windtunnel.farm_dispatcher.use_cases.scheduler.schedule import Scheduler
from windtunnel.farm_dispatcher.use_cases.stored.ledgers import Share
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
MATRIX = DeviceFilter("fake", accelerator=("cpu", "xnnpack", "gpu"), threads=(1, 2))


class Bench:
    """A farm dispatcher on a bus."""

    def __init__(
        self,
        runtime: Runtime[FarmDispatcherSettings],
        service: FarmDispatcherService,
        scheduler: Scheduler,
        folder: Path,
    ) -> None:
        self.runtime = runtime
        self.service = service
        self.scheduler = scheduler
        self.folder = folder
        self.listener = Listener(runtime.bus)

    def worker(self) -> Worker:
        return Worker(
            self.runtime.bus,
            "farm_dispatcher_plan",
            [subjects.VARIANT_READY],
            self.service.on_variant_ready,
            on_failure=self.service.on_plan_failure,
            policy=POLICY,
        )

    def app_worker(self) -> Worker:
        return Worker(
            self.runtime.bus,
            "farm_dispatcher_run",
            [subjects.APP_BUILT],
            self.service.on_app_built,
            on_failure=self.service.on_run_failure,
            policy=POLICY,
        )

    def repeat_worker(self) -> Worker:
        return Worker(
            self.runtime.bus,
            "farm_dispatcher_repeat",
            [subjects.REPEATS_REQUESTED],
            self.service.on_repeats_requested,
            on_failure=self.service.on_repeats_failure,
            policy=POLICY,
        )

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """The dispatcher with its scheduler."""
        scheduling = asyncio.create_task(self.scheduler.run())
        try:
            async with running(self.worker(), self.app_worker(), self.repeat_worker()):
                yield
        finally:
            scheduling.cancel()
            await asyncio.gather(scheduling, return_exceptions=True)

    async def context(self, *filters: DeviceFilter, run_id: str = "run-1", **more: Any) -> types_pb2.RunContext:
        plan = Plan(variants=(VariantSpec("float32"),), devices=filters, **more)
        return await run_context(self.runtime, run_id, plan)

    async def ready(
        self,
        run: types_pb2.RunContext,
        shapes: Sequence[types_pb2.InputShape] = (),
        *parts: str,
        model: bytes | None = None,
    ) -> None:
        content = model or dense_model(self.folder / "m.tflite").read_bytes()
        variant = types_pb2.Variant(
            name="float32", model=artifact_to_proto(await self.runtime.artifacts.put_bytes(content))
        )
        message = events_pb2.VariantReady(run=run, variant=variant, input_shapes=shapes)
        await self.runtime.publisher.publish(message, run_id=run.run_id, parts=("float32", *parts))

    async def built(self, run: types_pb2.RunContext, *parts: str, **platform: Any) -> None:
        """An app of the platform; it is not run, so any bytes do."""
        package = await self.runtime.artifacts.put_bytes(b"an app")
        model = await self.runtime.artifacts.put_bytes(dense_model(self.folder / "m.tflite").read_bytes())
        message = events_pb2.AppBuilt(
            run=run, variant="float32", package=artifact_to_proto(package), model_sha256=model.sha256, **platform
        )
        await self.runtime.publisher.publish(message, run_id=run.run_id, parts=("float32", *parts))

    async def heard(self, count: int) -> list[Any]:
        """The first `count` messages: of several types, each with fields of its own."""

        def enough(messages: Sequence[Message]) -> bool:
            return len(messages) >= count

        return await self.listener.collect(enough, topics=TOPICS)

    async def ended(self, count: int) -> list[Any]:
        """How the first `count` cells ended."""

        def ended(messages: Sequence[Message]) -> list[Message]:
            return [one for one in messages if not isinstance(one, events_pb2.CellsPlanned)]

        heard = await self.listener.collect(lambda messages: len(ended(messages)) >= count, topics=TOPICS)
        return ended(heard)


async def bench_on(bus: Bus, farms: Mapping[str, Farm], home: Path) -> Bench:
    settings = settings_in(home / "home", FarmDispatcherSettings, cell_backoff_s=0.01)
    runtime = await runtime_on(bus, "farm_dispatcher", settings)
    files = ArtifactFiles(runtime.artifacts)

    async def no_catalog(entry: CatalogEntry) -> ArtifactRef:
        raise AssertionError(entry)

    scheduler = await scheduler_on(runtime, farms, files, "test")
    dispatcher = Dispatcher(farms, JobBuilder(Catalog(), no_catalog), files)
    return Bench(runtime, FarmDispatcherService(runtime, dispatcher, scheduler.queue), scheduler, home)


@pytest.fixture(params=["memory", "nats"])
async def bus(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bus]:
    async with open_bus(request.param, tmp_path / "nats") as opened:
        yield opened


@pytest.fixture
def farm() -> FakeFarm:
    return FakeFarm()


@pytest.fixture
async def bench(bus: Bus, farm: FakeFarm, tmp_path: Path) -> Bench:
    return await bench_on(bus, {"fake": farm}, tmp_path)


async def test_cells_are_planned_and_those_that_can_run_do(bench: Bench, farm: FakeFarm) -> None:
    run = await bench.context(MATRIX, DeviceFilter("firebase"))
    await bench.ready(run)
    async with bench.working():
        heard = await bench.heard(5)
    (planned,) = [message for message in heard if isinstance(message, events_pb2.CellsPlanned)]
    assert [(cell.accelerator, cell.threads, bool(cell.skip_reason)) for cell in planned.cells] == [
        ("cpu", 1, False), ("cpu", 2, False), ("xnnpack", 1, False), ("xnnpack", 2, False),
        ("gpu", 1, True), ("gpu", 2, True), ("", 1, True),
    ]  # fmt: skip
    assert planned.model.sha256 == farm.ran[0].job.model_sha256
    finished = [message for message in heard if isinstance(message, events_pb2.DeviceRunFinished)]
    able = {cell.id: cell for cell in planned.cells if not cell.skip_reason}
    assert {message.cell.id for message in finished} == set(able)
    for message in finished:
        assert message.cell == able[message.cell.id]
        assert (message.attempt, message.device.name, message.device.nodes_total) == (1, "pixel", 0)
        assert not message.device.HasField("nodes_total")
        assert message.started_at.ToDatetime() <= message.ended_at.ToDatetime()
        assert message.farm_run.id and message.farm_run.url
        log = parse_log(await bench.runtime.artifacts.read_bytes(message.log.sha256))
        assert log.unrecognized_lines == 0
        samples = json.loads(await bench.runtime.artifacts.read_bytes(message.samples.sha256))
        assert samples["unit"] == "us"
        assert measure(log.runs[0], samples["inference"]).latency_ms.samples == len(samples["inference"]) == 4


FED = [types_pb2.InputShape(name="image", shape=(1, 48, 48, 3))]


async def test_cells_run_in_the_shapes_in_which_samples_reach_the_model(bench: Bench, farm: FakeFarm) -> None:
    await bench.ready(await bench.context(DeviceFilter("fake")), FED)
    async with bench.working():
        heard = await bench.heard(2)
    (planned,) = [message for message in heard if isinstance(message, events_pb2.CellsPlanned)]
    (finished,) = [message for message in heard if isinstance(message, events_pb2.DeviceRunFinished)]
    assert list(planned.cells[0].input_shapes) == list(finished.input_shapes) == FED
    assert [entry.cell.input_shapes for entry in farm.ran] == [{"image": (1, 48, 48, 3)}]
    assert finished.shapes_known
    assert finished.conditions.HasField("other_load_cores") and not finished.conditions.unstable


async def test_the_plan_gives_shapes_where_samples_do_not(bench: Bench, farm: FakeFarm) -> None:
    shapes = {"image": (1, 224, 224, 3)}
    await bench.ready(await bench.context(DeviceFilter("fake"), input_shapes=shapes))
    async with bench.working():
        (finished,) = await bench.ended(1)
    assert [tuple(shape.shape) for shape in finished.input_shapes] == [(1, 224, 224, 3)]
    assert farm.ran[0].cell.input_shapes == shapes


async def test_a_size_that_nobody_gives_is_said(bench: Bench) -> None:
    await bench.ready(await bench.context(DeviceFilter("fake")))
    async with bench.working():
        (finished,) = await bench.ended(1)
    assert finished.HasField("shapes_known") and not finished.shapes_known


async def test_the_same_messages_twice_run_and_say_everything_once(bench: Bench, farm: FakeFarm) -> None:
    run = await bench.context(DeviceFilter("fake"))
    await bench.ready(run)
    await bench.ready(run, (), "replayed")
    async with bench.working():
        await bench.ended(1)
        await bench.ready(run, (), "replayed once more")
        await bench.ready(await bench.context(DeviceFilter("fake"), run_id="run-2"))
        ended = await bench.ended(2)
    assert [message.run.run_id for message in ended] == ["run-1", "run-2"]
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
    bench: Bench, farm: FakeFarm, failures: list[WindtunnelError | JobFailure | None], attempt: int, code: str
) -> None:
    farm.fail(failures)
    await bench.ready(await bench.context(DeviceFilter("fake")))
    async with bench.working():
        (message,) = await bench.ended(1)
    assert isinstance(message, events_pb2.DeviceRunFailed if code else events_pb2.DeviceRunFinished)
    assert message.attempt == attempt
    if isinstance(message, events_pb2.DeviceRunFailed):
        assert message.failure.code == code
        assert message.failure.service == "farm_dispatcher"
        kind = types_pb2.FAILURE_KIND_INFRASTRUCTURE if code == "farm" else types_pb2.FAILURE_KIND_TEST
        assert message.failure.kind == kind


async def test_a_cell_that_fails_does_not_stop_the_others(bench: Bench, farm: FakeFarm) -> None:
    farm.fail([None, CRASH, None])
    await bench.ready(await bench.context(DeviceFilter("fake", threads=(1, 2, 3, 4))))
    async with bench.working():
        ended = await bench.ended(4)
    kinds = [type(message) for message in ended]
    assert (kinds.count(events_pb2.DeviceRunFinished), kinds.count(events_pb2.DeviceRunFailed)) == (3, 1)


async def test_a_farm_that_stays_down_fails_the_planning(bench: Bench, farm: FakeFarm) -> None:
    farm.down = FarmError("the farm does not answer")
    await bench.ready(await bench.context(DeviceFilter("fake")))
    async with bench.working():
        (failed,) = await bench.heard(1)
    assert isinstance(failed, events_pb2.CellsFailed)
    assert (failed.variant, failed.failure.code) == ("float32", "farm")


async def test_a_model_that_is_gone_fails_its_cells(bench: Bench, farm: FakeFarm) -> None:
    run = await bench.context(DeviceFilter("fake", threads=(1, 2)))
    await bench.ready(run)
    stored = await bench.runtime.artifacts.put_file(bench.folder / "m.tflite")
    await bench.runtime.artifacts.delete(stored.sha256)
    async with bench.working():
        ended = await bench.ended(2)
    assert sorted(message.cell.threads for message in ended) == [1, 2]
    assert {message.failure.code for message in ended} == {"not_found"}


async def test_a_cell_that_failed_stays_failed(bench: Bench, farm: FakeFarm) -> None:
    """A redelivery must not take back what was published: the device would do now."""
    farm.fail([CRASH])
    run = await bench.context(DeviceFilter("fake"))
    await bench.ready(run)
    async with bench.working():
        await bench.ended(1)
        await bench.ready(run, (), "replayed")
        await bench.ready(await bench.context(DeviceFilter("fake"), run_id="run-2"))
        ended = await bench.ended(2)
    assert [(message.run.run_id, type(message)) for message in ended] == [
        ("run-1", events_pb2.DeviceRunFailed), ("run-2", events_pb2.DeviceRunFinished),
    ]  # fmt: skip
    assert len(farm.ran) == 2


async def _give_up(bench: Bench, topic: str, on_failure: FailureHandler) -> None:
    """The next event on a topic is given up at once."""

    async def never(event: Event) -> None:
        raise Unavailable("the store does not answer")

    policy = Policy(ack_wait_s=5, attempts=1)
    worker = Worker(bench.runtime.bus, "given_up", [topic], never, on_failure=on_failure, policy=policy)
    async with running(worker):
        await bench.heard(len(bench.listener.events) + 1)


async def test_a_plan_that_is_given_up_is_told(bench: Bench) -> None:
    await bench.ready(await bench.context(DeviceFilter("fake", threads=(1, 2))))
    await _give_up(bench, subjects.VARIANT_READY, bench.service.on_plan_failure)
    (failed,) = await bench.heard(1)
    assert isinstance(failed, events_pb2.CellsFailed)
    assert failed.failure.code == "unavailable"


async def test_cells_that_are_planned_and_given_up_are_told(bench: Bench, farm: FakeFarm) -> None:
    run = await bench.context(DeviceFilter("fake", threads=(1, 2)))
    await bench.ready(run)
    async with running(bench.worker()):
        (planned,) = await bench.heard(1)
    await _give_up(bench, subjects.VARIANT_READY, bench.service.on_plan_failure)
    ended = await bench.ended(2)
    assert {message.cell.id for message in ended} == {cell.id for cell in planned.cells}
    assert {message.failure.code for message in ended} == {"unavailable"}


async def test_an_app_that_is_given_up_fails_its_cells(bench: Bench, farm: FakeFarm) -> None:
    farm.runs = ("app",)
    run = await bench.context(DeviceFilter("fake", threads=(1, 2)))
    await bench.built(run, "host", platform="host")
    await _give_up(bench, subjects.APP_BUILT, bench.service.on_run_failure)
    ended = await bench.ended(2)
    assert {message.failure.code for message in ended} == {"unavailable"}


async def test_what_nobody_can_read_is_a_dead_letter_and_no_more(bench: Bench, farm: FakeFarm) -> None:
    for subject in (subjects.VARIANT_READY, subjects.APP_BUILT):
        await publish_garbage(bench.runtime.bus, subject)
    await bench.ready(await bench.context(DeviceFilter("fake")))
    async with bench.working():
        await bench.ended(1)
    letters = await bench.runtime.bus.dead_letters()
    assert sorted(letter.subject for letter in letters) == [subjects.APP_BUILT, subjects.VARIANT_READY]


@pytest.mark.parametrize(
    "named",
    [{"platform": "host"}, {"device_platform": types_pb2.PLATFORM_HOST}],
    ids=["an older app builder", "the enum alone"],
)
async def test_cells_that_run_as_an_app_wait_for_theirs(bench: Bench, farm: FakeFarm, named: dict[str, Any]) -> None:
    farm.runs = ("executable", "app")
    run = await bench.context(DeviceFilter("fake", run_as=("app", "executable")))
    await bench.ready(run)
    async with bench.working():
        (first,) = await bench.ended(1)
        await bench.built(run, "android", platform="android")
        await bench.built(run, "host", **named)
        ended = await bench.ended(2)
    assert first.cell.run_as == types_pb2.RUN_AS_EXECUTABLE
    assert ended[1].cell.run_as == types_pb2.RUN_AS_APP
    assert [type(entry.job) for entry in farm.ran] == [ExecutableJob, AppJob]
    assert ended[1].cell.id != first.cell.id


async def test_an_app_that_the_farm_does_not_take_fails_its_cells_with_the_reason(bench: Bench, farm: FakeFarm) -> None:
    farm.runs = ("app",)
    aab = types_pb2.Failure(message="the base app is an AAB")
    apps = [
        types_pb2.BuiltApp(kind=types_pb2.APP_KIND_ACTIVITY, package=types_pb2.Artifact(sha256="a" * 64)),
        types_pb2.BuiltApp(kind=types_pb2.APP_KIND_GAME_LOOP, failure=aab),
    ]
    await bench.built(await bench.context(DeviceFilter("fake")), platform="host", apps=apps)
    async with bench.working():
        (failed,) = await bench.ended(1)
    assert failed.failure.kind == types_pb2.FAILURE_KIND_UNSUPPORTED
    assert "takes apps of kind game_loop; there is activity" in failed.failure.message
    assert "the base app is an AAB" in failed.failure.message


@pytest.mark.parametrize("run_as", ["executable", "app"])
async def test_repeats_run_the_variant_and_the_baseline_in_turn(bench: Bench, farm: FakeFarm, run_as: RunAs) -> None:
    farm.runs, farm.settings = (run_as,), dataclasses.replace(farm.settings, entries=8, parallel=1, pack_seconds=0.3)
    run = await bench.context(DeviceFilter("fake", run_as=(run_as,)))
    baseline = await bench.runtime.artifacts.put_bytes(conv_model(bench.folder / "b.tflite").read_bytes())
    async with bench.working():
        await bench.ready(run)
        if run_as == "app":
            await bench.built(run, platform="host")
        (first,) = await bench.ended(1)
        model = farm.ran[0].job.model_sha256
        asked = events_pb2.RepeatsRequested(
            run=run,
            cell=first.cell,
            model=types_pb2.Artifact(sha256=model, size_bytes=1),
            baseline_model=artifact_to_proto(baseline),
            round=1,
            first=1,
            pairs=2,
        )
        for replayed in ("", "replayed"):
            await bench.runtime.publisher.publish(asked, run_id=run.run_id, parts=(first.cell.id, "1", replayed))
        ended = await bench.ended(5)
    told = [(message.cell.id == first.cell.id, message.repeat, message.of_baseline) for message in ended[1:]]
    assert sorted(told) == [(True, 1, False), (True, 1, True), (True, 2, False), (True, 2, True)]
    assert not any(message.reuse_key for message in ended[1:]) and first.reuse_key
    assert [entry.job.model_sha256 for entry in farm.ran[1:]] == [model, baseline.sha256] * 2


async def test_the_local_farm_measures_and_survives_a_model_that_it_cannot_run(tmp_path: Path) -> None:
    settings = settings_in(tmp_path / "home", FarmDispatcherSettings)
    of_farm = LocalSettings(name="local", poll_seconds=PollSeconds(0.02, 0.1))
    async with local.open_farm(of_farm, settings) as farm:
        bench = await bench_on(MemoryBus(), {"local": farm}, tmp_path)
        writer = GraphWriter()
        source, output = writer.tensor("in", (1, 4)), writer.tensor("out", (1, 4))
        writer.op("Frobnicate", [source], [output])
        odd = writer.write(tmp_path / "odd.tflite", [source], [output])
        filters = DeviceFilter("local", accelerator=("xnnpack", "cpu", "gpu"))
        async with bench.working():
            await bench.ready(await bench.context(filters, run_id="odd"), model=odd.read_bytes())
            await bench.ended(2)
            await bench.ready(await bench.context(filters, run_id="good"))
            ended = await bench.ended(4)
    assert [(message.run.run_id, type(message)) for message in ended] == [
        ("odd", events_pb2.DeviceRunFailed), ("odd", events_pb2.DeviceRunFailed),
        ("good", events_pb2.DeviceRunFinished), ("good", events_pb2.DeviceRunFinished),
    ]  # fmt: skip
    assert "Frobnicate" in ended[0].failure.message
    by_accelerator = {message.cell.accelerator: message for message in ended[2:]}
    assert by_accelerator["xnnpack"].device.nodes_delegated == by_accelerator["xnnpack"].device.nodes_total == 4
    assert by_accelerator["cpu"].device.nodes_delegated == 0


async def test_devices_plans_and_runs_by_grpc(tmp_path: Path) -> None:
    bench = await bench_on(MemoryBus(), {"fake": FakeFarm()}, tmp_path)
    register = farm_dispatcher_pb2_grpc.add_FarmDispatcherServiceServicer_to_server
    server = RpcServer([("S", lambda s: register(bench.service, s))])
    await server.start("127.0.0.1", 0)
    package = tmp_path / "app.zip"
    with zipfile.ZipFile(package, "w") as archive:
        archive.write(dense_model(tmp_path / "m.tflite"), "model.tflite")
    stored = await bench.runtime.artifacts.put_file(package)
    bare = await bench.runtime.artifacts.put_file(tmp_path / "m.tflite")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = farm_dispatcher_pb2_grpc.FarmDispatcherServiceStub(channel)
        (device,) = (await stub.ListDevices(farm_dispatcher_pb2.ListDevicesRequest())).devices
        assert (device.name, list(device.accelerators), device.facts.cores) == ("pixel", ["cpu", "xnnpack"], 9)
        assert (device.platform, device.device_platform) == ("host", types_pb2.PLATFORM_HOST)
        request = farm_dispatcher_pb2.PlanCellsRequest(
            run_id="r", variant="int8", devices=[plan_pb2.DeviceFilter(farm="fake", threads=[1, 2])]
        )
        cells = (await stub.PlanCells(request)).cells
        assert [cell.threads for cell in cells] == [1, 2]
        for where in ({"package_uri": stored.uri}, {"model_uri": bare.uri}):
            answer = await stub.RunCell(farm_dispatcher_pb2.RunCellRequest(cell=cells[0], **where))
            assert parse_log(await bench.runtime.artifacts.read_bytes(answer.log.sha256)).runs[0].error is None
            assert answer.farm_run.url
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.ListDevices(farm_dispatcher_pb2.ListDevicesRequest(farm="aws"))
        assert error.value.code() is grpc.StatusCode.NOT_FOUND
    await server.stop(0)


async def test_one_farm_that_fails_does_not_hide_the_devices_of_others(bus: Bus, tmp_path: Path) -> None:
    away = FakeFarm(down=FarmError("throttled", hint="wait"))
    bench = await bench_on(bus, {"fake": FakeFarm(), "away": away}, tmp_path)
    context: Any = None
    request = farm_dispatcher_pb2.ListDevicesRequest(list_others=True)
    answer = await bench.service.ListDevices(request, context)
    assert ([one.name for one in answer.devices], list(answer.farms)) == (["pixel"], ["fake"])
    assert [(one.farm, one.message, one.hint) for one in answer.outages] == [("away", "throttled", "wait")]
    with pytest.raises(FarmError):
        await bench.service.ListDevices(farm_dispatcher_pb2.ListDevicesRequest(), context)


async def test_planned_cells_come_with_their_cost_and_the_budgets(bus: Bus, tmp_path: Path) -> None:
    device = dataclasses.replace(FAKE_DEVICE, price_per_minute_usd=Decimal("0.17"))
    budget = Budget(run=Decimal(1), day=Decimal(50))
    settings = dataclasses.replace(FAKE_SETTINGS, entries=20, budget_usd=budget)
    bench = await bench_on(bus, {"fake": FakeFarm(offered=(device,), settings=settings)}, tmp_path)
    work = bench.scheduler.queue.work
    await work.ledgers.reserve(settings, "key", [Share("another", 300_000)], work.clock())
    filters = [plan_pb2.DeviceFilter(farm="fake", threads=[1, 2, 3, 4])]
    request = farm_dispatcher_pb2.PlanCellsRequest(variant="int8", devices=filters)
    context: Any = None
    (found,) = (await bench.service.PlanCells(request, context)).estimates
    assert (found.farm, found.cells, found.farm_runs, found.billed_time.seconds) == ("fake", 4, 1, 120)
    assert (found.cost_micro_usd, found.unpacked_micro_usd) == (340_000, 680_000)
    assert (found.run_budget_micro_usd, found.day_budget_micro_usd) == (1_000_000, 50_000_000)
    assert found.today_micro_usd == 300_000


async def test_the_farm_runs_of_a_run_are_listed_while_they_last(bus: Bus, tmp_path: Path) -> None:
    farm = FakeFarm(vendor=FakeVendor(polls_until_end=10_000))
    bench = await bench_on(bus, {"fake": farm}, tmp_path)
    context: Any = None

    async def listed(run_id: str) -> list[farm_dispatcher_pb2.ActiveFarmRun]:
        request = farm_dispatcher_pb2.GetFarmActivityRequest(run_id=run_id)
        return list((await bench.service.GetFarmActivity(request, context)).farm_runs)

    async with bench.working(), asyncio.timeout(20):
        await bench.ready(await bench.context(DeviceFilter("fake", threads=(1,))))
        while not [one for one in await listed("run-1") if one.running]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        (one,) = await listed("run-1")
        assert (one.farm, one.device, one.os_version, one.cells) == ("fake", "pixel", "14", 1)
        assert one.info.id and one.info.url
        assert await listed("another") == []
    with pytest.raises(InvalidInput, match="run_id is empty"):
        await listed("")
