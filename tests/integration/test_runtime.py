"""A service as a process: ready line, health, draining, exit codes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from support.bus_events import announce
from support.cutting_proxy import CuttingProxy
from support.nats import NatsServer, nats_server
from support.runtime import health_of, listed_services, make_runtime
from support.servers import free_port, start_seaweedfs
from support.tiny_service import API, TinySettings
from windtunnel.bus.memory import MemoryBus
from windtunnel.bus.nats.jetstream import connect
from windtunnel.errors import InvalidInput
from windtunnel.service.settings import load

TESTS = Path(__file__).parents[1]
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with nats_server(tmp_path / "nats") as server:
        yield server


class Tiny:
    """The tiny service as a process of its own."""

    def __init__(self, home: Path, nats_url: str, **settings: object) -> None:
        home.mkdir(exist_ok=True)
        self.notes = home / "notes"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.tiny_service"],
            env=environment(home, nats_url, **settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Tiny:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ready(self) -> dict[str, Any]:
        """The line that it prints when it is ready."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self._process.communicate()
        found: dict[str, Any] = json.loads(line)
        return found

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def end(self) -> tuple[int, str]:
        """The exit code, and what it wrote to standard error."""
        _, said = self._process.communicate(timeout=30)
        return self._process.returncode, said

    def noted(self) -> list[str]:
        return self.notes.read_text().splitlines() if self.notes.exists() else []


def environment(home: Path, nats_url: str, **settings: object) -> dict[str, str]:
    bare = {name: value for name, value in os.environ.items() if not name.startswith("WINDTUNNEL_")}
    own = {"home": home, "nats_url": nats_url, **settings}
    return {**bare, "PYTHONPATH": str(TESTS), **{f"WINDTUNNEL_{name.upper()}": str(own[name]) for name in own}}


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read(), "utf-8")


async def until(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.02)


async def becomes(channel: grpc.aio.Channel, status: int, timeout_s: float = 20) -> None:
    """Waits until the service and the whole server have this health."""
    deadline = time.monotonic() + timeout_s
    while [await health_of(channel, name) for name in ("", API)] != [status, status]:
        assert time.monotonic() < deadline, f"health does not become {status}"
        await asyncio.sleep(0.05)


async def health_when_up(channel: grpc.aio.Channel, timeout_s: float = 20) -> int:
    """The health of the server, once somebody listens."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return await health_of(channel, "")
        except grpc.aio.AioRpcError:
            assert time.monotonic() < deadline, "nobody listens"
            await asyncio.sleep(0.05)


async def put(nats: NatsServer, *names: str) -> None:
    bus = await connect(nats.url, wait_s=10)
    await announce(bus, *names)
    await bus.close()


async def test_the_ready_line_says_where_it_answers(tmp_path: Path, nats: NatsServer) -> None:
    with Tiny(tmp_path / "home", nats.url) as tiny:
        ready = tiny.ready()
        assert sorted(ready) == ["grpc", "metrics", "service"]
        assert ready["service"] == "tiny"
        assert "process_cpu_seconds_total" in await asyncio.to_thread(fetch, ready["metrics"])
        async with grpc.aio.insecure_channel(ready["grpc"]) as channel:
            # At once: whoever reads the line may send work.
            assert [await health_of(channel, name) for name in ("", API)] == [SERVING, SERVING]
            assert API in await listed_services(channel)


async def test_health_follows_the_bus(tmp_path: Path, nats: NatsServer) -> None:
    with Tiny(tmp_path / "home", nats.url) as tiny:
        async with grpc.aio.insecure_channel(tiny.ready()["grpc"]) as channel:
            await becomes(channel, SERVING)
            nats.kill()
            await becomes(channel, NOT_SERVING)
            nats.start()
            await becomes(channel, SERVING)
            await put(nats, "later")
            await until(lambda: "ends later" in tiny.noted())
        tiny.signal(signal.SIGTERM)
        assert tiny.end()[0] == 0


async def test_it_does_not_serve_while_its_parts_wait_for_what_they_need(tmp_path: Path, nats: NatsServer) -> None:
    port = free_port()
    with Tiny(tmp_path / "home", nats.url, grpc_port=port, build_s=3600) as tiny:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            # The connection to NATS is made: what it waits for now is in its parts.
            await until(lambda: (tmp_path / "home" / "building").exists())
            assert await health_when_up(channel) == NOT_SERVING
        tiny.signal(signal.SIGTERM)
        assert tiny.end()[0] == 0


async def test_it_takes_no_work_before_its_store_can_be_used(tmp_path: Path, nats: NatsServer) -> None:
    port, store = free_port(), free_port()
    settings = {"grpc_port": port, "artifacts_url": f"s3://new?endpoint=http://127.0.0.1:{store}&create=1"}
    await put(nats, "early")
    with (
        start_seaweedfs(tmp_path / "seaweedfs") as s3,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in s3.environment.items():
            patch.setenv(name, value)
        with Tiny(tmp_path / "home", nats.url, **settings) as tiny:
            tiny.ready()
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                # Longer than a worker takes to fetch what is there.
                for _ in range(20):
                    assert await health_of(channel, "") == NOT_SERVING
                    await asyncio.sleep(0.05)
                assert tiny.noted() == []
                proxy = CuttingProxy(int(s3.endpoint.rpartition(":")[2]), ())
                carried: set[asyncio.StreamWriter] = set()

                async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                    carried.add(writer)
                    await proxy.serve(reader, writer)
                    carried.remove(writer)

                async with await asyncio.start_server(carry, "127.0.0.1", store):
                    await becomes(channel, SERVING, timeout_s=60)
                    await until(lambda: tiny.noted() == ["begins early", "ends early"])
                    tiny.signal(signal.SIGTERM)
                    assert (await asyncio.to_thread(tiny.end))[0] == 0
                    await until(lambda: not carried)
                    # What was cut is closed in the next turn of the loop.
                    await asyncio.sleep(0.02)


async def test_a_signal_ends_the_wait_for_the_store(
    tmp_path: Path, nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    store = f"s3://bucket?endpoint=http://127.0.0.1:{free_port()}"
    with Tiny(tmp_path / "home", nats.url, artifacts_url=store) as tiny:
        tiny.ready()
        tiny.signal(signal.SIGTERM)
        assert tiny.end()[0] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains(tmp_path: Path, nats: NatsServer, number: int) -> None:
    settings = {"work_s": 1, "ack_wait_s": 1}
    with Tiny(tmp_path / "home", nats.url, **settings) as tiny:
        tiny.ready()
        await put(nats, "first", "second")
        await until(lambda: tiny.noted() == ["begins first"])
        tiny.signal(number)
        assert tiny.end()[0] == 0
        # What was begun is ended, nothing else is begun, and resources are closed last.
        assert tiny.noted() == ["begins first", "ends first", "closed"]
    tiny.notes.unlink()
    with Tiny(tmp_path / "home", nats.url, **settings) as another:
        another.ready()
        await until(lambda: "ends second" in another.noted())
        await asyncio.sleep(1.5)
        assert another.noted() == ["begins second", "ends second"]


async def test_what_takes_too_long_is_left_to_the_next(tmp_path: Path, nats: NatsServer) -> None:
    with Tiny(tmp_path / "home", nats.url, work_s=60, ack_wait_s=1, drain_s=0.2) as tiny:
        tiny.ready()
        await put(nats, "long")
        await until(lambda: tiny.noted() == ["begins long"])
        tiny.signal(signal.SIGTERM)
        assert tiny.end()[0] == 0
        assert tiny.noted() == ["begins long", "closed"]
    with Tiny(tmp_path / "home", nats.url, work_s=0, ack_wait_s=1) as another:
        another.ready()
        await until(lambda: "ends long" in another.noted())


def test_bad_settings_are_all_named_at_once(tmp_path: Path) -> None:
    with Tiny(tmp_path / "home", "nats://127.0.0.1:1", grpc_port=70000, slots="many", work_s=-1) as tiny:
        code, said = tiny.end()
    assert code == 64
    for name in ("WINDTUNNEL_GRPC_PORT='70000'", "WINDTUNNEL_SLOTS='many'", "WINDTUNNEL_WORK_S='-1'"):
        assert name in said
    assert "Traceback" not in said


def test_a_taken_port_is_named(tmp_path: Path, nats: NatsServer) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with Tiny(tmp_path / "home", nats.url, grpc_port=port) as tiny:
            code, said = tiny.end()
        assert (code, f"cannot listen on 127.0.0.1:{port}" in said) == (2, True), said
        with Tiny(tmp_path / "home", nats.url, metrics_port=port) as tiny:
            code, said = tiny.end()
        assert (code, f"cannot listen on 127.0.0.1:{port}" in said) == (2, True), said
        assert "Traceback" not in said


async def test_a_home_that_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match=r"file/home cannot be used: Not a directory \(set WINDTUNNEL_HOME"):
        await make_runtime("tiny", load(TinySettings), MemoryBus(), tmp_path / "file" / "home")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="signals of a process are read from /proc")
async def test_a_signal_ends_the_wait_for_nats(tmp_path: Path) -> None:
    with Tiny(tmp_path / "home", "nats://127.0.0.1:1") as tiny:
        await until(lambda: catches(tiny.pid, signal.SIGTERM))
        started = time.monotonic()
        tiny.signal(signal.SIGTERM)
        assert tiny.end()[0] == 0
        assert time.monotonic() - started < 5


def catches(pid: int, number: int) -> bool:
    """Whether the process has a handler of this signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    (mask,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")]
    return bool(int(mask, 16) >> (number - 1) & 1)


def test_a_loop_that_fails_ends_the_process(tmp_path: Path, nats: NatsServer) -> None:
    with Tiny(tmp_path / "home", nats.url, breaks=True) as tiny:
        tiny.ready()
        code, said = tiny.end()
    assert code == 2
    assert "broken on purpose" in said
