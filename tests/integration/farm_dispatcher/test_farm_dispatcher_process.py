"""The farm dispatcher as a process: its wiring, its devices, its end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import grpc

from support.nats import NatsServer
from support.service_process import ServiceProcess
from windtunnel.v1 import farm_dispatcher_pb2, farm_dispatcher_pb2_grpc


async def test_it_serves_and_drains(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats")
    server.start()
    service = ServiceProcess("farm_dispatcher", tmp_path / "home", server.url)
    try:
        async with grpc.aio.insecure_channel(service.ready["grpc"]) as channel:
            stub = farm_dispatcher_pb2_grpc.FarmDispatcherServiceStub(channel)
            (device,) = (await stub.ListDevices(farm_dispatcher_pb2.ListDevicesRequest(farm="local"))).devices
        assert (device.name, device.platform, list(device.accelerators)) == ("host", "host", ["cpu", "xnnpack"])
        assert service.stop() == 0
    finally:
        service.kill()
        server.stop()


def test_a_farm_that_does_not_exist_is_a_bad_setting(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats")
    server.start()
    environment = {
        **os.environ,
        "WINDTUNNEL_HOME": str(tmp_path / "home"),
        "WINDTUNNEL_NATS_URL": server.url,
        "WINDTUNNEL_FARMS": "local,moon",
    }
    command = [sys.executable, "-m", "windtunnel.farm_dispatcher"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    server.stop()
    assert ended.returncode == 64
    assert "'moon'" in ended.stderr
