"""`python -m windtunnel.log_parser`: the log parser as a process."""

from __future__ import annotations

import importlib.metadata

from windtunnel.bus import subjects
from windtunnel.log_parser.service import LogParserService
from windtunnel.log_parser.settings import LogParserSettings
from windtunnel.service import runtime
from windtunnel.service.runtime import Parts, Runtime
from windtunnel.v1 import log_parser_pb2, log_parser_pb2_grpc

PACKAGE = "windtunnel-log-parser"


async def build(rt: Runtime[LogParserSettings]) -> Parts:
    """Makes the log parser's parts.

    Args:
        rt: what the service has to work with.

    Returns:
        Servicers, workers and what to close.
    """
    service = LogParserService(rt, versions={PACKAGE: importlib.metadata.version(PACKAGE)})
    return Parts(
        servicers=[
            (
                log_parser_pb2.DESCRIPTOR.services_by_name["LogParserService"].full_name,
                lambda server: log_parser_pb2_grpc.add_LogParserServiceServicer_to_server(service, server),
            )
        ],
        workers=[
            rt.worker("log_parser", [subjects.DEVICE_RUN_FINISHED], service.on_device_run_finished, service.on_failure)
        ],
    )


if __name__ == "__main__":
    runtime.main("log_parser", LogParserSettings, build)
