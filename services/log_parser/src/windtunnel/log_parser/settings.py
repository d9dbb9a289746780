"""Settings of the log parser."""

from __future__ import annotations

from pydantic import Field

from windtunnel.service.settings import ServiceSettings


class LogParserSettings(ServiceSettings):
    """What the log parser takes beside what every service takes."""

    max_log_bytes: int = Field(32 * 1024**2, ge=1024, description="Largest benchmark log that is read.")
