"""The table between Windtunnel's errors and gRPC status, with google.rpc.ErrorInfo as the details."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from windtunnel.errors import (
    Conflict,
    FarmError,
    InternalError,
    InvalidInput,
    JobFailed,
    NotFound,
    Unavailable,
    Unsupported,
    UserError,
    WindtunnelError,
)
from windtunnel.telemetry.job import job_context
from windtunnel.telemetry.trace import trace_context

log = logging.getLogger(__name__)

DOMAIN: Final = "windtunnel"

# gRPC drops the whole connection over 8 KiB of headers. The text travels twice, once percent-encoded (each byte may
# take three), once in base64.
_MESSAGE_BYTES: Final = 900
_HINT_BYTES: Final = 350

# Generic in the type stubs alone.
if TYPE_CHECKING:
    _Interceptor = grpc.aio.ServerInterceptor[Any, Any]
else:
    _Interceptor = grpc.aio.ServerInterceptor

# The first line that fits wins: subclasses stand before their base.
_TABLE: Final[tuple[tuple[type[WindtunnelError], grpc.StatusCode], ...]] = (
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (Conflict, grpc.StatusCode.ALREADY_EXISTS),
    (Unsupported, grpc.StatusCode.FAILED_PRECONDITION),
    (UserError, grpc.StatusCode.INVALID_ARGUMENT),
    (Unavailable, grpc.StatusCode.UNAVAILABLE),
)

_FROM_STATUS: Final[dict[grpc.StatusCode, type[WindtunnelError]]] = {
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: Conflict,
    grpc.StatusCode.FAILED_PRECONDITION: Unsupported,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidInput,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: Unavailable,
}


def status_of(error: WindtunnelError) -> grpc.StatusCode:
    """The gRPC status of an error.

    Args:
        error: of any kind.

    Returns:
        INTERNAL for kinds that the table does not have.
    """
    if isinstance(error, FarmError):
        return grpc.StatusCode.UNAVAILABLE if error.retryable else grpc.StatusCode.FAILED_PRECONDITION
    return next((status for kind, status in _TABLE if isinstance(error, kind)), grpc.StatusCode.INTERNAL)


def from_rpc_error(error: grpc.aio.AioRpcError) -> WindtunnelError:
    """The error that a Windtunnel server raised, as far as the wire says.

    Args:
        error: of the call.

    Returns:
        An error of the same kind, message, hint and code; OutsideError if no server answered.
    """
    kind = _FROM_STATUS.get(error.code(), WindtunnelError)
    message, hint, code = error.details() or error.code().name, "", None
    metadata: dict[str, Any] = {entry[0]: entry[1] for entry in _pairs(error.trailing_metadata())}
    status = status_pb2.Status.FromString(metadata.get("grpc-status-details-bin", b""))
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            message, hint, code = info.metadata["message"], info.metadata["hint"], info.reason.lower()
    return kind(message, hint=hint, code=code)


def _pairs(metadata: Any) -> list[Any]:
    return list(metadata or ())


async def _abort(context: grpc.aio.ServicerContext[Any, Any], error: WindtunnelError) -> None:
    message, hint = _cut(error.message, _MESSAGE_BYTES), _cut(error.hint, _HINT_BYTES)
    info = error_details_pb2.ErrorInfo(
        reason=error.code.upper(), domain=DOMAIN, metadata={"message": message, "hint": hint}
    )
    if isinstance(error, JobFailed):
        # The end says why a process died.
        info.metadata["stderr"] = _cut(error.stderr[::-1], _HINT_BYTES)[::-1]
    said = str(WindtunnelError(message, hint=hint))
    status = status_pb2.Status(code=status_of(error).value[0], message=said)
    status.details.add().Pack(info)
    rich = rpc_status.to_status(status)
    context.set_trailing_metadata(rich.trailing_metadata)
    await context.abort(rich.code, rich.details)


def _cut(text: str, limit: int) -> str:
    """`text` in at most `limit` bytes of UTF-8."""
    data = text.encode(errors="replace")
    return text if len(data) <= limit else data[: limit - 3].decode(errors="ignore") + "…"


class ErrorInterceptor(_Interceptor):
    """Turns what a servicer raises into a status with details, and carries the trace context."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Implements `ServerInterceptor.intercept_service`: an error ends the call with its status."""
        handler = await continuation(handler_call_details)
        if handler is None or handler_call_details.method.startswith("/grpc."):
            return handler
        metadata = dict(handler_call_details.invocation_metadata or ())
        traceparent = str(metadata.get("traceparent", ""))
        coders = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(_unary(handler.unary_unary, traceparent), **coders)
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(_stream(handler.unary_stream, traceparent), **coders)
        if handler.stream_unary is not None:
            return grpc.stream_unary_rpc_method_handler(_unary(handler.stream_unary, traceparent), **coders)
        return handler


def _unary(inner: Callable[..., Any], traceparent: str) -> Callable[..., Any]:
    async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        with trace_context(traceparent), job_context(**_about(request)):
            async with _answering(context):
                return await inner(request, context)

    return call


def _stream(inner: Callable[..., Any], traceparent: str) -> Callable[..., Any]:
    async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        with trace_context(traceparent), job_context(**_about(request)):
            async with _answering(context):
                async for item in inner(request, context):
                    yield item

    return call


def _about(request: Any) -> dict[str, str]:
    """The run and the cell that a request names, for the log lines of its work."""
    cell = getattr(request, "cell", None)
    return {"run_id": getattr(request, "run_id", ""), "cell": getattr(cell, "id", "")}


@asynccontextmanager
async def _answering(context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[None]:
    """Ends the call with a status for whatever its handler raises.

    Raises:
        AbortError: how gRPC ends the call; it passes unchanged.
    """
    try:
        yield
    except WindtunnelError as error:
        await _abort(context, error)
    except grpc.aio.AbortError:
        raise
    except Exception as error:
        log.exception("a call failed")
        await _abort(context, InternalError(f"{type(error).__name__}: {error}", hint="see the service's log"))
