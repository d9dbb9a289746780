"""Logs: one JSON object a line on standard error."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from windtunnel.telemetry.job import current_job
from windtunnel.telemetry.trace import current_trace_id


class JsonFormatter(logging.Formatter):
    """Time, level, service, message, trace id, what the job is about, and the traceback, if there is one.

    Args:
        service: its name, in every line.
    """

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Implements `Formatter.format`: one JSON object."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if trace_id := current_trace_id():
            entry["trace_id"] = trace_id
        entry.update((name, value) for name, value in current_job().items() if name not in entry)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def configure_logging(service: str, level: str = "info") -> None:
    """Sends all logging of this process to standard error as JSON.

    Args:
        service: its name, in every line.
        level: the lowest that is logged.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("nats", "botocore", "urllib3", "google", "boto3"):
        logging.getLogger(noisy).setLevel("WARNING")
