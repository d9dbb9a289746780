"""Every error over a real gRPC server and back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest

from windtunnel.errors import (
    Conflict,
    FarmError,
    InternalError,
    InvalidInput,
    InvalidPlan,
    JobFailed,
    NotFound,
    OutsideError,
    Unavailable,
    Unsupported,
    UserError,
    WindtunnelError,
)
from windtunnel.rpc import RpcServer, from_rpc_error, status_of
from windtunnel.telemetry import child_of, current_traceparent

Code = grpc.StatusCode
METHODS = ("unary", "stream")

# The error, its status, and the kind that a client sees.
CASES: list[tuple[WindtunnelError, grpc.StatusCode, type[WindtunnelError]]] = [
    (InvalidInput("x is -1", hint="give at least 1"), Code.INVALID_ARGUMENT, InvalidInput),
    (InvalidPlan("no such farm", path="devices[0].farm", line=3, column=7), Code.INVALID_ARGUMENT, InvalidInput),
    (UserError("wrong"), Code.INVALID_ARGUMENT, InvalidInput),
    (JobFailed("it died", how="signal", stderr="Aborted"), Code.INVALID_ARGUMENT, InvalidInput),
    (Unsupported("no such op", hint="replace it"), Code.FAILED_PRECONDITION, Unsupported),
    (NotFound("no run r-1"), Code.NOT_FOUND, NotFound),
    (Conflict("taken"), Code.ALREADY_EXISTS, Conflict),
    (Unavailable("the store is away"), Code.UNAVAILABLE, Unavailable),
    (FarmError("the device is busy"), Code.UNAVAILABLE, Unavailable),
    (FarmError("the model is refused", retryable=False), Code.FAILED_PRECONDITION, Unsupported),
    (OutsideError("odd"), Code.INTERNAL, WindtunnelError),
    (InternalError("cannot be"), Code.INTERNAL, WindtunnelError),
]


class Failing:
    """A servicer that raises what the test gave it, after an item where it streams."""

    error: BaseException | None = None
    traceparent = ""

    async def unary(self, request: bytes, context: Any) -> bytes:
        self.traceparent = current_traceparent()
        if self.error is not None:
            raise self.error
        return request

    async def stream(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield request
        if self.error is not None:
            raise self.error
        yield request

    def register(self, server: grpc.aio.Server) -> None:
        handlers = {
            "unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "stream": grpc.unary_stream_rpc_method_handler(self.stream),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("tests.Failing", handlers),))


Call = Callable[[str], AsyncIterator[bytes]]


@pytest.fixture
def servicer() -> Failing:
    return Failing()


@pytest.fixture
async def channel(servicer: Failing) -> AsyncIterator[grpc.aio.Channel]:
    server = RpcServer([("tests.Failing", servicer.register)])
    await server.start("127.0.0.1", 0)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as opened:
        yield opened
    await server.stop(0)


async def answers(
    channel: grpc.aio.Channel, method: str, *, service: str = "tests.Failing", **options: Any
) -> list[bytes]:
    """All answers of one call, whose requests and answers are bytes."""
    untyped: Any = channel
    if method == "unary":
        unary = untyped.unary_unary(f"/{service}/unary")
        return [await unary(b"x", timeout=10, **options)]
    stream = untyped.unary_stream(f"/{service}/stream")
    return [item async for item in stream(b"x", timeout=10, **options)]


async def failure(channel: grpc.aio.Channel, method: str, **options: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await answers(channel, method, **options)
    return caught.value


@pytest.mark.parametrize("method", METHODS)
async def test_what_succeeds_passes(channel: grpc.aio.Channel, method: str) -> None:
    assert set(await answers(channel, method)) == {b"x"}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("error", "status", "kind"), CASES, ids=lambda value: getattr(value, "message", None))
async def test_every_error_has_its_status_and_comes_back(
    servicer: Failing,
    channel: grpc.aio.Channel,
    method: str,
    error: WindtunnelError,
    status: grpc.StatusCode,
    kind: type[WindtunnelError],
) -> None:
    servicer.error = error
    raised = await failure(channel, method)
    assert raised.code() is status is status_of(error)
    assert raised.details() == str(error)
    back = from_rpc_error(raised)
    assert type(back) is kind
    assert (back.message, back.hint, back.code) == (error.message, error.hint, error.code)


@pytest.mark.parametrize("method", METHODS)
async def test_a_code_of_its_own_and_odd_characters_survive(
    servicer: Failing, channel: grpc.aio.Channel, method: str
) -> None:
    servicer.error = InvalidInput("Größe „ü“\nnewline %", hint="日本", code="op_version")
    back = from_rpc_error(await failure(channel, method))
    assert (back.message, back.hint, back.code) == ("Größe „ü“\nnewline %", "日本", "op_version")


@pytest.mark.parametrize("method", METHODS)
async def test_a_long_story_still_arrives(servicer: Failing, channel: grpc.aio.Channel, method: str) -> None:
    for letter in "xß日":
        servicer.error = JobFailed(f"it died {letter * 50_000}", how="exit", stderr="y" * 200_000, hint=letter * 9000)
        raised = await failure(channel, method)
        assert raised.code() is Code.INVALID_ARGUMENT
        back = from_rpc_error(raised)
        assert back.message.startswith(f"it died {letter * 200}")
        assert back.message.endswith("…")
        assert back.code == "job_failed"


@pytest.mark.parametrize("method", METHODS)
async def test_our_bug_is_internal_and_named(
    servicer: Failing, channel: grpc.aio.Channel, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    servicer.error = ZeroDivisionError("by zero")
    raised = await failure(channel, method)
    assert raised.code() is Code.INTERNAL
    assert from_rpc_error(raised).message == "ZeroDivisionError: by zero"
    assert "a call failed" in caplog.text


async def test_a_server_that_is_away_is_unavailable() -> None:
    async with grpc.aio.insecure_channel("127.0.0.1:1") as nowhere:
        assert isinstance(from_rpc_error(await failure(nowhere, "unary")), Unavailable)


async def test_an_unknown_method_is_an_error_without_details(channel: grpc.aio.Channel) -> None:
    assert type(from_rpc_error(await failure(channel, "unary", service="tests.Other"))) is WindtunnelError


async def test_the_trace_of_the_caller_reaches_the_handler(servicer: Failing, channel: grpc.aio.Channel) -> None:
    traceparent = child_of("")
    await answers(channel, "unary", metadata=(("traceparent", traceparent),))
    assert servicer.traceparent.split("-")[1] == traceparent.split("-")[1]


async def test_a_taken_port_is_named() -> None:
    first = RpcServer([])
    await first.start("127.0.0.1", 0)
    with pytest.raises(InvalidInput, match=str(first.port)):
        await RpcServer([]).start("127.0.0.1", first.port)
    await first.stop(0)
