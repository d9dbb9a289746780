"""Settings of the log parser."""

from __future__ import annotations

from pydantic import Field

from windtunnel.service.settings import ServiceSettings


class LogParserSettings(ServiceSettings):
    """The log parser's settings, in addition to those of every service."""

    max_log_bytes: int = Field(32 * 1024**2, ge=1024, description="Largest benchmark log that is read.")
