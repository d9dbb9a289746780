"""The supervisor with nats-server alone: what it does for any process."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from windtunnel.cli.home import supervisor as module
from windtunnel.cli.home.supervisor import Supervisor, free_ports
from windtunnel.errors import Conflict, InvalidInput, Unavailable


@pytest.fixture(autouse=True)
def no_services(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SERVICES", ())


async def until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "it did not happen"
        await asyncio.sleep(0.02)


def pid_in(home: Path) -> int:
    return int(json.loads((home / "endpoints.json").read_text())["pids"]["nats-server"])


def port_of(running: Supervisor) -> int:
    return int(running.endpoints["nats"].rpartition(":")[2])


def accepts(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_free_ports_are_free_and_different() -> None:
    ports = free_ports(200)
    assert len(set(ports)) == 200
    for port in ports[:20]:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", port))


async def test_it_says_where_everything_is(tmp_path: Path) -> None:
    async with Supervisor(tmp_path / "home") as running:
        written = json.loads((tmp_path / "home" / "endpoints.json").read_text())
        assert written == running.endpoints
        assert written["home"] == str(tmp_path / "home")
        assert written["pids"]["up"] == os.getpid()
        assert accepts(port_of(running))
        assert {path.name for path in (tmp_path / "home").iterdir()} >= {"inbox", "artifacts", "logs", "nats"}


async def test_the_port_of_nats_can_be_chosen(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    async with Supervisor(tmp_path / "home", nats_port=port) as running:
        assert running.endpoints["nats"] == f"nats://127.0.0.1:{port}"
        assert accepts(port)


@pytest.mark.heavy
async def test_a_second_one_in_the_same_home_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    async with Supervisor(tmp_path / "home") as running:
        before = (tmp_path / "home" / "endpoints.json").read_text()
        with pytest.raises(Conflict, match="already runs"):
            await Supervisor(tmp_path / "home").start()
        with pytest.raises(Conflict):
            async with Supervisor(tmp_path / "home"):
                pass
        assert (tmp_path / "home" / "endpoints.json").read_text() == before
        assert accepts(port_of(running))
    async with Supervisor(tmp_path / "home"):
        pass


async def test_a_killed_process_is_started_again(tmp_path: Path) -> None:
    said: list[str] = []
    async with Supervisor(tmp_path / "home", on_event=said.append) as running:
        first = pid_in(tmp_path / "home")
        os.kill(first, signal.SIGKILL)
        await until(lambda: pid_in(tmp_path / "home") != first)
        await until(lambda: accepts(port_of(running)))
        assert running.endpoints["pids"]["nats-server"] == pid_in(tmp_path / "home")
    assert any("nats-server ended (killed by SIGKILL)" in line for line in said)


async def test_a_process_that_can_no_longer_be_started_is_noticed(tmp_path: Path) -> None:
    async with Supervisor(tmp_path / "home") as running:
        broken = asyncio.create_task(running.broken())
        await asyncio.sleep(0.1)
        assert not broken.done()
        shutil.rmtree(tmp_path / "home" / "logs")
        os.kill(pid_in(tmp_path / "home"), signal.SIGKILL)
        with pytest.raises(Unavailable, match="nats-server cannot be kept running: FileNotFoundError"):
            await asyncio.wait_for(broken, 10)


NOISY = """\
import json, time
print("3")
print("[]")
print('"ready"')
print("x" * 1_000_000)
print("[" * 50_000)
print(json.dumps({"service": "another"}))
print(json.dumps({"service": "noisy"}), flush=True)
time.sleep(60)
"""


async def test_only_the_ready_line_is_the_ready_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SERVICES", ("noisy",))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "windtunnel").mkdir()
    (tmp_path / "windtunnel" / "noisy.py").write_text(NOISY)
    async with Supervisor(tmp_path / "home") as running:
        assert psutil.pid_exists(running.endpoints["pids"]["noisy"])
        written = json.loads((tmp_path / "home" / "endpoints.json").read_text())
        assert written["pids"] == running.endpoints["pids"]


async def test_a_large_log_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_LOG_BYTES", 1000)
    logs = tmp_path / "home" / "logs"
    logs.mkdir(parents=True)
    for size, kept in ((1000, 0), (2000, 2000)):
        (logs / "nats-server.log").write_bytes(b"." * size)
        async with Supervisor(tmp_path / "home"):
            pass
        old = logs / "nats-server.log.1"
        assert (old.stat().st_size if old.exists() else 0) == kept
        assert (b"...." in (logs / "nats-server.log").read_bytes()) is not bool(kept)


def test_the_last_line_of_a_long_log(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    assert module._last_line(log) == "it wrote no log"
    log.write_bytes(b"first\n" * 100_000 + b"last\n")
    assert module._last_line(log) == "last"
    log.write_bytes(b"x" * 1_000_000)
    assert len(module._last_line(log)) == 64 * 1024


async def test_a_home_that_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for home in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InvalidInput, match="file"):
            await Supervisor(home).start()


def test_the_port_of_another_server_is_not_taken_for_ours(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(Unavailable, match=f"port {port} cannot be used"):
            Supervisor(tmp_path / "home", nats_port=port)


async def test_stopping_leaves_nothing(tmp_path: Path) -> None:
    running = Supervisor(tmp_path / "home")
    await running.start()
    pid = pid_in(tmp_path / "home")
    await running.stop()
    assert not psutil.pid_exists(pid)
    assert not (tmp_path / "home" / "endpoints.json").exists()
    assert not accepts(port_of(running))


@pytest.mark.heavy
async def test_what_does_not_start_is_named_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "nats-server"
    script.write_text("#!/bin/sh\necho 'no space left' >&2\nexit 3\n")
    script.chmod(0o755)
    monkeypatch.setattr(module, "_nats_binary", lambda: str(script))
    with pytest.raises(Unavailable, match=r"nats-server does not start: no space left.*nats-server\.log"):
        async with Supervisor(tmp_path / "home"):
            pass
    assert not (tmp_path / "home" / "endpoints.json").exists()


STUBBORN = """\
import json, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(json.dumps({"service": "stubborn"}), flush=True)
time.sleep(60)
"""


@pytest.fixture
def stubborn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that does not end when it is asked to."""
    monkeypatch.setattr(module, "SERVICES", ("stubborn",))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "windtunnel").mkdir()
    (tmp_path / "windtunnel" / "stubborn.py").write_text(STUBBORN)


@pytest.mark.heavy
@pytest.mark.usefixtures("stubborn")
async def test_an_embedded_one_stops_in_five_seconds_and_says_what_it_waits_for(tmp_path: Path) -> None:
    said: list[str] = []
    running = Supervisor(tmp_path / "home", on_event=said.append, embedded=True)
    await running.start()
    pid = running.endpoints["pids"]["stubborn"]
    begun = asyncio.get_running_loop().time()
    await running.stop()
    # The limit is 5 s; what is over is the load of other tests.
    assert 3.5 < asyncio.get_running_loop().time() - begun < 7
    assert not psutil.pid_exists(pid)
    assert said == [
        "stopping: waiting for stubborn, 2 s at most",
        "stubborn did not end in time and was killed; its work runs again at the next start",
    ]


@pytest.mark.heavy
@pytest.mark.usefixtures("stubborn")
async def test_what_ends_after_a_moment_is_not_worth_a_word(tmp_path: Path) -> None:
    said: list[str] = []
    running = Supervisor(tmp_path / "home", on_event=said.append, embedded=True)
    await running.start()
    stopping = asyncio.create_task(running.stop())
    await asyncio.sleep(1.0)
    psutil.Process(running.endpoints["pids"]["stubborn"]).kill()
    await stopping
    assert said == []


@pytest.mark.usefixtures("stubborn")
async def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    running = Supervisor(tmp_path / "home")
    await running.start()
    begun = asyncio.get_running_loop().time()
    stopping = asyncio.create_task(running.stop())
    await asyncio.sleep(0.2)
    running.kill()
    await stopping
    assert asyncio.get_running_loop().time() - begun < 5
