"""LogParserService over a real channel."""

from __future__ import annotations

import json
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import jsonschema
import pytest
from grpc_health.v1 import health_pb2

from support.runtime import health_of, listed_services, make_runtime, serving
from support.service_runtime import settings_in
from windtunnel import schemas
from windtunnel.bus.memory import MemoryBus
from windtunnel.errors import InvalidInput, NotFound, WindtunnelError
from windtunnel.log_parser.__main__ import build
from windtunnel.log_parser.service import MAX_REQUEST_LOG_BYTES
from windtunnel.log_parser.settings import LogParserSettings
from windtunnel.rpc import from_rpc_error
from windtunnel.v1 import log_parser_pb2, log_parser_pb2_grpc

NAME = "windtunnel.v1.LogParserService"
LOG = Path(__file__).parents[2] / "unit/log_parser/logs/performance_options.txt"


@pytest.fixture
async def channel(tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    settings = settings_in(tmp_path, LogParserSettings, max_log_bytes=100_000)
    async with serving(build, await make_runtime("log_parser", settings, MemoryBus(), tmp_path)) as channel:
        yield channel


async def parse(channel: grpc.aio.Channel, **request: Any) -> log_parser_pb2.ParseResponse:
    stub = log_parser_pb2_grpc.LogParserServiceStub(channel)
    return await stub.Parse(log_parser_pb2.ParseRequest(**request))


async def refusal(channel: grpc.aio.Channel, **request: Any) -> tuple[grpc.StatusCode, WindtunnelError]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await parse(channel, **request)
    return caught.value.code(), from_rpc_error(caught.value)


async def test_health_and_reflection(channel: grpc.aio.Channel) -> None:
    assert await health_of(channel, NAME) == health_pb2.HealthCheckResponse.SERVING
    assert {NAME, "grpc.health.v1.Health"} <= set(await listed_services(channel))


async def test_all_runs_of_a_log_are_told(channel: grpc.aio.Channel) -> None:
    answer = await parse(channel, log=LOG.read_bytes())
    log = json.loads(answer.log_json)
    jsonschema.validate(log, schemas.load("log"))
    assert [run["accelerator_requested"] for run in log["runs"]] == ["cpu", "hexagon"]
    assert [one.delegate for one in answer.measurements] == ["", "hexagon"]
    assert [one.latency_ms.mean for one in answer.measurements] == [0.1025, 0.2025]
    assert not answer.measurements[0].latency_ms.HasField("p50")


async def test_a_uri_gives_the_same_as_the_text(channel: grpc.aio.Channel, tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox/log.txt").write_bytes(LOG.read_bytes())
    by_uri = await parse(channel, log_uri=f"file://{tmp_path}/inbox/log.txt")
    assert by_uri == await parse(channel, log=LOG.read_bytes())


async def test_a_log_without_a_run_is_no_error(channel: grpc.aio.Channel) -> None:
    answer = await parse(channel, log=b"nothing of ours\n")
    assert not answer.measurements
    assert json.loads(answer.log_json)["unrecognized_lines"] == 1


async def test_a_request_without_a_log_is_refused(channel: grpc.aio.Channel) -> None:
    status, error = await refusal(channel)
    assert status is grpc.StatusCode.INVALID_ARGUMENT
    assert isinstance(error, InvalidInput)
    assert (error.code, error.message, error.hint) == (
        "invalid_input",
        "the request has no log",
        "give log or log_uri",
    )


async def test_logs_over_the_limits_are_refused(channel: grpc.aio.Channel, tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox/large.txt").write_bytes(b"x" * 100_001)
    for request in (
        {"log": b"x" * (MAX_REQUEST_LOG_BYTES + 1)},
        {"log_uri": f"file://{tmp_path}/inbox/large.txt"},
    ):
        status, error = await refusal(channel, **request)
        assert status is grpc.StatusCode.INVALID_ARGUMENT
        assert "too large" in error.message


async def test_a_folder_and_an_archive_are_read_by_uri(channel: grpc.aio.Channel, tmp_path: Path) -> None:
    log = "STARTING!\nNum threads: [2]\nInference timings in us: Init: 5, First inference: 9, Warmup (avg): 8, "
    host = tmp_path / "inbox/artifacts/Host_Machine_Files/$DEVICEFARM_LOG_DIR"
    host.mkdir(parents=True)
    (host / "benchmark.txt").write_text(log + "Inference (avg): 7.5\n")
    with zipfile.ZipFile(tmp_path / "inbox/artifacts.zip", "w") as archive:
        archive.write(host / "benchmark.txt", "Host_Machine_Files/$DEVICEFARM_LOG_DIR/benchmark.txt")
    for name in ("artifacts", "artifacts.zip"):
        answer = await parse(channel, log_uri=f"file://{tmp_path}/inbox/{name}")
        assert [one.latency_ms.mean for one in answer.measurements] == [0.0075]
        assert json.loads(answer.log_json)["runs"][0]["file"].endswith("$DEVICEFARM_LOG_DIR/benchmark.txt")


async def test_a_log_that_is_not_there(channel: grpc.aio.Channel) -> None:
    status, error = await refusal(channel, log_uri=f"sha256:{'0' * 64}")
    assert status is grpc.StatusCode.NOT_FOUND
    assert isinstance(error, NotFound)
