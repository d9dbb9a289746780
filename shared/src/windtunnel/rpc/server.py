"""A gRPC server with health, reflection and errors with details."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection

from windtunnel.errors import InvalidInput
from windtunnel.rpc.errors import ErrorInterceptor

MAX_MESSAGE_BYTES = 16 * 1024**2
# A client asks a silent connection for life after 30 s, and gives it up 20 s later: a call over a network that went
# would else wait for ever.
KEEPALIVE: list[tuple[str, Any]] = [("grpc.keepalive_time_ms", 30_000), ("grpc.keepalive_timeout_ms", 20_000)]
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class RpcServer:
    """Serves one or more gRPC services; `port` is known after `start`.

    Args:
        services: the full name of each service, and what registers its servicer on a server.
    """

    def __init__(self, services: Sequence[tuple[str, Callable[[grpc.aio.Server], None]]]) -> None:
        self._names = ["", *(name for name, _ in services)]
        self._health = HealthServicer()
        options: list[tuple[str, Any]] = [
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            # Two processes on one port would share the calls between them without a word.
            ("grpc.so_reuseport", 0),
            # Clients that ask as often as KEEPALIVE says are not sent away.
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ("grpc.http2.max_ping_strikes", 0),
        ]
        self._server = grpc.aio.server(interceptors=(ErrorInterceptor(),), options=options)
        for _, register in services:
            register(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            [*self._names[1:], health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME],
            self._server,
        )
        self._serving: bool | None = None
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listens.

        Args:
            host: name or address.
            port: 0: any free one.

        Raises:
            InvalidInput: the port is taken.
        """
        await self.start_at(f"{host}:{port}")

    async def start_at(self, address: str) -> None:
        """Listens at an address.

        Args:
            address: `host:port` or `unix:<path>`.

        Raises:
            InvalidInput: it cannot be had.
        """
        try:
            self.port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise InvalidInput(f"cannot listen on {address}", hint="is another process using the port?") from error
        await self.set_serving(False)
        await self._server.start()

    async def set_serving(self, serving: bool) -> None:
        """Sets the health of every service.

        Args:
            serving: whether calls can be answered.
        """
        if serving != self._serving:
            for name in self._names:
                await self._health.set(name, _SERVING if serving else _NOT_SERVING)
            self._serving = serving

    async def stop(self, grace_s: float) -> None:
        """Lets running calls end.

        Args:
            grace_s: the longest wait, in seconds.
        """
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_s)
