"""The log parser as a process on a real nats-server: killed in the middle, another one continues."""

from __future__ import annotations

from pathlib import Path

from support.nats import nats_server
from support.runtime import Outbox, publish
from support.service_process import ServiceProcess
from windtunnel.artifacts import LocalStore
from windtunnel.bus import subjects
from windtunnel.bus.nats.jetstream import connect
from windtunnel.service.protobuf_values import artifact_to_proto
from windtunnel.v1 import events_pb2, types_pb2

LOG = Path(__file__).parents[2] / "unit/log_parser/logs/old_nostats.txt"
CELLS = 40


async def test_kill_in_the_middle_loses_and_doubles_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    store = LocalStore(home / "artifacts")
    with nats_server(tmp_path / "nats") as server:
        bus = await connect(server.url, wait_s=10)
        for number in range(CELLS):
            # A comment of its own makes each log one to be read.
            log = artifact_to_proto(await store.put_bytes(LOG.read_bytes() + f"\nI {number}\n".encode()))
            cell = types_pb2.Cell(id=f"c-{number}", variant="int8")
            run = types_pb2.RunContext(run_id="run-1")
            await publish(bus, events_pb2.DeviceRunFinished(run=run, cell=cell, attempt=1, log=log), f"e-{number}")
        service = ServiceProcess("log_parser", home, server.url, ack_wait_s="1")
        try:
            async with Outbox(bus, [subjects.DEVICE_RUN_MEASURED, subjects.DEVICE_RUN_FAILED]) as out:
                answers = [await out.next() for _ in range(3)]
                service.kill()
                service = ServiceProcess("log_parser", home, server.url, ack_wait_s="1")
                answers += [await out.next() for _ in range(CELLS - 3)]
                await out.nothing(1.5)
            assert service.stop() == 0
        finally:
            service.kill()
        await bus.close()
    measured = [answer.cell.id for answer in answers if isinstance(answer, events_pb2.DeviceRunMeasured)]
    assert sorted(measured) == sorted(f"c-{number}" for number in range(CELLS))
