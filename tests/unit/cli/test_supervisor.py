"""The supervisor with nats-server alone: what it does for any process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from windtunnel.cli import supervisor as module
from windtunnel.cli.supervisor import Supervisor, free_ports
from windtunnel.errors import Conflict, Unavailable


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


async def test_stopping_leaves_nothing(tmp_path: Path) -> None:
    running = Supervisor(tmp_path / "home")
    await running.start()
    pid = pid_in(tmp_path / "home")
    await running.stop()
    assert not psutil.pid_exists(pid)
    assert not (tmp_path / "home" / "endpoints.json").exists()
    assert not accepts(port_of(running))


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
