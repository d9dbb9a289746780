"""gRPC: errors with details, a server with health and reflection, channels."""

from windtunnel.rpc.errors import ErrorInterceptor, from_rpc_error, status_of
from windtunnel.rpc.server import KEEPALIVE, RpcServer

__all__ = ["KEEPALIVE", "ErrorInterceptor", "RpcServer", "from_rpc_error", "status_of"]
