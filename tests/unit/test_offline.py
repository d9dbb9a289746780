"""The unit tests themselves: none of them leaves this machine."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from support.offline import is_local

# An address for documentation (RFC 5737), which nobody has.
NOBODY = "192.0.2.1"


def test_another_machine_is_refused_and_noted(hosts_asked_for: list[str]) -> None:
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        for call in (
            lambda: tcp.connect((NOBODY, 80)),
            lambda: tcp.connect_ex((NOBODY, 80)),
            lambda: udp.sendto(b"x", (NOBODY, 53)),
            lambda: socket.getaddrinfo("example.com", 443),
            lambda: socket.create_connection((NOBODY, 80), timeout=1),
        ):
            with pytest.raises(OSError, match="stays on this machine"):
                call()
    assert hosts_asked_for == [NOBODY, NOBODY, NOBODY, "example.com", NOBODY]
    hosts_asked_for.clear()


async def test_it_is_noted_if_the_code_under_test_takes_it_for_a_broken_network(hosts_asked_for: list[str]) -> None:
    with pytest.raises(OSError):
        await asyncio.open_connection(NOBODY, 80)
    assert hosts_asked_for == [NOBODY]
    hosts_asked_for.clear()


async def test_this_machine_is_not_the_network(tmp_path: Path) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "localhost", 0)
    async with server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
        writer.close()
        await writer.wait_closed()
    with socket.socket(socket.AF_UNIX) as there, socket.socket(socket.AF_UNIX) as here:
        there.bind(str(tmp_path / "s"))
        there.listen()
        here.connect(str(tmp_path / "s"))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        *((host, True) for host in (None, "", "localhost", b"localhost", "127.0.0.1", "127.9.9.9", "::1", "0.0.0.0")),
        *((host, False) for host in ("example.com", NOBODY, "10.0.0.1", "fe80::1%eth0", "localhost.example.com")),
    ],
)
def test_what_is_this_machine(host: str | bytes | None, expected: bool) -> None:
    assert is_local(host) is expected


@pytest.mark.heavy
def test_a_test_that_leaves_this_machine_fails(tmp_path: Path) -> None:
    """Also one that does not see the error."""
    (tmp_path / "conftest.py").write_text((Path(__file__).parent / "conftest.py").read_text())
    (tmp_path / "test_leaving.py").write_text(
        f"""\
import contextlib, socket

def test_quiet():
    with contextlib.suppress(OSError):
        socket.create_connection(("{NOBODY}", 80), timeout=1)
"""
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout
    assert f"assert ['{NOBODY}'] == []" in done.stdout
