"""gRPC: errors with details, a server with health and reflection, channels."""

from windtunnel.rpc.errors import ErrorInterceptor, from_rpc_error, status_of
from windtunnel.rpc.server import RpcServer

__all__ = ["ErrorInterceptor", "RpcServer", "from_rpc_error", "status_of"]
