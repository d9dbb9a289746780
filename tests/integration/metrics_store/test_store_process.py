"""The service as a process on a real NATS server, killed over and over: one verdict, published once."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from support.metrics_store import async_stub, completed_events, twice
from support.nats import nats_server
from support.run_events import RunEvents
from windtunnel.artifacts import LocalStore
from windtunnel.bus import Event, encode, event_id, subjects
from windtunnel.bus.nats.jetstream import connect
from windtunnel.v1 import events_pb2, metrics_store_pb2, types_pb2

if TYPE_CHECKING:
    from windtunnel.v1.metrics_store_pb2_grpc import MetricsStoreServiceAsyncStub

RUNS = 4


class Service:
    """`python -m windtunnel.metrics_store`."""

    def __init__(self, home: Path, nats_url: str, database_url: str) -> None:
        self._home = home
        self._environment = os.environ | {
            "WINDTUNNEL_HOME": str(home),
            "WINDTUNNEL_NATS_URL": nats_url,
            "WINDTUNNEL_DATABASE_URL": database_url,
            "WINDTUNNEL_ACK_WAIT_S": "1",
            # The made-up runs began long ago.
            "WINDTUNNEL_RUN_DEADLINE_S": "1e9",
        }
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> dict[str, Any]:
        with (self._home / "service.log").open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "windtunnel.metrics_store"],
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, (self._home / "service.log").read_text()[-3000:]
        ready: dict[str, Any] = json.loads(line)
        return ready

    def end(self, number: int) -> int:
        assert self._process is not None and self._process.stdout is not None
        self._process.send_signal(number)
        code = self._process.wait(timeout=30)
        self._process.stdout.close()
        return code


async def test_kill_9_at_any_moment(url: str, tmp_path: Path) -> None:
    chance = random.Random(11)
    runs = [RunEvents(f"run-{number}") for number in range(RUNS)]
    artifacts = LocalStore(tmp_path / "artifacts")
    for run in runs:
        await artifacts.put_bytes(run.plan_json)
    messages = [(run, message) for run in runs for message in twice(run.all())]
    chance.shuffle(messages)
    with nats_server(tmp_path / "nats") as nats:
        bus = await connect(nats.url)
        service = Service(tmp_path, nats.url, url)
        for round in range(4):
            await asyncio.to_thread(service.start)
            for number, (run, message) in enumerate(messages[round::4]):
                id = event_id(subjects.subject_of(message), message.SerializeToString(deterministic=True).hex())
                subject, headers, data = encode(message, id=id, source="/tests", run_id=run.run_id)
                # Published twice under two message ids: the stream takes both, the inbox one.
                await bus.publish(subject, headers | {"Nats-Msg-Id": f"{round}-{number}"}, data)
            await asyncio.sleep(chance.uniform(0.0, 0.4))
            service.end(signal.SIGKILL)
        ready = await asyncio.to_thread(service.start)
        async with asyncio.timeout(60), grpc.aio.insecure_channel(ready["grpc"]) as channel:
            api = async_stub(channel)
            for run in runs:
                await _verdict(api, run.run_id)
        events: list[tuple[Event, events_pb2.RunCompleted]] = []
        async with asyncio.timeout(20):
            while len(events) < RUNS:
                events += await completed_events(bus, wait_s=1)
        await asyncio.sleep(1)
        events += await completed_events(bus)
        figures = await asyncio.to_thread(_read, ready["metrics"])
        assert service.end(signal.SIGTERM) == 0
        await bus.close()

    assert sorted(message.run.run_id for _, message in events) == [run.run_id for run in runs]
    assert {message.verdict for _, message in events} == {types_pb2.VERDICT_PASSED}
    assert "windtunnel_runs_running" in figures and "windtunnel_inference_latency_seconds" in figures


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as response:
        return str(response.read().decode())


async def _verdict(api: MetricsStoreServiceAsyncStub, run_id: str) -> None:
    while True:
        try:
            async for message in api.WatchRun(metrics_store_pb2.WatchRunRequest(run_id=run_id)):
                if message.run.verdict == types_pb2.VERDICT_PASSED:
                    return
        except grpc.aio.AioRpcError as error:
            # The run may not be known yet.
            assert error.code() is grpc.StatusCode.NOT_FOUND
        await asyncio.sleep(0.1)


def test_bad_settings_end_with_64(tmp_path: Path) -> None:
    environment = os.environ | {"WINDTUNNEL_HOME": str(tmp_path), "WINDTUNNEL_RUN_DEADLINE_S": "-1"}

    done = subprocess.run(
        [sys.executable, "-m", "windtunnel.metrics_store"], env=environment, capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 64
    assert "WINDTUNNEL_RUN_DEADLINE_S" in done.stderr


@pytest.fixture(autouse=True)
def quiet_grpc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRPC_VERBOSITY", "ERROR")
