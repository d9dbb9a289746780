"""gRPC from outside: reflection, health, and health while NATS is gone."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.request
from pathlib import Path

import grpc
import jsonschema
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from support.system import System
from windtunnel import schemas
from windtunnel.cli.home.supervisor import SERVICES

pytestmark = pytest.mark.heavy


def serving(address: str, service: str = "") -> bool:
    with grpc.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        response = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
    return bool(response.status == health_pb2.HealthCheckResponse.SERVING)


def test_reflection_lists_every_service(system: System) -> None:
    assert system.endpoints["grpc"].keys() == set(SERVICES)
    for name, address in system.endpoints["grpc"].items():
        with grpc.insecure_channel(address) as channel:
            services = list(ProtoReflectionDescriptorDatabase(channel).get_services())
        own = "windtunnel.v1." + "".join(part.title() for part in name.split("_")) + "Service"
        assert own in services, (name, services)
        assert "grpc.health.v1.Health" in services
        assert serving(address, own)


def test_the_endpoints_keep_their_promise(system: System) -> None:
    jsonschema.validate(system.endpoints, schemas.load("endpoints"))
    assert json.loads((system.home / "endpoints.json").read_text()) == system.endpoints
    assert system.endpoints["metrics"].keys() == set(SERVICES)
    for address in system.endpoints["metrics"].values():
        with urllib.request.urlopen(address) as response:
            assert b"python_info" in response.read()


def wait_until_serving(address: str) -> None:
    deadline = time.monotonic() + 20
    while not serving(address):
        assert time.monotonic() < deadline, f"{address} is not serving"
        time.sleep(0.02)


def test_health_follows_nats(tmp_path: Path) -> None:
    system = System(tmp_path / "home").start()
    try:
        address = system.endpoints["grpc"]["log_parser"]
        wait_until_serving(address)
        # The supervisor brings the server back at once, then later and later: what is seen is the gap.
        deadline = time.monotonic() + 30
        while serving(address):
            assert time.monotonic() < deadline, "health did not turn"
            with contextlib.suppress(ProcessLookupError):
                system.kill("nats-server")
            time.sleep(0.05)
        wait_until_serving(address)
    finally:
        assert system.stop() == 0
