"""A service that cannot use NATS reports it, with the address, and ends if waiting does not help."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from support.bus_wires import until
from support.nats import NatsServer, nats_server
from support.runtime import health_of
from support.tls import Authority
from windtunnel.bus.nats import refusals as nats_faults
from windtunnel.bus.nats.address import parse_address
from windtunnel.bus.nats.jetstream import NatsBus, connect
from windtunnel.bus.nats.refusals import Refused
from windtunnel.errors import InvalidInput, Unavailable

# nats-py leaves the socket of a refused connection to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

TESTS = Path(__file__).parents[1]
SECRET = "p@ss:w/rd%41"
ENCODED = "p%40ss%3Aw%2Frd%2541"
ACCOUNTS = f"""
authorization {{
  users: [
    {{user: main, password: "{SECRET}"}}
    {{user: weak, password: "{SECRET}", permissions: {{publish: ["windtunnel.>"], subscribe: ["_INBOX.>"]}}}}
  ]
}}
"""


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What nats-py left is collected here, not in somebody else's test."""
    yield
    gc.collect()


def start(home: Path, url: str, **environment: str) -> subprocess.Popen[str]:
    """The tiny service on `url`."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("WINDTUNNEL_")}
    own = {"PYTHONPATH": str(TESTS), "WINDTUNNEL_HOME": str(home), "WINDTUNNEL_NATS_URL": url, **environment}
    return subprocess.Popen(
        [sys.executable, "-m", "support.tiny_service"],
        env={**bare, **own},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(home: Path, url: str, **environment: str) -> str:
    """What the service says before it ends by itself, with code 2 and soon."""
    began = time.monotonic()
    process = start(home, url, **environment)
    out, said = process.communicate(timeout=25)
    assert process.returncode == 2, (out, said)
    assert out == ""
    assert time.monotonic() - began < 15
    assert SECRET not in said and ENCODED not in said
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert any(line["level"] == "error" and "the service ends" in line["message"] for line in lines), said
    return said


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[NatsServer]:
    with nats_server(tmp_path / "nats", config=ACCOUNTS) as server:
        yield server


def test_a_wrong_password(tmp_path: Path, guarded: NatsServer) -> None:
    said = ended(tmp_path / "home", f"nats://main:wrong@127.0.0.1:{guarded.port}")
    assert f"NATS at nats://main:***@127.0.0.1:{guarded.port}: the server refuses user 'main'" in said
    assert "wrong" not in said.replace("is wrong", "")


def test_no_password(tmp_path: Path, guarded: NatsServer) -> None:
    assert "refuses a client without user and password" in ended(tmp_path / "home", guarded.url)


def test_permissions_that_are_missing(tmp_path: Path, guarded: NatsServer) -> None:
    said = ended(tmp_path / "home", f"nats://weak:{ENCODED}@127.0.0.1:{guarded.port}")
    assert "the server forbids publish on" in said and "$js.api." in said.lower()


async def test_a_percent_encoded_password_works(guarded: NatsServer) -> None:
    bus = await connect(f"nats://main:{ENCODED}@127.0.0.1:{guarded.port}", wait_s=10)
    assert bus.connected
    await bus.close()


async def test_a_wrong_token_and_the_right_one(tmp_path: Path) -> None:
    with nats_server(tmp_path / "nats", config='authorization { token: "to ken%" }') as server:
        with pytest.raises(Refused, match=r"nats://\*\*\*@.* refuses this token"):
            await connect(f"nats://nope@127.0.0.1:{server.port}", wait_s=10)
        bus = await connect(f"nats://to%20ken%25@127.0.0.1:{server.port}", wait_s=10)
        await bus.close()


def test_certificates(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls")
    made = authority.certificate("localhost")
    tls = f"tls {{ cert_file: {json.dumps(str(made.cert))}, key_file: {json.dumps(str(made.key))} }}"
    with nats_server(tmp_path / "nats", config=tls) as server:
        said = ended(tmp_path / "one", f"tls://localhost:{server.port}")
        assert "the server's certificate is not accepted" in said and "SSL_CERT_FILE" in said
        trusted = {"SSL_CERT_FILE": str(authority.cert)}
        said = ended(tmp_path / "two", f"tls://127.0.0.1:{server.port}", **trusted)
        assert "use a host name that the certificate has" in said
        process = start(tmp_path / "three", f"tls://localhost:{server.port}", **trusted)
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["service"] == "tiny"
        process.terminate()
        process.communicate(timeout=20)


async def test_a_tls_address_never_goes_on_in_plain_text(tmp_path: Path) -> None:
    with nats_server(tmp_path / "nats") as server, pytest.raises(Refused, match="offers no TLS"):
        await connect(f"tls://u:p@127.0.0.1:{server.port}", wait_s=10)


def encrypted_server(folder: Path, monkeypatch: pytest.MonkeyPatch, more: str = "") -> NatsServer:
    """A server with TLS, whose certificate for localhost this process trusts; not started."""
    authority = Authority(folder / "tls")
    made = authority.certificate("localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.cert))
    tls = f"tls {{ cert_file: {json.dumps(str(made.cert))}, key_file: {json.dumps(str(made.key))} }} {more}"
    return NatsServer(folder / "nats", config=tls)


async def test_tls_that_the_server_leaves_to_the_client_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = encrypted_server(tmp_path, monkeypatch, more="\nallow_non_tls: true")
    server.start()
    try:
        bus = await connect(f"tls://u:p@localhost:{server.port}", wait_s=10)
        await bus.close()
        # Only an encrypted connection looks at the certificate.
        monkeypatch.delenv("SSL_CERT_FILE")
        with pytest.raises(Refused, match="certificate is not accepted"):
            await connect(f"tls://u:p@localhost:{server.port}", wait_s=10)
    finally:
        server.kill()


async def test_a_reconnection_never_goes_on_in_plain_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nats_faults, "_HOPELESS_AFTER_S", 0.3)
    server = encrypted_server(tmp_path, monkeypatch)
    server.start()
    bus = await connect(f"tls://main:{ENCODED}@localhost:{server.port}", wait_s=10)
    server.stop()
    heard: list[bytes] = []

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What somebody between us and the server would do."""
        writer.write(b'INFO {"server_id":"x","version":"2.10.0","auth_required":true,"max_payload":1048576}\r\n')
        with contextlib.suppress(ConnectionError):
            heard.append(await reader.readline())
        writer.close()

    plain = await asyncio.start_server(greet, "127.0.0.1", server.port)
    try:
        assert "offers no TLS" in await fault_of(bus)
        assert not bus.connected
    finally:
        await bus.close()
        plain.close()
    assert b"".join(heard) == b""


async def test_what_is_forbidden_does_not_end_a_service_that_loses_its_server_later(
    guarded: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded.stop()
    guarded.config = ACCOUNTS.replace("{user: main, ", '{user: main, permissions: {publish: {deny: "secret.>"}}, ')
    guarded.start()
    bus = await connect(f"nats://main:{ENCODED}@127.0.0.1:{guarded.port}", wait_s=10)
    try:
        with pytest.raises(Unavailable, match="forbids publish on"):
            await bus.publish("secret.x", {}, b"")
        monkeypatch.setattr(nats_faults, "_HOPELESS_AFTER_S", 0.2)
        guarded.stop()
        await until(lambda: not bus.connected, "the loss is seen")
        await asyncio.sleep(0.5)
        assert bus.fault is None
        guarded.start()
        await until(lambda: bus.connected, "it connects again")
        assert bus.fault is None
    finally:
        await bus.close()


async def test_only_so_many_different_errors_are_remembered() -> None:
    watch = nats_faults.Watch(parse_address("nats://h"))
    watch.starting = False
    for number in range(1000):
        watch.say(f"error {number}")
    assert len(watch._told) <= 100


async def test_jetstream_that_is_off(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (
        nats_server(tmp_path / "nats", jetstream=False) as server,
        pytest.raises(Unavailable, match="JetStream does not answer"),
    ):
        await connect(server.url, wait_s=4)
    assert "JetStream does not answer, is it on?" in caplog.text


async def test_jetstream_that_is_off_for_the_account(tmp_path: Path) -> None:
    config = (
        "accounts { A: { users: [{user: a, password: b}] }, S: { users: [{user: s, password: s}], jetstream: on } }"
    )
    with nats_server(tmp_path / "nats", config=config) as server, pytest.raises(Refused, match="JetStream is off"):
        await connect(f"nats://a:b@127.0.0.1:{server.port}", wait_s=10)


async def test_an_address_that_cannot_be_read() -> None:
    with pytest.raises(InvalidInput, match="scheme 'http'"):
        await connect("http://u:secret@127.0.0.1:4222")


async def test_without_a_server_it_says_so_every_few_seconds_and_does_not_serve(tmp_path: Path) -> None:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        nobody, port = one.getsockname()[1], other.getsockname()[1]
    process = start(tmp_path / "home", f"nats://u:{ENCODED}@127.0.0.1:{nobody}", WINDTUNNEL_GRPC_PORT=str(port))
    try:
        deadline = time.monotonic() + 15
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            while True:
                try:
                    assert await health_of(channel, "") == health_pb2.HealthCheckResponse.NOT_SERVING
                    break
                except grpc.aio.AioRpcError:
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.1)
        # It is reported again and again, not once: read until the second time.
        assert process.stderr is not None
        early = await asyncio.wait_for(asyncio.to_thread(lines_with, process, f"127.0.0.1:{nobody}", 2), 20)
    finally:
        process.terminate()
    out, said = process.communicate(timeout=20)
    assert (out, process.returncode) == ("", 0)
    told = [json.loads(line) for line in early]
    assert told[0]["level"] == "warning" and "cannot connect" in told[0]["message"]
    assert "u:***@" in told[0]["message"] and ENCODED not in "".join((*early, said))


def lines_with(process: subprocess.Popen[str], words: str, count: int) -> list[str]:
    """The first `count` lines of the log that have `words`, as soon as they are written."""
    assert process.stderr is not None
    found: list[str] = []
    while len(found) < count:
        line = process.stderr.readline()
        assert line, "the service ended"
        found += [line] if words in line else []
    return found


async def fault_of(bus: NatsBus, timeout_s: float = 30) -> str:
    deadline = time.monotonic() + timeout_s
    while (fault := bus.fault) is None:
        assert time.monotonic() < deadline, "the loss is not seen"
        await asyncio.sleep(0.1)
    return str(fault)


async def test_credentials_that_are_taken_away_end_the_service(
    guarded: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nats_faults, "_HOPELESS_AFTER_S", 0.3)
    bus = await connect(f"nats://main:{ENCODED}@127.0.0.1:{guarded.port}", wait_s=10)
    assert bus.fault is None
    guarded.stop()
    guarded.config = 'authorization { user: other, password: "x" }'
    guarded.start()
    said = await fault_of(bus)
    assert not bus.connected
    assert "refuses user 'main'" in said
    await bus.close()


async def test_a_server_that_comes_late_is_found_at_the_same_port(tmp_path: Path) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    server = NatsServer(tmp_path / "nats")
    server.start()
    server.stop()
    process = start(tmp_path / "home", server.url, WINDTUNNEL_GRPC_PORT=str(port))
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            deadline = time.monotonic() + 20
            seen: set[int] = set()
            while health_pb2.HealthCheckResponse.SERVING not in seen:
                assert time.monotonic() < deadline, seen
                with contextlib.suppress(grpc.aio.AioRpcError):
                    seen.add(await health_of(channel, ""))
                    if server.pid is None:
                        server.start()
                await asyncio.sleep(0.1)
        assert health_pb2.HealthCheckResponse.NOT_SERVING in seen
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["grpc"] == f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=20)
        server.kill()
